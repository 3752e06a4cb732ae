/** Random manifests as an operator would write them, and requests that meet and miss them about as often. */
import fc from 'fast-check'
import { JWKS, makeToken } from '#test/fakes/fake-tokens.ts'
import type { SidecarRequest } from '#test/fakes/running-sidecar.ts'
import { policies } from '../policy/random-authorization.ts'

type Manifest = Readonly<Record<string, unknown>>

/** What validation would refuse, and the addresses of a network where no test machine is. */
const UNWRITTEN = /^(nonsense|.*\/40|10\.0\.0\.0\/33|65536|http|\/a;x)$/

/** A policy of the engines' own tests as YAML could say it: no empty lists, no values that are none. */
function written(value: unknown): unknown {
  if (typeof value === 'string')
    return UNWRITTEN.test(value) ? undefined : value.replace(/^10\./, '127.')
  if (Array.isArray(value)) {
    const kept = value.map(written).filter((one) => one !== undefined)
    return kept.length === 0 ? undefined : kept
  }
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).flatMap(([key, one]) => {
    const kept = written(one)
    return kept === undefined ? [] : [[key, kept]]
  })
  return Object.fromEntries(entries)
}

const authorization: fc.Arbitrary<Manifest[]> = policies.map((list) =>
  list.map(({ namespace, name, action, dryRun, rules, ...rest }) => ({
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: {
      name,
      namespace,
      ...(dryRun && action !== 'CUSTOM' && action !== 'AUDIT'
        ? { annotations: { 'istio.io/dry-run': 'true' } }
        : {}),
    },
    spec: {
      action,
      ...('provider' in rest ? { provider: { name: rest.provider } } : {}),
      rules: rules.map((rule) => {
        const from = (rule.from ?? []).map(written).filter(hasFields)
        const to = (rule.to ?? []).map(written).filter(hasFields)
        const when = (rule.when ?? []).map(written).filter(hasValues)
        return {
          ...(from.length > 0 ? { from: from.map((source) => ({ source })) } : {}),
          ...(to.length > 0 ? { to: to.map((operation) => ({ operation })) } : {}),
          ...(when.length > 0 ? { when } : {}),
        }
      }),
    },
  })),
)

const hasFields = (value: unknown): boolean => Object.keys(value as object).length > 0
const hasValues = (value: unknown): boolean =>
  'values' in (value as object) || 'notValues' in (value as object)

const peer: fc.Arbitrary<Manifest[]> = fc
  .constantFrom('', '', '', 'STRICT', 'PERMISSIVE', 'PERMISSIVE', 'DISABLE')
  .map((mode) =>
    mode === ''
      ? []
      : [
          {
            apiVersion: 'security.istio.io/v1',
            kind: 'PeerAuthentication',
            metadata: { name: 'mode', namespace: 'app' },
            spec: { mtls: { mode } },
          },
        ],
  )

const tokens: fc.Arbitrary<Manifest[]> = fc
  .record({ isThere: fc.boolean(), audiences: fc.subarray(['aud1', 'v']) })
  .map(({ isThere, audiences }) =>
    isThere
      ? [
          {
            apiVersion: 'security.istio.io/v1',
            kind: 'RequestAuthentication',
            metadata: { name: 'jwt', namespace: 'app' },
            spec: { jwtRules: [{ issuer: 'https://iss', jwks: JWKS, audiences }] },
          },
        ]
      : [],
  )

const mesh: fc.Arbitrary<Manifest> = fc
  .record({
    trustDomainAliases: fc.subarray(['td2', 'old-td']),
    pathNormalization: fc.record({
      normalization: fc.constantFrom('NONE', 'BASE', 'MERGE_SLASHES', 'DECODE_AND_MERGE_SLASHES'),
    }),
  })
  .map((spec) => ({
    apiVersion: 'redoubt.io/v1alpha1',
    kind: 'Mesh',
    metadata: { name: 'mesh' },
    spec,
  }))

/** By what the Service of the workload declares. */
export const PORTS = { http: 8080, tcp: 9000, auto: 7000 } as const

const FIXED: readonly Manifest[] = [
  {
    apiVersion: 'redoubt.io/v1alpha1',
    kind: 'Workload',
    metadata: { name: 'web-1', namespace: 'app', labels: { app: 'web' } },
    spec: {
      serviceAccount: 'web',
      ports: Object.values(PORTS).map((port) => ({ name: `x${port}`, port })),
      run: { command: ['x'] },
    },
  },
  {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web', namespace: 'app' },
    spec: {
      selector: { app: 'web' },
      ports: [
        { name: 'http', port: 80, targetPort: PORTS.http },
        { name: 'tcp', port: 90, targetPort: PORTS.tcp },
        { name: 'other', port: 70, targetPort: PORTS.auto },
      ],
    },
  },
]

/** One YAML text for `app/web-1`. */
export const manifests: fc.Arbitrary<string> = fc
  .tuple(mesh, authorization, peer, tokens)
  .map(([one, ...lists]) =>
    [...FIXED, one, ...lists.flat()].map((manifest) => JSON.stringify(manifest)).join('\n---\n'),
  )

const of = <T>(...values: readonly T[]): fc.Arbitrary<T> => fc.constantFrom(...values)

/** Made once: a signature costs more than a decision. */
const TOKENS: readonly string[] = [
  { sub: 'sub', aud: 'aud1', group: 'v', a: { b: 'v' } },
  { sub: 'x', aud: ['v', 'w'], azp: 'v', group: ['long', 'v'] },
  { sub: 'sub', group: 7 },
  { iss: 'iss', sub: 'sub' },
].map((claims) => makeToken({ claims: { iss: 'https://iss', ...claims } }))

const header: fc.Arbitrary<readonly [string, string]> = fc.oneof(
  fc.tuple(of('x-a', 'X-A'), of('v', 'w', 'v,w', 'long')),
  fc.tuple(
    of('authorization'),
    of(...TOKENS, 'abc').map((token) => `Bearer ${token}`),
  ),
  fc.tuple(of('x-forwarded-for'), of('127.1.2.3', '192.0.2.1, 127.1.2.3', 'x', '2001:db8::1')),
)

export const request: fc.Arbitrary<SidecarRequest> = fc
  .record({
    from: of(
      'none',
      'spiffe://cluster.local/ns/app/sa/web',
      'spiffe://cluster.local/ns/app/sa/web',
      'spiffe://cluster.local/ns/prod/sa/db',
      'spiffe://td2/ns/app/sa/web',
      'spiffe://old-td/ns/prod/sa/db',
      'spiffe://cluster.local/ns/app/x/sa/web/y',
    ),
    port: of(PORTS.http, PORTS.http, PORTS.tcp, PORTS.auto),
    isHttp: fc.boolean(),
    method: of('GET', 'GET', 'GET', 'POST', 'POST', 'PUT', 'OPTIONS', 'get'),
    path: of(
      ...['/', '/a', '/a', '/a/b', '/a/b/', '/a//b', '/a/', '/A', '/a;x', '/a/..;/b', '/a/[x]'],
      ...['/a/%2F/b', '/x/b', '/x/../a', '/%61', '/a%00', '/a?q', '/a#f', 'http://web.app/a'],
    ),
    host: of('web.app', 'WEB.APP', 'web.app:8080', ''),
    headers: fc.array(header, { maxLength: 3 }),
    srcIp: of('127.0.0.1', '127.1.2.3', '127.9.9.9'),
    sni: of('a.example', 'b.test', 'outbound_.80_._.web.app.svc.cluster.local'),
  })
  .map(({ isHttp, ...rest }) => {
    const protocol = rest.port === PORTS.http || isHttp ? 'http/1.1' : 'tcp'
    return { ...rest, protocol } as const
  })
