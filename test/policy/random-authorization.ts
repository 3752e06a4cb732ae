/**
 * Random policies and attempts for properties. Values come from small pools, and attempts from the
 * same pools, so that rules match and miss about as often.
 */
import fc from 'fast-check'
import { parseSpiffeId, parseTrustDomain } from '#ca/spiffe/index.ts'
import type {
  AuthorizationPolicy,
  Condition,
  Connection,
  HttpAttributes,
  Operation,
  Rule,
  Source,
} from '#policy/model/index.ts'

const of = (...values: readonly string[]): fc.Arbitrary<string> => fc.constantFrom(...values)
/** Lists, an empty one and one without sense now and then. */
const list = (value: fc.Arbitrary<string>): fc.Arbitrary<string[]> =>
  fc.array(value, { minLength: 0, maxLength: 3, size: 'max' })

const DOMAINS = ['cluster.local', 'td2', 'old-td', 'ns']
const principal = of(
  '*',
  'cluster.local/ns/app/sa/web',
  'td2/ns/app/sa/web',
  'old-td/ns/prod/sa/db',
  '*/ns/app/sa/web',
  '*-td/ns/prod/sa/db',
  'td*/ns/app/sa/web',
  'cluster.local/ns/app/*',
  '*/sa/web',
  '*a*',
  'cluster.local',
  'other/ns/app/sa/web',
)
const namespace = of('app', 'prod', '*', 'a*', '*p', 'a*p', '*o*', 'ap')
const account = of('web', 'db', 'app/web', 'prod/db', 'we')
const trustDomain = of('*', 'cluster.local', 'td2', '*-td', 'td*', 'cluster*', 'unknown')
const block = of(
  '10.0.0.0/8',
  '10.1.2.3',
  '10.1.2.0/23',
  '0.0.0.0/0',
  '::/0',
  '2001:db8::/33',
  '2001:db8::1',
  '::ffff:10.1.2.3',
  'nonsense',
  '10.0.0.0/33',
)
const requestPrincipal = of(
  '*',
  '*/sub',
  '*ss/sub',
  '*ub',
  'https://iss/*',
  'https://iss/s*',
  'https*',
  'https://iss/sub',
  'iss',
  '*/*',
)
const host = of('web.app', 'WEB.app', '*', 'web*', '*.app', 'web.app:8080', '*b.app')
const port = of('8080', '9000', '08080', '65536', 'http')
const method = of('GET', 'POST', '*', 'G*', '*T', 'get')
const pathValue = of(
  '/a',
  '/a/b',
  '/a*',
  '*b',
  '*',
  '/a/{*}',
  '/a/{**}',
  '/{*}/b',
  '/a/{**}/',
  '/a/{**}/b',
  '/{**}',
  '/a;x',
)
const text = of('*', 'v', 'v,w', 'v*', '*w', '*v*', 'long')

/** Few fields at a time: with all of them set nothing ever matches. */
const fields = <T>(model: Readonly<Record<string, fc.Arbitrary<string>>>): fc.Arbitrary<T> => {
  const named = Object.entries(model).flatMap(([name, value]) => {
    const not = `not${name.charAt(0).toUpperCase()}${name.slice(1)}`
    return [name, not].map((field) => list(value).map((values) => [field, values] as const))
  })
  return fc
    .array(fc.oneof(...named), { minLength: 0, maxLength: 2, size: 'max' })
    .map((entries) => Object.fromEntries(entries) as T)
}

const source = fields<Source>({
  principals: principal,
  namespaces: namespace,
  serviceAccounts: account,
  trustDomains: trustDomain,
  ipBlocks: block,
  remoteIpBlocks: block,
  requestPrincipals: requestPrincipal,
})
const operation = fields<Operation>({ hosts: host, ports: port, methods: method, paths: pathValue })

const KEYS: Readonly<Record<string, fc.Arbitrary<string>>> = {
  'request.headers[X-A]': text,
  'request.headers[host]': host,
  'request.headers[:method]': method,
  'source.ip': block,
  'remote.ip': block,
  'source.namespace': namespace,
  'source.serviceAccount': account,
  'source.principal': principal,
  'source.trustDomain': trustDomain,
  'request.auth.principal': requestPrincipal,
  'request.auth.audiences': text,
  'request.auth.presenter': text,
  'request.auth.claims[group]': text,
  'request.auth.claims[a][b]': text,
  'request.auth.claims[a][]': text,
  'request.auth.claims[toString]': text,
  'destination.ip': block,
  'destination.port': port,
  'connection.sni': of('*', 'a.example', '*.example', 'a*', 'A.example'),
  'experimental.envoy.filters.network.x[k]': text,
}
const condition: fc.Arbitrary<Condition> = fc.constantFrom(...Object.keys(KEYS)).chain((key) =>
  fc.record(
    {
      key: fc.constant(key),
      values: list(KEYS[key] ?? text),
      notValues: list(KEYS[key] ?? text),
    },
    { requiredKeys: ['key'] },
  ),
)

const rule: fc.Arbitrary<Rule> = fc.record(
  {
    from: fc.array(source, { maxLength: 2 }),
    to: fc.array(operation, { maxLength: 2 }),
    when: fc.array(condition, { maxLength: 2 }),
  },
  { requiredKeys: [] },
)

/** Paths of few segments, so that two of them often begin alike. */
export const deepPath: fc.Arbitrary<string> = fc
  .array(of('a', 'b', 'c', 'd', ''), { minLength: 1, maxLength: 4, size: 'max' })
  .map((segments) => `/${segments.join('/')}`)

/** More rules than are held against every request, that differ in path and method. */
export const manyPathRules: fc.Arbitrary<AuthorizationPolicy> = fc
  .record({
    action: fc.constantFrom('ALLOW' as const, 'DENY' as const),
    paths: fc.array(fc.tuple(deepPath, of('', '', '', '*', '/*', '/{*}', '/{**}')), {
      minLength: 20,
      maxLength: 40,
    }),
    methods: fc.array(of('GET', 'P*', 'PUT'), { minLength: 40, maxLength: 40 }),
    rest: fc.array(operation, { maxLength: 1 }),
  })
  .map(({ action, paths, methods, rest }) => ({
    namespace: 'app',
    name: 'many',
    action,
    dryRun: false,
    rules: paths.map(([path, end], index) => ({
      to: [
        { paths: [`${path}${end}`], methods: [methods[index] ?? 'GET'] },
        ...(index % 9 === 4 ? rest : []),
      ],
    })),
  }))

const policyOf = (index: number): fc.Arbitrary<AuthorizationPolicy> =>
  fc
    .record({
      namespace: of('app', 'istio-system'),
      action: fc.constantFrom('ALLOW', 'ALLOW', 'DENY', 'DENY', 'CUSTOM', 'AUDIT'),
      provider: of('a', 'b'),
      dryRun: fc.constantFrom(false, false, false, true),
      rules: fc.oneof(
        { weight: 9, arbitrary: fc.array(rule, { maxLength: 3 }) },
        { weight: 1, arbitrary: fc.array(rule, { minLength: 11, maxLength: 12 }) },
      ),
    })
    .map(({ provider, ...rest }) => {
      const named = { ...rest, name: `p${index}` }
      return rest.action === 'CUSTOM' ? { ...named, provider } : named
    }) as fc.Arbitrary<AuthorizationPolicy>

export const policies: fc.Arbitrary<AuthorizationPolicy[]> = fc
  .tuple(fc.nat(6), ...Array.from({ length: 6 }, (_, index) => policyOf(index)))
  .map(([count, ...all]) => all.slice(0, count))

const address = of(
  '10.1.2.3',
  '10.9.9.9',
  '192.0.2.1',
  '2001:db8::1',
  '2001:db8:8000::1',
  '::ffff:10.1.2.3',
  'fe80::1%eth0',
  '',
)

export const connection: fc.Arbitrary<Connection> = fc.record({
  peer: fc.constantFrom(
    undefined,
    ...[
      'spiffe://cluster.local/ns/app/sa/web',
      'spiffe://td2/ns/app/sa/web',
      'spiffe://old-td/ns/prod/sa/db',
      'spiffe://cluster.local/ns/prod/sa/db',
      'spiffe://cluster.local/ns/app/x/sa/web/y',
      'spiffe://ns/app/sa/web',
      'spiffe://cluster.local',
    ].map(parseSpiffeId),
  ),
  sourceIp: address,
  destinationIp: address,
  destinationPort: fc.constantFrom(8080, 9000),
  sni: fc.constantFrom(undefined, 'a.example', 'b.test', ''),
})

const claimValue = fc.oneof(
  text,
  fc.array(fc.oneof(text, fc.constant(7)), { maxLength: 3 }),
  fc.constantFrom<unknown>(7, true, null, { b: 'v' }, ''),
)
const claims = fc.option(
  fc.record(
    {
      iss: fc.constantFrom<unknown>('https://iss', 'iss', '', ['https://iss', 'x'], 5),
      sub: fc.constantFrom<unknown>('sub', '', 'x', ['sub']),
      aud: claimValue,
      azp: claimValue,
      group: claimValue,
      a: fc.oneof(claimValue, fc.record({ b: claimValue, '': claimValue })),
    },
    { requiredKeys: [] },
  ),
  { nil: undefined },
)

export const http: fc.Arbitrary<HttpAttributes> = fc
  .record({
    method: of('GET', 'POST', 'PUT'),
    path: of(
      '/',
      '/a',
      '/a/b',
      '/a/b/',
      '/a//b',
      '/a/',
      '/A',
      '/a;x',
      '/a/..;/b',
      '/a/[x]',
      '/a/%2F/b',
      '/x/b',
    ),
    host: fc.constantFrom(undefined, 'web.app', 'WEB.APP', 'web.app:8080', ''),
    remoteIp: address,
    lines: fc.array(of('v', 'w', 'v,w', '', 'v*'), { maxLength: 2 }),
    claims,
  })
  .map(({ lines, ...rest }) => ({
    ...rest,
    header: (name: string) => (name === 'x-a' ? lines : []),
  }))

export const trust: fc.Arbitrary<{
  trustDomain: ReturnType<typeof parseTrustDomain>
  trustDomainAliases: ReturnType<typeof parseTrustDomain>[]
}> = fc.record({
  trustDomain: fc.constantFrom(...DOMAINS.map(parseTrustDomain)),
  trustDomainAliases: fc.array(fc.constantFrom(...DOMAINS.map(parseTrustDomain)), { maxLength: 2 }),
})

/** A decision with what follows an `ask`, so that two can be compared whole. */
export function unfold(decision: import('#policy/model/index.ts').Decision): unknown {
  if (decision.kind !== 'ask') return decision
  const { proceed, ...rest } = decision
  return { ...rest, next: unfold(proceed()) }
}
