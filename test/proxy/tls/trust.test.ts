/** Who may talk to whom: every handshake that must fail does, in both directions. */
import { once } from 'node:events'
import { connect as connectTcp, type Socket } from 'node:net'
import { connect, createServer, type TLSSocket } from 'node:tls'
import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'
import type { Svid } from '#agent/client/index.ts'
import { createLive } from '#core/live.ts'
import {
  CLIENT_ID,
  cluster,
  compiledDestination,
  compiledInbound,
  destinationBundle,
  inboundBundle,
  openFakePair,
  openFakeSidecar,
  SERVER_ID,
} from '#test/fakes/fake-sidecars.ts'
import { createFakeIssuer } from '#test/fakes/fake-svid.ts'
import { openEchoApp, openRaw, rawClient } from '#test/fakes/raw-http.ts'
import type { Destination } from '../../../proxy/outbound/destination.ts'
import { ALPN, contextOptions, GROUPS } from '../../../proxy/tls/parameters.ts'

const GET = 'GET / HTTP/1.1\r\nhost: server\r\n\r\n'

function dial(address: string, svid: Svid | undefined, options: object = {}): TLSSocket {
  const [host = '', port = ''] = address.split(':')
  const socket = connect({
    host,
    port: Number(port),
    ...(svid === undefined ? {} : contextOptions(svid)),
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
    ALPNProtocols: [ALPN.http1],
    ...options,
  })
  socket.on('error', () => {})
  return socket
}

/** What a client that dials the inbound port itself gets for a request. */
async function ask(socket: TLSSocket): Promise<string> {
  socket.on('error', () => {})
  using client = rawClient(socket)
  client.send(GET)
  const answer = client.until('HTTP/1.1\n')
  return await Promise.race([answer, client.end()]).catch((cause: unknown) => String(cause))
}

test('an inbound port answers a peer of the mesh, and nobody else', async (t) => {
  await using app = await openEchoApp()
  await using pair = await openFakePair(app.address)
  const inbound = pair.server.plane.inbound[8080] ?? ''
  const other = await createFakeIssuer()
  const good = await pair.issuer.issue(CLIENT_ID)
  t.regex(await ask(dial(inbound, good)), /^HTTP\/1\.1 200/)
  // Dialled one by one, so that each is listened to before it can be closed.
  const refused: Readonly<Record<string, () => Promise<TLSSocket>>> = {
    'no certificate': async () => dial(inbound, undefined),
    'a stranger CA': async () => dial(inbound, await other.issue(CLIENT_ID)),
    'an unknown trust domain': async () => {
      const foreign = await createFakeIssuer('other.example')
      return dial(inbound, await foreign.issue('spiffe://other.example/ns/test/sa/client'))
    },
    'an expired certificate': async () =>
      dial(inbound, await pair.issuer.issue(CLIENT_ID, { lifeMs: -1000 })),
    'an identity without a path': async () =>
      dial(inbound, await pair.issuer.issue('spiffe://cluster.local')),
    'TLS 1.2': async () =>
      dial(inbound, good, {
        minVersion: 'TLSv1.2',
        maxVersion: 'TLSv1.2',
        ciphers: 'DEFAULT',
      }),
    'another protocol': async () => dial(inbound, good, { ALPNProtocols: ['http/1.0'] }),
    'HTTP/1 where it promised HTTP/2': async () => dial(inbound, good, { ALPNProtocols: ['h2'] }),
  }
  for (const [what, open] of Object.entries(refused)) {
    t.notRegex(await ask(await open()), /HTTP\/1\.1 200/, what)
  }
  t.is(app.requests.length, 1)
  const reasons = pair.server.events.map(({ fields }) => (fields as { reason: string }).reason)
  t.deepEqual(
    reasons.toSorted(),
    [
      'handshake-failed',
      'handshake-failed',
      'no-certificate',
      ...reasons.filter((one) => !/handshake|no-certificate/.test(one)),
    ].toSorted(),
  )
  t.is(reasons.length, 7)
})

test('§2.4 rows 10, 11, 12, 13: an inbound port negotiates TLS 1.3, our suites and the hybrid group', async (t) => {
  await using app = await openEchoApp()
  await using pair = await openFakePair(app.address)
  const socket = dial(pair.server.plane.inbound[8080] ?? '', await pair.issuer.issue(CLIENT_ID))
  await once(socket, 'secureConnect')
  t.is(socket.getProtocol(), 'TLSv1.3')
  t.true(GROUPS.startsWith('X25519MLKEM768:'))
  t.like(socket.getEphemeralKeyInfo(), { name: 'X25519MLKEM768' })
  t.true(['TLS_AES_128_GCM_SHA256', 'TLS_AES_256_GCM_SHA384'].includes(socket.getCipher().name))
  t.is(socket.alpnProtocol, ALPN.http1)
  socket.destroy()
})

test('§2.4 row 14: a server answers to the protocols of sidecars, to h2 and to http/1.1', async (t) => {
  await using app = await openEchoApp()
  await using pair = await openFakePair(app.address)
  const inbound = pair.server.plane.inbound[8080] ?? ''
  const svid = await pair.issuer.issue(CLIENT_ID)
  const answered: unknown[] = []
  const spoken = ['istio-http/1.1', 'istio-h2', 'istio', 'istio-peer-exchange', 'h2', 'http/1.1']
  for (const name of [...spoken, 'http/1.0']) {
    const socket = dial(inbound, svid, { ALPNProtocols: [name] })
    await once(socket, 'secureConnect').catch(() => {})
    answered.push(socket.alpnProtocol)
    socket.destroy()
  }
  t.deepEqual(answered.slice(0, -1), spoken)
  t.true(answered.at(-1) === null || answered.at(-1) === false, String(answered.at(-1)))
})

test('no session is ever resumed: neither ours nor one that a client brings', async (t) => {
  await using app = await openEchoApp()
  await using pair = await openFakePair(app.address)
  const inbound = pair.server.plane.inbound[8080] ?? ''
  const svid = await pair.issuer.issue(CLIENT_ID)
  let session: Buffer | undefined
  for (let round = 0; round < 10; round += 1) {
    const socket = dial(inbound, svid, session === undefined ? {} : { session })
    socket.on('session', (made: Buffer) => {
      session = made
    })
    let isReused: boolean | undefined
    socket.on('secureConnect', () => {
      isReused = socket.isSessionReused()
    })
    t.regex(await ask(socket), /^HTTP\/1\.1 200/)
    t.false(isReused, `round ${round}`)
  }
})

test('STRICT closes plaintext without an answer, PERMISSIVE takes both, DISABLE takes plaintext', async (t) => {
  await using app = await openEchoApp()
  const open = (mtls: 'STRICT' | 'PERMISSIVE' | 'DISABLE') =>
    openFakePair(
      app.address,
      inboundBundle({
        mtls,
        ports: [{ port: 8080, name: 'http', protocol: 'http', mtls }],
        authorization: [],
      }),
    )
  for (const [mode, plaintext, tls] of [
    ['STRICT', false, true],
    ['PERMISSIVE', true, true],
    ['DISABLE', true, false],
  ] as const) {
    await using pair = await open(mode)
    const inbound = pair.server.plane.inbound[8080] ?? ''
    using plain = await openRaw(inbound)
    plain.send(GET)
    if (plaintext) t.regex(await plain.until('HTTP/1.1\n'), /^HTTP\/1\.1 200/, mode)
    else t.is(await plain.end(), '', mode)
    const answer = await ask(dial(inbound, await pair.issuer.issue(CLIENT_ID)))
    t.is(answer.startsWith('HTTP/1.1 200'), tls, mode)
    if (!plaintext) continue
    // A single byte tells the two apart; the rest may come later.
    using slow = await openRaw(inbound)
    slow.send('G')
    await sleep(30)
    slow.send(GET.slice(1))
    await slow.until('HTTP/1.1\n')
  }
})

test('a plaintext connection does not outlive a change to STRICT', async (t) => {
  await using app = await openEchoApp()
  const bundle = (mtls: 'STRICT' | 'PERMISSIVE') =>
    inboundBundle({
      mtls,
      ports: [{ port: 8080, name: 'http', protocol: 'http', mtls }],
      authorization: [],
    })
  await using pair = await openFakePair(app.address, bundle('PERMISSIVE'))
  using plain = await openRaw(pair.server.plane.inbound[8080] ?? '')
  plain.send(GET)
  await plain.until('HTTP/1.1\n')
  pair.server.inbound.set(compiledInbound(bundle('STRICT')))
  plain.send(GET)
  t.regex(await plain.end(), /HTTP\/1\.1 403 [\s\S]*connection: close/)
  t.is(app.requests.length, 1)
})

test('a sidecar without configuration answers nobody (users §2.2.31)', async (t) => {
  await using app = await openEchoApp()
  await using pair = await openFakePair(app.address)
  pair.server.inbound.set(undefined)
  t.notRegex(
    await ask(dial(pair.server.plane.inbound[8080] ?? '', await pair.issuer.issue(CLIENT_ID))),
    /HTTP\/1\.1 \d/,
  )
  t.deepEqual(app.requests, [])
})

test('§2.4 row 17: new connections show a new certificate; those that are open go on', async (t) => {
  await using app = await openEchoApp()
  await using pair = await openFakePair(app.address)
  const inbound = pair.server.plane.inbound[8080] ?? ''
  const serialNow = async (): Promise<string> => {
    const socket = dial(inbound, await pair.issuer.issue(CLIENT_ID))
    await once(socket, 'secureConnect')
    const serial = socket.getPeerX509Certificate()?.serialNumber.toLowerCase() ?? ''
    socket.destroy()
    return serial
  }
  using client = await openRaw(pair.outbound)
  client.send(GET)
  await client.until('HTTP/1.1\n')
  const before = await serialNow()
  const renewed = await pair.issuer.issue(SERVER_ID)
  pair.server.svid.set(renewed)
  const after = await serialNow()
  t.not(after, before)
  t.is(BigInt(`0x${after}`), BigInt(`0x${renewed.serial}`))
  client.send(GET)
  await client.until('HTTP/1.1\n')
})

/** A TLS server that pretends to be a peer sidecar. */
async function pretend(
  svid: Svid,
  alpn: string[],
): Promise<{ address: string; bytes: () => number; close: () => void }> {
  let bytes = 0
  const sockets = new Set<Socket>()
  const server = createServer(
    { ...contextOptions(svid), requestCert: true, rejectUnauthorized: false, ALPNProtocols: alpn },
    (socket) => {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('data', (data) => {
        bytes += data.length
        socket.write('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n')
      })
    },
  )
  server.on('tlsClientError', () => {})
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  return {
    address: `127.0.0.1:${typeof address === 'object' ? address?.port : 0}`,
    bytes: () => bytes,
    close() {
      for (const socket of sockets) socket.destroy()
      server.close()
    },
  }
}

test('a client sends nothing to a peer that is not whom the service names (users §2.1.20)', async (t) => {
  const issuer = await createFakeIssuer()
  const stranger = await createFakeIssuer()
  await using client = await openFakeSidecar({ svid: await issuer.issue(CLIENT_ID) })
  const cases: readonly (readonly [what: string, svid: Svid, alpn: string[], status: number])[] = [
    ['the right peer', await issuer.issue(SERVER_ID), [ALPN.http1], 200],
    [
      'another account',
      await issuer.issue('spiffe://cluster.local/ns/test/sa/other'),
      [ALPN.http1],
      503,
    ],
    ['the right name from another CA', await stranger.issue(SERVER_ID), [ALPN.http1], 503],
    ['an expired certificate', await issuer.issue(SERVER_ID, { lifeMs: -1000 }), [ALPN.http1], 503],
    ['another protocol', await issuer.issue(SERVER_ID), ['http/1.1'], 503],
  ]
  for (const [what, svid, alpn, status] of cases) {
    const peer = await pretend(svid, alpn)
    const bundle = destinationBundle({ c: cluster(peer.address) })
    client.destinations.set(
      'server:80',
      createLive<Destination | undefined>(compiledDestination(bundle)),
    )
    using raw = await openRaw(client.plane.outbound)
    raw.send(GET)
    t.regex(await raw.until('\r\n\r\n'), new RegExp(`^HTTP/1\\.1 ${status} `), what)
    t.is(peer.bytes() > 0, status === 200, what)
    peer.close()
  }
})

test('trust that is withdrawn counts for the next connection', async (t) => {
  await using app = await openEchoApp()
  await using pair = await openFakePair(app.address)
  const inbound = pair.server.plane.inbound[8080] ?? ''
  const svid = await pair.issuer.issue(CLIENT_ID)
  t.regex(await ask(dial(inbound, svid)), /^HTTP\/1\.1 200/)
  const stranger = await createFakeIssuer()
  pair.server.svid.set({ ...pair.server.svid.live.current, bundles: [stranger.bundle] })
  t.notRegex(await ask(dial(inbound, svid)), /HTTP\/1\.1 200/)
})

test('a client that starts a handshake and goes away leaves the port as it was', async (t) => {
  await using app = await openEchoApp()
  await using pair = await openFakePair(app.address)
  const [host = '', port = ''] = (pair.server.plane.inbound[8080] ?? '').split(':')
  for (const bytes of [
    '',
    '\x16',
    '\x16\x03\x01\x02\x00\x01',
    '\x16\x03\x01\xff\xff\x01\x00\x00',
  ]) {
    const socket = connectTcp({ host, port: Number(port) })
    await once(socket, 'connect')
    socket.write(bytes, 'latin1')
    await sleep(10)
    socket.resetAndDestroy()
  }
  using client = await openRaw(pair.outbound)
  client.send(GET)
  await client.until('HTTP/1.1\n')
  t.is(app.requests.length, 1)
})
