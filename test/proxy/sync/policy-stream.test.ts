import test from 'ava'
import { Server, ServerCredentials, type ServerDuplexStream, status } from '@grpc/grpc-js'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Svid } from '#agent/client/index.ts'
import { listenTls } from '#ca/index.ts'
import { parseSpiffeId } from '#ca/spiffe/index.ts'
import { createLive, type Live } from '#core/live.ts'
import { openPolicyServer } from '#policy/index.ts'
import type { InboundBundle } from '#policy/model/index.ts'
import {
  PolicyDiscoveryService,
  type StreamRequest,
  type StreamResponse,
} from '#policy/proto/gen/policy.ts'
import { openPolicyStream, type PolicySession } from '../../../proxy/sync/policy-stream.ts'
import { createFakeIssuer } from '../../fakes/fake-svid.ts'
import { JWKS, makeToken } from '../../fakes/fake-tokens.ts'
import {
  CLIENT_ID,
  cluster,
  destinationBundle,
  inboundBundle,
  realClock,
} from '../../fakes/fake-sidecars.ts'
import { INSTANCES, intentOf } from '../../policy/sample.ts'

const POLICY_ID = parseSpiffeId('spiffe://cluster.local/ns/redoubt-system/sa/redoubt-policy')
const now = () => Temporal.Now.instant()
const issuer = await createFakeIssuer()

type Call = ServerDuplexStream<StreamRequest, StreamResponse>

/** A policy server that says what a test says. */
interface FakeServer extends AsyncDisposable {
  readonly address: string
  /** Everything that sidecars have said, in order. */
  readonly heard: StreamRequest[]
  readonly callers: string[]
  /** Sends resources on the newest stream; waits for one if there is none. */
  readonly send: (
    bodies: Readonly<Record<string, { version: string; body: unknown }>>,
    removed?: readonly string[],
  ) => Promise<string>
  /** Ends the newest stream. */
  readonly hangUp: () => void
}

async function openServer(identity = POLICY_ID as string, port = 0): Promise<FakeServer> {
  const heard: StreamRequest[] = []
  const callers: string[] = []
  const calls: Call[] = []
  const server = new Server()
  server.addService(PolicyDiscoveryService, {
    stream(call: Call) {
      calls.push(call)
      call.on('data', (request: StreamRequest) => heard.push(request))
      call.on('error', () => {})
      call.on('end', () => call.end())
    },
  })
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure())
  const svid = await issuer.issue(identity)
  const listener = await listenTls({
    listen: { host: '127.0.0.1', port },
    identity: () => svid,
    bundles: () => [issuer.bundle],
    now,
    log: () => {},
    clientCertificate: 'required',
    alpn: ['h2'],
    onConnection(socket, peer) {
      callers.push(peer?.id ?? 'nobody')
      injector.injectConnection(socket)
    },
  })
  let nonces = 0
  const newest = async (): Promise<Call> => {
    await until(() => calls.at(-1)?.cancelled === false)
    return calls.at(-1) as Call
  }
  return {
    address: listener.address,
    heard,
    callers,
    async send(bodies, removed = []) {
      nonces += 1
      const resources = Object.entries(bodies).map(([name, { version, body }]) => ({
        name,
        version,
        body: Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)),
      }))
      const call = await newest()
      call.write({ nonce: String(nonces), resources, removed })
      return String(nonces)
    },
    hangUp: () => calls.at(-1)?.emit('error', { code: status.UNAVAILABLE, details: 'gone' }),
    async [Symbol.asyncDispose]() {
      server.forceShutdown()
      await listener[Symbol.asyncDispose]()
    },
  }
}

async function until(holds: () => boolean, ms = 10_000): Promise<void> {
  for (const endMs = performance.now() + ms; !holds(); await sleep(2)) {
    if (performance.now() > endMs) throw new Error(`not within ${ms} ms: ${String(holds)}`)
  }
}

interface Opened extends Disposable {
  readonly session: PolicySession
  readonly events: { readonly event: string; readonly fields: unknown }[]
}

async function openSession(address: string, svid?: Live<Svid>): Promise<Opened> {
  const aborter = new AbortController()
  const events: { event: string; fields: unknown }[] = []
  const session = openPolicyStream(
    {
      svid: svid ?? createLive(await issuer.issue(CLIENT_ID)).live,
      address,
      policyId: POLICY_ID,
      workload: { namespace: 'test', name: 'server' },
      now,
      clock: realClock,
      random: Math.random,
      log: (_level, event, fields) => void events.push({ event, fields }),
    },
    aborter.signal,
  )
  return { session, events, [Symbol.dispose]: () => aborter.abort() }
}

const TOKEN_RULE = {
  ...{ fromHeaders: [], fromParams: [], fromCookies: [], forwardOriginalToken: false },
  ...{ outputClaimToHeaders: [], spaceDelimitedClaims: [] },
}
const OTHER_HEADER = { name: 'x-token', prefix: 'Bearer ' }
const INBOUND = 'inbound/test/server'
const DESTINATION = 'destination/server:80'
const CLUSTER = 'outbound|80||server.test.svc.cluster.local'
const inbound = (version: string, change: Partial<InboundBundle> = {}) => ({
  [INBOUND]: { version, body: inboundBundle(change) },
})
const destination = (version: string, addresses: readonly string[], change = {}) => ({
  [DESTINATION]: {
    version,
    body: destinationBundle(
      {
        [CLUSTER]: cluster('', {
          endpoints: addresses.flatMap((address) => cluster(address).endpoints),
        }),
      },
      change,
    ),
  },
})

function decisionOn(session: PolicySession, peer: string): string | undefined {
  const engine = session.inbound.current?.engine
  const decide = engine?.({
    peer: parseSpiffeId(peer),
    sourceIp: '127.0.0.1',
    destinationIp: '127.0.0.1',
    destinationPort: 8080,
    sni: undefined,
  })
  return decide?.({
    method: 'GET',
    path: '/',
    host: 'h',
    remoteIp: '127.0.0.1',
    header: () => [],
    claims: undefined,
  }).kind
}

test('openPolicyStream() subscribes to its own bundle, proves who it is, compiles and acknowledges', async (t) => {
  await using server = await openServer()
  using opened = await openSession(server.address)
  const { session } = opened
  t.is(session.inbound.current, undefined)
  const nonce = await server.send(inbound('v1'))
  await until(() => session.inbound.current !== undefined)
  await until(() => server.heard.length >= 2)
  t.deepEqual(server.callers, [CLIENT_ID])
  t.like(server.heard[0], {
    node: { namespace: 'test', workload: 'server', version: '' },
    subscribe: [INBOUND],
    held: {},
  })
  t.like(server.heard[1], { responseNonce: nonce, rejected: [] })
  t.is(decisionOn(session, CLIENT_ID), 'allow')
  t.is(decisionOn(session, `${CLIENT_ID}-other`), 'deny')
  t.true(session.isConnected())
  t.deepEqual(session.held(), [{ name: INBOUND, desired: 'v1', applied: 'v1' }])
})

const unknownKey = { ...inboundBundle(), surprise: true }
const badRegex = {
  ...inboundBundle(),
  authorization: [{ namespace: 'n', name: 'p', action: 'ALLOW', dryRun: false, rules: [{}, 7] }],
}

for (const [what, body, reason] of [
  ['is not JSON', '{', /not JSON/],
  ['has another format', { ...inboundBundle(), format: 99 }, /format is 99/],
  ['has a key nobody knows', unknownKey, /surprise/],
  ['has a rule that is none', badRegex, /rules\/1/],
] as const) {
  test(`openPolicyStream() refuses a bundle that ${what} and keeps the last good one`, async (t) => {
    await using server = await openServer()
    using opened = await openSession(server.address)
    const { session } = opened
    await server.send(inbound('good'))
    await until(() => session.inbound.current !== undefined)
    const before = session.inbound.current
    const nonce = await server.send({ [INBOUND]: { version: 'bad', body } })
    await until(() => server.heard.length >= 3)
    const nack = server.heard[2]
    t.is(nack?.responseNonce, nonce)
    t.like(nack?.rejected[0], { name: INBOUND, version: 'bad' })
    t.regex(nack?.rejected[0]?.reason ?? '', reason)
    t.is(session.inbound.current, before)
    t.like(session.held()[0], { desired: 'bad', applied: 'good', rejected: { version: 'bad' } })
    await server.send(inbound('better'))
    await until(() => session.inbound.current?.version === 'better')
    t.deepEqual(session.held(), [{ name: INBOUND, desired: 'better', applied: 'better' }])
  })
}

test('openPolicyStream() subscribes to a destination when it is first met, and once', async (t) => {
  await using server = await openServer()
  using opened = await openSession(server.address)
  const { session } = opened
  await server.send(inbound('v1'))
  await until(() => session.inbound.current !== undefined)
  const live = session.destination('server', 80)
  t.is(live, session.destination('server', 80))
  t.is(live.current, undefined)
  await until(() => server.heard.some(({ subscribe }) => subscribe.includes(DESTINATION)))
  await server.send(destination('d1', ['127.0.0.1:1']))
  await until(() => live.current !== undefined)
  const input = {
    method: 'GET',
    target: '/',
    authority: 'server',
    fields: { first: () => undefined, values: () => [] },
  }
  t.is(live.current?.pickRoute(input)?.name, 'default')
  t.is(live.current?.clusters.get(CLUSTER)?.pick()?.endpoint.address, '127.0.0.1:1')
  t.is(server.heard.filter(({ subscribe }) => subscribe.includes(DESTINATION)).length, 1)
  t.is(session.destinations().length, 1)
})

test('openPolicyStream() says once that an issuer has newer keys, not for each token that shows it', async (t) => {
  await using server = await openServer()
  using opened = await openSession(server.address)
  const { session } = opened
  const tokenRules = [
    { ...TOKEN_RULE, issuer: 'iss', keys: { kind: 'fetched', jwks: JWKS } } as const,
    { ...TOKEN_RULE, keys: { kind: 'fetched', jwks: JWKS }, fromHeaders: [OTHER_HEADER] } as const,
  ]
  await server.send(inbound('v1', { tokenRules }))
  await until(() => session.inbound.current !== undefined)
  const ask = (header: string, kid: string) =>
    session.inbound.current?.authenticate?.({
      method: 'GET',
      target: '/',
      header: (name) => (name === header ? [`Bearer ${makeToken({ header: { kid } })}`] : []),
    })
  for (const kid of ['a', 'b', 'c'])
    t.like(await ask('authorization', kid), { kind: 'refused', reason: 'no-key' })
  const wanted = () => server.heard.flatMap(({ keysWanted }) => keysWanted)
  await until(() => wanted().length > 0)
  t.like(await ask(OTHER_HEADER.name, 'd'), { kind: 'refused', reason: 'no-key' })
  await until(() => wanted().length > 1)
  t.deepEqual(wanted(), ['iss', ''])
})

test('openPolicyStream() carries endpoints on from version to version', async (t) => {
  await using server = await openServer()
  using opened = await openSession(server.address)
  const live = opened.session.destination('server', 80)
  await server.send(destination('d1', ['127.0.0.1:1', '127.0.0.1:2']))
  await until(() => live.current !== undefined)
  const state = live.current?.clusters.get(CLUSTER)
  const [first] = state?.endpoints ?? []
  await server.send(destination('d2', ['127.0.0.1:1', '127.0.0.1:3']))
  await until(() => live.current?.version === 'd2')
  t.is(live.current?.clusters.get(CLUSTER), state)
  t.is(state?.endpoints[0], first)
  t.deepEqual(
    state?.endpoints.map(({ endpoint }) => endpoint.address),
    ['127.0.0.1:1', '127.0.0.1:3'],
  )
})

test('openPolicyStream() leaves endpoints as they are when routes do not compile', async (t) => {
  await using server = await openServer()
  using opened = await openSession(server.address)
  const live = opened.session.destination('server', 80)
  await server.send(destination('d1', ['127.0.0.1:1']))
  await until(() => live.current !== undefined)
  const routes = [
    {
      name: 'r',
      match: [{ uri: { kind: 'regex', value: '(' } }],
      action: { kind: 'respond', status: 200, body: '' },
    },
  ]
  await server.send(destination('bad', ['127.0.0.1:9'], { routes }))
  await until(() => server.heard.some(({ rejected }) => rejected.length > 0))
  const [nack] = server.heard.flatMap(({ rejected }) => rejected)
  t.regex(nack?.reason ?? '', /^Cannot match by "\("/)
  t.is(live.current?.version, 'd1')
  t.is(live.current?.clusters.get(CLUSTER)?.pick()?.endpoint.address, '127.0.0.1:1')
})

test('openPolicyStream() refuses one resource of a response and takes the others', async (t) => {
  await using server = await openServer()
  using opened = await openSession(server.address)
  const { session } = opened
  const live = session.destination('server', 80)
  const endpoints = [{ ...cluster('127.0.0.1:1').endpoints[0], identities: [] }]
  const body = destinationBundle({ [CLUSTER]: cluster('', { endpoints: endpoints as never }) })
  await server.send({ ...inbound('v1'), [DESTINATION]: { version: 'bad', body } })
  await until(() => server.heard.some(({ rejected }) => rejected.length > 0))
  t.is(session.inbound.current?.version, 'v1')
  t.is(live.current, undefined)
})

test('openPolicyStream() makes a removed destination one that nobody knows, and keeps the inbound bundle', async (t) => {
  await using server = await openServer()
  using opened = await openSession(server.address)
  const { session } = opened
  const live = session.destination('server', 80)
  await server.send({ ...inbound('v1'), ...destination('d1', ['127.0.0.1:1']) })
  await until(() => live.current?.bundle.kind === 'known')
  await server.send({}, [DESTINATION, INBOUND])
  await until(() => live.current?.bundle.kind === 'unknown')
  t.is(session.inbound.current?.version, 'v1')
})

test('openPolicyStream() comes back after the stream ends and says what it holds', async (t) => {
  await using server = await openServer()
  using opened = await openSession(server.address)
  const { session } = opened
  const live = session.destination('server', 80)
  await server.send({ ...inbound('v1'), ...destination('d1', ['127.0.0.1:1']) })
  await until(() => live.current !== undefined)
  const before = server.heard.length
  server.hangUp()
  await until(() => server.heard.length > before && server.heard.at(-1)?.node !== undefined)
  t.deepEqual(server.heard.at(-1)?.held, { [INBOUND]: 'v1', [DESTINATION]: 'd1' })
  t.deepEqual(server.heard.at(-1)?.subscribe, [INBOUND, DESTINATION])
  t.is(live.current?.version, 'd1')
  await server.send(inbound('v2'))
  await until(() => session.inbound.current?.version === 'v2')
})

test('openPolicyStream() serves on while the server is away, and finds it when it is back', async (t) => {
  const first = await openServer()
  const port = Number(first.address.split(':').at(-1))
  using opened = await openSession(first.address)
  const { session } = opened
  await first.send(inbound('v1'))
  await until(() => session.inbound.current !== undefined)
  await first[Symbol.asyncDispose]()
  await until(() => !session.isConnected())
  // Met while nobody is there to ask.
  const live = session.destination('server', 80)
  await sleep(300)
  t.is(session.inbound.current?.version, 'v1')
  await using second = await openServer(POLICY_ID, port)
  await second.send({ ...inbound('v2'), ...destination('d1', ['127.0.0.1:1']) })
  await until(() => session.inbound.current?.version === 'v2' && live.current !== undefined)
  t.deepEqual(second.heard[0]?.held, { [INBOUND]: 'v1' })
})

test('openPolicyStream() tells nothing to a server that is somebody else', async (t) => {
  await using server = await openServer('spiffe://cluster.local/ns/evil/sa/evil')
  using opened = await openSession(server.address)
  await until(() => opened.events.filter(({ event }) => event === 'policy-stream-lost').length >= 2)
  t.deepEqual(server.heard, [])
  t.is(opened.session.inbound.current, undefined)
  t.false(opened.session.isConnected())
  const [lost] = opened.events
  t.regex(JSON.stringify(lost?.fields), /Cannot trust the server.*ns\/evil/)
})

test('openPolicyStream() shows the newest certificate when it connects anew', async (t) => {
  await using server = await openServer()
  const svid = createLive(await issuer.issue(CLIENT_ID))
  using opened = await openSession(server.address, svid.live)
  await server.send(inbound('v1'))
  await until(() => opened.session.inbound.current !== undefined)
  svid.set(await issuer.issue(`${CLIENT_ID}-renewed`))
  server.hangUp()
  await until(() => server.callers.length === 2)
  t.deepEqual(server.callers, [CLIENT_ID, `${CLIENT_ID}-renewed`])
})

test('openPolicyStream() and the real policy server agree, and an edit is in force at once', async (t) => {
  const aborter = new AbortController()
  t.teardown(() => aborter.abort())
  const svid = await issuer.issue('spiffe://cluster.local/ns/qotm/sa/edge')
  const identity = await issuer.issue(POLICY_ID)
  const intent = createLive(intentOf())
  await using server = openPolicyServer({
    intent: intent.live,
    instances: createLive(INSTANCES).live,
    clock: realClock,
    random: Math.random,
    log: () => {},
  })
  await using listener = await listenTls({
    listen: { host: '127.0.0.1', port: 0 },
    identity: () => identity,
    bundles: () => [issuer.bundle],
    now,
    log: () => {},
    clientCertificate: 'required',
    alpn: ['h2'],
    onConnection: (socket, peer) => peer && server.accept(socket, peer.id),
  })
  const session = openPolicyStream(
    {
      svid: createLive(svid).live,
      address: listener.address,
      policyId: POLICY_ID,
      workload: { namespace: 'qotm', name: 'edge' },
      now,
      clock: realClock,
      random: Math.random,
      log: () => {},
    },
    aborter.signal,
  )
  const live = session.destination('qotm', 80)
  await until(() => session.inbound.current !== undefined && live.current !== undefined)
  t.is(live.current?.bundle.kind, 'known')
  t.is(session.inbound.current?.bundle.workload.name, 'edge')
  const before = session.inbound.current?.version
  const startedMs = performance.now()
  intent.set({
    ...intent.live.current,
    mesh: { ...intent.live.current.mesh, trustDomainAliases: ['old.local' as never] },
  })
  await until(() => session.inbound.current?.version !== before)
  t.log(`an edit was in force after ${Math.round(performance.now() - startedMs)} ms`)
  t.deepEqual(session.inbound.current?.bundle.trustDomainAliases, ['old.local' as never])
  const [subscriber] = server.status()
  t.is(subscriber?.workload, 'qotm/edge')
})
