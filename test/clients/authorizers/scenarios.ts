/** What authorizers say, and what is to come of it alike in Envoy and in a sidecar. */
import type { GrpcAuthorizer, HttpAuthorizer } from '#policy/model/index.ts'
import { said, saysYes } from '#test/fakes/fake-authorizers.ts'
import type { CheckResponse } from '../../../proxy/proto/gen/envoy/service/auth/v3/external_auth.ts'

const common = { port: 80, timeoutMs: 500, failOpen: false, statusOnError: 403 } as const
const HTTP: HttpAuthorizer = {
  ...common,
  kind: 'http',
  host: 'gate.test',
  pathPrefix: '',
  checkHeaders: [],
  addedHeaders: {},
  toUpstream: [],
  toDownstreamOnAllow: [],
}
const GRPC: GrpcAuthorizer = { ...common, kind: 'grpc', host: 'opa.test', port: 9191 }
const exact = (value: string) => ({ kind: 'exact', value }) as const
const prefix = (value: string) => ({ kind: 'prefix', value }) as const
const BODY = { maxBytes: 10, allowPartial: false, asBytes: false } as const

/** Each is asked by a listener and a sidecar of its own. */
export const PROVIDERS: Readonly<Record<string, HttpAuthorizer | GrpcAuthorizer>> = {
  http: HTTP,
  'http-lists': {
    ...HTTP,
    pathPrefix: '/check',
    checkHeaders: [exact('x-a'), prefix('x-b-'), { kind: 'suffix', value: '-c' }, exact('cookie')],
    addedHeaders: { 'x-added': 'ours', 'x-b-added': 'ours' },
    toUpstream: [
      prefix('x-up'),
      exact('authorization'),
      exact('set-cookie'),
      exact('content-type'),
    ],
    toDownstreamOnDeny: [prefix('x-down')],
    toDownstreamOnAllow: [prefix('x-ok'), exact('set-cookie'), exact('x-app')],
  },
  'http-open': { ...HTTP, failOpen: true },
  'http-429': { ...HTTP, statusOnError: 429 },
  'http-body': { ...HTTP, body: BODY },
  'http-partial': { ...HTTP, body: { ...BODY, allowPartial: true } },
  grpc: GRPC,
  'grpc-open': { ...GRPC, failOpen: true },
  'grpc-503': { ...GRPC, statusOnError: 503 },
  'grpc-body': { ...GRPC, body: BODY },
  'grpc-partial': { ...GRPC, body: { ...BODY, allowPartial: true } },
  'grpc-bytes': { ...GRPC, body: { ...BODY, allowPartial: true, asBytes: true } },
}

export interface Scenario {
  /** Of {@link PROVIDERS}. */
  readonly provider: string
  /** What the authorizer says: bytes over HTTP ('' closes, `undefined` keeps silent), a message over gRPC. */
  readonly says: string | CheckResponse | undefined
  readonly method?: string
  /** After the scenario's own path. */
  readonly query?: string
  readonly lines?: readonly string[]
  readonly body?: string
  /** Parts that differ on purpose, and why. */
  readonly differs?: Readonly<Partial<Record<'question' | 'app' | 'answer', string>>>
}

const answer = (status: string, lines: readonly string[] = [], body = ''): string =>
  `HTTP/1.1 ${status}\r\n${[...lines, `content-length: ${body.length}`].join('\r\n')}\r\n\r\n${body}`
const YES = answer('200 OK')
const claims = ['x-user: mine', 'x-user: too']

const no = (
  code: number,
  denied: { status?: number; headers?: ReturnType<typeof said>[]; body?: string } = {},
): CheckResponse => ({
  status: { code, message: 'no' },
  httpResponse: {
    $case: 'deniedResponse',
    deniedResponse: {
      status: denied.status === undefined ? undefined : { code: denied.status },
      headers: denied.headers ?? [],
      body: denied.body ?? '',
    },
  },
})

const edits = (...headers: ReturnType<typeof said>[]): CheckResponse => saysYes({ headers })
/** A header that the request has, and one that it has not. */
const editsBoth = (appendAction: number): CheckResponse =>
  edits(said('x-user', 'ann', { appendAction }), said('x-new', 'n', { appendAction }))
const answers = (...responseHeadersToAdd: ReturnType<typeof said>[]): CheckResponse =>
  saysYes({ responseHeadersToAdd })

export const SCENARIOS: Readonly<Record<string, Scenario>> = {
  'http-yes': { provider: 'http', says: YES },
  'http-no': {
    provider: 'http',
    says: answer(
      '401 Unauthorized',
      [
        'x-why: nobody',
        'www-authenticate: Basic',
        'set-cookie: a=1',
        'set-cookie: b=2',
        'content-type: text/x',
      ],
      'who?',
    ),
  },
  'http-redirect': { provider: 'http', says: answer('302 Found', ['location: /login']) },
  'http-created': { provider: 'http', says: answer('201 Created', ['x-a: b'], 'made') },
  'http-no-content': { provider: 'http', says: 'HTTP/1.1 204 No Content\r\n\r\n' },
  'http-500': { provider: 'http', says: answer('500 Oops', ['x-a: b'], 'oops') },
  'http-500-open': { provider: 'http-open', says: answer('500 Oops') },
  'http-503-as-429': { provider: 'http-429', says: answer('503 Busy') },
  'http-silent': { provider: 'http', says: undefined },
  'http-silent-open': { provider: 'http-open', says: undefined },
  'http-silent-as-429': { provider: 'http-429', says: undefined },
  'http-closes': { provider: 'http', says: '' },
  'http-nonsense': { provider: 'http', says: 'what?\r\n\r\n' },
  'http-question': {
    provider: 'http-lists',
    says: YES,
    query: '?q=%41&r=/../x',
    lines: [
      'x-a: 1',
      'X-A: 2',
      'x-b-one: 1',
      'x-other: 1',
      'x-sent-c: 1',
      'cookie: a=1',
      'x-added: theirs',
      'x-b-added: theirs',
      'authorization: Bearer x',
    ],
  },
  'http-question-post': {
    provider: 'http-lists',
    says: YES,
    method: 'POST',
    body: 'hello there',
    lines: ['content-type: text/plain', 'x-a: 1'],
  },
  'http-allow-headers': {
    provider: 'http-lists',
    says: answer('200 OK', [
      'x-up-user: ann',
      'x-up-user: ann2',
      'x-user: no',
      'authorization: Basic y',
      'x-ok-a: 1',
      'x-ok-a: 2',
      'set-cookie: a=1',
      'set-cookie: b=2',
      'x-app: more',
      'content-type: text/z',
    ]),
    lines: [
      'x-up-user: mine',
      'x-up-user: too',
      'x-up-kept: mine',
      'authorization: Bearer x',
      ...claims,
    ],
  },
  'http-allow-removes': {
    provider: 'http-lists',
    says: answer('200 OK', [
      'x-envoy-auth-headers-to-remove: x-user, X-Gone ,x-up-new',
      'x-up-new: 1',
    ]),
    lines: ['x-gone: 1', 'x-kept: 1', ...claims],
  },
  'http-deny-lists': {
    provider: 'http-lists',
    says: answer(
      '403 Forbidden',
      [
        'x-down: 1',
        'x-other: 1',
        'location: /l',
        'www-authenticate: x',
        'set-cookie: a=1',
        'content-type: text/x',
      ],
      'no',
    ),
  },
  'http-body': { provider: 'http-body', says: YES, method: 'POST', body: '0123456789' },
  'http-body-none': { provider: 'http-body', says: YES },
  'http-body-long': { provider: 'http-body', says: YES, method: 'POST', body: '0123456789a' },
  'http-body-partial': {
    provider: 'http-partial',
    says: YES,
    method: 'POST',
    body: '0123456789abc',
  },
  'http-body-whole': { provider: 'http-partial', says: YES, method: 'POST', body: '0123' },
  'http-body-exact': { provider: 'http-partial', says: YES, method: 'POST', body: '0123456789' },
  'grpc-yes': { provider: 'grpc', says: saysYes() },
  'grpc-set': {
    provider: 'grpc',
    says: edits(
      said('x-user', 'ann', { append: false }),
      said('x-new', '1', { append: false }),
      said('x-new', '2', { append: true }),
    ),
    lines: claims,
  },
  'grpc-append': {
    provider: 'grpc',
    says: edits(said('x-user', 'ann', { append: true }), said('x-new', 'n', { append: true })),
    lines: claims,
  },
  'grpc-action-append': {
    provider: 'grpc',
    says: edits(said('x-user', 'ann')),
    lines: claims,
  },
  'grpc-action-add-if-absent': { provider: 'grpc', says: editsBoth(1), lines: claims },
  'grpc-action-overwrite': { provider: 'grpc', says: editsBoth(2), lines: claims },
  'grpc-action-overwrite-if-exists': { provider: 'grpc', says: editsBoth(3), lines: claims },
  'grpc-remove': {
    provider: 'grpc',
    says: saysYes({ headersToRemove: ['X-User', 'x-none', 'host', ':path'] }),
    lines: claims,
  },
  'grpc-remove-and-set': {
    provider: 'grpc',
    says: saysYes({
      headers: [said('x-user', 'ann', { append: false })],
      headersToRemove: ['x-user'],
    }),
    lines: claims,
  },
  'grpc-host': { provider: 'grpc', says: edits(said('host', 'other.test', { append: false })) },
  'grpc-authority': {
    provider: 'grpc',
    says: edits(said(':authority', 'other.test', { append: false })),
  },
  'grpc-path': {
    provider: 'grpc',
    says: edits(said(':path', '/elsewhere?x=1', { append: false })),
  },
  'grpc-method': {
    provider: 'grpc',
    says: edits(said(':method', 'DELETE', { append: false })),
    differs: { app: 'an authorizer does not change the method' },
  },
  'grpc-query': {
    provider: 'grpc',
    query: '?a=1&b=2&a=3&c=%20x',
    says: saysYes({
      queryParametersToSet: [
        { key: 'a', value: 'x y' },
        { key: 'd', value: '&=' },
      ],
      queryParametersToRemove: ['b'],
    }),
    differs: { app: 'what would break the query is escaped; Envoy writes it as it is said' },
  },
  'grpc-query-none': {
    provider: 'grpc',
    query: '?a=1',
    says: saysYes({ queryParametersToRemove: ['a'] }),
  },
  'grpc-response': {
    provider: 'grpc',
    says: answers(
      said('x-ok', '1'),
      said('x-ok', '2'),
      said('x-app', 'more'),
      said('set-cookie', 'z=1'),
    ),
  },
  'grpc-response-append': {
    provider: 'grpc',
    says: answers(said('x-app', 'more', { append: true }), said('x-new', 'n', { append: true })),
  },
  'grpc-response-overwrite': {
    provider: 'grpc',
    says: answers(said('x-app', 'other', { append: false }), said('x-new', 'n', { append: false })),
  },
  'grpc-response-actions': {
    provider: 'grpc',
    says: answers(
      said('x-app', 'o', { appendAction: 1 }),
      said('x-two', 'o', { appendAction: 2 }),
      said('x-new', 'n', { appendAction: 3 }),
    ),
  },
  'grpc-no': {
    provider: 'grpc',
    says: { status: { code: 7, message: 'no' }, httpResponse: undefined },
  },
  'grpc-no-status': {
    provider: 'grpc',
    says: no(16, {
      status: 401,
      headers: [
        said('www-authenticate', 'Basic'),
        said('set-cookie', 'a=1'),
        said('set-cookie', 'b=2', { append: true }),
      ],
      body: 'who are you',
    }),
    differs: { answer: 'a header to append to a refusal is there; Envoy leaves it out' },
  },
  'grpc-no-plain': { provider: 'grpc', says: no(7) },
  'grpc-no-redirect': {
    provider: 'grpc',
    says: no(7, { status: 302, headers: [said('location', '/login', { append: false })] }),
  },
  'grpc-no-json': {
    provider: 'grpc',
    says: no(7, { status: 403, headers: [said('content-type', 'application/json')], body: '{}' }),
  },
  'grpc-broken': { provider: 'grpc', says: undefined },
  'grpc-broken-open': { provider: 'grpc-open', says: undefined },
  'grpc-broken-as-503': { provider: 'grpc-503', says: undefined },
  'grpc-body': { provider: 'grpc-body', says: saysYes(), method: 'POST', body: '0123456789' },
  'grpc-body-long': { provider: 'grpc-body', says: saysYes(), method: 'POST', body: '0123456789a' },
  'grpc-body-partial': {
    provider: 'grpc-partial',
    says: saysYes(),
    method: 'POST',
    body: '0123456789abc',
  },
  'grpc-body-bytes': {
    provider: 'grpc-bytes',
    says: saysYes(),
    method: 'POST',
    body: '\x00\xff123',
  },
  'grpc-question': {
    provider: 'grpc',
    says: saysYes(),
    query: '?a=%41',
    lines: [
      'x-a: 1',
      'x-a: 2',
      'cookie: a=1',
      'cookie: b=2',
      'authorization: Bearer x',
      'accept: a',
      'accept: b',
    ],
    differs: { question: 'cookies are joined as cookies are; Envoy joins them with commas' },
  },
}
