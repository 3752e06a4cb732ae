import test from 'ava'

import { assembleInbound, type InboundBundle, type WorkloadInstance } from '#policy/index.ts'
import { parseInboundBundle } from '#policy/model/index.ts'
import { assembleTokenRules } from '../../../policy/assemble/token-rules.ts'
import { instance, intentFrom, intentOf } from '../sample.ts'

const qotm = instance('qotm-v1')

function inbound(workload: WorkloadInstance, ...manifests: readonly string[]): InboundBundle {
  return assembleInbound(
    intentFrom(manifests.map((text, index) => ({ path: `${index}`, text }))),
    workload,
  )
}

function peerAuthentication(name: string, namespace: string, spec: string, created = ''): string {
  const time = created && `, creationTimestamp: "${created}"`
  return `apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: { name: ${name}, namespace: ${namespace}${time} }\nspec: ${spec}\n`
}

function policy(name: string, namespace: string, spec: string): string {
  return `apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: { name: ${name}, namespace: ${namespace} }\nspec: ${spec}\n`
}

test('the sample: who guards qotm', (t) => {
  const bundle = assembleInbound(intentOf(), qotm)
  t.is(bundle.mtls, 'STRICT')
  t.deepEqual(
    bundle.authorization.map(({ name }) => name),
    ['allow-edge', 'allow-nothing', 'deny-intruder'],
  )
  t.deepEqual(bundle.ports, [
    {
      port: 8080,
      name: 'http',
      protocol: 'http',
      mtls: 'STRICT',
      service: { host: 'qotm.qotm.svc.cluster.local', name: 'qotm', namespace: 'qotm' },
    },
  ])
})

/** §2.3, one row a scope: manifests, mode of the workload, mode of port 8080. */
const MODES: readonly (readonly [string, readonly string[], string, string])[] = [
  ['§2.3 row 5: nothing', [], 'PERMISSIVE', 'PERMISSIVE'],
  [
    '§2.3 rows 1, 6: mesh',
    [peerAuthentication('m', 'istio-system', '{ mtls: { mode: STRICT } }')],
    'STRICT',
    'STRICT',
  ],
  [
    '§2.3 row 6: mesh unset',
    [peerAuthentication('m', 'istio-system', '{}')],
    'PERMISSIVE',
    'PERMISSIVE',
  ],
  [
    '§2.3 rows 2, 7: namespace over mesh',
    [
      peerAuthentication('m', 'istio-system', '{ mtls: { mode: STRICT } }'),
      peerAuthentication('n', 'qotm', '{ mtls: { mode: DISABLE } }'),
    ],
    'DISABLE',
    'DISABLE',
  ],
  [
    '§2.3 row 7: namespace unset inherits the mesh',
    [
      peerAuthentication('m', 'istio-system', '{ mtls: { mode: STRICT } }'),
      peerAuthentication('n', 'qotm', '{ mtls: { mode: UNSET } }'),
    ],
    'STRICT',
    'STRICT',
  ],
  [
    '§2.3 rows 3, 4, 8, 9: workload over namespace, port over workload',
    [
      peerAuthentication('n', 'qotm', '{ mtls: { mode: STRICT } }'),
      peerAuthentication(
        'w',
        'qotm',
        '{ selector: { matchLabels: { app: qotm } }, mtls: { mode: PERMISSIVE }, portLevelMtls: { 8080: { mode: DISABLE } } }',
      ),
    ],
    'PERMISSIVE',
    'DISABLE',
  ],
  [
    '§2.3 row 9: port unset inherits the workload',
    [
      peerAuthentication('n', 'qotm', '{ mtls: { mode: DISABLE } }'),
      peerAuthentication(
        'w',
        'qotm',
        '{ selector: { matchLabels: { app: qotm } }, mtls: { mode: STRICT }, portLevelMtls: { 8080: {} } }',
      ),
    ],
    'STRICT',
    'STRICT',
  ],
  [
    '§2.3 row 8: another workload',
    [
      peerAuthentication(
        'w',
        'qotm',
        '{ selector: { matchLabels: { app: x } }, mtls: { mode: STRICT } }',
      ),
    ],
    'PERMISSIVE',
    'PERMISSIVE',
  ],
  [
    '§2.3 row 3: a selector in the root namespace is ignored',
    [
      peerAuthentication(
        'm',
        'istio-system',
        '{ selector: { matchLabels: { app: qotm } }, mtls: { mode: STRICT } }',
      ),
    ],
    'PERMISSIVE',
    'PERMISSIVE',
  ],
  [
    '§0.6, §2.3: the oldest of a scope wins entirely',
    [
      peerAuthentication('a', 'qotm', '{ mtls: { mode: DISABLE } }', '2026-01-02T00:00:00Z'),
      peerAuthentication('b', 'qotm', '{ mtls: { mode: STRICT } }', '2026-01-01T00:00:00Z'),
    ],
    'STRICT',
    'STRICT',
  ],
  [
    '§0.6, §2.3: without times the first name wins',
    [
      peerAuthentication('b', 'qotm', '{ mtls: { mode: STRICT } }'),
      peerAuthentication('a', 'qotm', '{ mtls: { mode: DISABLE } }'),
    ],
    'DISABLE',
    'DISABLE',
  ],
]

for (const [title, manifests, mode, portMode] of MODES) {
  test(title, (t) => {
    const bundle = inbound(qotm, ...manifests)
    t.deepEqual([bundle.mtls, bundle.ports[0]?.mtls], [mode, portMode])
  })
}

test('a dry-run PeerAuthentication decides nothing, and stands first in its scope for what is tried out', (t) => {
  const tried = (name: string, namespace: string, spec: string): string =>
    peerAuthentication(name, namespace, spec).replace(
      'metadata: {',
      'metadata: { annotations: { redoubt.io/dry-run: "true" },',
    )
  const permissive = peerAuthentication('a', 'qotm', '{ mtls: { mode: PERMISSIVE } }')
  const strict = tried('z', 'qotm', '{ mtls: { mode: STRICT } }')
  const bundle = inbound(qotm, permissive, strict)
  const mtlsDryRun = { mode: 'STRICT', policy: 'qotm/z' } as const
  t.like(bundle, { mtls: 'PERMISSIVE', mtlsDryRun })
  t.like(bundle.ports[0], { mtls: 'PERMISSIVE', mtlsDryRun })
  // What is in force for the workload stays before what is tried out for its namespace.
  const own = '{ selector: { matchLabels: { app: qotm } }, mtls: { mode: PERMISSIVE } }'
  t.is(inbound(qotm, strict, peerAuthentication('own', 'qotm', own)).mtlsDryRun, undefined)
  const port =
    '{ selector: { matchLabels: { app: qotm } }, portLevelMtls: { 8080: { mode: STRICT } } }'
  const onPort = inbound(qotm, permissive, tried('p', 'qotm', port))
  t.is(onPort.mtlsDryRun, undefined)
  t.deepEqual(onPort.ports[0]?.mtlsDryRun, { mode: 'STRICT', policy: 'qotm/p' })
  t.deepEqual(parseInboundBundle(Buffer.from(JSON.stringify(bundle))).mtlsDryRun, mtlsDryRun)
})

test('§2.3 row 3: a selector in the root namespace is ignored by workloads of that namespace too', (t) => {
  const root = instance('gate', { namespace: 'istio-system' })
  const spec = '{ selector: { matchLabels: { app: gate } }, mtls: { mode: STRICT } }'
  t.is(inbound(root, peerAuthentication('m', 'istio-system', spec)).mtls, 'PERMISSIVE')
})

test('§2.3 row 4, §2.4: a port that only a PeerAuthentication names has its mode', (t) => {
  const spec =
    '{ selector: { matchLabels: { app: qotm } }, portLevelMtls: { 9999: { mode: STRICT } } }'
  const { ports, mtls } = inbound(qotm, peerAuthentication('w', 'qotm', spec))
  t.is(mtls, 'PERMISSIVE')
  t.deepEqual(
    ports.map(({ port, mtls: mode, protocol }) => [port, mode, protocol]),
    [
      [8080, 'PERMISSIVE', 'http'],
      [9999, 'STRICT', 'auto'],
    ],
  )
})

test('§0.4 row 9: policies of the own and the root namespace, with and without selector; never by reference', (t) => {
  const { authorization } = inbound(
    qotm,
    policy('all-of-mesh', 'istio-system', '{ rules: [{}] }'),
    policy(
      'mesh-selected',
      'istio-system',
      '{ selector: { matchLabels: { app: qotm } }, rules: [{}] }',
    ),
    policy(
      'mesh-other',
      'istio-system',
      '{ selector: { matchLabels: { app: other } }, rules: [{}] }',
    ),
    policy('own', 'qotm', '{ rules: [{}] }'),
    policy(
      'own-both',
      'qotm',
      '{ selector: { matchLabels: { app: qotm, version: v1 } }, rules: [{}] }',
    ),
    policy(
      'own-other',
      'qotm',
      '{ selector: { matchLabels: { app: qotm, version: v2 } }, rules: [{}] }',
    ),
    policy('elsewhere', 'shop', '{ rules: [{}] }'),
    policy('by-reference', 'qotm', '{ targetRefs: [{ kind: Service, name: qotm }], rules: [{}] }'),
  )
  t.deepEqual(
    authorization.map(({ namespace, name }) => `${namespace}/${name}`),
    ['istio-system/all-of-mesh', 'istio-system/mesh-selected', 'qotm/own', 'qotm/own-both'],
  )
})

test('a service port by name finds the workload port of that name; protocols come from the service', (t) => {
  const service =
    'apiVersion: v1\nkind: Service\nmetadata: { name: s, namespace: qotm }\nspec: { selector: { app: qotm }, ports: [{ name: grpc, port: 80, targetPort: http }] }\n'
  const [port] = inbound(qotm, service).ports
  t.like(port, { port: 8080, protocol: 'grpc', service: { name: 's' } })
})

test('§0.7 row 1: what comes to a port that a Service calls UDP is TCP, and the first to name a port is the one', (t) => {
  const declared = (...ports: readonly string[]) => {
    const list = ports.map((port, index) => `{ ${port}, port: ${80 + index}, targetPort: 8080 }`)
    const service = `apiVersion: v1\nkind: Service\nmetadata: { name: s, namespace: qotm }\nspec: { selector: { app: qotm }, ports: [${list}] }\n`
    return inbound(qotm, service).ports[0]?.protocol
  }
  t.is(declared('name: http, protocol: UDP'), 'tcp')
  t.is(declared('name: udp-x'), 'tcp')
  t.is(declared('name: http', 'name: h3, protocol: UDP'), 'http')
  t.is(declared('name: h3, protocol: UDP', 'name: http'), 'tcp')
})

test('without a service the port name tells the protocol', (t) => {
  const ports = ['tcp-x', 'grpc', 'plain', ''].map((name, index) => ({
    port: 1000 + index,
    name,
    address: 'a:1',
  }))
  t.deepEqual(
    inbound(instance('x', { ports })).ports.map(({ protocol }) => protocol),
    ['tcp', 'grpc', 'auto', 'auto'],
  )
})

test('row 28 no private key goes to a sidecar, inline, escaped or fetched', (t) => {
  const jwk = { kty: 'RSA', n: 'AQAB', e: 'AQAB', d: 'c2VjcmV0', p: 'c2VjcmV0' }
  const jwks = JSON.stringify({ keys: [jwk] })
  const escaped = jwks.replace('"d"', '"\\u0064"').replace('"p"', '"\\u0070"')
  const rule = {
    audiences: [],
    fromHeaders: [],
    fromParams: [],
    fromCookies: [],
    forwardOriginalToken: false,
    outputClaimToHeaders: [],
    timeoutMs: 1,
    spaceDelimitedClaims: [],
  }
  const jwtRules = [
    { ...rule, jwks },
    { ...rule, jwks: escaped },
    { ...rule, jwksUri: 'https://k' },
  ]
  const requestAuthentications = [{ namespace: 'n', name: 'a', targeted: false, jwtRules }]
  const mesh = intentOf().mesh
  const rules = assembleTokenRules(
    { requestAuthentications, mesh },
    { namespace: 'n', labels: {} },
    () => jwks,
  )
  t.is(rules.length, 3)
  for (const { keys } of rules) {
    t.deepEqual(keys.kind !== 'missing' && JSON.parse(keys.jwks), {
      keys: [{ kty: 'RSA', n: 'AQAB', e: 'AQAB' }],
    })
  }
})

test('§3.1 row 2: the rules of all objects that apply, by issuer; the namespace’s before the root’s, then by age', (t) => {
  const of = (name: string, created: string, rules: string, namespace = 'qotm') =>
    `apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: { name: ${name}, namespace: ${namespace}, creationTimestamp: "${created}" }
spec: { jwtRules: [${rules}] }
`
  const jwks = `jwks: '{"keys":[]}'`
  const bundle = inbound(
    qotm,
    of('young', '2024-01-02T00:00:00Z', `{ issuer: b, ${jwks}, audiences: [young] }`),
    of(
      'old',
      '2024-01-01T00:00:00Z',
      `{ issuer: b, ${jwks}, audiences: [old] }, { issuer: a, ${jwks} }`,
    ),
    of('root', '2023-01-03T00:00:00Z', `{ issuer: b, ${jwks} }`, 'istio-system'),
    of('other', '2024-01-01T00:00:00Z', `{ issuer: z, ${jwks} }`, 'elsewhere'),
  )
  t.deepEqual(
    bundle.tokenRules.map(({ issuer, audiences }) => [issuer, ...(audiences ?? [])]),
    [['a'], ['b', 'old'], ['b', 'young'], ['b']],
  )
})
