/**
 * The rows of istio-semantics §1.2 to §1.9, each held against both engines: what decides, and the
 * plain one. A row is a rule of an ALLOW policy, with attempts that it matches and that it misses.
 */
import test from 'ava'
import { parseSpiffeId, parseTrustDomain } from '#ca/spiffe/index.ts'
import { compileAuthorization } from '#policy/casbin/index.ts'
import { evaluateAuthorization } from '#policy/evaluate/index.ts'
import type {
  Action,
  AuthorizationPolicy,
  Claims,
  Condition,
  Connection,
  Decision,
  Operation,
  Rule,
  Source,
} from '#policy/model/index.ts'

/** What is asked; all that is left out is as in {@link ask}. */
interface Asked {
  readonly peer?: string | null
  readonly sourceIp?: string
  readonly destinationIp?: string
  readonly port?: number
  readonly sni?: string | null
  readonly tcp?: true
  readonly method?: string
  readonly path?: string
  readonly host?: string | null
  readonly remoteIp?: string
  readonly headers?: Readonly<Record<string, readonly string[]>>
  readonly claims?: Claims
}

interface Mesh {
  readonly trustDomain?: string
  readonly aliases?: readonly string[]
  readonly providers?: Parameters<typeof compileAuthorization>[0]['providers']
}

const ENGINES = { casbin: compileAuthorization, plain: evaluateAuthorization }

/** Both engines' decision, which must be one. */
function ask(policies: readonly AuthorizationPolicy[], asked: Asked, mesh: Mesh = {}): Decision[] {
  const { peer = 'cluster.local/ns/app/sa/web', sni = null, host = 'web.app', headers = {} } = asked
  const connection: Connection = {
    peer: peer === null ? undefined : parseSpiffeId(`spiffe://${peer}`),
    sourceIp: asked.sourceIp ?? '10.1.2.3',
    destinationIp: asked.destinationIp ?? '10.9.0.1',
    destinationPort: asked.port ?? 8080,
    sni: sni ?? undefined,
  }
  const http = {
    method: asked.method ?? 'GET',
    path: asked.path ?? '/a',
    host: host ?? undefined,
    remoteIp: asked.remoteIp ?? '10.1.2.3',
    header: (name: string) => headers[name] ?? [],
    claims: asked.claims,
  }
  const input = {
    policies,
    trustDomain: parseTrustDomain(mesh.trustDomain ?? 'cluster.local'),
    trustDomainAliases: (mesh.aliases ?? []).map(parseTrustDomain),
    ...(mesh.providers && { providers: mesh.providers }),
  }
  return Object.values(ENGINES).map((engine) =>
    engine(input)(connection)(asked.tcp ? undefined : http),
  )
}

function policy(
  action: Action,
  rules: readonly Rule[],
  rest: Partial<AuthorizationPolicy> = {},
): AuthorizationPolicy {
  return { namespace: 'app', name: 'p', action, dryRun: false, rules, ...rest }
}

interface Row {
  readonly rule: Rule
  readonly hits: readonly Asked[]
  readonly misses: readonly Asked[]
  readonly mesh?: Mesh
}

/** Each row as a test: ALLOW with that rule allows what hits and denies what misses. */
function rows(table: Readonly<Record<string, Row>>): void {
  for (const [title, { rule, hits, misses, mesh }] of Object.entries(table)) {
    test(title, (t) => {
      for (const [kind, attempts] of Object.entries({ allow: hits, deny: misses })) {
        for (const asked of attempts) {
          const decisions = ask([policy('ALLOW', [rule])], asked, mesh)
          t.deepEqual(
            decisions.map((one) => one.kind),
            [kind, kind],
            JSON.stringify(asked),
          )
        }
      }
    })
  }
}

const from = (source: Source): Rule => ({ from: [source] })
const to = (operation: Operation): Rule => ({ to: [operation] })
const when = (...conditions: Condition[]): Rule => ({ when: conditions })
const peers = (...list: (string | null)[]): Asked[] => list.map((peer) => ({ peer }))
const paths = (...list: string[]): Asked[] => list.map((path) => ({ path }))

rows({
  '§1.2 row 4, §1.1 row 6: a rule without anything matches every request': {
    rule: {},
    hits: [{}, { peer: null }, { tcp: true }],
    misses: [],
  },
  '§1.2, §1.1 rows 7, 8, 9: some source, some operation and every condition must match': {
    rule: {
      from: [{ principals: ['cluster.local/ns/x/sa/x'] }, { namespaces: ['app'] }],
      to: [{ methods: ['PUT'] }, { paths: ['/a'] }],
      when: [
        { key: 'request.headers[x-a]', values: ['1'] },
        { key: 'request.headers[x-b]', values: ['2'] },
      ],
    },
    hits: [{ headers: { 'x-a': ['1'], 'x-b': ['2'] } }],
    misses: [
      { headers: { 'x-a': ['1'] } },
      { headers: { 'x-b': ['2'] } },
      { headers: { 'x-a': ['1'], 'x-b': ['2'] }, path: '/b' },
      { headers: { 'x-a': ['1'], 'x-b': ['2'] }, peer: 'cluster.local/ns/y/sa/y' },
    ],
  },
  '§1.2 all fields of a source must match': {
    rule: from({ namespaces: ['app'], ipBlocks: ['10.0.0.0/8'] }),
    hits: [{}],
    misses: [{ sourceIp: '192.0.2.1' }, { peer: 'cluster.local/ns/prod/sa/web' }],
  },
  '§1.2 of a field any value will do, of its not-twin none': {
    rule: to({ methods: ['GET', 'PUT'], notMethods: ['PUT'] }),
    hits: [{ method: 'GET' }],
    misses: [{ method: 'PUT' }, { method: 'POST' }],
  },
  '§1.2 a condition with values and notValues requires both': {
    rule: when({ key: 'request.headers[x-a]', values: ['v*'], notValues: ['vx'] }),
    hits: [{ headers: { 'x-a': ['v1'] } }],
    misses: [{ headers: { 'x-a': ['vx'] } }, { headers: { 'x-a': ['w'] } }, {}],
  },
  '§1.2 an empty list is not a field left out: it matches nothing': {
    rule: from({ principals: [] }),
    hits: [],
    misses: [{}, { peer: null }],
  },
  '§1.2 an empty from is not one left out': { rule: { from: [] }, hits: [], misses: [{}] },
  '§1.2 an empty to is not one left out': { rule: { to: [] }, hits: [], misses: [{}] },
  '§1.2 an empty source constrains nothing': { rule: from({}), hits: [{ peer: null }], misses: [] },

  '§1.4 rows 4, 5: principals: exact': {
    rule: from({ principals: ['cluster.local/ns/app/sa/web'] }),
    hits: peers('cluster.local/ns/app/sa/web'),
    misses: peers('cluster.local/ns/app/sa/web2', 'cluster.local/ns/app/sa/WEB', null),
  },
  '§1.4 row 5: principals: a dot is only a dot (CVE-2026-39350) (users §2.3.37)': {
    rule: from({ principals: ['cluster.local/ns/app/sa/w.b'] }),
    hits: peers('cluster.local/ns/app/sa/w.b'),
    misses: peers('cluster.local/ns/app/sa/web'),
  },
  '§1.4 rows 3, 5: principals: prefix': {
    rule: from({ principals: ['cluster.local/ns/app/*'] }),
    hits: peers('cluster.local/ns/app/sa/web'),
    misses: peers('cluster.local/ns/application/sa/web', 'td/ns/app/sa/web'),
  },
  '§1.4 rows 2, 5: principals: suffix': {
    rule: from({ principals: ['*/sa/web'] }),
    hits: peers('cluster.local/ns/app/sa/web', 'other/ns/x/sa/web'),
    misses: peers('cluster.local/ns/app/sa/web2', null),
  },
  '§1.4 rows 1, 5: principals: * is any authenticated peer': {
    rule: from({ principals: ['*'] }),
    hits: peers('cluster.local/ns/app/sa/web', 'x/y'),
    misses: peers(null),
  },
  '§1.4 row 5: principals: the leading star is tested first, *a* is the suffix a*': {
    rule: from({ principals: ['*we*'] }),
    hits: [],
    misses: peers('cluster.local/ns/app/sa/web', 'cluster.local/ns/app/sa/we'),
  },
  '§1.4 row 5: principals: a star in the middle is literal': {
    rule: from({ principals: ['cluster.local/ns/*/sa/web'] }),
    hits: [],
    misses: peers('cluster.local/ns/app/sa/web'),
  },
  '§1.4 row 5: principals: the scheme is not written': {
    rule: from({ principals: ['spiffe://cluster.local/ns/app/sa/web'] }),
    hits: [],
    misses: peers('cluster.local/ns/app/sa/web'),
  },
  '§1.4 row 6: namespaces: a segment behind /ns/': {
    rule: from({ namespaces: ['app'] }),
    hits: peers('cluster.local/ns/app/sa/web', 'td/x/ns/app/y'),
    misses: peers('cluster.local/ns/app2/sa/web', 'cluster.local/ns/x/sa/app', 'td/ns/app', null),
  },
  '§1.4 row 6: namespaces: stars anywhere, any number': {
    rule: from({ namespaces: ['a*p*d'] }),
    hits: peers('cluster.local/ns/app-prod/sa/x', 'cluster.local/ns/apd/sa/x'),
    misses: peers('cluster.local/ns/app/sa/x', 'cluster.local/ns/xapp-prod/sa/x'),
  },
  '§1.4 row 6: namespaces: overlapping pieces are not counted twice': {
    rule: from({ namespaces: ['ab*ba'] }),
    hits: peers('td/ns/abba/sa/x', 'td/ns/abxba/sa/x'),
    misses: peers('td/ns/aba/sa/x'),
  },
  '§1.4 row 7: serviceAccounts: a name is of the policy’s namespace': {
    rule: from({ serviceAccounts: ['web'] }),
    hits: peers('cluster.local/ns/app/sa/web', 'other/ns/app/sa/web'),
    misses: peers('cluster.local/ns/prod/sa/web', 'cluster.local/ns/app/sa/webx', null),
  },
  '§1.4 row 7: serviceAccounts: namespace/name': {
    rule: from({ serviceAccounts: ['prod/db'] }),
    hits: peers('cluster.local/ns/prod/sa/db'),
    misses: peers('cluster.local/ns/app/sa/db', 'cluster.local/ns/prod/sa/d', 'td/ns/prod/sa/dbx'),
  },
  '§1.4 row 7: serviceAccounts: further segments may stand between and behind': {
    rule: from({ serviceAccounts: ['app/web'] }),
    hits: peers('td/ns/app/pod/1/sa/web', 'td/ns/app/sa/web/instance/2'),
    misses: peers('td/ns/app/x/sa', 'td/sa/web/ns/app', 'td/ns/app'),
  },
  '§1.4 row 7: serviceAccounts: no stars': {
    rule: from({ serviceAccounts: ['app/w*'] }),
    hits: [],
    misses: peers('cluster.local/ns/app/sa/web'),
  },
  '§1.4 row 8: trustDomains: exact, glob, any': {
    rule: from({ trustDomains: ['prod.example', 'old-*'] }),
    hits: peers('prod.example/ns/a/sa/b', 'old-td/x'),
    misses: peers('cluster.local/ns/a/sa/b', 'xprod.example/a', 'cold-td/x', null),
  },
  '§1.4 row 8: trustDomains: * is any authenticated peer': {
    rule: from({ trustDomains: ['*'] }),
    hits: peers('x/y', 'cluster.local/ns/a/sa/b'),
    misses: peers(null),
  },
  '§1.4 row 10: ipBlocks: CIDR, address, IPv6': {
    rule: from({ ipBlocks: ['10.1.2.0/23', '192.0.2.7', '2001:db8::/33', '::1'] }),
    hits: ['10.1.2.0', '10.1.3.255', '192.0.2.7', '2001:db8:7fff::1', '::1', '::ffff:10.1.2.3'].map(
      (sourceIp) => ({ sourceIp }),
    ),
    misses: ['10.1.4.0', '192.0.2.8', '2001:db8:8000::1', '::2', '', 'x', '10.1.2'].map(
      (sourceIp) => ({ sourceIp }),
    ),
  },
  '§1.4 row 10: ipBlocks: never from headers': {
    rule: from({ ipBlocks: ['192.0.2.0/24'] }),
    hits: [],
    misses: [{ remoteIp: '192.0.2.1', headers: { 'x-forwarded-for': ['192.0.2.1'] } }],
  },
  '§1.4 row 11: remoteIpBlocks: the client address; on TCP the connection’s': {
    rule: from({ remoteIpBlocks: ['192.0.2.0/24'] }),
    hits: [{ remoteIp: '192.0.2.1' }, { tcp: true, sourceIp: '192.0.2.1' }],
    misses: [{ sourceIp: '192.0.2.1' }, { remoteIp: '::ffff:192.0.2.1' }, { tcp: true }],
  },
  '§1.4 row 12: hosts: with the port that was sent, in any case (users §2.3.35)': {
    rule: to({ hosts: ['Web.app'] }),
    hits: [{ host: 'WEB.APP' }],
    misses: [{ host: 'web.app:8080' }, { host: 'web.app.' }, { host: null }],
  },
  '§1.4 row 12: hosts: prefix and suffix': {
    rule: to({ hosts: ['Api.*', '*.Example'] }),
    hits: [{ host: 'api.x' }, { host: 'a.EXAMPLE' }],
    misses: [{ host: 'xapi.x' }, { host: 'example' }],
  },
  '§1.4 row 12: hosts: * means that it is there, even empty': {
    rule: to({ hosts: ['*'] }),
    hits: [{ host: '' }, { host: 'x' }],
    misses: [{ host: null }],
  },
  '§1.4 row 13: ports: the workload port': {
    rule: to({ ports: ['8080', '90'] }),
    hits: [{ port: 8080 }, { port: 90, tcp: true }],
    misses: [{ port: 80 }],
  },
  '§1.4 row 14: methods: case counts': {
    rule: to({ methods: ['GET', 'P*', '*TE'] }),
    hits: [{ method: 'GET' }, { method: 'POST' }, { method: 'DELETE' }],
    misses: [{ method: 'get' }, { method: 'HEAD' }],
  },
  '§1.4 row 15: paths: exact, prefix, suffix, case counts': {
    rule: to({ paths: ['/a', '/p/*', '*.txt'] }),
    hits: paths('/a', '/p/', '/p/x/y', '/x.txt'),
    misses: paths('/A', '/a/', '/p', '/x.txt/'),
  },
  '§1.4 a plaintext peer meets no positive source field': {
    rule: {
      from: [
        { principals: ['*'] },
        { namespaces: ['*'] },
        { serviceAccounts: ['web'] },
        { trustDomains: ['*'] },
      ],
    },
    hits: [],
    misses: peers(null),
  },
  '§1.4 a plaintext peer meets notPrincipals': {
    rule: from({ notPrincipals: ['*'] }),
    hits: peers(null),
    misses: [{}],
  },
  '§1.4 a plaintext peer meets notNamespaces, notServiceAccounts, notTrustDomains': {
    rule: from({ notNamespaces: ['*'], notServiceAccounts: ['web'], notTrustDomains: ['*'] }),
    hits: peers(null),
    misses: [{}],
  },
})

const token = (iss: unknown, sub: unknown): Asked => ({ claims: { iss, sub } })
const principalsOf = (written: string): Rule => from({ requestPrincipals: [written] })
rows({
  '§1.5 row 1: requestPrincipals *: issuer and subject not empty': {
    rule: principalsOf('*'),
    hits: [token('i', 's'), token(['i'], ['s'])],
    misses: [{}, token('', 's'), token('i', ''), { claims: { iss: 'i' } }, token(1, 's')],
  },
  '§1.5 row 2: requestPrincipals */sub': {
    rule: principalsOf('*/u'),
    hits: [token('https://a/b', 'u')],
    misses: [token('', 'u'), token('i', 'uu')],
  },
  '§1.5 row 3: requestPrincipals *tail/sub': {
    rule: principalsOf('*ss/u'),
    hits: [token('iss', 'u')],
    misses: [token('isx', 'u'), token('iss', 'x')],
  },
  '§1.5 row 4: requestPrincipals *tail without a slash is of the subject': {
    rule: principalsOf('*er'),
    hits: [token('i', 'user')],
    misses: [token('', 'user'), token('er', 'x')],
  },
  '§1.5 row 5: requestPrincipals iss/*': {
    rule: principalsOf('https://a/b/*'),
    hits: [token('https://a/b', 'x')],
    misses: [token('https://a', 'b/x'), token('https://a/b', '')],
  },
  '§1.5 row 6: requestPrincipals iss/pre*': {
    rule: principalsOf('i/pre*'),
    hits: [token('i', 'pre-x')],
    misses: [token('i', 'x-pre'), token('j', 'pre')],
  },
  '§1.5 row 7: requestPrincipals pre* without a slash is of the issuer': {
    rule: principalsOf('iss*'),
    hits: [token('iss2', 'x')],
    misses: [token('x', 'iss'), token('iss', '')],
  },
  '§1.5 row 8, §1.4 row 9: requestPrincipals iss/sub': {
    rule: principalsOf('https://i/u'),
    hits: [token('https://i', 'u')],
    misses: [token('https:/', 'i/u'), token('https://i', 'v')],
  },
  '§1.5 row 9: requestPrincipals text without slash or star wants an empty subject': {
    rule: principalsOf('iss'),
    hits: [token('iss', '')],
    misses: [token('iss', 'u'), { claims: { iss: 'iss' } }],
  },
  '§0.8.21 requestPrincipals */* matches nothing, and a star inside the issuer is literal': {
    rule: { from: [{ requestPrincipals: ['*/*'] }, { requestPrincipals: ['i*/u'] }] },
    hits: [token('i*', 'u')],
    misses: [token('i', 's'), token('ix', 'u')],
  },
  '§1.5 notRequestPrincipals * is "no token"': {
    rule: from({ notRequestPrincipals: ['*'] }),
    hits: [{}],
    misses: [token('i', 's')],
  },
  '§1.6 rows 1, 3: {*} is one segment that is not empty': {
    rule: to({ paths: ['/foo/{*}'] }),
    hits: paths('/foo/bar', '/foo/a;x=1', '/foo/%2F', '/foo/*', '/foo/@:'),
    misses: paths('/foo', '/foo/', '/foo/bar/baz', '/foo/[', '/foo/a"b', '/x/foo/bar'),
  },
  '§1.6 row 1: {*} takes every character that a segment may have (users §2.3.43)': {
    rule: to({ paths: ['/foo/{*}/end'] }),
    hits: paths(...Array.from("-._~!$&'()*+,=:@09azAZ").map((char) => `/foo/${char}/end`)),
    misses: paths('/foo//end', '/foo/a/b/end'),
  },
  '§1.6 row 2: {**} is any text with slashes': {
    rule: to({ paths: ['/foo/{**}'] }),
    hits: paths('/foo/', '/foo/bar', '/foo/bar/baz.txt', '/foo//'),
    misses: paths('/foo', '/foo/a|b', '/fool/'),
  },
  '§0.8.9, §1.6 row 4: /foo/{**}/ as Envoy has it': {
    rule: to({ paths: ['/foo/{**}/'] }),
    hits: paths('/foo/bar/', '/foo//', '/foo/a/b/'),
    misses: paths('/foo/bar/baz.txt', '/foo/', '/foo/bar'),
  },
  '§0.8.9 /foo/{**}/bar as Envoy has it': {
    rule: to({ paths: ['/foo/{**}/bar'] }),
    hits: paths('/foo//bar', '/foo/x/bar', '/foo/x/y/bar'),
    misses: paths('/foo/bar', '/foo/x/barx'),
  },
  '§1.6 row 5: /foo/{*}/bar/{**}': {
    rule: to({ paths: ['/foo/{*}/bar/{**}'] }),
    hits: paths('/foo/buzz/bar/', '/foo/buzz/bar/baz'),
    misses: paths('/foo/bar/a', '/foo/buzz/bar', '/foo//bar/x'),
  },
  '§0.8.9 a literal escape in a template never meets a decoded path': {
    rule: to({ paths: ['/%41/{*}'] }),
    hits: [],
    misses: paths('/A/x'),
  },
})

const condition = (key: string, ...values: string[]): Rule => when({ key, values })
rows({
  '§1.7 row 1: request.headers: name in any case, each line by itself': {
    rule: condition('request.headers[X-A]', 'v', 'pre*', '*suf'),
    hits: [['v'], ['x', 'v'], ['prefix'], ['a-suf']].map((lines) => ({
      headers: { 'x-a': lines },
    })),
    misses: [{}, { headers: { 'x-a': ['v,w'] } }, { headers: { 'x-a': ['V'] } }],
  },
  '§0.8.17 request.headers: notValues fails if any line matches (users §2.3.40)': {
    rule: when({ key: 'request.headers[x-a]', notValues: ['v'] }),
    hits: [{}, { headers: { 'x-a': ['w'] } }],
    misses: [{ headers: { 'x-a': ['w', 'v'] } }],
  },
  '§1.7 row 1: request.headers: * means that it is there, even empty': {
    rule: condition('request.headers[x-a]', '*'),
    hits: [{ headers: { 'x-a': [''] } }],
    misses: [{}],
  },
  '§1.7 row 1: request.headers[host] is the authority': {
    rule: condition('request.headers[Host]', 'web.app'),
    hits: [{}],
    misses: [{ host: 'x' }, { host: null }],
  },
  '§1.7 row 2: source.ip': {
    rule: condition('source.ip', '10.1.0.0/16'),
    hits: [{}],
    misses: [{ sourceIp: '10.2.0.0' }],
  },
  '§1.7 row 3: remote.ip': {
    rule: condition('remote.ip', '192.0.2.1'),
    hits: [{ remoteIp: '192.0.2.1' }],
    misses: [{}],
  },
  '§1.7 row 4: source.namespace': {
    rule: condition('source.namespace', 'a*'),
    hits: [{}],
    misses: peers(null, 'cluster.local/ns/prod/sa/x'),
  },
  '§1.7 row 5: source.serviceAccount': {
    rule: condition('source.serviceAccount', 'web', 'prod/db'),
    hits: peers('cluster.local/ns/app/sa/web', 'cluster.local/ns/prod/sa/db'),
    misses: peers('cluster.local/ns/prod/sa/web', null),
  },
  '§1.7 row 6: source.principal': {
    rule: condition('source.principal', 'cluster.local/ns/app/sa/web'),
    hits: [{}],
    misses: peers(null, 'cluster.local/ns/app/sa/x'),
  },
  '§1.7 row 7: source.trustDomain': {
    rule: condition('source.trustDomain', 'cluster*'),
    hits: [{}],
    misses: peers(null, 'td/ns/app/sa/web'),
  },
  '§1.7 row 8: request.auth.principal': {
    rule: condition('request.auth.principal', 'i/u'),
    hits: [token('i', 'u')],
    misses: [{}],
  },
  '§1.7 row 9: request.auth.audiences: text or list': {
    rule: condition('request.auth.audiences', 'aud1'),
    hits: [{ claims: { aud: 'aud1' } }, { claims: { aud: ['x', 'aud1'] } }],
    misses: [{ claims: { aud: 'aud' } }, { claims: { aud: [] } }, {}],
  },
  '§1.7 row 10: request.auth.presenter is azp': {
    rule: condition('request.auth.presenter', 'p*'),
    hits: [{ claims: { azp: 'pq' } }],
    misses: [{ claims: { azp: 'q' } }],
  },
  '§1.7 row 11: request.auth.claims: text, list, one level deeper with each bracket': {
    rule: { when: [{ key: 'request.auth.claims[a][b]', values: ['v'] }] },
    hits: [{ claims: { a: { b: 'v' } } }, { claims: { a: { b: ['w', 'v'] } } }],
    misses: [{ claims: { 'a][b': 'v' } }, { claims: { a: 'v' } }, { claims: { a: [{ b: 'v' }] } }],
  },
  '§1.7 row 11: brackets that are no pairs belong to the name of one claim': {
    rule: {
      when: [
        { key: 'request.auth.claims[a[b]]', values: ['v'] },
        { key: 'request.auth.claims[c]d[e]', values: ['v'] },
      ],
    },
    hits: [{ claims: { 'a[b]': 'v', 'c]d[e': 'v' } }],
    misses: [{ claims: { 'a[b]': 'v' } }, { claims: { a: { b: 'v' }, 'c]d[e': 'v' } }],
  },
  '§1.14 row 11: an address with a zone is the address': {
    rule: from({ notIpBlocks: ['fe80::1%eth0'] }),
    hits: [{}, { sourceIp: 'fe80::2' }],
    misses: [{ sourceIp: 'fe80::1' }, { sourceIp: 'fe80::1%lo' }],
  },
  '§1.5 claims that are numbers, booleans or objects do not match': {
    rule: condition('request.auth.claims[n]', '*', '5', 'true'),
    hits: [{ claims: { n: 'x' } }],
    misses: [5, true, null, {}, [5], ''].map((n) => ({ claims: { n } })),
  },
  '§1.7 row 11: request.auth.claims: only a claim’s own members count': {
    rule: condition('request.auth.claims[constructor][name]', 'Object'),
    hits: [],
    misses: [{ claims: {} }],
  },
  '§1.7 row 12: destination.ip': {
    rule: condition('destination.ip', '10.9.0.0/24'),
    hits: [{}],
    misses: [{ destinationIp: '10.9.1.1' }],
  },
  '§1.7 row 13: destination.port': {
    rule: condition('destination.port', '8080'),
    hits: [{}],
    misses: [{ port: 81 }],
  },
  '§1.7 row 14, §0.8.20: an upper-case value never matches': {
    rule: condition('connection.sni', 'a.example', 'B.example'),
    hits: [{ sni: 'a.example' }],
    misses: [{}, { sni: 'b.example' }],
  },
  '§1.7 row 14: connection.sni * wants one': {
    rule: condition('connection.sni', '*'),
    hits: [{ sni: 'x' }],
    misses: [{}, { sni: '' }],
  },
  '§1.7 row 15: filter metadata: a sidecar has none, so only notValues are met': {
    rule: when({ key: 'experimental.envoy.filters.network.x[k]', notValues: ['v'] }),
    hits: [{}],
    misses: [],
  },
})

rows({
  '§1.9 row 3: a principal of the trust domain stands for its aliases': {
    rule: from({ principals: ['td1/ns/app/sa/web'] }),
    mesh: { trustDomain: 'td1', aliases: ['td2'] },
    hits: peers('td1/ns/app/sa/web', 'td2/ns/app/sa/web'),
    misses: peers('td3/ns/app/sa/web'),
  },
  '§1.9 row 3: cluster.local always means the local trust domain': {
    rule: from({ principals: ['cluster.local/ns/app/sa/web'] }),
    mesh: { trustDomain: 'td1', aliases: ['td2'] },
    hits: peers('td1/ns/app/sa/web', 'td2/ns/app/sa/web'),
    misses: peers('cluster.local/ns/app/sa/web'),
  },
  '§1.9 row 3: *-td stays for the members it covers and becomes the others': {
    rule: from({ principals: ['*-td/ns/app/sa/web'] }),
    mesh: { trustDomain: 'old-td', aliases: ['other'] },
    hits: peers('old-td/ns/app/sa/web', 'new-td/ns/app/sa/web', 'other/ns/app/sa/web'),
    misses: peers('third/ns/app/sa/web'),
  },
  '§0.8.29 td* expands to all members': {
    rule: from({ principals: ['td*/ns/app/sa/web'] }),
    mesh: { trustDomain: 'td1', aliases: ['other'] },
    hits: peers('td1/ns/app/sa/web', 'other/ns/app/sa/web'),
    misses: peers('td9/ns/app/sa/web'),
  },
  '§1.9 rows 1, 2, 4: a foreign trust domain, * and other shapes stay as written': {
    rule: from({ principals: ['foreign/ns/app/sa/web', '*/ns/app/sa/x', 'td1/ns/app/*'] }),
    mesh: { trustDomain: 'td1', aliases: ['td2'] },
    hits: peers('foreign/ns/app/sa/web', 'any/ns/app/sa/x', 'td1/ns/app/sa/q'),
    misses: peers('td1/ns/app2/sa/web', 'td2/ns/app/sa/web', 'td2/ns/app/sa/q'),
  },
  '§1.9 notPrincipals expand too': {
    rule: from({ notPrincipals: ['td1/ns/app/sa/web'] }),
    mesh: { trustDomain: 'td1', aliases: ['td2'] },
    hits: peers('td3/ns/app/sa/web', null),
    misses: peers('td1/ns/app/sa/web', 'td2/ns/app/sa/web'),
  },
  '§1.9 trustDomains expand when they equal a member, cluster.local only then': {
    rule: from({ trustDomains: ['td2', 'cluster.local'] }),
    mesh: { trustDomain: 'td1', aliases: ['td2'] },
    hits: peers('td1/ns/a/sa/b', 'td2/ns/a/sa/b', 'cluster.local/x'),
    misses: peers('td3/ns/a/sa/b'),
  },
  '§1.9 namespaces and serviceAccounts ask for no trust domain': {
    rule: from({ namespaces: ['app'], serviceAccounts: ['web'] }),
    mesh: { trustDomain: 'td1' },
    hits: peers('foreign/ns/app/sa/web'),
    misses: [],
  },
})

const kindsOf = (decisions: readonly Decision[]): readonly string[] =>
  decisions.map((one) => (one.kind === 'deny' ? one.reason : one.kind))
const both = (kind: string): readonly string[] => [kind, kind]

test('§1.2 rows 1, 2: an ALLOW policy without rules denies everything, and says which applied', (t) => {
  for (const decision of ask([policy('ALLOW', [])], {})) {
    t.like(decision, {
      kind: 'deny',
      action: 'ALLOW',
      reason: 'no-allow-matched',
      policy: null,
      rule: null,
      considered: ['app/p'],
    })
  }
})

test('§1.2 rows 3, 8: DENY, CUSTOM and AUDIT without rules never match', (t) => {
  for (const action of ['DENY', 'CUSTOM', 'AUDIT'] as const) {
    const decisions = ask([policy(action, [], action === 'CUSTOM' ? { provider: 'x' } : {})], {})
    t.deepEqual(kindsOf(decisions), both('allow'), action)
    t.deepEqual(
      decisions.map(({ audit }) => audit),
      [[], []],
    )
  }
})

test('§1.2 row 4: DENY with an empty rule denies all, AUDIT with one logs all', (t) => {
  t.deepEqual(kindsOf(ask([policy('DENY', [{}])], {})), both('denied-by-policy'))
  const [audited] = ask([policy('AUDIT', [{}])], {})
  t.deepEqual(audited?.kind === 'allow' && audited.audit, ['app/p'])
})

test('§1.3 row 3: without any ALLOW policy all is allowed, by no policy', (t) => {
  for (const decision of ask([], {})) {
    t.true(decision.kind === 'allow' && decision.permit.policy === null)
  }
})

test('§1.3 rows 1, 2, 4, 11, 12: CUSTOM comes before DENY, DENY before ALLOW, and scopes are one pool', (t) => {
  const allow = policy('ALLOW', [{}], { name: 'allow' })
  const deny = policy('DENY', [{}], { name: 'deny', namespace: 'istio-system' })
  const custom = policy('CUSTOM', [{}], { name: 'custom', provider: 'x' })
  t.deepEqual(kindsOf(ask([allow], {})), both('allow'))
  t.deepEqual(kindsOf(ask([allow, deny], {})), both('denied-by-policy'))
  for (const decision of ask([allow, deny, custom], {})) {
    t.true(decision.kind === 'ask' && decision.policy === 'app/custom')
    t.true(decision.kind === 'ask' && decision.proceed().kind === 'deny')
  }
})

test('§1.3 row 10: AUDIT never changes the result', (t) => {
  const audit = policy('AUDIT', [{}], { name: 'audit' })
  t.deepEqual(kindsOf(ask([audit, policy('DENY', [{}])], {})), both('denied-by-policy'))
  t.deepEqual(kindsOf(ask([audit], {})), both('allow'))
})

const HTTP_ONLY: Readonly<Record<string, Rule>> = {
  hosts: to({ hosts: ['x'] }),
  methods: to({ methods: ['GET'] }),
  notMethods: to({ notMethods: ['GET'] }),
  paths: to({ paths: ['/a'] }),
  requestPrincipals: from({ requestPrincipals: ['*'] }),
  notRequestPrincipals: from({ notRequestPrincipals: ['*'] }),
  'request.headers': when({ key: 'request.headers[x]', values: ['v'] }),
  'request.auth.claims': when({ key: 'request.auth.claims[x]', notValues: ['v'] }),
}
for (const [name, rule] of Object.entries(HTTP_ONLY)) {
  test(`§1.8 rows 1, 2, 3: ${name} on TCP: an ALLOW rule vanishes, DENY, AUDIT and CUSTOM ones grow (users §1.4.41)`, (t) => {
    const tcp = { tcp: true } as const
    t.deepEqual(kindsOf(ask([policy('ALLOW', [rule])], tcp)), both('no-allow-matched'))
    t.deepEqual(kindsOf(ask([policy('DENY', [rule])], tcp)), both('denied-by-policy'))
    t.deepEqual(kindsOf(ask([policy('CUSTOM', [rule], { provider: 'x' })], tcp)), both('ask'))
    t.deepEqual(
      ask([policy('AUDIT', [rule])], tcp).map(({ audit }) => audit),
      [['app/p'], ['app/p']],
    )
  })
}

test('§1.8 row 2: on TCP only the attribute goes from a DENY rule, the rest of it stays', (t) => {
  const rule: Rule = { from: [{ namespaces: ['prod'] }], to: [{ paths: ['/a'], ports: ['8080'] }] }
  const tcp = { tcp: true } as const
  t.deepEqual(kindsOf(ask([policy('DENY', [rule])], tcp)), both('allow'))
  const prod = { ...tcp, peer: 'cluster.local/ns/prod/sa/x' }
  t.deepEqual(kindsOf(ask([policy('DENY', [rule])], prod)), both('denied-by-policy'))
  t.deepEqual(kindsOf(ask([policy('DENY', [rule])], { ...prod, port: 81 })), both('allow'))
})

test('§1.8 row 1: another rule of the same ALLOW policy still allows on TCP', (t) => {
  const rules = [to({ paths: ['/a'] }), from({ namespaces: ['app'] })]
  for (const decision of ask([policy('ALLOW', rules)], { tcp: true })) {
    t.true(decision.kind === 'allow' && decision.permit.rule === 1)
  }
})

for (const [what, rule] of Object.entries({
  'a block': from({ ipBlocks: ['10.0.0.0/33'] }),
  'a port': to({ ports: ['99999'] }),
  'a condition': when({ key: 'source.ip', values: ['x'] }),
  'a key of headers': when({ key: 'request.headersx[a]', values: ['v'] }),
  'a key of claims': when({ key: 'request.auth.claims.a[b]', notValues: ['v'] }),
})) {
  test(`§1.8 ${what} that cannot be read: an ALLOW rule vanishes, a DENY rule grows`, (t) => {
    t.deepEqual(kindsOf(ask([policy('ALLOW', [rule])], {})), both('no-allow-matched'))
    t.deepEqual(kindsOf(ask([policy('DENY', [rule])], {})), both('denied-by-policy'))
  })
}

test('§1.8 of several values only the unreadable ones go from a DENY rule', (t) => {
  const rule = from({ ipBlocks: ['x', '192.0.2.0/24'] })
  t.deepEqual(kindsOf(ask([policy('DENY', [rule])], {})), both('allow'))
  const inside = { sourceIp: '192.0.2.1' }
  t.deepEqual(kindsOf(ask([policy('DENY', [rule])], inside)), both('denied-by-policy'))
})

test('CVE-2020-16844: a suffix principal denies on TCP as on HTTP (users §2.3.38)', (t) => {
  const deny = policy('DENY', [from({ principals: ['*/sa/web'] })])
  t.deepEqual(kindsOf(ask([deny], { tcp: true })), both('denied-by-policy'))
  t.deepEqual(kindsOf(ask([deny], {})), both('denied-by-policy'))
})

test('§1.10 row 2: a dry-run policy is reported and enforces nothing', (t) => {
  const dry = { dryRun: true }
  const list = [
    policy('ALLOW', [from({ namespaces: ['prod'] })], { ...dry, name: 'a' }),
    policy('DENY', [{}, {}], { ...dry, name: 'd' }),
  ]
  for (const decision of ask(list, {})) {
    t.is(decision.kind, 'allow')
    t.deepEqual(decision.dryRun, [
      { policy: 'app/a', action: 'ALLOW', result: 'denied', rule: null },
      { policy: 'app/d', action: 'DENY', result: 'denied', rule: 0 },
    ])
  }
})

test('§1.10 a dry-run ALLOW gives no permission beside an enforced one', (t) => {
  const list = [policy('ALLOW', [{}], { dryRun: true }), policy('ALLOW', [], { name: 'none' })]
  t.deepEqual(kindsOf(ask(list, {})), both('no-allow-matched'))
})

test('§0.8.27, §1.11: providers are asked in the order of their names, and all must agree', (t) => {
  const custom = (name: string, provider: string) => policy('CUSTOM', [{}], { name, provider })
  for (const decision of ask([custom('x', 'b'), custom('y', 'a')], {})) {
    t.true(decision.kind === 'ask' && decision.provider === 'a' && decision.policy === 'app/y')
    const next = decision.kind === 'ask' ? decision.proceed() : decision
    t.true(next.kind === 'ask' && next.provider === 'b' && next.proceed().kind === 'allow')
  }
})

test('§1.11 a provider that does not exist denies what its rules match, and no more (users §1.4.37)', (t) => {
  const custom = policy('CUSTOM', [to({ paths: ['/admin'] })], { provider: 'gone' })
  const mesh = { providers: { other: { kind: 'grpc' as const } } }
  const bad = both('custom-provider-unavailable')
  t.deepEqual(kindsOf(ask([custom], { path: '/admin' }, mesh)), bad)
  t.deepEqual(kindsOf(ask([custom], {}, mesh)), both('allow'))
})

test('§1.13 the policy named is the first by id, byte for byte, and so is the rule (users §1.4.40)', (t) => {
  const rules = Array.from({ length: 11 }, (_, index) =>
    index === 2 || index === 10 ? {} : from({ principals: [] }),
  )
  const list = [policy('DENY', [{}], { name: 'b' }), policy('DENY', rules, { name: 'a' })]
  for (const decision of ask(list, {})) t.like(decision, { policy: 'app/a', rule: 10 })
})

test('§0.8.14 a dot segment with parameters is refused under a path rule, and only there', (t) => {
  const asked = { path: '/public/..;/admin' }
  const allow = policy('ALLOW', [to({ paths: ['/public/*'] })])
  t.deepEqual(kindsOf(ask([allow], asked)), both('ambiguous-path'))
  t.deepEqual(kindsOf(ask([policy('ALLOW', [{}])], asked)), both('allow'))
  t.deepEqual(kindsOf(ask([{ ...allow, dryRun: true }], asked)), both('allow'))
})

test('CVE-2026-73553: parameters do not evade a DENY rule, and open no ALLOW rule (users §2.3.42)', (t) => {
  const deny = policy('DENY', [to({ paths: ['/admin'] })])
  t.deepEqual(kindsOf(ask([deny], { path: '/admin;x=1' })), both('ambiguous-path'))
  t.deepEqual(kindsOf(ask([deny], { path: '/public;x=1' })), both('allow'))
  const allow = policy('ALLOW', [to({ paths: ['/a'] })])
  t.deepEqual(kindsOf(ask([allow], { path: '/a;x=1' })), both('no-allow-matched'))
})

test('CVE-2026-73553: parameters evade no DENY rule behind a provider’s yes, and no provider (§1.11)', (t) => {
  const deny = policy('DENY', [to({ paths: ['/admin'] })])
  const custom = (name: string, rules: readonly Rule[]) => ({
    ...policy('CUSTOM', rules, { name }),
    provider: name,
  })
  const last = (decision: Decision): Decision =>
    decision.kind === 'ask' ? last(decision.proceed()) : decision
  const guarded = ask([deny, custom('a', [{}])], { path: '/admin;x=1' })
  t.deepEqual(kindsOf(guarded), both('ask'), 'it is asked')
  t.deepEqual(kindsOf(guarded.map(last)), both('ambiguous-path'), 'and its yes opens nothing')
  const open = ask([deny, custom('a', [{}])], { path: '/public;x=1' })
  t.deepEqual(kindsOf(open.map(last)), both('allow'))

  const sparing = [custom('a', [{}]), custom('b', [to({ paths: ['/admin'] })])]
  const spared = ask(sparing, { path: '/admin;x=1' })
  t.deepEqual(
    kindsOf(spared),
    both('ambiguous-path'),
    'nobody is asked where one would be left out',
  )
  for (const decision of spared) t.like(decision, { action: 'CUSTOM' })
})

test('a matcher that fails denies', (t) => {
  const list = [policy('ALLOW', [when({ key: 'request.headers[x]', notValues: ['v'] })])]
  const broken = new Proxy<Record<string, readonly string[]>>(
    {},
    {
      get() {
        throw new Error('no such line')
      },
    },
  )
  t.deepEqual(kindsOf(ask(list, { headers: broken })), both('evaluation-failed'))
})
