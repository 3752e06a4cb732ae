/** Rows of istio-semantics §0–§3 that are about reading, selecting and deciding as a whole. */
import { readFileSync } from 'node:fs'
import test from 'ava'
import { parseSpiffeId } from '#ca/spiffe/index.ts'
import { hostContains, hostsOverlap } from '#policy/dialects/istio/hosts.ts'
import {
  assembleInbound,
  type CheckQuery,
  createChecker,
  type DocumentReport,
  readManifests,
} from '#policy/index.ts'
import { bySpecificity, hostMatches } from '../../policy/assemble/select.ts'
import { portProtocol } from '../../policy/model/port-protocol.ts'
import { instance } from './sample.ts'

const read = (...manifests: readonly unknown[]) =>
  readManifests([
    { path: 'rows.yaml', text: manifests.map((one) => JSON.stringify(one)).join('\n---\n') },
  ])
const report = (manifest: unknown): DocumentReport => {
  const [first] = read(manifest).documents
  if (!first) throw new Error('no report')
  return first
}

/** §0.1: kind, group, served versions, and the least spec that is valid. */
const SERVED: readonly (readonly [string, string, readonly string[], unknown])[] = [
  ['AuthorizationPolicy', 'security', ['v1', 'v1beta1'], {}],
  ['PeerAuthentication', 'security', ['v1', 'v1beta1'], {}],
  ['RequestAuthentication', 'security', ['v1', 'v1beta1'], {}],
  [
    'VirtualService',
    'networking',
    ['v1', 'v1beta1', 'v1alpha3'],
    { hosts: ['a'], http: [{ route: [{ destination: { host: 'a' } }] }] },
  ],
  ['DestinationRule', 'networking', ['v1', 'v1beta1', 'v1alpha3'], { host: 'a' }],
  [
    'Gateway',
    'networking',
    ['v1', 'v1beta1', 'v1alpha3'],
    { servers: [{ port: { number: 80, name: 'http', protocol: 'HTTP' }, hosts: ['a.b'] }] },
  ],
  [
    'ServiceEntry',
    'networking',
    ['v1', 'v1beta1', 'v1alpha3'],
    { hosts: ['a.b'], ports: [{ number: 80, name: 'http' }], resolution: 'DNS' },
  ],
  ['Sidecar', 'networking', ['v1', 'v1beta1', 'v1alpha3'], { egress: [{ hosts: ['./*'] }] }],
  ['WorkloadEntry', 'networking', ['v1', 'v1beta1', 'v1alpha3'], { address: '10.0.0.1' }],
  ['WorkloadGroup', 'networking', ['v1', 'v1beta1', 'v1alpha3'], { template: {} }],
  ['ProxyConfig', 'networking', ['v1beta1'], {}],
  ['Telemetry', 'telemetry', ['v1', 'v1alpha1'], {}],
]
const VERSIONS = ['v1', 'v1beta1', 'v1alpha3', 'v1alpha1']

test('§0.1 rows 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12: kinds are read in the versions that are served', (t) => {
  for (const [kind, group, served, spec] of SERVED) {
    for (const version of VERSIONS) {
      const apiVersion = `${group}.istio.io/${version}`
      const { valid, errors } = report({ apiVersion, kind, metadata: { name: 'a' }, spec })
      t.is(valid, served.includes(version), `${kind} ${version}: ${JSON.stringify(errors)}`)
    }
  }
})

test('§0.1 rows 13, 14, 15, §1.3 rows 7, 9, 13: what extends Envoy is recognised, and refused with the reason', (t) => {
  for (const [apiVersion, kind] of [
    ['networking.istio.io/v1alpha3', 'EnvoyFilter'],
    ['extensions.istio.io/v1alpha1', 'WasmPlugin'],
    ['extensions.istio.io/v1alpha1', 'TrafficExtension'],
  ]) {
    const { valid, errors } = report({ apiVersion, kind, metadata: { name: 'a' }, spec: {} })
    t.false(valid)
    t.regex(errors[0]?.message ?? '', /changes the inside of Envoy/)
    t.regex(errors[0]?.hint ?? '', /^use \w/)
  }
})

const ap = (spec: unknown, more: object = {}, metadata: object = {}) => ({
  apiVersion: 'security.istio.io/v1',
  kind: 'AuthorizationPolicy',
  metadata: { name: 'p', namespace: 'app', ...metadata },
  spec,
  ...more,
})

test('§0.2 rows 1, 2: shape and meaning are both judged, of every object', (t) => {
  const [shape, meaning] = read(
    ap({ rules: 'all' }),
    ap({ action: 'DENY' }, {}, { name: 'q' }),
  ).documents
  t.is(shape?.errors[0]?.pointer, '/spec/rules')
  t.regex(meaning?.errors[0]?.message ?? '', /DENY/)
})

test('§0.2 row 3: unknown fields are refused, at the top as in the spec', (t) => {
  t.is(report(ap({}, { extra: 1 })).errors[0]?.pointer, '/extra')
  t.is(report(ap({ extra: 1 })).errors[0]?.pointer, '/spec/extra')
  t.true(report(ap({}, { status: {} })).valid)
})

test('§0.2 rows 4, 5: a kind that nobody knows is refused; warnings are told beside the verdict', (t) => {
  const unknown = { apiVersion: 'security.istio.io/v1', kind: 'Nothing', metadata: { name: 'a' } }
  t.false(report(unknown).valid)
  const { valid, warnings } = report(ap({ selector: {}, rules: [{}] }))
  t.true(valid)
  t.is(warnings.length, 1)
})

test('§0.3 row 16: hosts overlap by their tails, and the dot belongs to the tail', (t) => {
  for (const [a, b, wanted] of [
    ['a.foo.com', 'a.foo.com', true],
    ['*.foo.com', 'a.foo.com', true],
    ['*.foo.com', 'foo.com', false],
    ['*foo.com', 'foo.com', true],
    ['*foo.com', 'barfoo.com', true],
    ['*.foo.com', '*.com', true],
    ['*.foo.com', '*.bar.com', false],
    ['a.com', 'b.com', false],
  ] as const) {
    t.is(hostsOverlap(a, b), wanted, `${a} ${b}`)
    t.is(hostsOverlap(b, a), wanted, `${b} ${a}`)
  }
  t.true(hostMatches('*.foo.com', 'a.foo.com'))
  t.false(hostMatches('*.foo.com', 'foo.com'))
})

test('§0.3 row 17: one host is inside another, and not the other way round', (t) => {
  t.true(hostContains('*.com', '*.foo.com'))
  t.false(hostContains('*.foo.com', '*.com'))
  t.true(hostContains('*.foo.com', 'a.foo.com'))
  t.false(hostContains('a.foo.com', '*.foo.com'))
  t.true(hostContains('a', 'a'))
})

test('§0.3 row 18: names before wildcards, longer before shorter, then by alphabet', (t) => {
  const sorted = ['*', '*.b', '*.a.b', 'b', 'c.d', 'a', 'a.a'].toSorted(bySpecificity)
  t.deepEqual(sorted, ['a.a', 'c.d', 'a', 'b', '*.a.b', '*.b', '*'])
})

test('§0.4 rows 10, 11: policies by reference are for gateways and waypoints: no sidecar applies them, whatever its labels', (t) => {
  const gateway = { kind: 'Gateway', group: 'gateway.networking.k8s.io', name: 'gw' }
  const labels = { app: 'web', 'gateway.networking.k8s.io/gateway-name': 'gw' }
  const { intent, documents } = read(
    ap({ targetRefs: [gateway] }, {}, { name: 'by-reference' }),
    ap({ selector: { matchLabels: { app: 'web' } }, rules: [{}] }, {}, { name: 'by-labels' }),
  )
  const { authorization } = assembleInbound(intent, instance('web', { namespace: 'app', labels }))
  t.deepEqual(
    authorization.map(({ name }) => name),
    ['by-labels'],
  )
  t.regex(documents[0]?.warnings[0]?.message ?? '', /for gateways and waypoints/)
})

test('§0.5 row 1: without exportTo an object is for every namespace', (t) => {
  const { intent } = read({
    apiVersion: 'networking.istio.io/v1',
    kind: 'DestinationRule',
    metadata: { name: 'a', namespace: 'app' },
    spec: { host: 'a' },
  })
  t.deepEqual([...(intent.destinationRules[0]?.exportTo ?? [])], ['*'])
})

test('§0.7 rows 1, 2: transport UDP, then appProtocol', (t) => {
  const of = (declared: object) => portProtocol({ name: 'http', port: 80, ...declared })
  t.is(of({ protocol: 'UDP' }), 'udp')
  t.is(of({ protocol: 'UDP', appProtocol: 'http2' }), 'udp')
  t.is(of({ appProtocol: 'grpc' }), 'grpc')
  t.is(of({ name: 'tcp', appProtocol: 'http-x' }), 'http', 'read as a name is')
  t.is(of({ name: 'tcp', appProtocol: 'GRPC-web-x' }), 'http')
  t.is(of({ appProtocol: 'kubernetes.io/h2c' }), 'http2')
  t.is(of({ appProtocol: 'kubernetes.io/ws' }), 'http')
  t.is(of({ appProtocol: 'kubernetes.io/wss' }), 'tls')
  t.is(of({ appProtocol: 'my-own' }), 'auto')
})

test('§0.7 row 3: the name of the port, or what stands before its first dash, in any case', (t) => {
  const of = (name: string) => portProtocol({ name, port: 80 })
  t.is(of('http'), 'http')
  t.is(of('HTTP-web'), 'http')
  t.is(of('http2-x'), 'http2')
  t.is(of('grpc-web'), 'http')
  t.is(of('grpc-web-x'), 'http')
  t.is(of('grpc-webx'), 'grpc')
  t.is(of('httpx'), 'auto')
})

test('§0.7 rows 4, 5, §1.3 row 14: what names mean, and ports on which servers speak first', (t) => {
  const meanings = {
    tcp: 'tcp',
    udp: 'udp',
    grpc: 'grpc',
    'grpc-web': 'http',
    http: 'http',
    http_proxy: 'http',
    http2: 'http2',
    https: 'tls',
    tls: 'tls',
    mongo: 'tcp',
    redis: 'tcp',
    mysql: 'tcp',
  }
  for (const [name, meaning] of Object.entries(meanings)) {
    t.is(portProtocol({ name, port: 80 }), meaning as never, name)
  }
  for (const port of [25, 53, 3306, 27_017]) t.is(portProtocol({ name: 'x', port }), 'tcp')
  t.is(portProtocol({ name: 'x', port: 80 }), 'auto')
})

test('§0.8.5: templates that Envoy would refuse with the whole listener are refused here', (t) => {
  for (const path of ['{*}', '{**}', 'foo/{*}', '//{*}', '/{*}//', '/a/{**}//']) {
    const { errors } = report(ap({ rules: [{ to: [{ operation: { paths: [path] } }] }] }))
    t.true(errors.length > 0, path)
  }
})

const MESH = { apiVersion: 'redoubt.io/v1alpha1', kind: 'Mesh', metadata: { name: 'mesh' } }
const WORKLOAD = {
  apiVersion: 'redoubt.io/v1alpha1',
  kind: 'Workload',
  metadata: { name: 'web', namespace: 'app', labels: { app: 'web' } },
  spec: { serviceAccount: 'web', ports: [{ name: 'http', port: 80 }], run: { command: ['x'] } },
}
const QUERY: CheckQuery = {
  to: { namespace: 'app', name: 'web' },
  from: parseSpiffeId('spiffe://cluster.local/ns/app/sa/cli'),
  protocol: 'http1',
}
const decide = (manifests: readonly unknown[], query: Partial<CheckQuery>) =>
  createChecker(read(MESH, WORKLOAD, ...manifests).intent)({ ...QUERY, ...query })

test('§0.8.28: what a bad provider denies is told by the policy’s own name', (t) => {
  const custom = ap({ action: 'CUSTOM', provider: { name: 'gone' }, rules: [{}] })
  const answer = decide([custom], {})
  t.is(answer.policy, 'app/p')
  t.is(answer.rule, 0)
})

test('§1.3 row 15: a CORS preflight needs to be allowed like any request: CORS comes after authorization', (t) => {
  const onlyGet = ap({ rules: [{ to: [{ operation: { methods: ['GET'] } }] }] })
  const headers = { origin: ['https://o'], 'access-control-request-method': ['GET'] }
  t.like(decide([onlyGet], { method: 'OPTIONS', headers }), { decision: 'deny', status: 403 })
  t.like(decide([onlyGet], { method: 'GET', headers }), { decision: 'allow' })
})

test('§1.10 row 1: the decision tells what dry-run policies would have done, and by which rule', (t) => {
  const dry = { annotations: { 'istio.io/dry-run': 'true' } }
  const deny = ap({ action: 'DENY', rules: [{}] }, {}, { ...dry, name: 'd' })
  const allow = ap({}, {}, { ...dry, name: 'a' })
  t.deepEqual(decide([deny, allow], {}).dryRun, [
    { policy: 'app/a', action: 'ALLOW', result: 'denied', rule: null },
    { policy: 'app/d', action: 'DENY', result: 'denied', rule: 0 },
  ])
})

const provider = (http: object) =>
  read({ ...MESH, spec: { extensionProviders: [{ name: 'p', envoyExtAuthzHttp: http }] } })
const AUTHORIZER = { service: 'authz.app.svc.cluster.local', port: 8000 }

test('§1.11 rows 1, 2, 3, 5: service and port are needed; 600 s, 403 and no are the rest', (t) => {
  const isValid = (http: object) => provider(http).documents[0]?.valid
  t.true(isValid(AUTHORIZER))
  t.true(
    isValid({ ...AUTHORIZER, service: 'app/authz.app.svc.cluster.local', statusOnError: '503' }),
  )
  for (const bad of [
    { port: 8000 },
    { service: 'a' },
    { ...AUTHORIZER, port: 0 },
    { ...AUTHORIZER, port: 65_536 },
    { ...AUTHORIZER, service: 'a/b/c' },
    { ...AUTHORIZER, timeout: '1us' },
    { ...AUTHORIZER, statusOnError: '299' },
    { ...AUTHORIZER, statusOnError: 'no' },
  ]) {
    t.false(isValid(bad), JSON.stringify(bad))
  }
  const text = JSON.stringify(provider(AUTHORIZER).intent.mesh.extensionProviders)
  t.regex(text, /"timeoutMs":600000/)
  t.regex(text, /403/)
  t.notRegex(text, /"failOpen":true/)
})

test('§1.11 rows 6, 14: clearRouteCache changes nothing; includeHeadersInCheck is the old name', (t) => {
  const of = (http: object) => provider({ ...AUTHORIZER, ...http }).intent.mesh.extensionProviders
  t.deepEqual(of({ clearRouteCache: true }), of({}))
  t.deepEqual(of({ includeHeadersInCheck: ['x-a'] }), of({ includeRequestHeadersInCheck: ['x-a'] }))
})

test('§1.12 row 1: DEFAULT, and nothing said, are BASE', (t) => {
  const mesh = (spec: object) => read({ ...MESH, spec }).intent.mesh.pathNormalization
  t.is(mesh({ pathNormalization: { normalization: 'DEFAULT' } }), 'BASE')
  t.is(mesh({}), 'BASE')
  t.is(mesh({ pathNormalization: { normalization: 'NONE' } }), 'NONE')
})

test('§2.5 row 4: a headless service is spoken to endpoint by endpoint, each as it can', (t) => {
  const service = (clusterIP?: string) => ({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web', namespace: 'app' },
    spec: {
      selector: { app: 'web' },
      ports: [{ name: 'http', port: 80 }],
      ...(clusterIP && { clusterIP }),
    },
  })
  t.true(report(service('None')).valid)
  t.deepEqual(read(service('None')).intent.services, read(service()).intent.services)
})

test('§3.5 rows 2, 3: no sidecar fetches keys: what asks for them belongs to the policy server', (t) => {
  const verifier = readFileSync('ca/jwt/request/key-set.ts', 'utf8')
  t.notRegex(verifier, /\bfetch\(|node:https?|node:net/)
  const compile = readFileSync('proxy/sync/compile.ts', 'utf8')
  t.notRegex(compile, /key-sets|fetch-text/)
})

test('§0.8 on purpose: what is refused though Envoy lets it pass', (t) => {
  const allowAll = ap({ rules: [{ to: [{ operation: { paths: ['/a*', '/x*'] } }] }] })
  const ask = (query: Partial<CheckQuery>) => decide([allowAll], query)
  t.like(ask({ protocol: 'http2', method: 'get', path: '/a' }), { status: 400 })
  t.like(ask({ protocol: 'http2', method: 'BREW', path: '/a' }), { status: 400 })
  t.like(ask({ path: '/x/..;/a' }), { status: 400, reason: 'ambiguous-path' })
  t.like(ask({ host: 'user@web', path: '/a' }), { status: 400 })
  t.like(ask({ path: '/a' }), { decision: 'allow' })
})
