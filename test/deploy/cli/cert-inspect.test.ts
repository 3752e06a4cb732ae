import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer as createTcp, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer, type TlsOptions } from 'node:tls'

import test, { type ExecutionContext } from 'ava'
import { parse } from 'yaml'

import type { CertificateReport, ChainReport } from '#ca/inspect/index.ts'
import { certInspect } from '#deploy/cli/commands/cert-inspect.ts'
import { startStory } from '#test/agent/harness.ts'
import { workloadId } from '#test/ca/harness.ts'
import { makeCertificate } from '#test/ca/inspect/certificates.ts'
import { cpuStopwatch } from '#test/fakes/cpu-time.ts'
import { runCommand } from '#test/fakes/fake-io.ts'

const cwd = mkdtempSync(join(tmpdir(), 'redoubt-inspect-'))

const now = Temporal.Now.instant()
const life = {
  notBefore: now.subtract({ minutes: 2 }).toString(),
  notAfter: now.add({ hours: 1 }).toString(),
}
const root = await makeCertificate({ ca: true, ...life })
const good = await makeCertificate({ issuer: root, ...life })
const expired = await makeCertificate({
  issuer: root,
  notBefore: '2020-01-01T00:00:00Z',
  notAfter: '2020-01-01T01:00:00Z',
})
const files = {
  'good.pem': good.pem,
  'good.der': good.der,
  'expired.pem': expired.pem,
  'root.pem': root.pem,
  'key.pem': good.keyPem,
}
for (const [name, content] of Object.entries(files)) writeFileSync(join(cwd, name), content)

test.after.always(() => rmSync(cwd, { recursive: true }))

interface Answer {
  readonly certificates: readonly CertificateReport[]
  readonly chain: ChainReport
  readonly origin?: Readonly<Record<string, string>>
}

type Asked = readonly [place: string | undefined, options?: Readonly<Record<string, unknown>>]

async function inspect(
  ...[place, options]: Asked
): Promise<Answer & { readonly exitCode: number }> {
  const { exitCode, out } = await runCommand(certInspect, {
    cwd,
    arguments: place === undefined ? [] : [place],
    options: { output: 'json', ...options },
  })
  return { exitCode, ...(JSON.parse(out) as Answer) }
}

for (const file of ['good.pem', 'good.der']) {
  test(`cert inspect ${file} answers 0 for a good SVID that nothing was given to verify with`, async (t) => {
    const { exitCode, certificates, chain, ...rest } = await inspect(file)
    t.is(exitCode, 0)
    t.is(certificates[0]?.spiffeId, 'spiffe://td/ns/pay/sa/api')
    t.is(chain.verified, null)
    t.deepEqual(rest, {})
  })
}

test('cert inspect --bundle verifies up to the root; another root is a no', async (t) => {
  const verified = await inspect('good.pem', { bundle: 'root.pem' })
  t.deepEqual([verified.exitCode, verified.chain.trustAnchor], [0, 'CN=Root'])
  const other = await makeCertificate({ ca: true, subject: 'CN=Other', ...life })
  writeFileSync(join(cwd, 'other.pem'), other.pem)
  const refused = await inspect('good.pem', { bundle: 'other.pem' })
  t.is(refused.exitCode, 1)
  t.regex(refused.chain.error ?? '', /^untrusted-issuer: /)
})

test('cert inspect answers 1 for an SVID that ran out', async (t) => {
  const { exitCode, certificates } = await inspect('expired.pem')
  t.is(exitCode, 1)
  t.true(certificates[0]?.findings.some(({ rule }) => rule === 'expired'))
})

test('cert inspect prints YAML, PEM and text', async (t) => {
  const run = async (output: string) =>
    (await runCommand(certInspect, { cwd, arguments: ['good.pem'], options: { output } })).out
  t.is((parse(await run('yaml')) as Answer).certificates[0]?.ca, false)
  t.is(await run('pem'), good.pem.trim())
  t.regex(await run('text'), /1 hour left|59 minutes \d+ seconds? left/)
})

/** A TLS server on a free port of loopback; its address. */
async function listenTls(t: ExecutionContext, options: TlsOptions): Promise<string> {
  const server = createServer(options)
  server.on('tlsClientError', () => {}) // we hang up as soon as we have seen enough
  return listening(t, server)
}

async function listening(t: ExecutionContext, server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}

const identity = { cert: good.pem, key: good.keyPem }

test('cert inspect HOST:PORT shows what is served, and what was negotiated', async (t) => {
  const address = await listenTls(t, { ...identity, ALPNProtocols: ['redoubt'] })
  const { exitCode, certificates, chain, origin } = await inspect(address, {
    bundle: 'root.pem',
    alpn: ['redoubt'],
  })
  t.is(exitCode, 0)
  t.is(certificates.length, 1)
  t.true(chain.verified)
  t.is(origin?.['endpoint'], address)
  t.regex(origin?.['negotiated'] ?? '', /^TLSv1\.3 TLS_AES_\w+ X25519MLKEM768 redoubt$/)
})

test('cert inspect HOST:PORT asks for the name and presents the certificate it was given', async (t) => {
  const { promise: seen, resolve } = Promise.withResolvers<readonly unknown[]>()
  const options = { ...identity, requestCert: true, rejectUnauthorized: false }
  const server = createServer(options, (socket) => {
    const { servername } = socket as { servername?: string }
    resolve([servername, socket.getPeerX509Certificate()?.raw])
  })
  const address = await listening(t, server)
  await inspect(address, { sni: 'pay.example', clientCert: 'good.pem', clientKey: 'key.pem' })
  t.deepEqual(await seen, ['pay.example', Buffer.from(good.der)])
})

test('cert inspect HOST:PORT shows a server that refuses whoever has no certificate', async (t) => {
  const address = await listenTls(t, { ...identity, requestCert: true, rejectUnauthorized: true })
  t.is((await inspect(address)).certificates[0]?.spiffeId, 'spiffe://td/ns/pay/sa/api')
})

function writeMesh(name: string, workloads: readonly object[]): string {
  const state = join(cwd, name)
  mkdirSync(state)
  const bundle = join(cwd, 'root.pem')
  const mesh = { ready: true, trustDomain: 'td', ca: { bundle }, workloads }
  writeFileSync(join(state, 'mesh.json'), JSON.stringify(mesh))
  return state
}

test('cert inspect --workload asks the running sidecar and verifies who it is', async (t) => {
  const inbound = { 8080: await listenTls(t, identity) }
  const state = writeMesh('mesh', [
    { namespace: 'pay', name: 'api', spiffeId: 'spiffe://td/ns/pay/sa/api', inbound },
    { namespace: 'pay', name: 'wrong', spiffeId: 'spiffe://td/ns/pay/sa/other', inbound },
    { namespace: 'pay', name: 'bare', spiffeId: 'spiffe://td/ns/pay/sa/bare', inbound: {} },
  ])
  const right = await inspect(undefined, { state, workload: 'pay/api' })
  t.deepEqual(right.chain, { verified: true, trustAnchor: 'CN=Root', error: null })
  t.is(right.exitCode, 0)

  const wrong = await inspect(undefined, { state, workload: 'pay/wrong' })
  t.regex(wrong.chain.error ?? '', /^wrong-identity: /)
  t.is(wrong.exitCode, 1)

  const bare = inspect(undefined, { state, workload: 'pay/bare' })
  t.regex((await t.throwsAsync(bare)).message, /it has no sidecar$/)
  const unknown = inspect(undefined, { state, workload: 'pay/none' })
  t.regex(
    (await t.throwsAsync(unknown)).message,
    /expected one of pay\/api, pay\/wrong, pay\/bare$/,
  )

  t.true((await inspect('good.pem', { state })).chain.verified, 'roots of the mesh, for a file')
})

const hopeless: readonly (readonly [what: string, asked: Asked, said: RegExp])[] = [
  ['no source', [undefined], /0 sources are named/],
  ['two sources', ['good.pem', { workload: 'pay/api' }], /2 sources are named/],
  ['a file that is not there', ['none.pem'], /no such file, and it is not HOST:PORT/],
  [
    'a password in a file that is not there',
    ['good.pem', { passwordFile: 'none.txt' }],
    /^Cannot read none.txt: there is no such file$/,
  ],
  ['a directory', ['.'], /it is a directory/],
  ['a key', ['key.pem'], /^Cannot read certificates in key.pem: it holds a PRIVATE KEY/],
  ['a device without end', ['/dev/zero'], /more than 4194304 bytes/],
  ['an endpoint where nothing listens', ['127.0.0.1:1'], /127\.0\.0\.1:1: nothing listens there/],
  ['a name that is none', ['no-such-host.invalid:443'], /its name (is not known|could not be)/],
  ['a state without a mesh', [undefined, { workload: 'a/b', state: 'no' }], /no mesh runs here/],
  [
    'an agent that is not there',
    [undefined, { agent: 'no.sock', timeout: '300ms' }],
    /no such socket/,
  ],
  [
    'half a client',
    ['127.0.0.1:1', { clientCert: 'good.pem' }],
    /both --client-cert and --client-key/,
  ],
  [
    'a client whose key is that of another',
    ['127.0.0.1:1', { clientCert: 'root.pem', clientKey: 'key.pem' }],
    /^Cannot present root.pem: the key in key.pem is not that of its first certificate$/,
  ],
  [
    'a client without a file',
    ['127.0.0.1:1', { clientCert: 'good.pem', clientKey: 'none.pem' }],
    /^Cannot read none.pem: there is no such file$/,
  ],
  ['a time that is none', ['127.0.0.1:1', { timeout: 'soon' }], /the duration "soon"/],
  ['no time at all', ['127.0.0.1:1', { timeout: '0' }], /^Cannot wait 0: expected more than none/],
]
for (const [what, asked, said] of hopeless) {
  test(`cert inspect cannot tell about ${what}, and says why`, async (t) => {
    t.regex((await t.throwsAsync(inspect(...asked))).message, said)
  })
}

// Of the processor and not of the clock, and alone, so that a busy machine does not matter.
for (const [what, content] of [
  ['4 MiB of PEM', '-----BEGIN CERTIFICATE-----\n'.repeat(149_000)],
  ['16,000 nested sequences', Buffer.concat(Array(16_000).fill(Buffer.from('3080', 'hex')))],
  ['64 KiB of lengths', Buffer.alloc(65_536, 0x30)],
  ['JSON in JSON', '{"keys":'.repeat(100_000)],
] as const) {
  test.serial(`cert inspect refuses ${what} within a second of work`, async (t) => {
    const file = `hostile ${what}`
    writeFileSync(join(cwd, file), content)
    const workedMs = cpuStopwatch()
    const error = await t.throwsAsync(inspect(file))
    const ms = workedMs()
    t.regex(error.message, /^Cannot read (a certificate|certificates|PEM) in hostile .*: /)
    t.true(ms < 1000, `${ms} ms`)
  })
}

test('cert inspect gives up on a server that is silent, and on one that does not speak TLS', async (t) => {
  const silent = await listening(
    t,
    createTcp((socket) => void socket.on('error', () => {})),
  )
  const waited = await t.throwsAsync(inspect(silent, { timeout: '0.2' }))
  t.regex(waited.message, /it did not answer in time$/)
  const plain = await listening(
    t,
    createTcp((socket) => socket.on('error', () => {}).end('HTTP/1.1 400 Bad Request\r\n\r\n')),
  )
  t.regex((await t.throwsAsync(inspect(plain))).message, /it does not speak TLS$/)
})

test('cert inspect --agent shows what a real agent gives this process, verified by its bundle', async (t) => {
  await using story = await startStory()
  const id = workloadId
  story.callersAre(id)
  const { socketPath: agent } = story.config
  const run = { options: { output: 'json', agent }, now: story.now }
  const { exitCode, out } = await runCommand(certInspect, run)
  const { certificates, chain } = JSON.parse(out) as Answer
  t.deepEqual([exitCode, certificates[0]?.spiffeId, chain.verified], [0, id, true])

  story.callersAre(undefined)
  const refused = runCommand(certInspect, { ...run, options: { ...run.options, timeout: '0.5' } })
  t.regex((await t.throwsAsync(refused)).message, /it (knows no workload|did not answer in time)/)
})

test('cert inspect - reads DER from a pipe', async (t) => {
  const script = `
    import { certInspect } from '#deploy/cli/commands/cert-inspect.ts'
    import { runCommand } from '#test/fakes/fake-io.ts'
    const { out } = await runCommand(certInspect, { arguments: ['-'], options: { output: 'json' } })
    console.log(JSON.parse(out).certificates[0].spiffeId)`
  const said = await new Promise((resolve) => {
    const child = execFile(process.execPath, ['--input-type=module', '--eval', script], (_, out) =>
      resolve(out.trim()),
    )
    child.stdin?.end(good.der)
  })
  t.is(said, 'spiffe://td/ns/pay/sa/api')
})
