/** Revocation at a sidecar: new handshakes and connections that are open, in both directions. */
import { EventEmitter, once } from 'node:events'
import { setImmediate } from 'node:timers/promises'
import { connect, type TLSSocket } from 'node:tls'
import test from 'ava'
import { parseSpiffeId, parseTrustDomain } from '#ca/spiffe/index.ts'
import type { Svid } from '#agent/client/index.ts'
import { compileDenyList, type DenyKind, verifySvid } from '#ca/x509/index.ts'
import { createLive } from '#core/live.ts'
import { CLIENT_ID, openFakePair, SERVER_ID, type FakePair } from '#test/fakes/fake-sidecars.ts'
import { createFakeIssuer } from '#test/fakes/fake-svid.ts'
import { openEchoApp, openRaw, rawClient } from '#test/fakes/raw-http.ts'
import { startSlowness } from '#test/fakes/slowness.ts'
import { ALPN, contextOptions } from '../../../proxy/tls/parameters.ts'
import { watchPeers } from '../../../proxy/tls/watch-peers.ts'

const GET = 'GET / HTTP/1.1\r\nhost: server\r\n\r\n'

/** The same SVID, with one thing on the deny-list. */
function denying(svid: Svid, kind: DenyKind, value: string): Svid {
  const until = Temporal.Now.instant().add({ hours: 1 })
  const entries = [{ kind, value, until, generation: 1, lifted: false }]
  const denies = compileDenyList({ generation: 1, entries })
  return { ...svid, bundles: svid.bundles.map((bundle) => ({ ...bundle, denies })) }
}

function dial(pair: FakePair, svid: Svid) {
  const [host = '', port = ''] = (pair.server.plane.inbound[8080] ?? '').split(':')
  const options = {
    ...contextOptions(svid),
    rejectUnauthorized: false,
    ALPNProtocols: [ALPN.http1],
  }
  const socket = connect({
    host,
    port: Number(port),
    checkServerIdentity: () => undefined,
    ...options,
  })
  socket.on('error', () => {})
  return socket
}

test('a client on the deny-list is refused, and cut off where it is connected already', async (t) => {
  await using app = await openEchoApp()
  await using pair = await openFakePair(app.address)
  const [bad, good] = [await pair.issuer.issue(CLIENT_ID), await pair.issuer.issue(CLIENT_ID)]
  const [badSocket, goodSocket] = [dial(pair, bad), dial(pair, good)]
  using badClient = rawClient(badSocket)
  using goodClient = rawClient(goodSocket)
  for (const client of [badClient, goodClient]) {
    client.send(GET)
    t.regex(await client.until('HTTP/1.1\n'), /^HTTP\/1\.1 200/)
  }

  const cut = once(badSocket, 'close')
  const slowness = startSlowness()
  const startMs = performance.now()
  const { svid } = pair.server
  svid.set(denying(svid.live.current, 'serial', bad.serial.replace(/^(00)+(?=..)/, '')))
  await cut
  t.true(performance.now() - startMs < 2000 * slowness())
  t.like(pair.server.events.at(-1), { event: 'denied-peers-cut-off', fields: { connections: 1 } })

  using again = rawClient(dial(pair, bad))
  again.send(GET)
  t.is(await again.end(), '', 'not one byte')
  t.like(pair.server.events.at(-1), { event: 'inbound-peer-refused', fields: { reason: 'denied' } })
  goodClient.send(GET)
  t.regex(await goodClient.until('HTTP/1.1\n'), /HTTP\/1\.1 200/, 'others go on as they were')
})

test('a server on the deny-list gets no request, over no connection that is open either', async (t) => {
  await using app = await openEchoApp()
  await using pair = await openFakePair(app.address)
  using client = await openRaw(pair.outbound)
  client.send(GET)
  t.regex(await client.until('HTTP/1.1\n'), /^HTTP\/1\.1 200/)
  const { svid } = pair.client
  svid.set(denying(svid.live.current, 'spiffe-id', SERVER_ID))
  client.send(GET)
  t.regex(await client.until('\r\n'), /HTTP\/1\.1 503/)
  t.is(app.requests.length, 1)
  t.true(pair.client.events.some(({ event }) => event === 'denied-peers-cut-off'))
})

test('connections are watched for as long as they are open, and no longer', async (t) => {
  const issuer = await createFakeIssuer()
  const svid = createLive(await issuer.issue(SERVER_ID))
  const now = () => Temporal.Now.instant()
  const ending = new AbortController()
  const peers = watchPeers({ svid: svid.live, now, log: () => {} }, ending.signal)
  const verdict = verifySvid(
    (await issuer.issue(CLIENT_ID)).chain,
    [issuer.bundle],
    now(),
    'client',
  )
  if (verdict.kind !== 'ok') return t.fail(verdict.detail)
  const destroyed: number[] = []
  const sockets = Array.from({ length: 100 }, (_, at) =>
    Object.assign(new EventEmitter(), { destroy: () => void destroyed.push(at) }),
  )
  for (const socket of sockets) {
    peers.add(socket as unknown as TLSSocket, { ...verdict, leaf: new Uint8Array() })
  }
  t.is(peers.count(), 100)
  for (const socket of sockets.slice(0, 98)) socket.emit('close')
  t.is(peers.count(), 2)
  svid.set(denying(svid.live.current, 'spiffe-id', CLIENT_ID))
  await setImmediate()
  t.deepEqual(destroyed, [98, 99])
  svid.set({ ...svid.live.current })
  await setImmediate()
  t.is(destroyed.length, 2, 'a rotation with the same list looks at nobody')
  ending.abort()
})

test('§1.7 a peer of a trust domain that is federated with no longer is cut off, and nobody else', async (t) => {
  const issuer = await createFakeIssuer()
  const own = await issuer.issue(SERVER_ID)
  const foreign = { trustDomain: parseTrustDomain('other.example'), generation: 1, roots: [] }
  const svid = createLive<Svid>({ ...own, bundles: [...own.bundles, foreign] })
  const ending = new AbortController()
  const watched = { svid: svid.live, now: () => Temporal.Now.instant(), log: () => {} }
  const peers = watchPeers(watched, ending.signal)
  const destroyed: string[] = []
  for (const id of [
    parseSpiffeId(CLIENT_ID),
    parseSpiffeId('spiffe://other.example/ns/shop/sa/front'),
  ]) {
    const socket = Object.assign(new EventEmitter(), { destroy: () => void destroyed.push(id) })
    const notAfter = Temporal.Now.instant().add({ hours: 1 })
    const peer = {
      kind: 'ok',
      id,
      serial: '01',
      notAfter,
      keyIds: [],
      leaf: new Uint8Array(),
    } as const
    peers.add(socket as unknown as TLSSocket, peer)
  }
  svid.set(own)
  await setImmediate()
  t.deepEqual(destroyed, ['spiffe://other.example/ns/shop/sa/front'])
  ending.abort()
})
