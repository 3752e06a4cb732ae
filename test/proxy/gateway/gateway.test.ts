/** What a gateway routes by, without any socket (istio-semantics §5.4, §7.4). */
import test from 'ava'
import fc from 'fast-check'
import type { GatewayBundle, GatewayServer, RouteMatch, TextMatch } from '#policy/model/index.ts'
import { BUNDLE_FORMAT } from '#policy/model/index.ts'
import { prepareGateway } from '../../../proxy/gateway/compile.ts'
import { pickServer } from '../../../proxy/gateway/gateway.ts'
import { RoutedHead } from '../../../proxy/gateway/routed-head.ts'
import { RequestHead } from '../../../proxy/http/request-head.ts'
import { compileRouteMatch, type RouteInput } from '../../../proxy/outbound/match-route.ts'
import { loadRegex } from '../../../proxy/outbound/match-text.ts'

const context = { regex: await loadRegex(), scheme: 'http' } as const
const NO_FIELDS = { first: () => undefined, values: () => [] }

function holds(match: RouteMatch, claims: RouteInput['claims']): boolean {
  const input = { method: 'GET', target: '/', authority: 'a', fields: NO_FIELDS, claims }
  return compileRouteMatch(match, context)?.(input, '/') ?? true
}

const exact = (value: string): TextMatch => ({ kind: 'exact', value })

/** Each row: where, what, the claims, and whether they meet it. */
const rows: readonly (readonly [readonly string[], TextMatch, RouteInput['claims'], boolean])[] = [
  [['group'], exact('a'), { group: 'a' }, true],
  [['group'], exact('a'), { group: 'A' }, false],
  [['group'], exact('a'), { group: ['b', 'a'] }, true],
  [['group'], exact('a'), { group: ['b', ['a']] }, false],
  [['group'], exact('a'), { group: [] }, false],
  [['group'], exact('a'), { group: { a: 'a' } }, false],
  [['group'], exact('1'), { group: 1 }, false],
  [['group'], exact('true'), { group: true }, false],
  [['group'], exact(''), { group: '' }, true],
  [['group'], exact(''), {}, false],
  [['group'], exact('a'), undefined, false],
  [['group'], { kind: 'prefix', value: 'ad' }, { group: ['x', 'admin'] }, true],
  [['group'], { kind: 'prefix', value: 'ad' }, { group: 'bad' }, false],
  [['group'], { kind: 'regex', value: 'a|b' }, { group: 'b' }, true],
  [['group'], { kind: 'regex', value: 'a|b' }, { group: 'ab' }, false],
  [['a', 'b'], exact('c'), { a: { b: 'c' } }, true],
  [['a', 'b'], exact('c'), { a: { b: ['d', 'c'] } }, true],
  [['a', 'b'], exact('c'), { 'a.b': 'c' }, false],
  [['a.b'], exact('c'), { 'a.b': 'c' }, true],
  [['a', 'b'], exact('c'), { a: [{ b: 'c' }] }, false],
  [['a', 'b'], exact('c'), { a: 'c' }, false],
  [['constructor', 'name'], exact('Object'), {}, false],
  [['__proto__', 'a'], exact('b'), JSON.parse('{"__proto__":{"a":"b"}}'), true],
]

for (const [path, match, claims, is] of rows) {
  const name = `${path.join('/')} ${JSON.stringify(match)} of ${JSON.stringify(claims)}`
  test(`§5.4 claim ${name} is ${is ? '' : 'not '}met`, (t) => {
    t.is(holds({ claims: [{ path, match }] }, claims), is)
    t.is(holds({ withoutClaims: [{ path, match }] }, claims), !is, 'and the negation is the other')
  })
}

test('§5.4 several claims and a header must all hold', (t) => {
  const both = {
    claims: [
      { path: ['a'], match: exact('1') },
      { path: ['b'], match: exact('2') },
    ],
  }
  t.true(holds(both, { a: '1', b: '2' }))
  t.false(holds(both, { a: '1' }))
  t.false(holds({ ...both, headers: { x: { kind: 'present' } } }, { a: '1', b: '2' }))
})

test('§5.4 any token: what is compiled holds where the plain reading does', (t) => {
  const word = fc.constantFrom('a', 'b', 'ab', '')
  const value = fc.letrec((tie) => ({
    any: fc.oneof(word, fc.integer(), fc.array(tie('any'), { maxLength: 2 }), tie('object')),
    object: fc.dictionary(word, tie('any'), { maxKeys: 2 }),
  }))
  const kinds = fc.constantFrom('exact' as const, 'prefix' as const, 'regex' as const)
  const matches = fc.record({ kind: kinds, value: word })
  const paths = fc.array(word, { minLength: 1, maxLength: 3 })
  fc.assert(
    fc.property(fc.option(value.object), paths, matches, (claims, path, match) => {
      let at: unknown = claims
      for (const name of path) {
        const isObject = typeof at === 'object' && at !== null && !Array.isArray(at)
        at =
          isObject && Object.hasOwn(at as object, name)
            ? (at as Record<string, unknown>)[name]
            : undefined
      }
      const texts = (Array.isArray(at) ? at : [at]).filter((one) => typeof one === 'string')
      const is = texts.some((text) =>
        match.kind === 'prefix' ? text.startsWith(match.value) : text === match.value,
      )
      const given = (claims ?? undefined) as RouteInput['claims']
      t.is(holds({ claims: [{ path, match }] }, given), is)
      t.is(holds({ withoutClaims: [{ path, match }] }, given), !is)
    }),
  )
})

const TLS: NonNullable<GatewayServer['tls']> = {
  mode: 'SIMPLE',
  subjectAltNames: [],
  minVersion: 'TLSv1.2',
  maxVersion: 'TLSv1.3',
  cipherSuites: [],
  certificates: [
    { chain: { kind: 'missing', secret: 'a' }, key: { kind: 'missing', secret: 'a' } },
  ],
}

async function compiled(servers: readonly GatewayServer[]) {
  const bundle: GatewayBundle = {
    format: BUNDLE_FORMAT,
    listeners: [{ port: 8080, servers }],
    clusters: {},
  }
  const body = Buffer.from(JSON.stringify(bundle))
  const deps = { nowMs: () => 0, random: () => 0 }
  const { compiled: gateway } = await prepareGateway({ body, version: '1' }, undefined, deps)
  return gateway.listeners.get(8080) ?? []
}

test('§7.4 a host is served by the virtual host that names it most exactly, or by none', async (t) => {
  const hosts = ['a.example', '*.a.example', '*.example', '*']
  const virtualHosts = hosts.map((host) => ({ host, routes: [] }))
  const hostOf = async (host: string, of = virtualHosts) => {
    const [server] = await compiled([{ name: 'a', hosts: ['*'], virtualHosts: of }])
    const bundle = server?.destinationOf(host).bundle
    return bundle?.kind === 'known' ? bundle.host : ''
  }
  t.is(await hostOf('a.example'), 'a.example')
  t.is(await hostOf('b.a.example'), '*.a.example')
  t.is(await hostOf('c.b.a.example'), '*.a.example')
  t.is(await hostOf('b.example'), '*.example')
  t.is(await hostOf('example'), '*')
  t.is(await hostOf('.example'), '*', 'a wildcard stands for something')
  t.is(await hostOf('a.example.'), '*')
  t.is(await hostOf('example', virtualHosts.slice(0, 3)), 'unknown')
})

test('§7.4 row 4 the server of a TLS connection is the one that names its server name most exactly', async (t) => {
  const server = (name: string, ...hosts: readonly string[]): GatewayServer => ({
    name,
    hosts,
    tls: TLS,
    virtualHosts: [],
  })
  const three = await compiled([
    server('wide', '*.example'),
    server('all', '*'),
    server('exact', 'a.example', '*.b.example'),
  ])
  const picked = (name: string, of = three) => pickServer(of, name)?.server.name
  t.is(picked('a.example'), 'exact')
  t.is(picked('x.b.example'), 'exact')
  t.is(picked('x.example'), 'wide')
  t.is(picked('example'), 'all')
  t.is(picked(''), 'all', 'a client that names nobody')
  t.is(picked('', three.slice(0, 1)), undefined)
  t.is(picked('other', three.slice(0, 1)), undefined)
})

test('a head that a gateway has made anew is what a caller could have sent, claims apart', (t) => {
  const head = new RequestHead()
  const text =
    'GET /a?b HTTP/1.1\r\nhost: x\r\nX-Envoy-Secret: 1\r\ncookie: c\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n'
  head.read(Buffer.from(text), 0, text.length)
  const routed = new RoutedHead()
  routed.claims = { left: 'over' }
  t.true(routed.become(head, { added: 'x-new: 2\r\n', target: '/c' }))
  t.is(routed.claims as unknown, undefined)
  t.like(routed, {
    method: 'GET',
    target: '/c',
    authority: 'x',
    contentLength: 3,
    expectsContinue: true,
  })
  t.is(routed.fields.first('x-new'), '2')
  t.is(routed.fields.first('x-envoy-secret'), undefined)
  t.false(routed.become(head, { added: 'x-smuggled\r\n' }))
})
