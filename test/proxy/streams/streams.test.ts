/** HTTP/2 at a sidecar: every stream is a request, decided on by itself. Real sockets, TLS and Casbin. */
import test from 'ava'
import { createLive } from '#core/live.ts'
import type { AuthorizationPolicy, InboundBundle } from '#policy/model/index.ts'
import { openGrpcAuthorizer, openHttpAuthorizer } from '#test/fakes/fake-authorizers.ts'
import { cluster, compiledDestination, destinationBundle } from '#test/fakes/fake-sidecars.ts'
import {
  answerOf,
  answerWithPath,
  GRPC,
  openStreamApp,
  openStreams,
  type OpenStreams,
} from '#test/fakes/fake-streams.ts'
import { makeToken, strangerKey, TOKEN_RULE } from '#test/fakes/fake-tokens.ts'
import { openEchoApp } from '#test/fakes/raw-http.ts'

const policy = (change: Partial<AuthorizationPolicy>): AuthorizationPolicy => ({
  namespace: 'test',
  name: 'p',
  action: 'ALLOW',
  dryRun: false,
  rules: [{}],
  ...change,
})

test('§1.6 row 2: of the streams of one connection each has its decision, by method and path', async (t) => {
  await using app = await openStreamApp(answerWithPath)
  await using streams = await openStreams({
    app: app.address,
    bundle: {
      authorization: [
        policy({ rules: [{ to: [{ paths: ['/pkg.Service/*'], methods: ['POST'] }] }] }),
        policy({ name: 'd', action: 'DENY', rules: [{ to: [{ paths: ['/pkg.Service/Drop'] }] }] }),
      ],
    },
  })
  const caller = await streams.call()
  const ask = (path: string, method = 'POST') =>
    caller.ask({ ...GRPC, ':path': path, ':method': method }, method === 'GET' ? undefined : 'x')
  const [call, drop, other, get] = await Promise.all([
    ask('/pkg.Service/Call'),
    ask('/pkg.Service/Drop'),
    ask('/other.Service/Call'),
    ask('/pkg.Service/Call', 'GET'),
  ])
  t.like(call, { status: 200, body: '/pkg.Service/Call', code: 0 })
  t.is(call.trailers?.['grpc-status'], '0')
  for (const denied of [drop, other, get]) {
    t.like(denied, { status: 200, body: '', code: 0, trailers: undefined })
    t.like(denied.headers, { 'grpc-status': '7', 'grpc-message': 'RBAC: access denied' })
    t.like(denied.headers, { 'content-type': 'application/grpc', server: 'istio-envoy' })
    t.regex(String(denied.headers['x-redoubt-decision']), /^[0-9a-f]{32}$/)
  }
  t.is(app.seen.length, 1)
  t.is(app.sessions.length, 1, 'one connection to the app for one of the caller')
  t.is((await ask('/pkg.Service/Again')).status, 200)
})

test('§1.3 row 16, §4 row 1: who does not speak gRPC reads 403 and Istio’s body, and finds the decision', async (t) => {
  await using app = await openStreamApp(answerWithPath)
  await using streams = await openStreams({ app: app.address, protocol: 'http2' })
  const caller = await streams.call()
  const denied = await caller.ask({ ':path': '/forbidden' })
  t.like(denied, { status: 403, body: 'RBAC: access denied' })
  t.like(denied.headers, { 'content-type': 'text/plain', 'content-length': '19' })
  const head = await caller.ask({ ':path': '/forbidden', ':method': 'HEAD' })
  t.like(head, { status: 403, body: '' })
  t.is((await caller.ask({ ':path': '/a' })).status, 200)
  const id = String(denied.headers['x-redoubt-decision'])
  t.like(streams.sidecar.telemetry.decisions.find(id)?.request, { path: '/forbidden' })
  const lines = await streams.log(3)
  t.like(lines[0], { path: '/forbidden', method: 'GET', response_code: 403, protocol: 'HTTP/2' })
  t.is(lines[0]?.['decision_id'], id)
  t.like(lines[2], { path: '/a', response_code: 200, protocol: 'HTTP/2' })
})

test('§13.1 rows 1, 2: streams are counted as requests, gRPC by its own status', async (t) => {
  await using app = await openStreamApp((seen) => {
    if (seen.headers[':path'] !== '/pkg.S/Fails') return answerWithPath(seen)
    const status = { 'grpc-status': '5', 'content-type': 'application/grpc' }
    seen.stream.respond({ ':status': 200, ...status }, { endStream: true })
  })
  await using streams = await openStreams({ app: app.address })
  const caller = await streams.call()
  for (const path of ['/pkg.S/Call', '/pkg.S/Fails', '/forbidden.S/Call']) {
    await caller.ask({ ...GRPC, ':path': path }, 'x')
  }
  await caller.ask({ ':path': '/plain' })
  await streams.log(4)
  const text = streams.sidecar.telemetry.render([])
  const total = (protocol: string, status: string) =>
    text.split('\n').some((line) => {
      const labels = [
        `request_protocol="${protocol}"`,
        `grpc_response_status="${status}"`,
        'source_principal="spiffe://cluster.local/ns/test/sa/client"',
      ]
      const isTotal = line.startsWith('istio_requests_total{') && line.endsWith(' 1')
      return isTotal && labels.every((label) => line.includes(label))
    })
  t.true(total('grpc', '0'), text)
  t.true(total('grpc', '5'), text)
  t.true(total('grpc', '7'), text)
  t.true(total('http', '0'), text)
})

test('§0.8.17, §0.8.18 the app gets each line as it came, crumbs as one cookie, and of the caller what the sidecar says', async (t) => {
  await using app = await openStreamApp(answerWithPath)
  await using streams = await openStreams({ app: app.address })
  const caller = await streams.call()
  const fields = {
    ':path': '/a?b=%2F',
    ':method': 'GET',
    ':authority': 'real.test',
    host: 'other.test',
    'x-many': ['1', '2,3', 'ä'.toString()],
    cookie: ['a=1', 'b=2'],
    te: 'trailers',
    'x-forwarded-client-cert': 'URI=spiffe://evil',
    'x-envoy-peer': '1',
    'x-redoubt-decision': '1',
  }
  t.is((await caller.ask(fields)).status, 200)
  const [seen] = app.seen
  if (seen === undefined) return t.fail('the app saw nothing')
  const { raw, headers } = seen
  const values = (name: string) => raw.filter((_, at) => at % 2 === 1 && raw[at - 1] === name)
  t.deepEqual(values('x-many'), ['1', '2,3', 'ä'])
  t.deepEqual(values('cookie'), ['a=1; b=2'])
  t.like(headers, { ':authority': 'real.test', ':scheme': 'http', ':path': '/a?b=%2F' })
  t.is(headers['te'], 'trailers')
  t.is(values('host').length, 0)
  t.is(values('x-forwarded-client-cert').length, 1)
  t.regex(
    String(headers['x-forwarded-client-cert']),
    /^By=spiffe:\/\/cluster.local\/ns\/test\/sa\/server;Hash=[0-9a-f]{64};Subject="";URI=spiffe:\/\/cluster.local\/ns\/test\/sa\/client$/,
  )
  t.regex(String(headers['x-request-id']), /^[0-9a-f-]{36}$/)
  t.false('x-envoy-peer' in headers || 'x-redoubt-decision' in headers)
})

test('§1.12 rows 1, 2: a path is decided on as it is normalised, and `host` only stands for a missing authority', async (t) => {
  await using app = await openStreamApp(answerWithPath)
  await using streams = await openStreams({ app: app.address, protocol: 'http2' })
  const caller = await streams.call()
  for (const path of ['/x/../forbidden', '/%66orbidden/a', '/forbidden#x', '/forbidden?q']) {
    t.is((await caller.ask({ ':path': path })).status, 403, path)
  }
  for (const path of ['/a%00', 'a', '', 'http://evil/a', '/a b', '/a;b']) {
    const { status, code } = await caller.ask({ ':path': path })
    t.true(status === 400 || code !== 0 || (path === '/a;b' && status === 200), `${path} ${status}`)
  }
  for (const method of ['get', 'GeT', 'BREW']) {
    t.is((await caller.ask({ ':method': method })).status, 400, method)
  }
  t.is((await caller.ask({ ':method': 'OPTIONS', ':path': '*' })).status, 404)
  const only = ['/a;b']
  t.true(
    app.seen.every(({ headers }) => only.includes(String(headers[':path']))),
    'nothing of it got to the app',
  )
})

test('§1.3 row 20: an edit of a policy holds for the next stream of an open connection', async (t) => {
  await using app = await openStreamApp(answerWithPath)
  await using streams = await openStreams({ app: app.address })
  const caller = await streams.call()
  const ask = async () => (await caller.ask({ ...GRPC, ':path': '/p.S/M' }, 'x')).headers
  t.is((await ask())['grpc-status'], undefined)
  streams.apply({ authorization: [policy({ action: 'DENY' })] })
  t.is((await ask())['grpc-status'], '7')
  streams.apply({ authorization: [policy({})] })
  t.is((await ask())['grpc-status'], undefined)
  t.is(app.sessions.length, 1)
})

test('§2.1 row 3: a connection in plaintext that was open before STRICT gets no further answer than 403, and a goodbye', async (t) => {
  await using app = await openStreamApp(answerWithPath)
  await using streams = await openStreams({
    app: app.address,
    protocol: 'http2',
    mtls: 'PERMISSIVE',
    bundle: { authorization: [] },
  })
  const caller = await streams.call(null)
  t.is((await caller.ask({ ':path': '/a' })).status, 200)
  const goodbye = new Promise((resolve) => caller.session.once('goaway', resolve))
  streams.apply({ authorization: [], mtls: 'STRICT', ports: [] })
  t.is((await caller.ask({ ':path': '/a' })).status, 403)
  t.is(await goodbye, 0)
})

test('§3.3 row 1, §3.1 row 11: a stream’s token is verified; 401 in gRPC’s form is 16, and claims become headers', async (t) => {
  await using app = await openStreamApp(answerWithPath)
  const requires = policy({ rules: [{ from: [{ requestPrincipals: ['iss/u'] }] }] })
  await using streams = await openStreams({
    app: app.address,
    bundle: { tokenRules: [TOKEN_RULE], authorization: [requires] },
  })
  const caller = await streams.call()
  const ask = (authorization?: string) =>
    caller.ask({ ...GRPC, 'x-sub': 'root', ...(authorization && { authorization }) }, 'body')
  const claims = { iss: 'iss', sub: 'u', aud: 'web' }
  const good = `Bearer ${makeToken({ claims })}`
  const forged = `Bearer ${makeToken({ claims, key: strangerKey })}`
  const [passed, without, bad] = await Promise.all([ask(good), ask(), ask(forged)])
  t.like(passed, { status: 200, body: '/' })
  t.is(without.headers['grpc-status'], '7')
  t.like(bad.headers, { ':status': 200, 'grpc-status': '16' })
  t.regex(String(bad.headers['www-authenticate']), /^Bearer realm="https:\/\//)
  const plain = await caller.ask({ authorization: forged })
  t.like(plain, { status: 401, body: 'Jwt verification fails' })
  t.is(app.seen.length, 1)
  t.is(app.seen[0]?.headers['x-sub'], 'u')
  t.is(app.seen[0]?.headers['authorization'], undefined)
})

const CUSTOM = policy({ action: 'CUSTOM', name: 'ask', provider: 'gate' })

async function place(streams: OpenStreams, key: string, address: string): Promise<void> {
  const [host = '', port = ''] = key.split(':')
  const workload = { namespace: '', name: '', serviceAccount: '', labels: {} }
  const endpoints = [{ address, tls: 'none', identities: [], workload } as const]
  const clusters = { [`outbound|${port}||${host}`]: cluster('', { endpoints }) }
  const to = { host, port: Number(port), protocol: 'http' } as const
  const known = compiledDestination(destinationBundle(clusters, to))
  streams.sidecar.destinations.set(key, createLive<typeof known | undefined>(known))
}

const PROVIDER = {
  ...{ host: 'gate.test', timeoutMs: 5000, failOpen: false, statusOnError: 403 },
  ...{ port: 8000, checkHeaders: [{ kind: 'exact', value: 'x-ext-authz' }] },
} as const

test('§1.11 rows 1, 12: an authorizer over HTTP is asked about each stream, its body too, and what it says is done', async (t) => {
  await using app = await openStreamApp(answerWithPath)
  await using gate = await openHttpAuthorizer(({ headers }, response) => {
    const isYes = headers['x-ext-authz'] === 'allow'
    response.writeHead(isYes ? 200 : 418, { 'x-user': 'ann', 'x-told': 'yes' })
    response.end(isYes ? '' : 'not you')
  })
  const settings = {
    ...PROVIDER,
    ...{ kind: 'http', pathPrefix: '', addedHeaders: {} },
    ...{ toUpstream: [{ kind: 'exact', value: 'x-user' }] },
    ...{ toDownstreamOnAllow: [{ kind: 'exact', value: 'x-told' }] },
    body: { maxBytes: 100, allowPartial: false, asBytes: false },
  } as const
  await using streams = await openStreams({
    app: app.address,
    bundle: {
      providers: { gate: settings } as InboundBundle['providers'],
      authorization: [CUSTOM],
    },
  })
  await place(streams, 'gate.test:8000', gate.address)
  const caller = await streams.call()
  const ask = (say: string, body: string, more = {}) =>
    caller.ask({ ...GRPC, ':path': '/p.S/M', 'x-ext-authz': say, ...more }, body)
  const [yes, no, long] = await Promise.all([
    ask('allow', 'hello', { 'x-user': 'eve' }),
    ask('no', 'hello'),
    ask('allow', 'x'.repeat(101)),
  ])
  t.like(yes, { status: 200, body: '/p.S/M' })
  t.is(yes.headers['x-told'], 'yes')
  t.is(app.seen[0]?.headers['x-user'], 'ann')
  t.is(app.seen[0]?.headers['te'], 'trailers')
  t.like(no.headers, { ':status': 200, 'grpc-status': '2', 'grpc-message': 'not you' })
  t.like(long.headers, { ':status': 200, 'grpc-status': '2' })
  t.is(app.seen.length, 1)
  t.deepEqual(
    gate.asked.map(({ body }) => body),
    ['hello', 'hello'],
  )
})

test('§1.11 row 16: an authorizer over gRPC is told that a stream is HTTP/2, and who is not there says no', async (t) => {
  await using app = await openStreamApp(answerWithPath)
  await using gate = await openGrpcAuthorizer(({ attributes }) => {
    const isYes = attributes?.request?.http?.headers['x-ext-authz'] === 'allow'
    const status = { code: isYes ? 0 : 7, message: '', details: [] }
    const httpResponse = isYes
      ? { $case: 'okResponse' as const, okResponse: OK }
      : { $case: 'deniedResponse' as const, deniedResponse: DENIED }
    return { status, httpResponse, dynamicMetadata: undefined }
  })
  await using streams = await openStreams({
    app: app.address,
    bundle: {
      providers: { gate: { ...PROVIDER, kind: 'grpc' } } as unknown as InboundBundle['providers'],
      authorization: [CUSTOM],
    },
  })
  await place(streams, 'gate.test:8000', gate.address)
  const caller = await streams.call()
  const ask = (say: string) => caller.ask({ ...GRPC, ':path': '/p.S/M', 'x-ext-authz': say }, 'x')
  t.is((await ask('allow')).body, '/p.S/M')
  t.is((await ask('no')).headers['grpc-status'], '7')
  t.like(gate.asked[0]?.attributes?.request?.http, {
    ...{ protocol: 'HTTP/2', method: 'POST', path: '/p.S/M', host: 'server.test' },
    size: -1n,
  })
  await gate[Symbol.asyncDispose]()
  t.is((await ask('allow')).headers['grpc-status'], '7')
  t.is(app.seen.length, 1)
})

const OK = {
  ...{ headers: [], headersToRemove: [], dynamicMetadata: undefined, responseHeadersToAdd: [] },
  ...{ queryParametersToSet: [], queryParametersToRemove: [] },
}
const DENIED = { status: { code: 403 }, headers: [], body: '' }

const PATHS = `[request_definition]
r = obj
[policy_definition]
p = obj
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = r.obj == p.obj
`

test('§1.3 row 3: an operator’s Casbin policy decides on streams too', async (t) => {
  await using app = await openStreamApp(answerWithPath)
  const gate = { kind: 'casbin', model: PATHS, request: {}, lines: [['p', '/p.S/M']], timeMs: 100 }
  await using streams = await openStreams({
    app: app.address,
    bundle: {
      providers: { gate } as unknown as InboundBundle['providers'],
      authorization: [CUSTOM],
    },
  })
  const caller = await streams.call()
  t.is((await caller.ask({ ...GRPC, ':path': '/p.S/M' }, 'x')).body, '/p.S/M')
  t.is((await caller.ask({ ...GRPC, ':path': '/p.S/N' }, 'x')).headers['grpc-status'], '7')
})

test('§0.7 row 6: on a port that is declared http the app gets each stream as a request of HTTP/1.1', async (t) => {
  await using app = await openEchoApp()
  await using streams = await openStreams({ app: app.address, protocol: 'http' })
  const caller = await streams.call()
  const [plain, posted, denied] = await Promise.all([
    caller.ask({ ':path': '/a?b', 'x-one': '1' }),
    caller.ask({ ':path': '/c', ':method': 'POST' }, 'hello'),
    caller.ask({ ':path': '/forbidden' }),
  ])
  t.like(plain, { status: 200, body: 'GET /a?b HTTP/1.1\n' })
  t.like(posted, { status: 200, body: 'POST /c HTTP/1.1\n' })
  t.is(denied.status, 403)
  const [get = '', post = ''] = app.requests.toSorted()
  t.regex(
    get,
    /^GET \/a\?b HTTP\/1.1\r\nhost: server.test\r\nx-one: 1\r\nx-forwarded-client-cert: /,
  )
  t.regex(post, /\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n$/)
  t.is(app.requests.length, 2)
})

test('§4 row 5: an app that is not there, or that speaks no HTTP/2, is 503 and 502, in gRPC’s form 14', async (t) => {
  await using echo = await openEchoApp()
  for (const [address, status] of [
    ['127.0.0.1:1', 503],
    [echo.address, 502],
  ] as const) {
    await using streams = await openStreams({ app: address })
    const caller = await streams.call()
    t.is((await caller.ask({ ':path': '/a' })).status, status)
    const { headers } = await answerOf(caller.open({ ...GRPC }, true))
    t.like(headers, { ':status': 200, 'grpc-status': '14' })
  }
})
