import { once } from 'node:events'
import { connect as connectTcp, createServer } from 'node:net'
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls'
import test from 'ava'
import { listenTls, type TlsIdentity, type TlsListenOptions, type VerifiedPeer } from '#ca/index.ts'
import { createSvidSigner, signSvid } from '#ca/issue/issue-svid.ts'
import { localKey } from '#ca/keys/signing-key.ts'
import { type Authority, makeIssuing, makeRoot } from '#ca/keys/authority.ts'
import { parseSpiffeId, parseTrustDomain, type SpiffeId } from '#ca/spiffe/index.ts'
import { pemFromDer, type TrustBundle, verifyCsr } from '#ca/x509/index.ts'
import { newCsr, newKey, trustDomain, workloadId } from '../harness.ts'

/** Years before the machine's clock, so that nothing here passes by OpenSSL's idea of the time. */
const now = Temporal.Instant.from('2001-02-03T04:05:06Z')
const hours = (count: number) => Temporal.Duration.from({ hours: count })

interface Domain {
  readonly issuing: Authority
  readonly bundle: TrustBundle
}

async function domain(name: string): Promise<Domain> {
  const of = { trustDomain: parseTrustDomain(name), now, ttl: hours(100) }
  const root = await makeRoot({ ...of, key: localKey(newKey()), serial: Uint8Array.of(1) })
  const issuing = await makeIssuing(root, {
    ...of,
    key: localKey(newKey()),
    serial: Uint8Array.of(2),
  })
  const bundle = { trustDomain: of.trustDomain, generation: 1, roots: [root.certificate.der] }
  return { issuing, bundle }
}

const prod = await domain(trustDomain)
const evil = await domain('evil.example')
const prodByEvil: Domain = { ...(await domain(trustDomain)), bundle: evil.bundle }

async function identity(
  { issuing }: Domain,
  spiffeId: SpiffeId,
  ttl = hours(1),
): Promise<TlsIdentity> {
  const key = newKey()
  const { publicKeyDer } = verifyCsr(newCsr(key))
  const svid = await signSvid(createSvidSigner(issuing), { spiffeId, publicKeyDer, ttl }, now)
  return {
    chainPem: pemFromDer('CERTIFICATE', svid.chain),
    keyPem: key.export({ type: 'pkcs8', format: 'pem' }).toString(),
  }
}

const serverId = parseSpiffeId('spiffe://prod.example/ns/redoubt-system/sa/redoubt-ca')
const server = await identity(prod, serverId)
const workload = await identity(prod, workloadId)

async function listening(change: Partial<TlsListenOptions> = {}) {
  const peers: (VerifiedPeer | undefined)[] = []
  const reasons: unknown[] = []
  const listener = await listenTls({
    listen: { host: '127.0.0.1', port: 0 },
    identity: () => server,
    bundles: () => [prod.bundle],
    now: () => now,
    log: (_, event, fields) => reasons.push(fields?.['reason'] ?? event),
    clientCertificate: 'required',
    alpn: ['h2'],
    onConnection(socket, peer) {
      peers.push(peer)
      socket.end('hello')
    },
    ...change,
  })
  return { listener, peers, reasons, [Symbol.asyncDispose]: () => listener[Symbol.asyncDispose]() }
}

function portOf(address: string): number {
  return Number(address.slice(address.lastIndexOf(':') + 1))
}

function dial(
  address: string,
  who: TlsIdentity | undefined,
  change: ConnectionOptions = {},
): TLSSocket {
  const own = who && { cert: who.chainPem, key: who.keyPem }
  return connect({
    port: portOf(address),
    rejectUnauthorized: false,
    ALPNProtocols: ['h2'],
    ca: [],
    ...own,
    ...change,
  })
}

/** All that the server says before it closes; empty if it says nothing or resets. */
async function said(socket: TLSSocket): Promise<string> {
  let text = ''
  socket.on('data', (chunk) => {
    text += String(chunk)
  })
  socket.on('error', () => undefined) // a refusal may arrive as a reset
  if (!socket.closed) await new Promise((resolve) => socket.once('close', resolve))
  return text
}

test('listenTls() hands over a peer whose SVID was verified, at the injected time', async (t) => {
  await using base = await listening()
  t.is(await said(dial(base.listener.address, workload)), 'hello')
  t.like(base.peers[0], { kind: 'ok', id: workloadId })
})

test('listenTls() shows one certificate and makes one demand, whatever server name is asked for (users §2.1.7)', async (t) => {
  await using base = await listening()
  const shown = new Set<string>()
  const names = ['redoubt-ca', 'REDOUBT-CA.Example', 'other.example', 'xn--bcher-kva.example']
  for (const servername of names) {
    t.is(await said(dial(base.listener.address, undefined, { servername })), '', servername)
    const socket = dial(base.listener.address, workload, { servername })
    socket.once('secureConnect', () => {
      shown.add(socket.getPeerX509Certificate()?.fingerprint256 ?? 'none')
    })
    t.is(await said(socket), 'hello', servername)
  }
  t.is(shown.size, 1)
  t.is(base.peers.length, names.length)
})

const refused: Readonly<
  Record<
    string,
    readonly [reason: string, who: TlsIdentity | undefined, change?: Partial<TlsListenOptions>]
  >
> = {
  'no certificate where one is required': ['no-certificate', undefined],
  'a certificate of another trust domain': [
    'unknown-trust-domain',
    await identity(evil, parseSpiffeId('spiffe://evil.example/ns/pay/sa/api')),
  ],
  'a name of this trust domain under a strange root': [
    'untrusted-issuer',
    await identity(prodByEvil, workloadId),
  ],
  'a certificate that has run out': ['expired', workload, { now: () => now.add({ hours: 2 }) }],
  'a certificate of the future': [
    'not-yet-valid',
    workload,
    { now: () => now.subtract({ hours: 2 }) },
  ],
  'a bad certificate where none is needed': [
    'untrusted-issuer',
    await identity(prodByEvil, workloadId),
    { clientCertificate: 'optional' },
  ],
  'everyone when there is no bundle': ['unknown-trust-domain', workload, { bundles: () => [] }],
  'everyone when judging fails': [
    'tls-peer-not-judged',
    workload,
    {
      bundles: () => {
        throw new Error('no bundle')
      },
    },
  ],
}
for (const [what, [reason, who, change]] of Object.entries(refused)) {
  test(`listenTls() refuses ${what}, before any byte is used`, async (t) => {
    await using base = await listening(change)
    const socket = dial(base.listener.address, who)
    socket.write('GET / HTTP/1.1\r\n\r\n')
    t.is(await said(socket), '')
    t.deepEqual(base.peers, [])
    t.deepEqual(base.reasons, [reason])
  })
}

test('listenTls() lets in a caller without a certificate as nobody, where it is optional', async (t) => {
  await using base = await listening({ clientCertificate: 'optional' })
  t.is(await said(dial(base.listener.address, undefined)), 'hello')
  t.deepEqual(base.peers, [undefined])
})

test('listenTls() survives an onConnection that throws (users §2.1.11)', async (t) => {
  await using base = await listening({
    onConnection: () => {
      throw new Error('bug')
    },
  })
  t.is(await said(dial(base.listener.address, workload)), '')
  t.deepEqual(base.reasons, ['tls-peer-not-judged'])
})

const badHandshakes: Readonly<Record<string, ConnectionOptions>> = {
  'TLS 1.2': { maxVersion: 'TLSv1.2' },
  'a group that is not offered': { ecdhCurve: 'P-521' },
  'another protocol': { ALPNProtocols: ['http/1.1'] },
  'no protocol at all': { ALPNProtocols: [] },
}
for (const [what, change] of Object.entries(badHandshakes)) {
  test(`listenTls() refuses ${what}`, async (t) => {
    await using base = await listening()
    t.is(await said(dial(base.listener.address, workload, change)), '')
    t.deepEqual(base.peers, [])
  })
}

test('listenTls() refuses plaintext, and goes on', async (t) => {
  await using base = await listening()
  const socket = connectTcp(portOf(base.listener.address), '127.0.0.1')
  socket.on('error', () => undefined)
  socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  socket.resume()
  await once(socket, 'close')
  t.is(await said(dial(base.listener.address, workload)), 'hello')
})

test('listenTls() agrees on the hybrid group first, and on X25519 or P-256 with who has no better', async (t) => {
  await using base = await listening({ onConnection: () => undefined })
  for (const [offered, name] of [
    [undefined, 'X25519MLKEM768'],
    ['X25519MLKEM768:P-256', 'X25519MLKEM768'],
    ['X25519', 'X25519'],
    ['P-256', 'prime256v1'],
  ] as const) {
    const socket = dial(base.listener.address, workload, offered ? { ecdhCurve: offered } : {})
    await once(socket, 'secureConnect')
    t.is((socket.getEphemeralKeyInfo() as { name?: string }).name, name)
    t.is(socket.getProtocol(), 'TLSv1.3')
    socket.destroy()
  }
})

test('listenTls() never resumes a session (users §2.1.6)', async (t) => {
  await using base = await listening()
  const sessions: Buffer[] = []
  const first = dial(base.listener.address, workload)
  first.on('session', (session) => sessions.push(session))
  await said(first)
  for (const session of sessions) {
    const again = dial(base.listener.address, undefined, { session })
    again.on('secureConnect', () => t.false(again.isSessionReused()))
    t.is(await said(again), '', 'and without a certificate it gets nothing')
  }
  t.is(base.peers.length, 1)
})

test('refresh() shows new connections the new certificate and lets old ones be (users §1.1.11)', async (t) => {
  let current = server
  await using base = await listening({
    identity: () => current,
    onConnection: (socket) => socket.resume(),
  })
  const before = dial(base.listener.address, workload)
  await once(before, 'secureConnect')
  current = await identity(prod, serverId)
  base.listener.refresh()
  const after = dial(base.listener.address, workload)
  await once(after, 'secureConnect')
  t.not(after.getPeerX509Certificate()?.serialNumber, before.getPeerX509Certificate()?.serialNumber)
  t.false(before.destroyed)
  for (const socket of [before, after]) socket.destroy()
})

test('bundles() is asked at each connection', async (t) => {
  let bundles: readonly TrustBundle[] = []
  await using base = await listening({ bundles: () => bundles })
  t.is(await said(dial(base.listener.address, workload)), '')
  bundles = [prod.bundle]
  t.is(await said(dial(base.listener.address, workload)), 'hello')
})

test('disposing ends connections and frees the port', async (t) => {
  const base = await listening({ onConnection: (socket) => socket.resume() })
  const socket = dial(base.listener.address, workload)
  socket.on('error', () => undefined)
  await once(socket, 'secureConnect')
  socket.resume()
  const closed = once(socket, 'close')
  await base.listener[Symbol.asyncDispose]()
  await closed
  const port = portOf(base.listener.address)
  await using again = await listening({ listen: { host: '127.0.0.1', port } })
  t.is(portOf(again.listener.address), port)
})

test('listenTls() says in one line that a port is taken', async (t) => {
  const holder = createServer().listen(0, '127.0.0.1')
  await once(holder, 'listening')
  const { port } = holder.address() as { port: number }
  await t.throwsAsync(listening({ listen: { host: '127.0.0.1', port } }), {
    code: 'CA_LISTEN_FAILED',
    message: `Cannot listen on 127.0.0.1:${port}: another process has the port; choose another, or 0 for a free one`,
  })
  holder.close()
})

test('listenTls() tells an IPv6 address in brackets', async (t) => {
  await using base = await listening({ listen: { host: '::1', port: 0 } }).catch(() => listening())
  t.regex(base.listener.address, /^(\[::1\]|127\.0\.0\.1):\d+$/)
})
