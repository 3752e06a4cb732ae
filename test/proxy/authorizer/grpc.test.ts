/** CUSTOM with a gRPC authorizer: a real server of @grpc/grpc-js, asked over the sidecar's own HTTP/2. */
import { once } from 'node:events'
import { connect } from 'node:net'
import test from 'ava'
import type { AuthorizationPolicy, GrpcAuthorizer } from '#policy/model/index.ts'
import {
  type GrpcAuthorizerServer,
  openGrpcAuthorizer,
  said,
  saysYes,
} from '#test/fakes/fake-authorizers.ts'
import { type AskingOptions, openAsking, type OpenAsking } from '#test/fakes/fake-asking.ts'
import { openEchoApp, openRaw, openRawApp } from '#test/fakes/raw-http.ts'
import type { CheckResponse } from '../../../proxy/proto/gen/envoy/service/auth/v3/external_auth.ts'

const CUSTOM: AuthorizationPolicy = {
  namespace: 'test',
  name: 'ask',
  action: 'CUSTOM',
  provider: 'opa',
  dryRun: false,
  rules: [{}],
}

const SETTINGS: GrpcAuthorizer = {
  kind: 'grpc',
  host: 'opa.test',
  port: 9191,
  timeoutMs: 2000,
  failOpen: false,
  statusOnError: 403,
}

type Answer = Parameters<typeof openGrpcAuthorizer>[0]

interface Opened extends AsyncDisposable {
  readonly authorizer: GrpcAuthorizerServer
  readonly asking: OpenAsking
  readonly app: Awaited<ReturnType<typeof openEchoApp>>
  readonly ask: (request: string) => Promise<string>
}

async function open(
  answer: Answer,
  settings: Partial<GrpcAuthorizer> = {},
  more: Partial<AskingOptions> = {},
): Promise<Opened> {
  const authorizer = await openGrpcAuthorizer(answer)
  const app = await openEchoApp()
  const asking = await openAsking(app.address, {
    policies: [CUSTOM],
    providers: { opa: { ...SETTINGS, ...settings } },
    places: { 'opa.test:9191': authorizer.address },
    ...more,
  })
  return {
    authorizer,
    asking,
    app,
    async ask(request) {
      using client = await openRaw(asking.address)
      client.send(request.replace('\r\n\r\n', '\r\nconnection: close\r\n\r\n'))
      return await client.end()
    },
    async [Symbol.asyncDispose]() {
      await asking[Symbol.asyncDispose]()
      await authorizer[Symbol.asyncDispose]()
      await app[Symbol.asyncDispose]()
    },
  }
}

const get = (target: string, ...lines: string[]): string =>
  `GET ${target} HTTP/1.1\r\n${['host: server', ...lines].join('\r\n')}\r\n\r\n`

const denied = (more: Partial<DeniedOf> = {}): CheckResponse => ({
  status: { code: 7, message: '' },
  httpResponse: {
    $case: 'deniedResponse',
    deniedResponse: { status: undefined, headers: [], body: '', ...more },
  },
})
type DeniedOf = Extract<
  NonNullable<CheckResponse['httpResponse']>,
  { $case: 'deniedResponse' }
>['deniedResponse']

test('§1.11 the question over gRPC: who, whom, and the whole request', async (t) => {
  await using scene = await open(() => saysYes())
  await scene.ask(
    get(
      '/x/../a?q=1',
      'x-one: 1',
      'X-One: 2',
      'cookie: a=1',
      'x-odd: \u00ff\u00c3\u00a9',
      'x-request-id: r-1',
    ),
  )
  const attributes = scene.authorizer.asked[0]?.attributes
  const http = attributes?.request?.http
  t.like(http, {
    id: 'r-1',
    method: 'GET',
    path: '/a?q=1',
    host: 'server',
    scheme: 'http',
    protocol: 'HTTP/1.1',
    size: 0n,
    body: '',
  })
  t.like(http?.headers, {
    ':method': 'GET',
    ':path': '/a?q=1',
    ':authority': 'server',
    'x-one': '1,2',
    cookie: 'a=1',
    'x-request-id': 'r-1',
  })
  t.is(attributes?.source?.address?.address?.socketAddress.address, '127.0.0.1')
  t.is(attributes?.source?.principal, '')
  t.true(Math.abs((attributes?.request?.time?.getTime() ?? 0) - Date.now()) < 10_000)
})

test('CVE-2023-27488: bytes that are no UTF-8 become "!" in the question, so that it can be read (users §2.3.45)', async (t) => {
  await using scene = await open(() => denied(), { failOpen: true })
  t.regex(await scene.ask(get('/a', 'x-odd: \u00ff\u00c3\u00a9')), /^HTTP\/1.1 403 /)
  t.is(scene.authorizer.asked[0]?.attributes?.request?.http?.headers['x-odd'], '!\u00e9')
})

test('§1.11 a no over gRPC is 403 unless it says otherwise; whatever stands beside it', async (t) => {
  const answers: Record<string, CheckResponse> = {
    '/bare': { status: { code: 7, message: 'no' }, httpResponse: undefined },
    '/ok-beside': { ...saysYes(), status: { code: 16, message: '' } },
    '/login': denied({
      status: { code: 401 },
      headers: [
        said('www-authenticate', 'Bearer'),
        said('set-cookie', 'a=1'),
        said('set-cookie', 'b=2'),
      ],
      body: 'login',
    }),
    '/odd': denied({ status: { code: 42 } }),
  }
  await using scene = await open(({ attributes }) => answers[attributes?.request?.http?.path ?? ''])
  t.regex(await scene.ask(get('/bare')), /^HTTP\/1.1 403 .*\r\ncontent-length: 0\r\n/s)
  t.regex(await scene.ask(get('/ok-beside')), /^HTTP\/1.1 403 /)
  t.regex(await scene.ask(get('/odd')), /^HTTP\/1.1 403 /)
  const login = await scene.ask(get('/login'))
  t.regex(
    login,
    /^HTTP\/1.1 401 .*\r\nwww-authenticate: Bearer\r\nset-cookie: a=1\r\nset-cookie: b=2\r\n/s,
  )
  t.true(login.endsWith('\r\n\r\nlogin'))
  t.is(scene.app.requests.length, 0)
})

test('§1.11, as Envoy does: a yes over gRPC sets, appends, removes headers and parameters, and adds to the answer', async (t) => {
  await using scene = await open(() =>
    saysYes({
      headers: [
        said('X-User', 'ann'),
        said('x-role', 'admin', { append: true }),
        said('x-nowhere', 'a', { append: true }),
        said('x-kept', 'theirs', { appendAction: 1 }),
        said('x-new', 'n', { appendAction: 1 }),
        said('x-over', 'o', { appendAction: 2 }),
        said('x-there', 't', { appendAction: 3 }),
        said('x-absent', 'a', { appendAction: 3 }),
        said('content-length', '99', { append: false }),
        said('x-forwarded-client-cert', 'By=evil', { append: false }),
      ],
      headersToRemove: ['X-Gone', 'host', ':path'],
      responseHeadersToAdd: [said('x-answer', '1', { append: true })],
      queryParametersToSet: [{ key: 'who', value: 'a&n n' }],
      queryParametersToRemove: ['secret'],
    }),
  )
  const answer = await scene.ask(
    get(
      '/a?secret=1&keep=2&who=me',
      'x-user: evil',
      'x-role: user',
      'x-kept: mine',
      'x-over: mine',
      'x-there: mine',
      'x-gone: 1',
    ),
  )
  t.regex(answer, /^HTTP\/1.1 200 .*\r\nx-answer: 1\r\n/s)
  const [request = ''] = scene.app.requests
  t.regex(request, /^GET \/a\?keep=2&who=a%26n%20n HTTP\/1.1\r\n/)
  const values = (name: string): readonly string[] =>
    [...request.matchAll(new RegExp(`\r\n${name}: (.*)`, 'g'))].map(([, value = '']) => value)
  t.deepEqual(values('x-user'), ['ann'])
  t.deepEqual(values('x-role'), ['user,admin'])
  t.deepEqual(values('x-kept'), ['theirs'])
  t.deepEqual(values('x-new'), ['n'])
  t.deepEqual(values('x-over'), ['o'])
  t.deepEqual(values('x-there'), ['t'])
  t.deepEqual(values('x-absent'), ['a'])
  for (const name of ['x-nowhere', 'x-gone', 'content-length', 'x-forwarded-client-cert']) {
    t.deepEqual(values(name), [], name)
  }
  t.deepEqual(values('host'), ['server'])
})

test('a path that the authorizer sets is normalised and decided on', async (t) => {
  const deny: AuthorizationPolicy = {
    namespace: 'test',
    name: 'no-admin',
    action: 'DENY',
    dryRun: false,
    rules: [{ to: [{ paths: ['/admin'] }] }],
  }
  const to = (target: string) => saysYes({ headers: [said(':path', target)] })
  await using scene = await open(
    ({ attributes }) => to(attributes?.request?.http?.headers['x-to'] ?? ''),
    {},
    { policies: [CUSTOM, deny] },
  )
  t.regex(await scene.ask(get('/a', 'x-to: /b?c=d')), /^HTTP\/1.1 200 /)
  t.regex(scene.app.requests[0] ?? '', /^GET \/b\?c=d HTTP/)
  t.regex(await scene.ask(get('/a', 'x-to: /x/../admin')), /^HTTP\/1.1 403 .*RBAC: access denied$/s)
  t.regex(await scene.ask(get('/a', 'x-to: no-path')), /^HTTP\/1.1 403 /)
  t.is(scene.app.requests.length, 1)
})

test('§1.11 gRPC that breaks, is late or says nothing is no, and yes only when told to fail open', async (t) => {
  const cases: Record<string, Answer> = {
    broken: () => undefined,
    late: () => new Promise(() => {}),
    empty: () => ({ status: undefined, httpResponse: undefined }),
    failing: () => ({
      ...denied(),
      httpResponse: {
        $case: 'errorResponse',
        errorResponse: { status: { code: 503 }, headers: [], body: '' },
      },
    }),
  }
  for (const [what, answer] of Object.entries(cases)) {
    await using closed = await open(answer, { timeoutMs: 100, statusOnError: 500 })
    const status = what === 'failing' ? 503 : 500
    t.regex(await closed.ask(get('/a')), new RegExp(`^HTTP/1.1 ${status} `), what)
    await using opened = await open(answer, { timeoutMs: 100, failOpen: true })
    t.regex(await opened.ask(get('/a')), /^HTTP\/1.1 200 /, what)
  }
})

test('§1.11 row 10: a body goes over gRPC as text or as bytes', async (t) => {
  const post = 'POST /a HTTP/1.1\r\nhost: server\r\ncontent-length: 3\r\n\r\n\u00c3\u00a9\u00ff'
  for (const asBytes of [true, false]) {
    await using scene = await open(() => saysYes(), {
      body: { maxBytes: 10, allowPartial: false, asBytes },
    })
    t.regex(await scene.ask(post), /^HTTP\/1.1 200 /)
    const http = scene.authorizer.asked[0]?.attributes?.request?.http
    t.is(http?.body, asBytes ? '' : '\u00e9!')
    t.deepEqual([...(http?.rawBody ?? [])], asBytes ? [0xc3, 0xa9, 0xff] : [])
    t.is(http?.headers['x-envoy-auth-partial-body'], 'false')
    t.is(http?.size, 3n)
  }
})

test('questions share a connection, and an authorizer that comes back is asked again', async (t) => {
  let isUp = true
  await using scene = await open(() => (isUp ? saysYes() : undefined))
  const answers = await Promise.all(Array.from({ length: 20 }, () => scene.ask(get('/a'))))
  t.true(answers.every((answer) => answer.startsWith('HTTP/1.1 200 ')))
  isUp = false
  t.regex(await scene.ask(get('/a')), /^HTTP\/1.1 403 /)
  isUp = true
  t.regex(await scene.ask(get('/a')), /^HTTP\/1.1 200 /)
  await scene.authorizer[Symbol.asyncDispose]()
  t.regex(await scene.ask(get('/a')), /^HTTP\/1.1 403 /)
  await using other = await openGrpcAuthorizer(() => saysYes())
  await scene.asking.move('opa.test:9191', [other.address])
  t.regex(await scene.ask(get('/a')), /^HTTP\/1.1 200 /)
})

test('§1.3 CUSTOM is asked about an opaque connection, before its bytes reach the app', async (t) => {
  const tcp = { ports: [{ port: 8080, name: 'tcp', protocol: 'tcp', mtls: 'DISABLE' }] } as const
  await using app = await openRawApp((socket, text) => void socket.write(`got ${text}`))
  for (const allowed of [true, false]) {
    await using authorizer = await openGrpcAuthorizer(() => (allowed ? saysYes() : denied()))
    await using asking = await openAsking(app.address, {
      policies: [CUSTOM],
      providers: { opa: SETTINGS },
      places: { 'opa.test:9191': authorizer.address },
      bundle: tcp,
    })
    const [host = '', port = ''] = asking.address.split(':')
    const socket = connect({ host, port: Number(port) })
    socket.write('hello')
    const [first] = await Promise.race([once(socket, 'data'), once(socket, 'close')])
    t.is(allowed ? String(first) : typeof first, allowed ? 'got hello' : 'boolean')
    socket.destroy()
    const { attributes } = authorizer.asked[0] ?? {}
    t.is(attributes?.request?.http, undefined)
    t.is(attributes?.destination?.address?.address?.socketAddress.address, '127.0.0.1')
  }
  t.is(app.received.length, 1)
})

test('the authorizer is asked with mutual TLS where it has a sidecar, and by us alone', async (t) => {
  await using scene = await open(() => saysYes(), {}, { guarded: 'grpc' })
  t.regex(await scene.ask(get('/a')), /^HTTP\/1.1 200 /)
  t.is(scene.authorizer.asked.length, 1)
})

test('§1.11, as Envoy does: what a yes says of the answer is added unless it says otherwise', async (t) => {
  await using scene = await open(() =>
    saysYes({
      responseHeadersToAdd: [
        said('x-a', '1'),
        said('x-a', '2'),
        said('x-a', '3', { appendAction: 1 }),
        said('x-b', '4', { appendAction: 3 }),
        said('x-a', '5', { append: true }),
      ],
    }),
  )
  const answer = await scene.ask(get('/a'))
  t.deepEqual(answer.match(/x-[ab]: ./g), ['x-a: 1', 'x-a: 2', 'x-a: 5'])
})

test('§1.11 row 4: who is gone behind a sidecar of its own is told at once, not by the timeout', async (t) => {
  await using scene = await open(() => saysYes(), { timeoutMs: 600_000 }, { guarded: 'grpc' })
  t.regex(await scene.ask(get('/a')), /^HTTP\/1.1 200 /)
  await scene.authorizer[Symbol.asyncDispose]()
  t.regex(await scene.ask(get('/a')), /^HTTP\/1.1 403 /)
})
