/** Retries, and what two sidecars say afterwards: real sockets, TLS and Casbin. */
import { createServer } from 'node:net'
import { once } from 'node:events'
import test from 'ava'
import type { AuthorizationPolicy, RetryPolicy, RouteAction } from '#policy/model/index.ts'
import {
  CLIENT_ID,
  cluster,
  compiledDestination,
  destinationBundle,
  type FakePair,
  inboundBundle,
  openFakePair,
  SERVER_ID,
} from '#test/fakes/fake-sidecars.ts'
import { openEchoApp, openRaw, openRawApp } from '#test/fakes/raw-http.ts'
import { readExposition } from '../telemetry/exposition.ts'

const byText = (a = '', b = ''): number => a.localeCompare(b)
const NAME = 'outbound|80||server.test.svc.cluster.local'
const GET = 'GET /a HTTP/1.1\r\nhost: server\r\n\r\n'

function routeTo(pair: FakePair, change: Partial<Forward>, addresses?: readonly string[]): void {
  const own = pair.server.plane.inbound[8080] ?? ''
  const endpoints = (addresses ?? [own]).flatMap((address) => cluster(address).endpoints)
  const action = { ...FORWARD, ...change }
  const bundle = destinationBundle(
    { [NAME]: cluster(own, { endpoints }) },
    { routes: [{ name: 'the-route', action }] },
  )
  pair.client.destinations.get('server:80')?.set(compiledDestination(bundle))
}

type Forward = Extract<RouteAction, { readonly kind: 'forward' }>

const retry = (retryOn: readonly string[], change: Partial<RetryPolicy> = {}): RetryPolicy => ({
  attempts: 2,
  retryOn,
  backoffMs: 1,
  ...change,
})
const FORWARD: Forward = {
  kind: 'forward',
  destinations: [{ cluster: NAME, weight: 1 }],
  retry: retry([]),
}

/** The lines of both access logs once both sidecars are closed. */
async function linesAfter(
  run: (pair: FakePair) => Promise<void>,
  app: string,
  bundle = inboundBundle(),
): Promise<{
  readonly source: readonly Record<string, unknown>[]
  readonly destination: readonly Record<string, unknown>[]
}> {
  const pair = await openFakePair(app, bundle)
  try {
    await run(pair)
  } finally {
    await pair[Symbol.asyncDispose]()
  }
  const read = (lines: readonly string[]) =>
    lines.map((line) => JSON.parse(line) as Record<string, unknown>)
  return { source: read(pair.client.log), destination: read(pair.server.log) }
}

/** Answers 503 with a body in two pieces `failures` times, then 200. */
function failing(failures: number) {
  const seen = { requests: 0 }
  const app = openRawApp((socket) => {
    seen.requests += 1
    const isGood = seen.requests > failures
    const line = isGood ? '200 OK' : '503 Service Unavailable'
    socket.write(`HTTP/1.1 ${line}\r\ncontent-length: 8\r\n\r\nfirst`)
    setTimeout(() => socket.write('end'), 20)
  })
  return { seen, app }
}

test('an answer that the route retries on is asked for again, and the client sees the good one', async (t) => {
  const { seen, app } = failing(2)
  await using opened = await app
  const { source, destination } = await linesAfter(async (pair) => {
    routeTo(pair, { retry: retry(['503']) })
    using client = await openRaw(pair.outbound)
    client.send(GET)
    const answer = await client.until('firstend')
    t.true(answer.startsWith('HTTP/1.1 200 OK\r\n'))
    const { samples } = readExposition(pair.client.telemetry.render([]))
    const retries = samples.find(({ name }) => name === 'redoubt_request_retries_total')
    t.is(retries?.value, 2)
  }, opened.address)
  t.is(seen.requests, 3)
  t.like(source[0], { response_code: 200, attempts: 3, response_flags: '-', bytes_sent: 8 })
  t.is(source[0]?.['route_name'], 'the-route')
  t.is(destination.length, 3)
})

test('when attempts are used up the client gets the last answer whole, with flag URX in the log', async (t) => {
  const { seen, app } = failing(99)
  await using opened = await app
  const { source } = await linesAfter(async (pair) => {
    routeTo(pair, { retry: retry(['5xx']) })
    using client = await openRaw(pair.outbound)
    client.send(GET)
    t.true((await client.until('firstend')).startsWith('HTTP/1.1 503 '))
  }, opened.address)
  t.is(seen.requests, 3)
  t.like(source[0], { response_code: 503, attempts: 3, response_flags: 'URX', bytes_sent: 8 })
})

test('an answer that is not retried on is passed on at once', async (t) => {
  const { seen, app } = failing(99)
  await using opened = await app
  await linesAfter(async (pair) => {
    routeTo(pair, { retry: retry(['502', 'connect-failure']) })
    using client = await openRaw(pair.outbound)
    client.send(GET)
    t.true((await client.until('firstend')).startsWith('HTTP/1.1 503 '))
  }, opened.address)
  t.is(seen.requests, 1)
})

async function deadAddress(): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return `127.0.0.1:${port}`
}

test('an endpoint that nobody listens on costs a retry elsewhere and no request, bodies too', async (t) => {
  await using app = await openEchoApp()
  const dead = await deadAddress()
  const { source } = await linesAfter(async (pair) => {
    const own = pair.server.plane.inbound[8080] ?? ''
    routeTo(pair, { retry: retry(['connect-failure'], { attempts: 1 }) }, [dead, own])
    using client = await openRaw(pair.outbound)
    for (let at = 0; at < 20; at += 1) {
      client.send(`POST /${at} HTTP/1.1\r\nhost: server\r\ncontent-length: 4\r\n\r\nbody`)
      t.true((await client.until(`POST /${at} HTTP/1.1`)).includes('HTTP/1.1 200'))
    }
  }, app.address)
  t.is(app.requests.length, 20)
  const counts = app.requests.map((one) => /\r\nx-envoy-attempt-count: (\d)\r\n/.exec(one)?.[1])
  t.deepEqual([...new Set(counts)].sort(byText), ['1', '2'])
  for (const request of app.requests) t.true(request.includes('\r\n\r\nbody'), request)
  const attempts = source.map((line) => line['attempts'])
  t.true(attempts.includes(2) && attempts.includes(1), String(attempts))
})

test('nobody at all: 503 with UF and URX after every attempt', async (t) => {
  const dead = await deadAddress()
  const { source } = await linesAfter(async (pair) => {
    routeTo(pair, { retry: retry(['connect-failure']) }, [dead])
    using client = await openRaw(pair.outbound)
    client.send(GET)
    t.true((await client.until('connection failure')).startsWith('HTTP/1.1 503 '))
  }, dead)
  t.like(source[0], {
    response_code: 503,
    response_flags: 'UF,URX',
    attempts: 3,
    upstream_host: dead,
    upstream_cluster: NAME,
  })
  t.true(Number(source[0]?.['bytes_sent']) > 0)
})

test('a request that an app may have acted on is not sent again by the default conditions', async (t) => {
  let requests = 0
  await using app = await openRawApp((socket) => {
    requests += 1
    socket.destroy()
  })
  await linesAfter(async (pair) => {
    const words = ['connect-failure', 'refused-stream', 'unavailable', 'cancelled']
    routeTo(pair, { retry: retry(words) })
    using client = await openRaw(pair.outbound)
    client.send(GET)
    t.true((await client.until('\r\n\r\n')).startsWith('HTTP/1.1 503 '))
  }, app.address)
  t.is(requests, 1)
})

test('§0.8.31: time for one try is up: another one, and 504 with UT when all is up', async (t) => {
  let requests = 0
  await using app = await openRawApp(() => {
    requests += 1
  })
  const { source } = await linesAfter(async (pair) => {
    routeTo(pair, { retry: retry(['5xx'], { perTryTimeoutMs: 150 }), timeoutMs: 4000 })
    using client = await openRaw(pair.outbound)
    client.send(GET)
    t.true((await client.until('timeout')).startsWith('HTTP/1.1 504 '))
  }, app.address)
  // On a busy machine the first handshake alone may use up a try.
  t.true(requests >= 1 && requests <= 3, String(requests))
  t.like(source[0], { response_code: 504, response_flags: 'UT,URX', attempts: 3 })
})

test('an app that says which attempt it makes is not believed', async (t) => {
  await using app = await openEchoApp()
  await linesAfter(async (pair) => {
    using client = await openRaw(pair.outbound)
    client.send('GET /a HTTP/1.1\r\nhost: server\r\nx-envoy-attempt-count: 9\r\n\r\n')
    await client.until('GET /a HTTP/1.1\n')
  }, app.address)
  t.deepEqual(app.requests[0]?.match(/x-envoy-attempt-count: .*/g), ['x-envoy-attempt-count: 1'])
})

// Denials.

const policy = (name: string, change: Partial<AuthorizationPolicy>): AuthorizationPolicy => ({
  namespace: 'test',
  name,
  action: 'ALLOW',
  dryRun: false,
  rules: [],
  ...change,
})

test('a denial is told alike by header, access log of the server and decision ring: DENY', async (t) => {
  await using app = await openEchoApp()
  const rules = [{ to: [{ paths: ['/b'] }] }, { from: [{ namespaces: ['test'] }] }]
  const bundle = inboundBundle({
    authorization: [policy('allow-all', { rules: [{}] }), policy('no', { action: 'DENY', rules })],
  })
  let id = ''
  const { source, destination } = await linesAfter(
    async (pair) => {
      using client = await openRaw(pair.outbound)
      client.send(GET)
      const answer = await client.until('RBAC: access denied')
      id = /\r\nx-redoubt-decision: ([0-9a-f]{32})\r\n/.exec(answer)?.[1] ?? ''
      t.like(pair.server.telemetry.decisions.find(id), {
        action: 'DENY',
        policy: 'test/no',
        rule: 1,
        connection: { peer: CLIENT_ID },
      })
    },
    app.address,
    bundle,
  )
  t.like(destination[0], {
    response_code: 403,
    response_code_details: 'rbac_access_denied_matched_policy[ns[test]-policy[no]-rule[1]]',
    reporter: 'destination',
    source_principal: CLIENT_ID,
    destination_principal: SERVER_ID,
    destination_workload: 'test/server',
    policy: 'test/no',
    rule: 1,
    action: 'DENY',
    decision_id: id,
    bytes_sent: 19,
  })
  t.like(source[0], { response_code: 403, response_code_details: 'via_upstream', bytes_sent: 19 })
  t.is(source[0]?.['request_id'], destination[0]?.['request_id'])
  t.is(source[0]?.['trace_id'], destination[0]?.['trace_id'])
  t.deepEqual(app.requests, [])
})

test('a default denial names the ALLOW policies that applied and did not match', async (t) => {
  await using app = await openEchoApp()
  const elsewhere = [{ from: [{ namespaces: ['other'] }] }]
  const bundle = inboundBundle({
    authorization: [policy('nothing', {}), policy('others', { rules: elsewhere })],
  })
  const { destination } = await linesAfter(
    async (pair) => {
      using client = await openRaw(pair.outbound)
      client.send(GET)
      await client.until('RBAC: access denied')
    },
    app.address,
    bundle,
  )
  t.like(destination[0], {
    response_code_details: 'rbac_access_denied_matched_policy[none]',
    policy: null,
    reason: 'no-allow-matched',
  })
  const considered = destination[0]?.['considered'] as readonly string[]
  t.deepEqual(considered.toSorted(byText), ['test/nothing', 'test/others'])
})

test('an allowed request names its policy, and the app that answered', async (t) => {
  await using app = await openEchoApp()
  const { destination } = await linesAfter(async (pair) => {
    using client = await openRaw(pair.outbound)
    client.send(GET)
    await client.until('GET /a HTTP/1.1\n')
  }, app.address)
  t.like(destination[0], {
    response_code: 200,
    decision: 'allow',
    action: 'ALLOW',
    policy: 'test/allow-client',
    rule: 0,
    upstream_host: app.address,
    upstream_cluster: 'inbound|8080||',
  })
})
