/**
 * `npm run test:testssl`: testssl.sh against every TLS listener of a mesh. Says where the program was
 * found, or that it was not and that nothing was tested. What follows `--` goes to ava; the totals are ava's.
 */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'

// On stderr: stdout belongs to ava, which may speak TAP there.
const say = (text: string): void => void process.stderr.write(`${text}\n`)

/** Debian's package, where this may install one. */
function install(): void {
  if (process.getuid?.() !== 0) return
  try {
    const args = ['install', '-y', '-qq', '--no-install-recommends', 'testssl.sh']
    execFileSync('apt-get', args, { stdio: 'ignore', timeout: 300_000 })
  } catch {
    // Said below: it is not there.
  }
}

/** By Debian's name or its own. */
function findProgram(): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(delimiter)
  const places = folders.flatMap((folder) => [join(folder, 'testssl'), join(folder, 'testssl.sh')])
  return [process.env['REDOUBT_TESTSSL'] ?? '', ...places].find(existsSync)
}

if (findProgram() === undefined) install()
const program = findProgram()
if (program === undefined) {
  say('testssl.sh: NOT TO BE HAD (Debian: apt-get install testssl.sh), its tests are skipped')
} else {
  say(`testssl.sh: ${program}`)
}
const ava = spawn('ava', ['--config', 'test/testssl/ava.config.js', ...process.argv.slice(2)], {
  stdio: 'inherit',
  env: { ...process.env, ...(program !== undefined && { REDOUBT_TESTSSL: program }) },
})
const [code] = (await once(ava, 'exit')) as [number | null]
process.exitCode = code ?? 1
