/** CUSTOM with an HTTP authorizer: real sockets from the caller to the app, and to the authorizer. */
import test from 'ava'
import type { AuthorizationPolicy, HttpAuthorizer } from '#policy/model/index.ts'
import { type HttpAuthorizerServer, openHttpAuthorizer } from '#test/fakes/fake-authorizers.ts'
import { openAsking, type OpenAsking } from '#test/fakes/fake-asking.ts'
import { openEchoApp, openRaw } from '#test/fakes/raw-http.ts'

const CUSTOM: AuthorizationPolicy = {
  namespace: 'test',
  name: 'ask',
  action: 'CUSTOM',
  provider: 'gate',
  dryRun: false,
  rules: [{ to: [{ notPaths: ['/open*'] }] }],
}

const SETTINGS: HttpAuthorizer = {
  kind: 'http',
  host: 'gate.test',
  port: 8000,
  timeoutMs: 2000,
  failOpen: false,
  statusOnError: 403,
  pathPrefix: '',
  checkHeaders: [{ kind: 'exact', value: 'x-ext-authz' }],
  addedHeaders: {},
  toUpstream: [],
  toDownstreamOnAllow: [],
}

interface Scene {
  readonly settings?: Partial<HttpAuthorizer>
  readonly answer?: Parameters<typeof openHttpAuthorizer>[0]
  readonly policies?: readonly AuthorizationPolicy[]
  readonly guarded?: 'http'
}

interface Opened extends AsyncDisposable {
  readonly authorizer: HttpAuthorizerServer
  readonly asking: OpenAsking
  readonly app: Awaited<ReturnType<typeof openEchoApp>>
  /** Sends one request and returns the whole answer. */
  readonly ask: (request: string) => Promise<string>
}

async function open({
  settings,
  answer,
  policies = [CUSTOM],
  ...more
}: Scene = {}): Promise<Opened> {
  const authorizer = await openHttpAuthorizer(answer)
  const app = await openEchoApp()
  const asking = await openAsking(app.address, {
    policies,
    providers: { gate: { ...SETTINGS, ...settings } },
    places: { 'gate.test:8000': authorizer.address },
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
const YES = 'x-ext-authz: allow'

test('§1.11 rows 1, 2: 200 lets a request through, and what no rule matches is not asked about', async (t) => {
  await using scene = await open()
  t.regex(await scene.ask(get('/a', YES)), /^HTTP\/1.1 200 /)
  t.regex(await scene.ask(get('/open')), /^HTTP\/1.1 200 /)
  t.deepEqual(
    scene.authorizer.asked.map(({ target }) => target),
    ['/a'],
  )
  t.is(scene.app.requests.length, 2)
})

test("§1.11 row 12: a refusal is the authorizer's own: status, headers and body", async (t) => {
  await using scene = await open({
    answer: (_asked, response) => {
      response.writeHead(302, { location: '/login', 'set-cookie': ['a=1', 'b=2'], server: 'mine' })
      response.end('go \u00e9')
    },
  })
  const answer = await scene.ask(get('/a'))
  t.regex(answer, /^HTTP\/1.1 302 Found\r\n/)
  t.regex(answer, /\r\nlocation: \/login\r\n/)
  t.regex(answer, /\r\nset-cookie: a=1\r\nset-cookie: b=2\r\n/)
  t.regex(answer, /\r\nserver: istio-envoy\r\n/)
  t.false(answer.includes('server: mine'))
  t.regex(answer, /\r\nx-redoubt-decision: [0-9a-f]{32}\r\n/)
  t.true(answer.endsWith('\r\n\r\ngo \u00c3\u00a9'), answer)
  t.is(scene.app.requests.length, 0)
  const log = await scene.asking.log()
  t.like(log.at(-1), {
    response_code: 302,
    response_flags: 'UAEX',
    response_code_details: 'ext_authz_denied',
    action: 'CUSTOM',
    policy: 'test/ask',
    reason: 'denied-by-provider',
  })
})

test('§1.11 rows 7, 8, 9: the question has method, normalised path, host, length, authorization and what was asked for', async (t) => {
  await using scene = await open({
    settings: {
      pathPrefix: '/check',
      checkHeaders: [
        { kind: 'prefix', value: 'x-a-' },
        { kind: 'suffix', value: '-id' },
        { kind: 'exact', value: 'cookie' },
        { kind: 'exact', value: 'x-forwarded-client-cert' },
      ],
      addedHeaders: { 'x-a-fixed': 'ours' },
    },
    answer: (_asked, response) => void response.end(),
  })
  await scene.ask(
    get(
      '/x/../%61?q=%41',
      'authorization: Basic x',
      'X-A-One: 1',
      'x-a-one: 2',
      'x-a-fixed: theirs',
      'some-id: 7',
      'cookie: a=1',
      'cookie: b=2',
      'x-secret: no',
    ),
  )
  const [asked] = scene.authorizer.asked
  t.is(asked?.method, 'GET')
  t.is(asked?.target, '/check/a?q=%41')
  t.like(asked?.headers, {
    host: 'server',
    'content-length': '0',
    authorization: 'Basic x',
    'x-a-one': '1,2',
    'x-a-fixed': 'ours',
    'some-id': '7',
    cookie: 'a=1; b=2',
    'x-secret': undefined,
  })
  // What the fixed header overrides, it overrides in the question alone.
  t.regex(scene.app.requests[0] ?? '', /\r\nx-a-fixed: theirs\r\n/)
})

test('§1.11 rows 11, 13: headers of a yes go where they were asked for, and policies see them', async (t) => {
  const deny: AuthorizationPolicy = {
    namespace: 'test',
    name: 'no-guests',
    action: 'DENY',
    dryRun: false,
    rules: [{ when: [{ key: 'request.headers[x-user]', values: ['guest'] }] }],
  }
  await using scene = await open({
    policies: [CUSTOM, deny],
    settings: {
      toUpstream: [{ kind: 'exact', value: 'x-user' }],
      toDownstreamOnAllow: [{ kind: 'exact', value: 'x-seen' }],
    },
    answer: ({ target }, response) => {
      response.writeHead(200, {
        'x-user': target === '/guest' ? 'guest' : 'ann',
        'x-other': '1',
        'x-seen': 'yes',
        'x-envoy-auth-headers-to-remove': 'X-Token, x-none',
      })
      response.end()
    },
  })
  const answer = await scene.ask(get('/a', 'x-user: evil', 'x-user: worse', 'x-token: s'))
  t.regex(answer, /^HTTP\/1.1 200 .*\r\nx-seen: yes\r\n/s)
  const [request = ''] = scene.app.requests
  t.deepEqual(request.match(/\r\nx-user: .*/g), ['\r\nx-user: ann'])
  t.false(request.includes('x-other'))
  t.false(request.includes('x-token'))
  const refused = await scene.ask(get('/guest'))
  t.regex(refused, /^HTTP\/1.1 403 .*\r\nx-seen: yes\r\n.*RBAC: access denied$/s)
})

test('§1.11 row 12: named headers of a refusal, and those that always go', async (t) => {
  await using scene = await open({
    settings: { toDownstreamOnDeny: [{ kind: 'prefix', value: 'x-pub' }] },
    answer: (_asked, response) => {
      response.writeHead(401, {
        'www-authenticate': 'Basic',
        'x-public': '1',
        'x-private': '1',
        'content-type': 'text/html',
      })
      response.end('no')
    },
  })
  const answer = await scene.ask(get('/a'))
  t.regex(answer, /^HTTP\/1.1 401 Unauthorized\r\n/)
  t.regex(answer, /\r\nwww-authenticate: Basic\r\n/)
  t.regex(answer, /\r\nx-public: 1\r\n/)
  t.false(answer.includes('x-private'))
  t.regex(answer, /\r\ncontent-type: text\/plain\r\n/)
})

test('§1.11 row 10: a body goes along when asked for, whole or its beginning, and too long a one is 413', async (t) => {
  const yes = (_asked: unknown, response: { end: () => unknown }): void => void response.end()
  const post = (body: string, ...lines: string[]): string =>
    `POST /a HTTP/1.1\r\n${['host: server', `content-length: ${body.length}`, ...lines].join('\r\n')}\r\n\r\n${body}`
  const bounded = { body: { maxBytes: 4, allowPartial: false, asBytes: false } }
  await using whole = await open({ settings: bounded, answer: yes })
  t.regex(await whole.ask(post('abcd')), /^HTTP\/1.1 200 /)
  t.like(whole.authorizer.asked[0], { body: 'abcd', headers: { 'content-length': '4' } })
  t.is(whole.authorizer.asked[0]?.headers['x-envoy-auth-partial-body'], 'false')
  const tooLong = await whole.ask(post('abcde', YES))
  t.regex(tooLong, /^HTTP\/1.1 413 Payload Too Large\r\n.*\r\n\r\nPayload Too Large$/s)
  t.is(whole.authorizer.asked.length, 1)
  const chunked =
    'POST /a HTTP/1.1\r\nhost: server\r\ntransfer-encoding: chunked\r\nexpect: 100-continue\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n'
  t.regex(await whole.ask(chunked), /HTTP\/1.1 200 /)
  t.is(whole.authorizer.asked.at(-1)?.body, 'abc')
  t.true(whole.app.requests.at(-1)?.endsWith('3\r\nabc\r\n0\r\n\r\n'), whole.app.requests.at(-1))

  await using partial = await open({
    settings: { body: { maxBytes: 4, allowPartial: true, asBytes: false } },
    answer: yes,
  })
  t.regex(await partial.ask(post('abcdefgh')), /^HTTP\/1.1 200 /)
  t.like(partial.authorizer.asked[0], { body: 'abcd' })
  t.is(partial.authorizer.asked[0]?.headers['x-envoy-auth-partial-body'], 'true')
  t.true(partial.app.requests[0]?.endsWith('abcdefgh'))
  t.regex(await partial.ask(get('/a')), /^HTTP\/1.1 200 /)
  t.is(partial.authorizer.asked[1]?.headers['content-length'], '0')
})

test('§1.11 rows 4, 5: who cannot be asked says no with statusOnError, and yes only when told to fail open', async (t) => {
  const broken = (
    _asked: unknown,
    response: { writeHead: (status: number) => { end: () => void } },
  ) => response.writeHead(503).end()
  const silent = (): void => {}
  const cases = { broken, silent }
  for (const [what, answer] of Object.entries(cases)) {
    await using closed = await open({ answer, settings: { timeoutMs: 100, statusOnError: 503 } })
    const refused = await closed.ask(get('/a'))
    t.regex(refused, /^HTTP\/1.1 503 .*\r\ncontent-length: 0\r\n/s, what)
    t.like((await closed.asking.log()).at(-1), {
      response_flags: 'UAEX',
      response_code_details: 'ext_authz_error',
      reason: 'provider-failed',
    })
    t.is(closed.app.requests.length, 0)
    await using open_ = await open({ answer, settings: { timeoutMs: 100, failOpen: true } })
    t.regex(await open_.ask(get('/a')), /^HTTP\/1.1 200 /, what)
    t.true(open_.asking.events.some(({ event }) => event === 'authz-provider-failed'))
    t.regex(
      open_.asking.metrics(),
      /redoubt_authz_provider_answers_total\{[^}]*provider="gate"[^}]*answer="failed-open"[^}]*\} 1|redoubt_authz_provider_answers_total\{[^}]*answer="failed-open"[^}]*provider="gate"[^}]*\} 1/,
    )
  }
  const default403 = await open({ answer: broken })
  t.regex(await default403.ask(get('/a')), /^HTTP\/1.1 403 /)
  await default403[Symbol.asyncDispose]()
})

test('§1.11 nobody at the address: the next endpoint is asked, and without one it is a failure', async (t) => {
  await using scene = await open()
  await scene.asking.move('gate.test:8000', ['127.0.0.1:1', scene.authorizer.address])
  for (let tries = 0; tries < 4; tries += 1) {
    t.regex(await scene.ask(get('/a', YES)), /^HTTP\/1.1 200 /)
  }
  await scene.asking.move('gate.test:8000', [])
  t.regex(await scene.ask(get('/a', YES)), /^HTTP\/1.1 403 /)
})

test('an answer that would break the request is refused, failing open or not', async (t) => {
  for (const failOpen of [true, false]) {
    await using scene = await open({
      settings: { failOpen, toUpstream: [{ kind: 'exact', value: 'host' }] },
      answer: (_asked, response) => {
        response.writeHead(200, { host: 'a b' })
        response.end()
      },
    })
    t.regex(await scene.ask(get('/a')), /^HTTP\/1.1 403 /)
    t.is(scene.app.requests.length, 0)
  }
})

test('§4 a gRPC caller reads a refusal in gRPC', async (t) => {
  await using scene = await open()
  const answer = await scene.ask(get('/a', 'content-type: application/grpc'))
  t.regex(answer, /^HTTP\/1.1 200 /)
  t.regex(answer, /\r\ncontent-type: application\/grpc\r\n/)
  t.regex(answer, /\r\ngrpc-status: 7\r\n/)
  t.regex(answer, /\r\ngrpc-message: denied by ext_authz\r\n/)
  t.regex(answer, /\r\nx-ext-authz-result: denied\r\n/)
})

test('requests on one connection stay in order while they wait, and a caller that leaves is forgotten', async (t) => {
  const waiting: (() => void)[] = []
  await using scene = await open({
    answer: (_asked, response) => void waiting.push(() => response.end()),
  })
  using client = await openRaw(scene.asking.address)
  client.send(get('/one') + get('/open-two') + get('/three'))
  await scene.asking.until(() => waiting.length === 1)
  waiting[0]?.()
  await client.until('GET /open-two HTTP/1.1\n')
  t.deepEqual(
    scene.app.requests.map((text) => text.split(' ')[1]),
    ['/one', '/open-two'],
  )
  await scene.asking.until(() => waiting.length === 2)
  client.socket.resetAndDestroy()
  await scene.asking.until(() => scene.asking.telemetryIsQuiet())
  waiting[1]?.()
  t.is(scene.app.requests.length, 2)
})

test('the authorizer is asked with mutual TLS where it has a sidecar, and by us alone', async (t) => {
  await using scene = await open({ guarded: 'http' })
  t.regex(await scene.ask(get('/a', YES)), /^HTTP\/1.1 200 /)
  t.regex(await scene.ask(get('/a')), /^HTTP\/1.1 403 .*denied by ext_authz$/s)
  const [asked] = scene.authorizer.asked
  t.regex(
    String(asked?.headers['x-forwarded-client-cert']),
    /;URI=spiffe:\/\/cluster.local\/ns\/test\/sa\/server$/,
  )
})

test('§1.11 rows 10, 11, as Envoy does: of several lines the last one is for the app, and all are for the caller', async (t) => {
  const names = (...values: string[]) => values.map((value) => ({ kind: 'exact', value }) as const)
  await using scene = await open({
    settings: { toUpstream: names('x-user'), toDownstreamOnAllow: names('x-ok') },
    answer: (_asked, response) => {
      response.writeHead(200, { 'x-user': ['ann', 'bob'], 'x-ok': ['1', '2'] })
      response.end()
    },
  })
  t.regex(await scene.ask(get('/a', 'x-user: mine')), /\r\nx-ok: 1\r\nx-ok: 2\r\n/)
  t.deepEqual(scene.app.requests[0]?.match(/x-user: .*/g), ['x-user: bob'])
})

test('§1.11 row 9, as Envoy does: a request without a body is not asked about as if it had a part of one', async (t) => {
  const body = { maxBytes: 10, allowPartial: true, asBytes: false }
  await using scene = await open({ settings: { body } })
  await scene.ask(get('/a', YES))
  await scene.ask(`POST /a HTTP/1.1\r\nhost: server\r\n${YES}\r\ncontent-length: 3\r\n\r\nabc`)
  const said = scene.authorizer.asked.map(({ headers }) => headers['x-envoy-auth-partial-body'])
  t.deepEqual(said, [undefined, 'false'])
})

test('§1.11 row 12: a refusal that has no body by its status says no length', async (t) => {
  await using scene = await open({
    answer: (_asked, response) => {
      response.writeHead(204)
      response.end()
    },
  })
  const answer = await scene.ask(get('/a'))
  t.regex(answer, /^HTTP\/1.1 204 /)
  t.notRegex(answer, /content-length/)
})
