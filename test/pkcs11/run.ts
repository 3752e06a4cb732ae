/**
 * `npm run test:pkcs11`: the CA with its keys in a token of SoftHSM2. Says where the module was found,
 * or that it was not and that nothing was tested. What follows `--` goes to ava; the totals are ava's.
 *
 * `REDOUBT_PKCS11_MODULE` names another module; it must be one whose tokens `softhsm2-util` makes.
 */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const PLACES = [
  '/usr/lib/softhsm/libsofthsm2.so',
  '/usr/lib64/softhsm/libsofthsm2.so',
  '/usr/lib64/pkcs11/libsofthsm2.so',
  '/usr/local/lib/softhsm/libsofthsm2.so',
]

// On stderr: stdout belongs to ava, which may speak TAP there.
const say = (text: string): void => void process.stderr.write(`${text}\n`)

/** Debian's package, where this may install one. */
function install(): void {
  if (process.getuid?.() !== 0) return
  try {
    execFileSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', 'softhsm2'], {
      stdio: 'ignore',
      timeout: 300_000,
    })
  } catch {
    // Said below: it is not there.
  }
}

function findModule(): string | undefined {
  return [process.env['REDOUBT_PKCS11_MODULE'] ?? '', ...PLACES].find(existsSync)
}

if (findModule() === undefined) install()
const module = findModule()
const directory = await mkdtemp(join(tmpdir(), 'redoubt-softhsm-'))
const conf = join(directory, 'softhsm2.conf')
const env: Record<string, string> = { SOFTHSM2_CONF: conf }
try {
  if (module === undefined) {
    say('SoftHSM2: NOT TO BE HAD (Debian: apt-get install softhsm2), its tests are skipped')
  } else {
    await writeFile(
      conf,
      `directories.tokendir = ${directory}\nobjectstore.backend = file\nlog.level = ERROR\n`,
    )
    const token = [
      '--init-token',
      '--free',
      '--label',
      'redoubt',
      '--pin',
      '1234',
      '--so-pin',
      '5678',
    ]
    execFileSync('softhsm2-util', token, { env: { ...process.env, ...env }, stdio: 'ignore' })
    env['REDOUBT_TEST_PKCS11'] = module
    say(`SoftHSM2: ${module}`)
  }
  const ava = spawn('ava', ['--config', 'test/pkcs11/ava.config.js', ...process.argv.slice(2)], {
    stdio: 'inherit',
    env: { ...process.env, ...env },
  })
  const [code] = (await once(ava, 'exit')) as [number | null]
  process.exitCode = code ?? 1
} finally {
  await rm(directory, { recursive: true, force: true })
}
