import test from 'ava'
import fc from 'fast-check'
import type { Route, RouteMatch, TextMatch } from '#policy/model/index.ts'
import { compileHeaderEdits } from '../../../proxy/outbound/header-edits.ts'
import { queryValue } from '../../../proxy/outbound/match-route.ts'
import { loadRegex } from '../../../proxy/outbound/match-text.ts'
import {
  type CompiledRoute,
  compileRoutes,
  needsRegex,
  type RouteInput,
} from '../../../proxy/outbound/route.ts'
import { ProxyError } from '../../../proxy/error.ts'
import { cpuStopwatch } from '../../fakes/cpu-time.ts'

const regex = await loadRegex()
const context = { clusters: new Map(), regex, scheme: 'http' } as const

interface Request {
  readonly method?: string
  readonly target?: string
  readonly authority?: string
  readonly headers?: readonly (readonly [name: string, value: string])[]
}

function input({
  method = 'GET',
  target = '/',
  authority = 'a',
  headers = [],
}: Request): RouteInput {
  const values = (name: string) => headers.filter(([one]) => one === name).map(([, value]) => value)
  return { method, target, authority, fields: { values, first: (name) => values(name)[0] } }
}

const FORWARD = {
  kind: 'forward',
  destinations: [{ cluster: 'c', weight: 1 }],
  retry: { attempts: 0, retryOn: [], backoffMs: 25 },
} as const

function route(name: string, change: Partial<Route> = {}): Route {
  return { name, action: FORWARD, ...change }
}

function picked(routes: readonly Route[], request: Request): string | undefined {
  return compileRoutes(routes, context)(input(request))?.name
}

function forward(found: CompiledRoute | undefined) {
  if (found?.action.kind !== 'forward') throw new Error('expected a route that forwards')
  return found.action
}

/** Each row: a block, a request that meets it, and one that does not. */
const blocks: Readonly<Record<string, readonly [RouteMatch, Request, Request]>> = {
  'the exact path without its query': [
    { uri: { kind: 'exact', value: '/a' } },
    { target: '/a?b=/c' },
    { target: '/a/' },
  ],
  'a prefix that does not end at a segment': [
    { uri: { kind: 'prefix', value: '/foo' } },
    { target: '/foobar' },
    { target: '/fo?o' },
  ],
  'an expression over the whole path': [
    { uri: { kind: 'regex', value: '/v[12]/.*' } },
    { target: '/v1/x?y' },
    { target: '/a/v1/x' },
  ],
  'an expression that an alternative cannot escape': [
    { uri: { kind: 'regex', value: '/a|/b' } },
    { target: '/b' },
    { target: '/ab' },
  ],
  'an exact path whatever its case': [
    { uri: { kind: 'exact', value: '/Ab' }, ignoreUriCase: true },
    { target: '/aB' },
    { target: '/aBc' },
  ],
  'a prefix whatever its case': [
    { uri: { kind: 'prefix', value: '/Ab' }, ignoreUriCase: true },
    { target: '/aBc' },
    { target: '/a' },
  ],
  'an expression that minds case all the same': [
    { uri: { kind: 'regex', value: '/Ab' }, ignoreUriCase: true },
    { target: '/Ab' },
    { target: '/ab' },
  ],
  'a method': [{ method: { kind: 'exact', value: 'POST' } }, { method: 'POST' }, {}],
  'a host with its port': [
    { authority: { kind: 'exact', value: 'a:80' } },
    { authority: 'a:80' },
    { authority: 'a' },
  ],
  'a header that is there': [
    { headers: { 'x-a': { kind: 'present' } } },
    { headers: [['x-a', '']] },
    { headers: [['x-b', '']] },
  ],
  'lines of one header as one value': [
    { headers: { 'x-a': { kind: 'exact', value: '1,2' } } },
    {
      headers: [
        ['x-a', '1'],
        ['x-a', '2'],
      ],
    },
    { headers: [['x-a', '1']] },
  ],
  'every header that is named': [
    { headers: { a: { kind: 'exact', value: '1' }, b: { kind: 'prefix', value: '2' } } },
    {
      headers: [
        ['a', '1'],
        ['b', '23'],
      ],
    },
    { headers: [['a', '1']] },
  ],
  'a header that is not there': [
    { withoutHeaders: { 'x-a': { kind: 'present' } } },
    {},
    { headers: [['x-a', 'b']] },
  ],
  'a header with another value, a missing one too': [
    { withoutHeaders: { 'x-a': { kind: 'exact', value: 'b' } } },
    {},
    { headers: [['x-a', 'b']] },
  ],
  'no header that would match when empty': [
    { withoutHeaders: { 'x-a': { kind: 'regex', value: 'b*' } } },
    { headers: [['x-a', 'c']] },
    {},
  ],
  'the first value of a parameter': [
    { queryParams: { a: { kind: 'exact', value: '1' } } },
    { target: '/?b&a=1&a=2' },
    { target: '/?a=2&a=1' },
  ],
  'a parameter whose name minds case': [
    { queryParams: { Ab: { kind: 'present' } } },
    { target: '/?x=y&Ab' },
    { target: '/?ab=1' },
  ],
  'a path and a method both': [
    { uri: { kind: 'prefix', value: '/a' }, method: { kind: 'exact', value: 'PUT' } },
    { target: '/a', method: 'PUT' },
    { target: '/a' },
  ],
}

for (const [what, [match, met, missed]] of Object.entries(blocks)) {
  test(`compileRoutes() matches ${what}`, (t) => {
    const routes = [route('it', { match: [match] })]
    t.is(picked(routes, met), 'it')
    t.is(picked(routes, missed), undefined)
  })
}

test('compileRoutes() compares scheme with the one that apps use', (t) => {
  const of = (value: string) => [route('it', { match: [{ scheme: { kind: 'exact', value } }] })]
  t.is(picked(of('http'), {}), 'it')
  t.is(picked(of('https'), {}), undefined)
})

test('compileRoutes() takes the first route of several that match, and says which block', (t) => {
  const routes = [
    route('a', { match: [{ method: { kind: 'exact', value: 'PUT' } }] }),
    route('b', {
      match: [
        { name: 'first', uri: { kind: 'prefix', value: '/x' } },
        { name: 'second', uri: { kind: 'prefix', value: '/y' } },
      ],
    }),
    route('c'),
    route('d', { match: [{ uri: { kind: 'exact', value: '/z' } }] }),
  ]
  t.is(picked(routes, { target: '/y' }), 'b.second')
  t.is(picked(routes, { method: 'PUT', target: '/y' }), 'a')
  t.is(picked(routes, { target: '/z' }), 'c')
})

test('compileRoutes() finds nothing for a route whose list of blocks is empty', (t) => {
  t.is(picked([route('never', { match: [] })], {}), undefined)
  t.is(picked([], {}), undefined)
})

// The plain twin: §5.4 read aloud, with nothing compiled.

function textHolds(match: TextMatch, text: string, ignoreCase = false): boolean {
  const fold = (one: string) => (ignoreCase ? one.toLowerCase() : one)
  switch (match.kind) {
    case 'exact':
      return fold(text) === fold(match.value)
    case 'prefix':
      return fold(text).startsWith(fold(match.value))
    case 'regex':
      return new RegExp(`^(?:${match.value})$`).test(text)
    case 'present':
      return true
    default:
      return match satisfies never
  }
}

function blockHolds(match: RouteMatch, { method, target, authority, fields }: RouteInput): boolean {
  const [path = '', ...rest] = target.split('?')
  const query = rest.join('?')
  const header = (name: string): string | undefined =>
    fields.values(name).length === 0 ? undefined : fields.values(name).join(',')
  const parameters = target.includes('?') ? query.split('&') : []
  const parameter = (name: string): string | undefined => {
    const found = parameters.find((one) => one === name || one.startsWith(`${name}=`))
    return found?.slice(name.length + 1)
  }
  const all = [
    match.uri === undefined || textHolds(match.uri, path, match.ignoreUriCase),
    match.scheme === undefined || textHolds(match.scheme, 'http'),
    match.method === undefined || textHolds(match.method, method),
    match.authority === undefined || textHolds(match.authority, authority),
    ...Object.entries(match.headers ?? {}).map(([name, one]) => {
      const value = header(name)
      return value !== undefined && textHolds(one, value)
    }),
    ...Object.entries(match.withoutHeaders ?? {}).map(([name, one]) =>
      one.kind === 'present' ? header(name) === undefined : !textHolds(one, header(name) ?? ''),
    ),
    ...Object.entries(match.queryParams ?? {}).map(([name, one]) => {
      const value = parameter(name)
      return value !== undefined && textHolds(one, value)
    }),
  ]
  return all.every(Boolean)
}

const text = fc.constantFrom('', 'a', 'b', 'ab', 'A', 'a,b')
const path = fc.constantFrom('/', '/a', '/a/b', '/A', '/ab', '/b')
const textMatch = (value: fc.Arbitrary<string>): fc.Arbitrary<TextMatch> =>
  fc.oneof(
    fc.record({ kind: fc.constant('exact' as const), value }),
    fc.record({ kind: fc.constant('prefix' as const), value }),
    fc.record({
      kind: fc.constant('regex' as const),
      value: fc.constantFrom('', '.*', 'a', '/a.*', '[ab]+', 'a|b', '/a/?b?', 'A'),
    }),
    fc.constant({ kind: 'present' as const }),
  )
const byName = fc.dictionary(fc.constantFrom('a', 'b'), textMatch(text), { maxKeys: 2 })
const block = fc.record<RouteMatch>(
  {
    uri: textMatch(path),
    ignoreUriCase: fc.boolean(),
    scheme: textMatch(fc.constantFrom('http', 'https')),
    method: textMatch(fc.constantFrom('GET', 'PUT')),
    authority: textMatch(fc.constantFrom('a', 'a:80')),
    headers: byName,
    withoutHeaders: byName,
    queryParams: byName,
  },
  { requiredKeys: [] },
)
const anyRequest = fc
  .record({
    method: fc.constantFrom('GET', 'PUT'),
    path,
    query: fc.constantFrom('', '?', '?a', '?a=a', '?b=ab&a', '?a=a&a=b', '?A=a', '?aa=a', '?b?a=b'),
    authority: fc.constantFrom('a', 'a:80'),
    headers: fc.array(fc.tuple(fc.constantFrom('a', 'b'), text), { maxLength: 3 }),
  })
  .map(({ path: own, query, ...rest }) => input({ ...rest, target: own + query }))

test('compileRoutes() picks what the plain reading of §5.4 picks', (t) => {
  const anyRoutes = fc.array(fc.option(fc.array(block, { maxLength: 3 }), { nil: undefined }), {
    maxLength: 4,
  })
  let picks = 0
  fc.assert(
    fc.property(anyRoutes, fc.array(anyRequest, { minLength: 8 }), (matches, requests) => {
      const routes = matches.map((match, index) =>
        route(String(index), match === undefined ? {} : { match }),
      )
      const pick = compileRoutes(routes, context)
      for (const request of requests) {
        const expected = routes.find(
          ({ match }) => match === undefined || match.some((one) => blockHolds(one, request)),
        )
        t.is(pick(request)?.name, expected?.name)
        if (expected !== undefined) picks += 1
      }
    }),
    { numRuns: 500 },
  )
  t.true(picks > 500, 'too few requests met a route for the property to mean anything')
})

test('queryValue() finds what URLSearchParams finds where nothing is encoded', (t) => {
  const name = fc.constantFrom('a', 'b', 'ab', '')
  const pair = fc.tuple(fc.constantFrom('a', 'b', 'ab', 'ba'), fc.constantFrom('', '1', 'a'))
  fc.assert(
    fc.property(fc.array(pair), name, (pairs, wanted) => {
      if (wanted === '') return
      const query = pairs.map(([key, value]) => `${key}=${value}`).join('&')
      const expected = new URLSearchParams(query).get(wanted) ?? undefined
      t.is(queryValue(`/?${query}`, wanted), expected)
    }),
  )
})

test('needsRegex() finds an expression wherever it stands', (t) => {
  const one: TextMatch = { kind: 'regex', value: 'a' }
  t.false(needsRegex([route('a', { match: [{ uri: { kind: 'exact', value: '/' } }] })]))
  const matches: readonly RouteMatch[] = [
    { uri: one },
    { authority: one },
    { method: one },
    { scheme: one },
    { headers: { a: one } },
    { withoutHeaders: { a: one } },
    { queryParams: { a: one } },
  ]
  for (const match of matches) t.true(needsRegex([route('a'), route('b', { match: [match] })]))
})

test('compileRoutes() refuses an expression that is not RE2', (t) => {
  const bad = [route('a', { match: [{ uri: { kind: 'regex', value: '/(?=a)' } }] })]
  const error = t.throws(() => compileRoutes(bad, context), { instanceOf: ProxyError })
  t.is(error?.code, 'PROXY_CONFIG_INVALID')
  t.regex(error?.message ?? '', /^Cannot match by "\/\(\?=a\)": .*, expected RE2 syntax$/)
})

test('loadRegex() answers in linear time what makes backtracking explode', (t) => {
  const isMatch = regex('(a+)+b')
  const cpuMs = cpuStopwatch()
  t.false(isMatch('a'.repeat(2000)))
  t.true(cpuMs() < 2000)
})

/** Each row: what uri matched, the replacement, the target, the new target. */
const rewrites: readonly (readonly [TextMatch | undefined, string, string, string])[] = [
  [{ kind: 'prefix', value: '/a' }, '/b', '/a/x?y=/a', '/b/x?y=/a'],
  [{ kind: 'prefix', value: '/a' }, '/', '/abc', '/bc'],
  [{ kind: 'prefix', value: '/' }, '/b/', '/x', '/b/x'],
  [{ kind: 'exact', value: '/a' }, '/b', '/a?q', '/b?q'],
  [{ kind: 'regex', value: '/a.*' }, '/b', '/abc?q', '/b?q'],
  [undefined, '/b/', '/x?q', '/b/x?q'],
]

for (const [uri, replacement, target, expected] of rewrites) {
  test(`rewrite of ${JSON.stringify(uri)} to ${replacement} makes ${target} ${expected}`, (t) => {
    const action = { ...FORWARD, rewrite: { uri: replacement } }
    const match = uri === undefined ? {} : { match: [{ uri }] }
    const found = compileRoutes([route('a', { action, ...match })], context)(input({ target }))
    t.is(forward(found).rewriteTarget?.(target), expected)
  })
}

test('§0.8.30: a redirect keeps what it does not name, a port in Host too, and the query unless it has one', (t) => {
  const locations = [
    {},
    { uri: '/new' },
    { uri: '/new?n' },
    { authority: 'other:81' },
    { scheme: 'https', authority: 'x' },
  ].map((to) => {
    const pick = compileRoutes(
      [route('r', { action: { kind: 'redirect', code: 301, ...to } })],
      context,
    )
    const request = input({ target: '/old?q', authority: 'h:8080' })
    const action = pick(request)?.action
    return action?.kind === 'redirect' ? action.locationOf(request) : undefined
  })
  t.deepEqual(locations, [
    'http://h:8080/old?q',
    'http://h:8080/new?q',
    'http://h:8080/new?n',
    'http://other:81/old?q',
    'https://x/old?q',
  ])
})

test('header operations of a route and of one destination apply in that order', (t) => {
  const routes = [
    route('a', {
      headers: { request: { set: { 'X-A': 'route', 'x-b': 'route' }, remove: ['x-c'] } },
      action: {
        ...FORWARD,
        destinations: [
          {
            cluster: 'c',
            weight: 1,
            headers: { request: { set: { 'x-a': 'own' }, add: { 'x-b': '2' } } },
          },
        ],
      },
    }),
  ]
  const [target] = forward(compileRoutes(routes, context)(input({}))).split.choices
  t.deepEqual(target?.request, {
    drop: ['x-c', 'x-a', 'x-b'],
    added: 'x-b: route\r\nx-a: own\r\nx-b: 2\r\n',
    authority: undefined,
  })
})

test('header operations of one of several destinations come before those of the route', (t) => {
  const own = { request: { set: { 'x-a': 'own' } } }
  const routes = [
    route('a', {
      headers: { request: { set: { 'x-a': 'route' } } },
      action: {
        ...FORWARD,
        destinations: [
          { cluster: 'c', weight: 1, headers: own },
          { cluster: 'd', weight: 1 },
        ],
      },
    }),
  ]
  const { choices } = forward(compileRoutes(routes, context)(input({}))).split
  t.deepEqual(
    choices.map(({ request }) => request.added),
    ['x-a: route\r\n', 'x-a: route\r\n'],
  )
})

test('a new host: rewrite before operations, the route before a destination', (t) => {
  const authorityOf = (change: Partial<Route>) =>
    forward(compileRoutes([route('a', change)], context)(input({}))).split.choices[0]?.authority
  const withHeaders = {
    headers: { request: { set: { Host: 'route' } } },
    action: {
      ...FORWARD,
      destinations: [
        { cluster: 'c', weight: 1, headers: { request: { set: { ':authority': 'own' } } } },
      ],
    },
  } as const
  t.is(authorityOf({}), undefined)
  t.is(authorityOf(withHeaders), 'route')
  t.is(authorityOf({ action: withHeaders.action }), 'own')
  const action = { ...withHeaders.action, rewrite: { authority: 'rewritten' } }
  t.is(authorityOf({ ...withHeaders, action }), 'rewritten')
})

for (const [what, operations] of Object.entries({
  'a line break in a value': { set: { 'x-a': 'b\r\nevil: 1' } },
  'a name with a space': { add: { 'x a': 'b' } },
  'an empty name': { remove: [''] },
  'a variable': { set: { 'x-a': '%REQ(authorization)%' } },
})) {
  test(`compileHeaderEdits() refuses ${what}`, (t) => {
    const error = t.throws(() => compileHeaderEdits([operations]), { instanceOf: ProxyError })
    t.is(error?.code, 'PROXY_CONFIG_INVALID')
  })
}

test('compileHeaderEdits() leaves host and pseudo headers alone and reads %% as a percent sign', (t) => {
  const edits = compileHeaderEdits([
    { set: { ':path': '/x', 'x-a': '100%%' }, remove: ['host', ':method'] },
  ])
  t.deepEqual(edits, { drop: ['x-a'], added: 'x-a: 100%\r\n', authority: undefined })
})
