/** gRPC as programs speak it, `@grpc/grpc-js` at both ends, through two sidecars. */
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import {
  type Client,
  credentials,
  makeGenericClientConstructor,
  Metadata,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerWritableStream,
  type ServiceDefinition,
  status,
} from '@grpc/grpc-js'
import test from 'ava'
import { createLive } from '#core/live.ts'
import type { AuthorizationPolicy } from '#policy/model/index.ts'
import type { Destination } from '../../../proxy/outbound/destination.ts'
import {
  cluster,
  compiledDestination,
  compiledInbound,
  destinationBundle,
  type FakePair,
  inboundBundle,
  openFakePair,
} from '#test/fakes/fake-sidecars.ts'
import { until } from '#test/fakes/fake-streams.ts'

const bytes = { serialize: (value: Buffer) => value, deserialize: (value: Buffer) => value }

function method(name: string, requestStream: boolean, responseStream: boolean) {
  const { serialize, deserialize } = bytes
  return {
    ...{ path: `/pkg.Echo/${name}`, requestStream, responseStream },
    ...{ requestSerialize: serialize, requestDeserialize: deserialize },
    ...{ responseSerialize: serialize, responseDeserialize: deserialize },
  }
}

const ECHO = {
  Say: method('Say', false, false),
  Drop: method('Drop', false, false),
  Pour: method('Pour', false, true),
  Talk: method('Talk', true, true),
} satisfies ServiceDefinition

const allow = (...paths: readonly string[]): AuthorizationPolicy => ({
  ...{ namespace: 'test', name: 'allow', action: 'ALLOW', dryRun: false },
  rules: [{ to: [{ paths, methods: ['POST'] }] }],
})

interface Scene extends AsyncDisposable {
  readonly pair: FakePair
  readonly client: Client
  readonly cancelled: () => number
  readonly apply: (...paths: readonly string[]) => void
  readonly say: (name: 'Say' | 'Drop', more?: Metadata) => Promise<string>
}

async function open(protocol: 'grpc' | 'auto'): Promise<Scene> {
  await using opening = new AsyncDisposableStack()
  let cancelled = 0
  const server = new Server()
  const say = (call: { readonly request: Buffer }, done: (cause: null, said: Buffer) => void) =>
    done(null, Buffer.concat([Buffer.from('re:'), call.request]))
  server.addService(ECHO, {
    Say: say,
    Drop: say,
    Pour(call: ServerWritableStream<Buffer, Buffer>) {
      call.on('cancelled', () => {
        cancelled += 1
      })
      const count = Number(call.request.toString())
      for (let index = 0; index < count; index += 1) call.write(Buffer.alloc(10_000, index % 256))
      if (count > 0) call.end()
    },
    Talk(call: ServerDuplexStream<Buffer, Buffer>) {
      call.on('data', (said: Buffer) => call.write(Buffer.concat([Buffer.from('re:'), said])))
      call.on('end', () => call.end())
    },
  })
  const appPort = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (cause, port) =>
      cause ? reject(cause) : resolve(port),
    )
  })
  opening.defer(() => server.forceShutdown())
  const ports = [{ port: 8080, name: 'rpc', protocol, mtls: 'STRICT' } as const]
  const bundle = inboundBundle({ ports, authorization: [allow('/pkg.Echo/*')] })
  const pair = opening.use(await openFakePair(`127.0.0.1:${appPort}`, bundle))
  const known = compiledDestination(
    destinationBundle(
      { 'outbound|80||server': cluster(pair.server.plane.inbound[8080] ?? '') },
      { protocol },
    ),
  )
  pair.client.destinations.set('server:80', createLive<Destination | undefined>(known))
  const tunnel = opening.use(await openTunnel(pair.outbound, 'server:80'))
  const Echo = makeGenericClientConstructor(ECHO, 'Echo')
  const client = new Echo(tunnel.address, credentials.createInsecure(), {
    'grpc.default_authority': 'server',
  })
  opening.defer(() => client.close())
  const owned = opening.move()
  return {
    pair,
    client,
    cancelled: () => cancelled,
    apply: (...paths) =>
      pair.server.inbound.set(compiledInbound({ ...bundle, authorization: [allow(...paths)] })),
    say: (name, more = new Metadata()) =>
      new Promise((resolve, reject) => {
        const { path, requestSerialize, responseDeserialize } = ECHO[name]
        client.makeUnaryRequest(
          ...([path, requestSerialize, responseDeserialize, Buffer.from(name), more] as const),
          (cause, said) => (cause ? reject(cause) : resolve(String(said))),
        )
      }),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

/** What `grpc_proxy` does in a program: CONNECT through the sidecar, then bytes. */
async function openTunnel(outbound: string, to: string) {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    const [host = '', port = ''] = outbound.split(':')
    const out = connect({ host, port: Number(port) })
    for (const one of [socket, out]) sockets.add(one.on('error', () => {}))
    out.write(`CONNECT ${to} HTTP/1.1\r\nhost: ${to}\r\n\r\n`)
    out.once('data', () => {
      socket.pipe(out)
      out.pipe(socket)
    })
    socket.on('close', () => out.destroy())
    out.on('close', () => socket.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const at = server.address()
  return {
    address: `127.0.0.1:${typeof at === 'object' ? at?.port : 0}`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

for (const protocol of ['grpc', 'auto'] as const) {
  test(`§1.6 row 2: calls of one channel are allowed and refused one by one, on a port that is ${protocol}`, async (t) => {
    await using scene = await open(protocol)
    t.is(await scene.say('Say'), 're:Say')
    scene.apply('/pkg.Echo/Say')
    t.is(await scene.say('Say'), 're:Say')
    const refused = await t.throwsAsync(scene.say('Drop'))
    t.like(refused, { code: status.PERMISSION_DENIED, details: 'RBAC: access denied' })
    const id = String((refused as { metadata?: Metadata }).metadata?.get('x-redoubt-decision')[0])
    const { decisions } = scene.pair.server.telemetry
    t.like(decisions.find(id)?.request, { path: '/pkg.Echo/Drop', method: 'POST' })
    t.is(String(decisions.find(id)?.connection.peer), 'spiffe://cluster.local/ns/test/sa/client')
    scene.apply('/pkg.Echo/*')
    t.is(await scene.say('Drop'), 're:Drop')
  })
}

test('streams of a server come whole and in order, and end when their caller cancels', async (t) => {
  await using scene = await open('grpc')
  const pour = (count: string) =>
    scene.client.makeServerStreamRequest(
      ECHO.Pour.path,
      bytes.serialize,
      bytes.deserialize,
      Buffer.from(count),
    )
  const seen: number[] = []
  const call = pour('300')
  call.on('data', (piece: Buffer) => void seen.push(piece.length === 10_000 ? (piece[0] ?? 0) : -1))
  const [ended] = (await once(call, 'status')) as [{ readonly code: number }]
  t.is(ended.code, status.OK)
  t.deepEqual(
    seen,
    Array.from({ length: 300 }, (_, index) => index % 256),
  )
  const endless = pour('0')
  endless.on('error', () => {})
  await new Promise((resolve) => setImmediate(resolve))
  t.is(await scene.say('Say'), 're:Say', 'it has begun by now')
  endless.cancel()
  await until(() => scene.cancelled() > 0)
  t.is(await scene.say('Say'), 're:Say')
})

test('both sides of a stream speak in turn', async (t) => {
  await using scene = await open('grpc')
  const call = scene.client.makeBidiStreamRequest(
    ECHO.Talk.path,
    bytes.serialize,
    bytes.deserialize,
  )
  for (const word of ['one', 'two', 'three']) {
    call.write(Buffer.from(word))
    const [said] = (await once(call, 'data')) as [Buffer]
    t.is(said.toString(), `re:${word}`)
  }
  call.end()
  call.resume()
  const [ended] = (await once(call, 'status')) as [{ readonly code: number }]
  t.is(ended.code, status.OK)
})
