/** The app's way out: how it may ask, where it ends, and what becomes of failures. */
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'
import { createLive } from '#core/live.ts'
import type { AuthorizationPolicy, Cluster, Route } from '#policy/model/index.ts'
import {
  CLIENT_ID,
  cluster,
  compiledDestination,
  compiledInbound,
  destinationBundle,
  type FakeSidecar,
  inboundBundle,
  type KnownBundle,
  openFakePair,
  openFakeSidecar,
  SERVER_ID,
} from '#test/fakes/fake-sidecars.ts'
import { createFakeIssuer } from '#test/fakes/fake-svid.ts'
import { until } from '../../agent/harness.ts'
import { openEchoApp, openRaw, openRawApp } from '#test/fakes/raw-http.ts'
import { startSlowness } from '#test/fakes/slowness.ts'
import type { Destination } from '../../../proxy/outbound/destination.ts'

const issuer = await createFakeIssuer()

/** A client's sidecar alone. */
const openClient = async (): Promise<FakeSidecar> =>
  openFakeSidecar({ svid: await issuer.issue(CLIENT_ID) })

const know = (client: FakeSidecar, key: string, bundle: KnownBundle): void => {
  client.destinations.set(key, createLive<Destination | undefined>(compiledDestination(bundle)))
}

/** A cluster of apps without sidecars. */
const plain = (addresses: readonly string[], change: Partial<Cluster> = {}): Cluster => {
  const base = cluster('', change)
  const [one] = base.endpoints
  if (one === undefined) throw new Error('a cluster has an endpoint')
  return {
    ...base,
    endpoints: addresses.map((address) => ({ ...one, address, tls: 'none', identities: [] })),
  }
}

const forward = (change: Partial<Extract<Route['action'], { kind: 'forward' }>> = {}): Route => ({
  name: 'r',
  action: {
    kind: 'forward',
    destinations: [{ cluster: 'c', weight: 1 }],
    retry: { attempts: 2, retryOn: ['connect-failure', 'refused-stream'], backoffMs: 1 },
    ...change,
  },
})

const GET = (path = '/', host = 'server') => `GET ${path} HTTP/1.1\r\nhost: ${host}\r\n\r\n`

test('every way to ask ends at the app: Host, absolute form, CONNECT, SOCKS5', async (t) => {
  await using app = await openEchoApp()
  await using pair = await openFakePair(app.address)
  {
    using client = await openRaw(pair.outbound)
    client.send('GET http://server/absolute HTTP/1.1\r\nhost: elsewhere\r\n\r\n')
    await client.until('GET /absolute HTTP/1.1\n')
    client.send(GET('/host', 'SERVER:80'))
    await client.until('GET /host HTTP/1.1\n')
  }
  {
    using client = await openRaw(pair.outbound)
    client.send(`CONNECT server:80 HTTP/1.1\r\nhost: server:80\r\n\r\n${GET('/early', 'any')}`)
    await client.until('HTTP/1.1 200 OK\r\n\r\n')
    await client.until('GET /early HTTP/1.1\n')
    client.send(GET('/connect', 'any'))
    await client.until('GET /connect HTTP/1.1\n')
  }
  {
    using client = await openRaw(pair.outbound)
    client.send(Buffer.from([5, 1]))
    await sleep(5)
    client.send(Buffer.from([0]))
    await client.until('\x05\x00')
    client.send(
      Buffer.concat([
        Buffer.from([5, 1, 0, 3, 6]),
        Buffer.from('server'),
        Buffer.from([0, 80]),
        Buffer.from(GET('/socks')),
      ]),
    )
    await client.until('GET /socks HTTP/1.1\n')
  }
  t.is(app.requests.length, 5)
  t.true(app.requests[0]?.startsWith('GET /absolute HTTP/1.1\r\nhost: server\r\n'))
})

test('opaque TCP goes through both sidecars, decided on once a connection', async (t) => {
  await using app = await openRawApp((socket, text) => {
    if (text === 'bye') socket.end('ended')
    else socket.write(`<${text}>`)
  })
  const bundle = inboundBundle({
    ports: [{ port: 8080, name: 'tcp', protocol: 'tcp', mtls: 'STRICT' }],
    authorization: [
      {
        namespace: 'test',
        name: 'allow',
        action: 'ALLOW',
        dryRun: false,
        rules: [{ from: [{ principals: ['cluster.local/ns/test/sa/client'] }] }],
      },
    ],
  })
  await using pair = await openFakePair(app.address, bundle)
  const inbound = pair.server.plane.inbound[8080] ?? ''
  know(pair.client, 'db:5432', destinationBundle({ c: cluster(inbound) }, { protocol: 'tcp' }))
  {
    using client = await openRaw(pair.outbound)
    client.send('CONNECT db:5432 HTTP/1.1\r\nhost: db:5432\r\n\r\n')
    await client.until('HTTP/1.1 200 OK\r\n\r\n')
    client.send('\x00\x01binary')
    await client.until('<\x00\x01binary>')
    client.send('bye')
    t.true((await client.end()).endsWith('ended'))
  }
  pair.server.inbound.set(
    compiledInbound({
      ...bundle,
      authorization: [
        { namespace: 'test', name: 'none', action: 'ALLOW', dryRun: false, rules: [] },
      ],
    }),
  )
  using client = await openRaw(pair.outbound)
  client.send('CONNECT db:5432 HTTP/1.1\r\nhost: db:5432\r\n\r\n')
  client.send('secret')
  t.is(await client.end(), 'HTTP/1.1 200 OK\r\n\r\n')
  t.false(app.received.join('').includes('secret'))
  t.true(pair.server.events.some(({ event }) => event === 'inbound-connection-denied'))
})

test('§13.3 an opaque connection has one line in the access log, with its decision and what is tried out', async (t) => {
  await using app = await openRawApp((socket, text) => void socket.end(`<${text}>`))
  const allow = (name: string, client: string, dryRun: boolean): AuthorizationPolicy => ({
    namespace: 'test',
    name,
    action: 'ALLOW',
    dryRun,
    rules: [{ from: [{ principals: [`cluster.local/ns/test/sa/${client}`] }] }],
  })
  const bundle = inboundBundle({
    mtls: 'PERMISSIVE',
    ports: [
      {
        port: 8080,
        name: 'tcp',
        protocol: 'tcp',
        mtls: 'PERMISSIVE',
        mtlsDryRun: { mode: 'STRICT', policy: 'test/strict' },
      },
    ],
    authorization: [allow('tried', 'client', true)],
  })
  const svid = await issuer.issue(SERVER_ID)
  const server = await openFakeSidecar({ svid, app: app.address, bundle })
  const inbound = server.plane.inbound[8080] ?? ''
  using client = await openRaw(inbound)
  client.send('anybody there')
  await client.end()
  client.socket.end()
  await until(() => app.sockets[0]?.closed === true)
  server.inbound.set(
    compiledInbound({ ...bundle, authorization: [allow('in-force', 'client', false)] }),
  )
  using other = await openRaw(inbound)
  other.send('again')
  await other.end()
  await server[Symbol.asyncDispose]()
  const lines = server.log.map((line) => JSON.parse(line) as Readonly<Record<string, unknown>>)
  t.like(lines, [
    {
      method: null,
      path: null,
      protocol: null,
      response_code: 0,
      bytes_received: 13,
      bytes_sent: 15,
      upstream_cluster: 'inbound|8080||',
      reporter: 'destination',
      source_principal: null,
      decision: 'allow',
      dry_run: [
        { policy: 'test/tried', action: 'ALLOW', result: 'denied', rule: null },
        { policy: 'test/strict', action: 'STRICT', result: 'denied', rule: null },
      ],
    },
    {
      decision: 'deny',
      considered: ['test/in-force'],
      upstream_cluster: 'inbound|8080||',
      connection_termination_details: 'rbac_access_denied_matched_policy[none]',
      dry_run: [{ policy: 'test/strict', action: 'STRICT', result: 'denied', rule: null }],
    },
  ])
  t.regex(String(lines[1]?.['decision_id']), /^[0-9a-f]{32}$/)
})

test('a host that nobody knows is reached directly or not at all, as the mesh says', async (t) => {
  await using app = await openEchoApp()
  await using client = await openClient()
  const unknown = compiledDestination({ format: 1, kind: 'unknown' })
  const [, port = ''] = app.address.split(':')
  client.destinations.set(`127.0.0.1:${port}`, createLive<Destination | undefined>(unknown))
  using raw = await openRaw(client.plane.outbound)
  raw.send(GET('/out', app.address))
  await raw.until('GET /out HTTP/1.1\n')
  client.inbound.set(compiledInbound(inboundBundle({ outboundPolicy: 'REGISTRY_ONLY' })))
  raw.send(GET('/out', app.address))
  t.regex(await raw.until('\r\n\r\n'), /^HTTP\/1\.1 502 /)
  raw.send(`CONNECT ${app.address} HTTP/1.1\r\nhost: x\r\n\r\n`)
  await raw.end()
  t.is(app.requests.length, 1)
})

test('the first request to a host waits for its destination', async (t) => {
  await using app = await openEchoApp()
  await using client = await openClient()
  using raw = await openRaw(client.plane.outbound)
  raw.send(`POST /wait HTTP/1.1\r\nhost: server\r\ncontent-length: 5\r\n\r\n`)
  await until(() => client.destinations.has('server:80'), 'the destination to be asked for')
  raw.send('hello')
  await sleep(20)
  const known = client.destinations.get('server:80')
  t.truthy(known)
  known?.set(
    compiledDestination(destinationBundle({ c: plain([app.address]) }, { routes: [forward()] })),
  )
  await raw.until('POST /wait HTTP/1.1\n')
  t.true(app.requests[0]?.endsWith('\r\n\r\nhello'))
})

test('routes redirect, answer, rewrite and edit headers', async (t) => {
  await using app = await openEchoApp()
  await using client = await openClient()
  know(
    client,
    'server:80',
    destinationBundle(
      { c: plain([app.address]) },
      {
        routes: [
          {
            name: 'moved',
            match: [{ uri: { kind: 'exact', value: '/old' } }],
            action: { kind: 'redirect', code: 301, uri: '/new' },
          },
          {
            name: 'fixed',
            match: [{ uri: { kind: 'prefix', value: '/fixed' } }],
            action: { kind: 'respond', status: 418, body: 'teapot' },
          },
          {
            ...forward({ rewrite: { uri: '/v2', authority: 'inner' } }),
            match: [{ uri: { kind: 'prefix', value: '/v1' } }],
            headers: {
              request: { set: { 'x-set': 'a' }, remove: ['x-gone'] },
              response: { add: { 'x-back': 'b' } },
            },
          },
        ],
      },
    ),
  )
  using raw = await openRaw(client.plane.outbound)
  raw.send(GET('/old?x=1'))
  t.regex(
    await raw.until('\r\n\r\n'),
    /^HTTP\/1\.1 301 [\s\S]*\r\nlocation: http:\/\/server\/new\?x=1\r\n/,
  )
  raw.send(GET('/fixed'))
  t.regex(await raw.until('teapot'), /^HTTP\/1\.1 418 /)
  raw.send('GET /v1/a?b HTTP/1.1\r\nhost: server\r\nx-gone: 1\r\nx-set: old\r\n\r\n')
  t.regex(await raw.until('GET /v2/a?b HTTP/1.1\n'), /\r\nx-back: b\r\n/)
  const request = app.requests[0] ?? ''
  t.true(request.startsWith('GET /v2/a?b HTTP/1.1\r\nhost: inner\r\n'))
  t.deepEqual(request.match(/x-(set|gone): .*/g), ['x-set: a'])
  raw.send(GET('/nowhere'))
  t.regex(await raw.until('\r\n\r\n'), /^HTTP\/1\.1 404 /)
})

test('weights split requests, and a missing cluster is 503', async (t) => {
  await using one = await openEchoApp()
  await using two = await openEchoApp()
  await using client = await openClient()
  know(
    client,
    'server:80',
    destinationBundle(
      { a: plain([one.address]), b: plain([two.address]) },
      {
        routes: [
          {
            ...forward({ destinations: [{ cluster: 'none', weight: 1 }] }),
            match: [{ uri: { kind: 'exact', value: '/none' } }],
          },
          forward({
            destinations: [
              { cluster: 'a', weight: 90 },
              { cluster: 'b', weight: 10 },
            ],
          }),
        ],
      },
    ),
  )
  using raw = await openRaw(client.plane.outbound)
  raw.send(GET('/none'))
  t.regex(await raw.until('\r\n\r\n'), /^HTTP\/1\.1 503 /)
  raw.send(GET('/').repeat(1000))
  for (let index = 0; index < 1000; index += 1) await raw.until('GET / HTTP/1.1\n')
  t.is(one.requests.length + two.requests.length, 1000)
  t.true(Math.abs(two.requests.length - 100) < 45, `${two.requests.length} of 1000`)
})

test('an endpoint that is not there is tried elsewhere, with the body', async (t) => {
  await using app = await openEchoApp()
  await using client = await openClient()
  know(
    client,
    'server:80',
    destinationBundle({ c: plain(['127.0.0.1:1', app.address]) }, { routes: [forward()] }),
  )
  using raw = await openRaw(client.plane.outbound)
  for (let index = 0; index < 10; index += 1) {
    raw.send(`POST /n${index} HTTP/1.1\r\nhost: server\r\ncontent-length: 4\r\n\r\nbody`)
    await raw.until(`POST /n${index} HTTP/1.1\n`)
  }
  t.is(app.requests.length, 10)
  t.true(app.requests.every((request) => request.endsWith('\r\n\r\nbody')))
})

test('a status is retried only where the route says so, within its attempts', async (t) => {
  let count = 0
  await using app = await openRawApp((socket) => {
    count += 1
    const status = count % 3 === 0 ? '200 OK' : '503 Busy'
    socket.write(`HTTP/1.1 ${status}\r\ncontent-length: 2\r\n\r\nn${count % 10}`)
  })
  await using client = await openClient()
  const retry = { attempts: 2, retryOn: ['503'], backoffMs: 1 }
  know(
    client,
    'server:80',
    destinationBundle(
      { c: plain([app.address]) },
      {
        routes: [
          { ...forward({ retry }), match: [{ uri: { kind: 'exact', value: '/again' } }] },
          forward(),
        ],
      },
    ),
  )
  using raw = await openRaw(client.plane.outbound)
  raw.send(GET('/again'))
  t.regex(await raw.until('n3'), /^HTTP\/1\.1 200 /)
  raw.send(GET('/once'))
  t.regex(await raw.until('n4'), /^HTTP\/1\.1 503 /)
  t.is(count, 4)
})

test('a POST that may have been acted on is not sent again', async (t) => {
  let count = 0
  await using app = await openRawApp((socket, text) => {
    count += 1
    if (text.startsWith('GET /warm')) socket.write('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n')
    else socket.destroy()
  })
  await using client = await openClient()
  know(client, 'server:80', destinationBundle({ c: plain([app.address]) }, { routes: [forward()] }))
  using raw = await openRaw(client.plane.outbound)
  raw.send(GET('/warm'))
  await raw.until('\r\n\r\n')
  raw.send('POST / HTTP/1.1\r\nhost: server\r\ncontent-length: 0\r\n\r\n')
  t.regex(await raw.until('\r\n\r\n'), /^HTTP\/1\.1 503 /)
  t.is(count, 2)
})

test('a GET on a kept connection that closes under it is sent once more, on a new one', async (t) => {
  let isFirst = true
  await using app = await openRawApp((socket, text) => {
    if (text.startsWith('GET /two') && isFirst) {
      isFirst = false
      return void socket.destroy()
    }
    socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok')
  })
  await using client = await openClient()
  know(
    client,
    'server:80',
    destinationBundle(
      { c: plain([app.address]) },
      { routes: [forward({ retry: { attempts: 0, retryOn: [], backoffMs: 1 } })] },
    ),
  )
  using raw = await openRaw(client.plane.outbound)
  raw.send(GET('/one'))
  await raw.until('\r\n\r\nok')
  raw.send(GET('/two'))
  t.regex(await raw.until('\r\n\r\nok'), /^HTTP\/1\.1 200 /)
  t.is(app.sockets.length, 2)
})

test('timeouts: of the route, and of one try', async (t) => {
  let count = 0
  await using app = await openRawApp((socket, text) => {
    count += 1
    if (text.startsWith('GET /second') && count >= 3)
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok')
  })
  await using client = await openClient()
  know(
    client,
    'server:80',
    destinationBundle(
      { c: plain([app.address]) },
      {
        routes: [
          { ...forward({ timeoutMs: 100 }), match: [{ uri: { kind: 'exact', value: '/never' } }] },
          forward({
            retry: { attempts: 9, perTryTimeoutMs: 300, retryOn: ['reset', '5xx'], backoffMs: 1 },
          }),
        ],
      },
    ),
  )
  using raw = await openRaw(client.plane.outbound)
  const slowness = startSlowness()
  const startMs = performance.now()
  raw.send(GET('/never'))
  t.regex(await raw.until('upstream request timeout'), /^HTTP\/1\.1 504 /)
  t.true(performance.now() - startMs < 1000 * slowness())
  raw.send(GET('/second'))
  t.regex(await raw.until('\r\n\r\nok'), /^HTTP\/1\.1 200 /)
  // More than three only if the answer was late on a machine that is busy.
  t.true(count >= 3)
})

test('limits: requests beyond maxRequests and maxPendingRequests are 503, others wait', async (t) => {
  const waiting: (() => void)[] = []
  await using app = await openRawApp((socket) => {
    waiting.push(() => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok'))
  })
  await using client = await openClient()
  const pool = {
    ...cluster('').connectionPool,
    maxConnections: 1,
    maxPendingRequests: 1,
    maxRequests: 3,
  }
  know(
    client,
    'server:80',
    destinationBundle(
      { c: plain([app.address], { connectionPool: pool }) },
      { routes: [forward()] },
    ),
  )
  const clients = []
  for (let index = 0; index < 4; index += 1) {
    const raw = await openRaw(client.plane.outbound)
    raw.send(GET(`/${index}`))
    clients.push(raw)
    await sleep(30)
  }
  t.regex(await (clients[2]?.until('\r\n\r\n') ?? ''), /^HTTP\/1\.1 503 /)
  t.regex(await (clients[3]?.until('\r\n\r\n') ?? ''), /^HTTP\/1\.1 503 /)
  t.is(app.sockets.length, 1)
  await until(() => waiting.length > 0, 'the first request at the app')
  waiting.shift()?.()
  await clients[0]?.until('\r\n\r\nok')
  await until(() => waiting.length > 0, 'the second request at the app')
  waiting.shift()?.()
  await clients[1]?.until('\r\n\r\nok')
  for (const raw of clients) raw.socket.destroy()
})

test('an idle connection is let go before the server says it would', async (t) => {
  await using app = await openRawApp((socket) => {
    socket.write('HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\ncontent-length: 2\r\n\r\nok')
  })
  await using client = await openClient()
  know(client, 'server:80', destinationBundle({ c: plain([app.address]) }, { routes: [forward()] }))
  using raw = await openRaw(client.plane.outbound)
  raw.send(GET())
  await raw.until('\r\n\r\nok')
  raw.send(GET())
  await raw.until('\r\n\r\nok')
  t.is(app.sockets.length, 2)
})

test('a client that goes away takes its request along', async (t) => {
  await using app = await openRawApp(() => {})
  await using client = await openClient()
  know(client, 'server:80', destinationBundle({ c: plain([app.address]) }, { routes: [forward()] }))
  const raw = await openRaw(client.plane.outbound)
  raw.send(GET())
  while (app.sockets.length === 0) await sleep(5)
  const [socket] = app.sockets
  const closed = socket === undefined ? undefined : once(socket, 'end')
  raw.socket.resetAndDestroy()
  await closed
  t.regex(
    client.telemetry.render([]),
    /istio_requests_total\{[^}]*response_code="0"[^}]*response_flags="DC"[^}]*\} 1/,
  )
})

test('a request is counted and logged once, with what became of it', async (t) => {
  await using app = await openEchoApp()
  const client = await openClient()
  know(
    client,
    'server:80',
    destinationBundle(
      { c: plain(['127.0.0.1:1', app.address]) },
      { routes: [forward({ retry: { attempts: 5, retryOn: ['connect-failure'], backoffMs: 1 } })] },
    ),
  )
  using raw = await openRaw(client.plane.outbound)
  for (let index = 0; index < 6; index += 1) {
    raw.send(`GET /log?q HTTP/1.1\r\nhost: server\r\nuser-agent: me\r\n\r\n`)
    await raw.until('GET /log?q HTTP/1.1\n')
  }
  raw.send('garbage\r\n\r\n')
  await raw.end()
  await client[Symbol.asyncDispose]()
  const lines = client.log.map((line) => JSON.parse(line))
  t.is(lines.length, 7)
  t.true(
    lines
      .slice(0, 6)
      .every(
        (line) =>
          line.response_code === 200 &&
          line.path === '/log?q' &&
          line.user_agent === 'me' &&
          line.authority === 'server' &&
          line.upstream_host === app.address &&
          line.bytes_sent === 20 &&
          line.route_name === 'r',
      ),
  )
  t.like(lines[6], {
    response_code: 400,
    response_flags: 'DPE',
    response_code_details: 'request-line-malformed',
  })
})
