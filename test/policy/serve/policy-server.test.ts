import { type ClientDuplexStream, credentials } from '@grpc/grpc-js'
import test, { type ExecutionContext } from 'ava'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'

import { parseSpiffeId, type SpiffeId } from '#ca/spiffe/index.ts'
import { createLive, type LiveSource } from '#core/live.ts'
import {
  type Intent,
  openPolicyServer,
  type PolicyEvent,
  parseDestinationBundle,
  parseInboundBundle,
  type WorkloadInstance,
} from '#policy/index.ts'
import {
  PolicyDiscoveryClient,
  type StreamRequest,
  type StreamResponse,
} from '#policy/proto/gen/policy.ts'
import { FakeClock } from '../../fakes/fake-clock.ts'
import { BUNDLE_FORMAT } from '#policy/model/index.ts'
import { INSTANCES, instance, intentOf } from '../sample.ts'

const EDGE = parseSpiffeId('spiffe://cluster.local/ns/qotm/sa/edge')

const ALLOW_POST = `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: allow-post, namespace: qotm }
spec: { rules: [{ to: [{ operation: { methods: [POST] } }] }] }
`

interface Harness extends AsyncDisposable {
  readonly intent: LiveSource<Intent>
  readonly instances: LiveSource<readonly WorkloadInstance[]>
  readonly server: ReturnType<typeof openPolicyServer>
  readonly events: readonly PolicyEvent[]
  /** Issuers whose keys a sidecar wanted. */
  readonly wanted: readonly string[]
  /** A sidecar's end of a stream, on a connection that proved `peer`. */
  readonly connect: (peer?: SpiffeId) => Promise<Sidecar>
}

interface Sidecar {
  readonly say: (message: Partial<StreamRequest>) => void
  /** The next response. */
  readonly next: () => Promise<StreamResponse>
  /** How the server ended the stream: `[code, details]`. */
  readonly ended: Promise<readonly [number, string]>
  readonly call: ClientDuplexStream<StreamRequest, StreamResponse>
  /** Milliseconds within which nothing more came. */
  readonly quiet: (ms: number) => Promise<boolean>
}

async function open(): Promise<Harness> {
  const intent = createLive(intentOf())
  const instances = createLive<readonly WorkloadInstance[]>(INSTANCES)
  const wanted: string[] = []
  const server = openPolicyServer({
    intent: intent.live,
    instances: instances.live,
    onKeysWanted: (issuer) => wanted.push(issuer),
    clock: new FakeClock(),
    random: () => 0.5,
    log: () => {},
  })
  const events: PolicyEvent[] = []
  server.onEvent((event) => events.push(event))

  const peers: SpiffeId[] = []
  const listener = createServer((socket) => server.accept(socket, peers.shift() ?? EDGE))
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const address = `127.0.0.1:${(listener.address() as AddressInfo).port}`
  const clients: PolicyDiscoveryClient[] = []

  return {
    intent,
    instances,
    server,
    events,
    wanted,
    async connect(peer = EDGE) {
      peers.push(peer)
      const client = new PolicyDiscoveryClient(address, credentials.createInsecure(), {
        'grpc.use_local_subchannel_pool': 1,
      })
      clients.push(client)
      return sidecar(client.stream())
    },
    async [Symbol.asyncDispose]() {
      for (const client of clients) client.close()
      await server[Symbol.asyncDispose]()
      listener.close()
    },
  }
}

function sidecar(call: ClientDuplexStream<StreamRequest, StreamResponse>): Sidecar {
  const responses: StreamResponse[] = []
  const waiting: ((response: StreamResponse) => void)[] = []
  const ended = Promise.withResolvers<readonly [number, string]>()
  call.on('data', (response: StreamResponse) => {
    const wake = waiting.shift()
    if (wake) wake(response)
    else responses.push(response)
  })
  call.on('error', (error: Error & { code: number; details: string }) =>
    ended.resolve([error.code, error.details]),
  )
  call.on('end', () => ended.resolve([0, '']))
  return {
    call,
    ended: ended.promise,
    say: (message) =>
      void call.write({
        node: undefined,
        subscribe: [],
        unsubscribe: [],
        held: {},
        responseNonce: '',
        rejected: [],
        keysWanted: [],
        ...message,
      }),
    next: () => {
      const ready = responses.shift()
      return ready ? Promise.resolve(ready) : new Promise((resolve) => waiting.push(resolve))
    },
    quiet: async (ms) => {
      await new Promise((resolve) => setTimeout(resolve, ms))
      return responses.length === 0
    },
  }
}

const node = (workload: string, namespace = 'qotm'): StreamRequest['node'] => ({
  namespace,
  workload,
  version: 'test',
})

async function subscribed(
  harness: Harness,
  subscribe: readonly string[],
): Promise<{ readonly edge: Sidecar; readonly first: StreamResponse }> {
  const edge = await harness.connect()
  edge.say({ node: node('edge'), subscribe })
  return { edge, first: await edge.next() }
}

function only(t: ExecutionContext, { resources }: StreamResponse, name: string) {
  t.deepEqual(
    resources.map((resource) => resource.name),
    [name],
  )
  const [resource] = resources
  if (!resource) throw new Error(`no ${name}`)
  return resource
}

test('a sidecar gets its inbound bundle, acknowledges it, and status says so (users §1.4.38)', async (t) => {
  await using harness = await open()
  const { edge, first } = await subscribed(harness, ['inbound/qotm/edge'])
  const resource = only(t, first, 'inbound/qotm/edge')
  const bundle = parseInboundBundle(resource.body)
  t.is(bundle.workload.name, 'edge')
  t.is(bundle.mtls, 'STRICT')
  t.deepEqual(
    bundle.authorization.map(({ name }) => name),
    ['allow-nothing', 'deny-intruder'],
  )

  edge.say({ responseNonce: first.nonce })
  edge.say({ subscribe: ['destination/qotm:80'] })
  const second = await edge.next()
  const destination = parseDestinationBundle(only(t, second, 'destination/qotm:80').body)
  t.is(destination.kind, 'known')

  const status = harness.server.status().find(({ workload }) => workload === 'qotm/edge')
  t.true(status?.connected)
  t.deepEqual(status?.resources, [
    { name: 'inbound/qotm/edge', desired: resource.version, applied: resource.version },
    { name: 'destination/qotm:80', desired: second.resources[0]!.version, applied: '' },
  ])
  t.deepEqual(harness.events, [
    { kind: 'connected', workload: 'qotm/edge' },
    {
      kind: 'applied',
      workload: 'qotm/edge',
      name: 'inbound/qotm/edge',
      version: resource.version,
    },
  ])
})

test('an edit sends only what it changes, and a refused version is shown until another is applied', async (t) => {
  await using harness = await open()
  const { edge, first } = await subscribed(harness, ['inbound/qotm/edge', 'destination/qotm:80'])
  t.is(first.resources.length, 2)
  edge.say({ responseNonce: first.nonce })

  harness.intent.set(intentOf(ALLOW_POST))
  const second = await edge.next()
  const changed = only(t, second, 'inbound/qotm/edge')
  t.not(changed.version, first.resources[0]!.version)

  const rejected = { name: changed.name, version: changed.version, reason: 'it does not compile' }
  edge.say({ responseNonce: second.nonce, rejected: [rejected] })
  t.true(await edge.quiet(50), 'what was refused is not sent again')
  const [shown] = harness.server
    .status()
    .find(({ workload }) => workload === 'qotm/edge')!.resources
  t.deepEqual(shown, {
    name: changed.name,
    desired: changed.version,
    applied: first.resources[0]!.version,
    rejected: { version: changed.version, reason: 'it does not compile' },
  })
  t.like(harness.events.at(-1), { kind: 'rejected', reason: 'it does not compile' })

  harness.intent.set(intentOf())
  const third = await edge.next()
  t.is(
    only(t, third, 'inbound/qotm/edge').version,
    first.resources[0]!.version,
    'a hash of content',
  )
  edge.say({ responseNonce: third.nonce })
  edge.say({ subscribe: ['destination/quotes-db:80'] })
  await edge.next()
  const [after] = harness.server
    .status()
    .find(({ workload }) => workload === 'qotm/edge')!.resources
  t.is(after!.rejected, undefined)
})

test('a sidecar that wants newer keys of an issuer is heard, each issuer of a message once', async (t) => {
  await using harness = await open()
  const { edge } = await subscribed(harness, ['inbound/qotm/edge'])
  edge.say({ keysWanted: ['a', 'b', 'a'], subscribe: ['destination/qotm:80'] })
  await edge.next()
  t.deepEqual(harness.wanted, ['a', 'b'])
})

test('what a reconnecting sidecar holds is not sent again', async (t) => {
  await using harness = await open()
  const names = ['inbound/qotm/edge', 'destination/qotm:80']
  const { edge, first } = await subscribed(harness, names)
  edge.say({ responseNonce: first.nonce })
  edge.call.end()
  await edge.ended

  const [inbound, destination] = first.resources
  const again = await harness.connect()
  again.say({
    node: node('edge'),
    subscribe: names,
    held: { [inbound!.name]: inbound!.version, [destination!.name]: 'something else' },
  })
  t.is(only(t, await again.next(), 'destination/qotm:80').version, destination!.version)
  const status = harness.server.status().find(({ workload }) => workload === 'qotm/edge')
  t.is(status?.resources[0]?.applied, inbound!.version)
})

test('an unsubscribed destination is not sent any more', async (t) => {
  await using harness = await open()
  const { edge, first } = await subscribed(harness, ['destination/qotm:80'])
  edge.say({ responseNonce: first.nonce, unsubscribe: ['destination/qotm:80'] })
  edge.say({ subscribe: ['inbound/qotm/edge'] })
  await edge.next()
  harness.instances.set(INSTANCES.filter(({ name }) => name !== 'qotm-v2'))
  t.true(await edge.quiet(50))
})

test('a workload that goes is removed, and one that comes is sent', async (t) => {
  await using harness = await open()
  const { edge, first } = await subscribed(harness, ['inbound/qotm/edge'])
  edge.say({ responseNonce: first.nonce })
  harness.instances.set(INSTANCES.filter(({ name }) => name !== 'edge'))
  const second = await edge.next()
  t.deepEqual([second.resources, second.removed], [[], ['inbound/qotm/edge']])
  edge.say({ responseNonce: second.nonce })
  harness.instances.set(INSTANCES)
  only(t, await edge.next(), 'inbound/qotm/edge')
})

const PERMISSION_DENIED = 7
const INVALID_ARGUMENT = 3
const RESOURCE_EXHAUSTED = 8

test('a name of another account is refused', async (t) => {
  await using harness = await open()
  const others: readonly (readonly [string, string])[] = [
    ['edge', 'inbound/qotm/quotes-db'],
    ['edge', 'inbound/elsewhere/edge'],
    ['quotes-db', 'destination/qotm:80'],
  ]
  for (const [workload, name] of others) {
    const thief = await harness.connect()
    thief.say({ node: node(workload), subscribe: [name] })
    const [code, details] = await thief.ended
    t.is(code, PERMISSION_DENIED, `${workload} ${name}`)
    t.regex(details, /Cannot serve/)
  }
})

test('a name of a workload that starts later, of another account, is refused when it starts', async (t) => {
  await using harness = await open()
  const thief = await harness.connect()
  thief.say({ node: node('edge'), subscribe: ['inbound/qotm/late'] })
  t.true(await thief.quiet(50))
  harness.instances.set([...INSTANCES, instance('late', { serviceAccount: 'late' })])
  t.is((await thief.ended)[0], PERMISSION_DENIED)
})

test('an alias of the trust domain is the same account, a foreign domain is not', async (t) => {
  await using harness = await open()
  const { mesh, ...rest } = intentOf()
  const aliased = { ...mesh, trustDomainAliases: ['old.example'] } as unknown as Intent['mesh']
  harness.intent.set({ ...rest, mesh: aliased })
  const alias = await harness.connect(parseSpiffeId('spiffe://old.example/ns/qotm/sa/edge'))
  alias.say({ node: node('edge'), subscribe: ['inbound/qotm/edge'] })
  only(t, await alias.next(), 'inbound/qotm/edge')

  const foreign = await harness.connect(parseSpiffeId('spiffe://evil.example/ns/qotm/sa/edge'))
  foreign.say({ node: node('edge'), subscribe: ['inbound/qotm/edge'] })
  t.is((await foreign.ended)[0], PERMISSION_DENIED)
})

test('a stream that does not say for whom, or asks for too much, is ended', async (t) => {
  await using harness = await open()
  const nameless = await harness.connect()
  nameless.say({ subscribe: ['inbound/qotm/edge'] })
  t.is((await nameless.ended)[0], INVALID_ARGUMENT)

  const greedy = await harness.connect()
  const subscribe = Array.from({ length: 2001 }, (_, index) => `destination/h${index}:80`)
  greedy.say({ node: node('edge'), subscribe })
  t.is((await greedy.ended)[0], RESOURCE_EXHAUSTED)
})

test('names that are none are never answered, and do not end the stream', async (t) => {
  await using harness = await open()
  const edge = await harness.connect()
  edge.say({
    node: node('edge'),
    subscribe: ['', 'inbound/qotm', 'destination/x', 'destination/a b:80'],
  })
  t.true(await edge.quiet(50))
  edge.say({ subscribe: ['destination/nobody:80'] })
  t.deepEqual(parseDestinationBundle(only(t, await edge.next(), 'destination/nobody:80').body), {
    format: BUNDLE_FORMAT,
    kind: 'unknown',
  })
})

test('a sidecar that never answers gets no more than a few responses', async (t) => {
  await using harness = await open()
  const { edge } = await subscribed(harness, ['inbound/qotm/edge'])
  let responses = 1
  edge.call.on('data', () => {
    responses += 1
  })
  for (let round = 0; round < 30; round += 1) {
    harness.intent.set(intentOf(...(round % 2 ? [] : [ALLOW_POST])))
    await edge.quiet(2)
  }
  await edge.quiet(30)
  t.is(responses, 8)
})

test('closing ends every stream; later connections are dropped', async (t) => {
  const harness = await open()
  const { edge } = await subscribed(harness, ['inbound/qotm/edge'])
  t.true(harness.server.health().ready)
  t.regex(await harness.server.metrics(), /redoubt_policy_streams 1/)
  await harness[Symbol.asyncDispose]()
  t.not((await edge.ended)[0], undefined)
  t.false(harness.server.health().ready)
})
