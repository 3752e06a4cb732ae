/** The README's first ten minutes as it tells them, and what such a run leaves in its logs. */
import { execFile } from 'node:child_process'
import { globSync, readFileSync, statSync, symlinkSync } from 'node:fs'
import { join, resolve } from 'node:path'

import test from 'ava'

import { ask, LAUNCHER, startMesh, startRedoubt, temporary } from './mesh.ts'

/** `command  # → what it prints`, from the README's blocks of shell. */
const README = readFileSync('README.md', 'utf8')
const steps = [...README.matchAll(/^```sh\n([\s\S]*?)^```$/gm)]
  .flatMap(([, block = '']) => block.trim().split('\n'))
  .map((line) => {
    const [command = '', expected] = line.split(/\s+# → /)
    return { command, expected }
  })

/** `npx redoubt` is this checkout; variables live from step to step. */
const SHELL = `npx() { shift; '${process.execPath}' '${LAUNCHER}' "$@"; }\n`

function runShell(script: string, cwd: string): Promise<string> {
  return new Promise((resolve) => {
    const env = { ...process.env, NO_COLOR: '1' }
    execFile('bash', ['-c', SHELL + script], { cwd, env }, (_, out, err) => resolve(out + err))
  })
}

const hasCurl = (process.env['PATH'] ?? '')
  .split(':')
  .some((folder) => statSync(join(folder, 'curl'), { throwIfNoEntry: false })?.isFile())

test('the first ten minutes of README.md go as it says, and no log of them holds a secret (users §2.2.25)', async (t) => {
  await using directory = await temporary()
  const cwd = directory.path
  // The tour is made in a checkout.
  symlinkSync(resolve('deploy'), join(cwd, 'deploy'))
  const at = steps.findIndex(({ command }) => command.startsWith('npx redoubt up '))
  t.true(at > 0, 'the README starts a mesh')
  for (const { command, expected = '' } of steps.slice(0, at)) {
    t.true((await runShell(command, cwd)).includes(expected), command)
  }

  await using mesh = await startMesh(['-f', 'mesh'], { cwd })
  let variables = ''
  for (const { command, expected } of steps.slice(at + 1)) {
    if (/^\w+=/.test(command)) variables += `${command}\n`
    if (command.startsWith('curl') && !hasCurl) {
      t.log(`NOT RUN, there is no curl here: ${command}`)
      continue
    }
    const said = await runShell(variables + command, cwd)
    if (expected !== undefined) t.true(said.includes(expected), `${command}\nprinted: ${said}`)
  }

  const written = new Map(
    globSync('.redoubt/logs/*', { cwd }).map((name) => [
      name,
      readFileSync(join(cwd, name), 'utf8'),
    ]),
  )
  t.true(written.size >= 6, 'logs of every process')
  written.set('standard output', mesh.out.join('\n'))
  written.set('standard error', mesh.err())
  written.set('mesh.json', readFileSync(join(cwd, '.redoubt/mesh.json'), 'utf8'))
  for (const { admin } of mesh.ready.workloads) {
    if (admin === undefined) continue
    for (const path of ['/config_dump', '/certs', '/clusters', '/stats/prometheus']) {
      written.set(admin + path, (await ask(admin, { path })).body)
    }
  }
  const secrets = secretsOf(cwd)
  t.true(secrets.length >= 4, 'keys of the root and of the issuing CA, as PEM and as bytes')
  for (const [name, text] of written) {
    t.notRegex(text, /PRIVATE KEY|"(?:d|privateKey|keyPem|joinToken|token)":/, name)
    for (const secret of secrets) t.false(text.includes(secret), `${name} holds a key of the CA`)
  }
})

/**
 * The authority's private numbers: in hex, and as the second line of their PEM, which a log that
 * breaks lines would still hold. (PKCS#8 of P-256, RFC 5915: 32 bytes from the 36th; the public key
 * follows and is no secret.)
 */
function secretsOf(cwd: string): readonly string[] {
  return globSync('.redoubt/ca/{,keys/}*.pem', { cwd }).flatMap((name) => {
    const pem = readFileSync(join(cwd, name), 'utf8')
    const [, base64] = /BEGIN PRIVATE KEY-----\n([\s\S]+?)\n-----END/.exec(pem) ?? []
    if (base64 === undefined) return [] // a certificate
    const [, line = base64] = base64.split('\n')
    return [line, Buffer.from(base64, 'base64').subarray(36, 68).toString('hex')]
  })
}

test('redoubt names every command of README.md in its help', async (t) => {
  const help = startRedoubt(['--help'])
  t.is(await help.exited, 0)
  for (const [, noun = ''] of README.matchAll(/(?:npx redoubt|`redoubt) ([a-z]+)/g)) {
    t.true(
      help.out.some((line) => line.startsWith(`  ${noun} `)),
      noun,
    )
  }
})
