import test from 'ava'

import {
  assembleDestination,
  type DestinationBundle,
  type WorkloadInstance,
} from '#policy/index.ts'
import { INSTANCES, instance, intentFrom, intentOf, SAMPLE } from '../sample.ts'

type Known = Extract<DestinationBundle, { readonly kind: 'known' }>

const edge = instance('edge')
const QOTM = 'qotm.qotm.svc.cluster.local'
const DB = 'quotes-db.qotm.svc.cluster.local'

interface Asking {
  readonly host?: string
  readonly port?: number
  readonly client?: WorkloadInstance
  readonly instances?: readonly WorkloadInstance[]
}

function destination(manifests: readonly string[], asking: Asking = {}): DestinationBundle {
  const { host = 'quotes-db', port = 80, client = edge, instances = INSTANCES } = asking
  return assembleDestination(intentOf(...manifests), instances, client, host, port)
}

function known(manifests: readonly string[], asking: Asking = {}): Known {
  const bundle = destination(manifests, asking)
  if (bundle.kind !== 'known') throw new Error('unknown')
  return bundle
}

/** A networking manifest of kind `kind`. */
function manifest(kind: string, name: string, spec: string, metadata = 'namespace: qotm'): string {
  return `apiVersion: networking.istio.io/v1\nkind: ${kind}\nmetadata: { name: ${name}, ${metadata} }\nspec: ${spec}\n`
}

const virtualService = (spec: string, name = 'v', metadata?: string): string =>
  manifest('VirtualService', name, spec, metadata)
const rule = (spec: string, name = 'd', metadata?: string): string =>
  manifest('DestinationRule', name, spec, metadata)

const TO_DB = '[{ destination: { host: quotes-db } }]'

/** Route names in order. */
function routeNames(http: string, asking?: Asking): readonly string[] {
  return known([virtualService(`{ hosts: [quotes-db], http: ${http} }`)], asking).routes.map(
    ({ name }) => name,
  )
}

test('the sample: 90/10 between subsets, retries on 503, mutual TLS with named accounts', (t) => {
  const bundle = known([], { host: 'qotm' })
  t.is(bundle.host, QOTM)
  t.deepEqual(bundle.routes, [
    {
      name: '',
      action: {
        kind: 'forward',
        destinations: [
          { cluster: `outbound|80|v1|${QOTM}`, weight: 90 },
          { cluster: `outbound|80|v2|${QOTM}`, weight: 10 },
        ],
        retry: { attempts: 3, retryOn: ['503'], backoffMs: 25 },
      },
    },
  ])
  t.deepEqual(bundle.clusters[`outbound|80|v2|${QOTM}`], {
    service: { host: QOTM, name: 'qotm', namespace: 'qotm' },
    subset: 'v2',
    loadBalancing: 'LEAST_REQUEST',
    connectionPool: {
      maxConnections: 4294967295,
      maxPendingRequests: 4294967295,
      maxRequests: 4294967295,
      maxRequestsPerConnection: 0,
      idleTimeoutMs: 3_600_000,
      connectTimeoutMs: 10_000,
    },
    sni: `outbound_.80_.v2_.${QOTM}`,
    endpoints: [
      {
        address: 'qotm-v2.test:15006',
        tls: 'mutual',
        identities: ['spiffe://cluster.local/ns/qotm/sa/qotm' as never],
        workload: {
          namespace: 'qotm',
          name: 'qotm-v2',
          serviceAccount: 'qotm',
          labels: { app: 'qotm', version: 'v2' },
        },
      },
    ],
  })
})

test('a service without a VirtualService has one route to itself, with the default retries', (t) => {
  t.deepEqual(known([]).routes, [
    {
      name: 'default',
      action: {
        kind: 'forward',
        destinations: [{ cluster: `outbound|80||${DB}`, weight: 1 }],
        retry: {
          attempts: 2,
          retryOn: [
            'connect-failure',
            'refused-stream',
            'unavailable',
            'cancelled',
            'retriable-status-codes',
          ],
          backoffMs: 25,
        },
      },
    },
  ])
})

/** §5.2: names by which a client in `qotm`, and one elsewhere, reaches the service. */
const NAMES: readonly (readonly [string, string, boolean])[] = [
  ['quotes-db', 'qotm', true],
  ['QUOTES-DB', 'qotm', true],
  ['quotes-db.qotm', 'qotm', true],
  ['quotes-db.qotm.svc', 'qotm', true],
  [DB, 'qotm', true],
  [`${DB}.`, 'qotm', true],
  ['quotes-db', 'shop', false],
  ['quotes-db.qotm', 'shop', true],
  ['quotes-db.qotm.svc', 'shop', true],
  [DB, 'shop', true],
  ['quotes-db.qotm.svc.cluster', 'qotm', false],
  ['quotes-db.shop', 'qotm', false],
]

for (const [host, namespace, found] of NAMES) {
  test(`${host} is ${found ? 'known' : 'unknown'} to a client in ${namespace}`, (t) => {
    const bundle = destination([], { host, client: instance('edge', { namespace }) })
    t.is(bundle.kind, found ? 'known' : 'unknown')
    if (bundle.kind === 'known') t.is(bundle.host, DB)
  })
}

test('a port that the service does not have is unknown', (t) => {
  t.is(destination([], { port: 8080 }).kind, 'unknown')
})

test('a service that is exported elsewhere is unknown', (t) => {
  const service = (exportTo: string): string =>
    `apiVersion: v1\nkind: Service\nmetadata: { name: s, namespace: shop, annotations: { networking.istio.io/exportTo: "${exportTo}" } }\nspec: { ports: [{ port: 80 }] }\n`
  const seen = (exportTo: string): string =>
    destination([service(exportTo)], { host: 's.shop' }).kind
  t.deepEqual(['*', '.', 'qotm', 'x,qotm', '~'].map(seen), [
    'known',
    'unknown',
    'known',
    'known',
    'unknown',
  ])
})

test('routes: what depends on the client is decided here', (t) => {
  const http = (match: string): string =>
    `[{ name: a, match: ${match}, route: ${TO_DB} }, { name: b, route: ${TO_DB} }]`
  const taken = (match: string): boolean => routeNames(http(match)).includes('a')
  t.true(taken('[{ uri: { prefix: /a }, port: 80 }]'))
  t.false(taken('[{ uri: { prefix: /a }, port: 81 }]'))
  t.true(taken('[{ sourceNamespace: qotm }]'))
  t.false(taken('[{ sourceNamespace: shop }]'))
  t.true(taken('[{ sourceLabels: { app: edge } }]'))
  t.false(taken('[{ sourceLabels: { app: other } }]'))
  t.false(taken('[{ gateways: [front] }]'))
  t.true(
    taken('[{ gateways: [mesh, front], sourceNamespace: shop }]'),
    'gateways replace the source conditions',
  )
  t.true(taken('[{ sourceNamespace: shop }, { sourceNamespace: qotm }]'), 'blocks are alternatives')
})

test('routes end at the first that takes everything', (t) => {
  const http = (match: string): string =>
    `[{ name: a, match: ${match}, route: ${TO_DB} }, { name: b, route: ${TO_DB} }]`
  t.deepEqual(routeNames(http('[{ uri: { prefix: / } }]')), ['a'])
  t.deepEqual(routeNames(http('[{ uri: { regex: ".*" } }]')), ['a'])
  t.deepEqual(routeNames(http('[{}]')), ['a'])
  t.deepEqual(routeNames(http('[{ uri: { exact: / } }]')), ['a', 'b'])
  t.deepEqual(routeNames(http('[{ uri: { prefix: / }, headers: { a: {} } }]')), ['a', 'b'])
})

test('a VirtualService that takes nothing of this client leaves no route', (t) => {
  t.deepEqual(routeNames(`[{ match: [{ sourceNamespace: shop }], route: ${TO_DB} }]`), [])
})

test('weights: one destination needs none, zero among several is nothing', (t) => {
  const weights = (route: string): readonly unknown[] => {
    const [first] = known([
      virtualService(`{ hosts: [quotes-db], http: [{ route: ${route} }] }`),
    ]).routes
    return first?.action.kind === 'forward'
      ? first.action.destinations.map(({ weight }) => weight)
      : []
  }
  const to = (weight: number): string => `{ destination: { host: quotes-db }, weight: ${weight} }`
  t.deepEqual(weights(`[${to(0)}]`), [1])
  t.deepEqual(weights(`[${to(3)}, ${to(0)}, ${to(7)}]`), [3, 7])
})

test('a destination that does not exist has no cluster, and the route stays', (t) => {
  const bundle = known([
    virtualService(
      '{ hosts: [quotes-db], http: [{ route: [{ destination: { host: nobody } , weight: 1 }, { destination: { host: quotes-db, subset: v9 }, weight: 1 }, { destination: { host: quotes-db, port: { number: 81 } }, weight: 1 }] }] }',
    ),
  ])
  t.deepEqual(Object.keys(bundle.clusters), [])
  const [route] = bundle.routes
  t.is(route?.action.kind === 'forward' && route.action.destinations.length, 3)
})

test("a destination without a port takes the service's only one", (t) => {
  const other =
    'apiVersion: v1\nkind: Service\nmetadata: { name: other, namespace: qotm }\nspec: { selector: { app: quotes-db }, ports: [{ name: http, port: 9000, targetPort: 8080 }] }\n'
  const { clusters } = known([
    other,
    virtualService('{ hosts: [quotes-db], http: [{ route: [{ destination: { host: other } }] }] }'),
  ])
  t.deepEqual(Object.keys(clusters), ['outbound|9000||other.qotm.svc.cluster.local'])
})

const OF_TWO = (one: string, two: string): readonly string[] => {
  const route = (name: string): string => `[{ name: ${name}, route: ${TO_DB} }]`
  return [one.replace('HTTP', route('one')), two.replace('HTTP', route('two'))]
}

/** §5.2: which of two VirtualServices for one host wins. */
const WINNERS: readonly (readonly [string, string, string, string])[] = [
  [
    'the first name',
    virtualService('{ hosts: [quotes-db], http: HTTP }', 'b'),
    virtualService('{ hosts: [quotes-db], http: HTTP }', 'a'),
    'two',
  ],
  [
    'the oldest',
    virtualService(
      '{ hosts: [quotes-db], http: HTTP }',
      'a',
      'namespace: qotm, creationTimestamp: 2026-01-02T00:00:00Z',
    ),
    virtualService(
      '{ hosts: [quotes-db], http: HTTP }',
      'b',
      'namespace: qotm, creationTimestamp: 2026-01-01T00:00:00Z',
    ),
    'two',
  ],
  [
    'private before public',
    virtualService(`{ hosts: [${DB}], http: HTTP }`, 'a', 'namespace: shop'),
    virtualService('{ hosts: [quotes-db], exportTo: ["."], http: HTTP }', 'b'),
    'two',
  ],
  [
    'exported by name before public',
    virtualService(`{ hosts: [${DB}], http: HTTP }`, 'a', 'namespace: shop'),
    virtualService(`{ hosts: [${DB}], exportTo: [qotm], http: HTTP }`, 'b', 'namespace: other'),
    'two',
  ],
  [
    'exact before wildcard',
    virtualService('{ hosts: ["*.qotm.svc.cluster.local"], exportTo: ["."], http: HTTP }', 'a'),
    virtualService('{ hosts: [quotes-db], http: HTTP }', 'b'),
    'two',
  ],
  [
    'the more specific wildcard',
    virtualService('{ hosts: ["*.cluster.local"], http: HTTP }', 'a'),
    virtualService('{ hosts: ["*.qotm.svc.cluster.local"], http: HTTP }', 'b'),
    'two',
  ],
  [
    'of those for sidecars',
    virtualService('{ hosts: [quotes-db], gateways: [front], http: HTTP }', 'a'),
    virtualService('{ hosts: [quotes-db], gateways: [front, mesh], http: HTTP }', 'b'),
    'two',
  ],
  [
    'of those that are visible',
    virtualService(`{ hosts: [${DB}], exportTo: ["."], http: HTTP }`, 'a', 'namespace: shop'),
    virtualService('{ hosts: [quotes-db], http: HTTP }', 'b'),
    'two',
  ],
]

for (const [title, one, two, winner] of WINNERS) {
  test(`which VirtualService: ${title}`, (t) => {
    t.deepEqual(
      known(OF_TWO(one, two)).routes.map(({ name }) => name),
      [winner],
    )
  })
}

test('a VirtualService for a host that nobody serves is served on port 80', (t) => {
  const made = virtualService(`{ hosts: [made.up], http: [{ route: ${TO_DB} }] }`)
  t.is(known([made], { host: 'made.up' }).host, 'made.up')
  t.is(destination([made], { host: 'made.up', port: 8080 }).kind, 'unknown')
})

test('redirects and answers are passed on, and need no cluster', (t) => {
  const { routes, clusters } = known([
    virtualService(
      '{ hosts: [quotes-db], http: [{ match: [{ uri: { exact: /a } }], redirect: { uri: /b } }, { directResponse: { status: 503 } }] }',
    ),
  ])
  t.deepEqual(
    routes.map(({ action }) => action),
    [
      { kind: 'redirect', code: 301, uri: '/b' },
      { kind: 'respond', status: 503, body: '' },
    ],
  )
  t.deepEqual(clusters, {})
})

// TLS and identities (§2.5)

const strict = (spec: string, namespace = 'qotm', name = 'p'): string =>
  `apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: { name: ${name}, namespace: ${namespace} }\nspec: ${spec}\n`

/** How quotes-db is reached under `manifests`, in a mesh without the sample's PeerAuthentication. */
function tlsOf(manifests: readonly string[], instances = INSTANCES): readonly string[] {
  const sample = SAMPLE.replace(/mode: STRICT/, 'mode: UNSET')
  const intent = intentFrom(
    [sample, ...manifests].map((text, index) => ({ path: `${index}`, text })),
  )
  const bundle = assembleDestination(intent, instances, edge, 'quotes-db', 80)
  if (bundle.kind !== 'known') throw new Error('unknown')
  const [cluster] = Object.values(bundle.clusters)
  return cluster?.endpoints.map(({ tls, identities }) => `${tls} ${identities.join()}`) ?? []
}

const MUTUAL = 'mutual spiffe://cluster.local/ns/qotm/sa/quotes-db'
const bare = INSTANCES.map((one) => (one.name === 'quotes-db' ? { ...one, sidecar: false } : one))

const TLS: readonly (readonly [
  string,
  readonly string[],
  string,
  (readonly WorkloadInstance[])?,
])[] = [
  ['§2.5 row 2: a sidecar is spoken to in mutual TLS, PERMISSIVE or not', [], MUTUAL],
  [
    '§2.5 row 1: the mesh disables it',
    [strict('{ mtls: { mode: DISABLE } }', 'istio-system')],
    'none ',
  ],
  [
    '§2.5 row 3: the workload disables it',
    [strict('{ selector: { matchLabels: { app: quotes-db } }, mtls: { mode: DISABLE } }')],
    'none ',
  ],
  [
    '§2.5 row 3: the port disables it',
    [
      strict(
        '{ selector: { matchLabels: { app: quotes-db } }, portLevelMtls: { 8080: { mode: DISABLE } } }',
      ),
    ],
    'none ',
  ],
  [
    '§2.5 row 1: the hint of a disabled mesh is not undone by the workload',
    [
      strict('{ mtls: { mode: DISABLE } }', 'istio-system'),
      strict('{ selector: { matchLabels: { app: quotes-db } }, mtls: { mode: STRICT } }'),
    ],
    'none ',
  ],
  ['§2.5 row 3: no sidecar, no TLS', [], 'none ', bare],
  [
    '§2.5 row 3: a DestinationRule disables it',
    [rule('{ host: quotes-db, trafficPolicy: { tls: { mode: DISABLE } } }')],
    'none ',
  ],
  [
    '§2.5: a DestinationRule insists on it, sidecar or not',
    [rule('{ host: quotes-db, trafficPolicy: { tls: { mode: ISTIO_MUTUAL } } }')],
    MUTUAL,
    bare,
  ],
]

for (const [title, manifests, wanted, instances] of TLS) {
  test(title, (t) => {
    t.deepEqual(tlsOf(manifests, instances), [wanted])
  })
}

test('TLS: automatic TLS can be turned off for the mesh; aliases are identities too', (t) => {
  const mesh = (spec: string): ReturnType<typeof intentFrom> =>
    intentFrom([{ path: 'a', text: SAMPLE.replace('{ trustDomain: cluster.local }', spec) }])
  const first = (spec: string) => {
    const bundle = assembleDestination(mesh(spec), INSTANCES, edge, 'quotes-db', 80)
    return bundle.kind === 'known' ? Object.values(bundle.clusters)[0]?.endpoints[0] : undefined
  }
  t.is(first('{ enableAutoMtls: false }')?.tls, 'none')
  t.deepEqual(first('{ trustDomain: a.b, trustDomainAliases: [c.d] }')?.identities.map(String), [
    'spiffe://a.b/ns/qotm/sa/quotes-db',
    'spiffe://c.d/ns/qotm/sa/quotes-db',
  ])
})

test('endpoints: by selector in the namespace of the service, in a fixed order', (t) => {
  const instances = [
    instance('quotes-db-b', { labels: { app: 'quotes-db' } }),
    instance('quotes-db-a', { labels: { app: 'quotes-db', extra: '1' } }),
    instance('quotes-db-c', { labels: { app: 'quotes-db' }, namespace: 'shop' }),
    instance('quotes-db-d', {
      labels: { app: 'quotes-db' },
      ports: [{ port: 9, name: '', address: 'd:1' }],
    }),
    instance('other'),
  ]
  const [cluster] = Object.values(known([], { instances }).clusters)
  t.deepEqual(
    cluster?.endpoints.map(({ address }) => address),
    ['quotes-db-a.test:15006', 'quotes-db-b.test:15006'],
  )
})

// DestinationRules (§6.2, §6.3)

/** Balancing of quotes-db under rules whose own is in the table. */
function balancing(manifests: readonly string[], client = edge): string | undefined {
  const [cluster] = Object.values(known(manifests, { host: DB, client }).clusters)
  return cluster?.loadBalancing
}
const RANDOM = '{ loadBalancer: { simple: RANDOM } }'
const ROUND_ROBIN = '{ loadBalancer: { simple: ROUND_ROBIN } }'
const root = 'namespace: istio-system'
const shop = instance('client', { namespace: 'shop' })

test("which DestinationRule: the client's namespace, the service's, the root's", (t) => {
  const of = (namespace: string, policy: string): string =>
    rule(`{ host: ${DB}, trafficPolicy: ${policy} }`, 'd', `namespace: ${namespace}`)
  t.is(balancing([of('istio-system', RANDOM)], shop), 'RANDOM')
  t.is(balancing([of('istio-system', RANDOM), of('qotm', ROUND_ROBIN)], shop), 'ROUND_ROBIN')
  t.is(balancing([of('qotm', ROUND_ROBIN), of('shop', RANDOM)], shop), 'RANDOM')
  t.is(balancing([of('other', RANDOM)], shop), 'LEAST_REQUEST')
})

test('which DestinationRule: exported or not', (t) => {
  const of = (namespace: string, exportTo: string): string =>
    rule(
      `{ host: ${DB}, exportTo: ["${exportTo}"], trafficPolicy: ${RANDOM} }`,
      'd',
      `namespace: ${namespace}`,
    )
  t.is(balancing([of('qotm', '.')], shop), 'LEAST_REQUEST')
  t.is(balancing([of('qotm', 'shop')], shop), 'RANDOM')
  t.is(
    balancing([of('shop', 'other')], shop),
    'RANDOM',
    "the client's own namespace needs no export",
  )
})

test('which DestinationRule: exact before wildcard, longer before shorter', (t) => {
  const wild = rule(`{ host: "*.cluster.local", trafficPolicy: ${RANDOM} }`, 'a')
  const longer = rule(`{ host: "*.qotm.svc.cluster.local", trafficPolicy: ${ROUND_ROBIN} }`, 'b')
  const exact = rule(`{ host: ${DB}, trafficPolicy: { loadBalancer: {} } }`, 'c')
  t.is(balancing([wild]), 'RANDOM')
  t.is(balancing([wild, longer]), 'ROUND_ROBIN')
  t.is(balancing([wild, longer, exact]), 'LEAST_REQUEST')
})

test('which DestinationRule: a rule for these clients before one for all; in its own namespace only', (t) => {
  const all = rule(`{ host: ${DB}, trafficPolicy: ${RANDOM} }`, 'a')
  const some = rule(
    `{ host: ${DB}, workloadSelector: { matchLabels: { app: edge } }, trafficPolicy: ${ROUND_ROBIN} }`,
    'b',
  )
  t.is(balancing([all, some]), 'ROUND_ROBIN')
  t.is(balancing([all, some], instance('other')), 'RANDOM')
  t.is(balancing([all, some], instance('edge', { namespace: 'shop' })), 'RANDOM')
})

test('mesh-wide rules do not hide those of the owner from a client in the root namespace', (t) => {
  const gate = instance('gate', { namespace: 'istio-system' })
  const wide = rule(`{ host: "*.cluster.local", trafficPolicy: ${RANDOM} }`, 'a', root)
  const own = rule(`{ host: ${DB}, trafficPolicy: ${ROUND_ROBIN} }`, 'b')
  t.is(balancing([wide, own], gate), 'ROUND_ROBIN')
  t.is(balancing([wide.replace('host:', 'exportTo: ["."], host:'), own], gate), 'RANDOM')
})

test('merge: subsets of all, the first of a name; the first traffic policy', (t) => {
  const subset = (name: string, version: string): string =>
    `{ name: ${name}, labels: { version: ${version} } }`
  const one = rule(`{ host: quotes-db, subsets: [${subset('a', 'v1')}] }`, 'one')
  const two = rule(
    `{ host: quotes-db, trafficPolicy: ${RANDOM}, subsets: [${subset('a', 'v9')}, ${subset('b', 'v1')}] }`,
    'two',
  )
  const route = virtualService(
    '{ hosts: [quotes-db], http: [{ route: [{ destination: { host: quotes-db, subset: a }, weight: 1 }, { destination: { host: quotes-db, subset: b }, weight: 1 }] }] }',
  )
  const clusters = Object.values(known([one, two, route]).clusters)
  t.deepEqual(
    clusters.map(({ subset: name, endpoints, loadBalancing }) => [
      name,
      endpoints.length,
      loadBalancing,
    ]),
    [
      ['a', 1, 'RANDOM'],
      ['b', 1, 'RANDOM'],
    ],
  )
})

test('merge: rules with different audiences stay apart, and the newest is used', (t) => {
  const to = (name: string, exportTo: string, policy: string): string =>
    rule(`{ host: ${DB}, exportTo: [${exportTo}], trafficPolicy: ${policy} }`, name)
  t.is(
    balancing([to('a', 'shop', RANDOM), to('b', 'shop, other', ROUND_ROBIN)], shop),
    'ROUND_ROBIN',
  )
  t.is(
    balancing([to('a', 'shop', RANDOM), to('b', 'shop', ROUND_ROBIN)], shop),
    'RANDOM',
    'one audience merges',
  )
})

/** What the cluster of subset v1 gets from rule and subset: balancing, connections, outliers. */
function merged(rulePolicy: string, subsetPolicy: string): readonly unknown[] {
  const spec = `{ host: quotes-db, ${rulePolicy} subsets: [{ name: v1, labels: { version: v1 }, ${subsetPolicy} }] }`
  const route =
    '{ hosts: [quotes-db], http: [{ route: [{ destination: { host: quotes-db, subset: v1 } }] }] }'
  const [cluster] = Object.values(known([rule(spec), virtualService(route)]).clusters)
  return [
    cluster?.loadBalancing,
    cluster?.connectionPool.maxConnections,
    cluster?.connectionPool.connectTimeoutMs,
    cluster?.outlierDetection?.intervalMs,
  ]
}

test('merge inside a rule: blocks replace each other whole; a port replaces all four', (t) => {
  const base =
    'trafficPolicy: { loadBalancer: { simple: RANDOM }, connectionPool: { tcp: { maxConnections: 7, connectTimeout: 3s } }, outlierDetection: { interval: 2s }'
  t.deepEqual(merged(`${base} },`, ''), ['RANDOM', 7, 3000, 2000])
  t.deepEqual(
    merged(`${base} },`, 'trafficPolicy: { connectionPool: { tcp: { maxConnections: 9 } } }'),
    ['RANDOM', 9, 10_000, 2000],
    'the pool is replaced whole, the others stay',
  )
  t.deepEqual(
    merged(
      `${base}, portLevelSettings: [{ port: { number: 80 }, loadBalancer: { simple: ROUND_ROBIN } }] },`,
      '',
    ),
    ['ROUND_ROBIN', 4294967295, 10_000, undefined],
    'the port inherits nothing',
  )
  t.deepEqual(
    merged(
      `${base}, portLevelSettings: [{ port: { number: 81 }, loadBalancer: { simple: ROUND_ROBIN } }] },`,
      '',
    ),
    ['RANDOM', 7, 3000, 2000],
    'another port is another port',
  )
  t.deepEqual(
    merged(
      `${base} },`,
      'trafficPolicy: { portLevelSettings: [{ port: { number: 80 }, outlierDetection: { interval: 9s } }] }',
    ),
    ['LEAST_REQUEST', 4294967295, 10_000, 9000],
    "the subset's port replaces by absence too",
  )
})

// ServiceEntries (§8)

const entry = (spec: string, name = 'e', metadata?: string): string =>
  manifest('ServiceEntry', name, spec, metadata)

/** Addresses at which `host` is reached. */
function addresses(spec: string, host: string, port = 80): readonly string[] {
  const bundle = destination([entry(spec)], { host, port })
  if (bundle.kind !== 'known') return [bundle.kind]
  return Object.values(bundle.clusters).flatMap(({ endpoints }) =>
    endpoints.map(({ address, tls }) => `${address} ${tls}`),
  )
}

const PORTS = 'ports: [{ number: 80, name: http, targetPort: 8080 }]'

test('ServiceEntry: each resolution dials what it says', (t) => {
  t.deepEqual(addresses(`{ hosts: [a.com], ${PORTS} }`, 'A.com'), ['a.com:80 none'])
  t.deepEqual(addresses(`{ hosts: ["*.a.com"], ${PORTS} }`, 'x.a.com'), ['x.a.com:80 none'])
  t.deepEqual(addresses(`{ hosts: ["*.a.com"], ${PORTS} }`, 'a.com'), ['unknown'])
  t.deepEqual(addresses(`{ hosts: [a.com], resolution: DNS, ${PORTS} }`, 'a.com'), [
    'a.com:8080 none',
  ])
  t.deepEqual(
    addresses(
      `{ hosts: ["*.a.com"], resolution: DYNAMIC_DNS, ports: [{ number: 80, name: http, protocol: HTTP }] }`,
      'x.a.com',
    ),
    ['x.a.com:80 none'],
  )
  t.deepEqual(
    addresses(
      `{ hosts: [a.com], resolution: STATIC, ${PORTS}, endpoints: [{ address: 192.0.2.2 }, { address: "2001:db8::1", ports: { http: 81 } }] }`,
      'a.com',
    ),
    ['192.0.2.2:8080 none', '[2001:db8::1]:81 none'],
  )
  t.deepEqual(addresses(`{ hosts: [a.com], addresses: [192.0.2.9], ${PORTS} }`, '192.0.2.9'), [
    '192.0.2.9:80 none',
  ])
  t.deepEqual(
    addresses(`{ hosts: [a.com], addresses: ["2001:db8::9"], ${PORTS} }`, '[2001:DB8::9]'),
    ['[2001:db8::9]:80 none'],
  )
})

test('ServiceEntry: nobody but those it is exported to', (t) => {
  const seen = (exportTo: string): string =>
    destination(
      [entry(`{ hosts: [a.com], exportTo: ["${exportTo}"], ${PORTS} }`, 'e', 'namespace: shop')],
      {
        host: 'a.com',
      },
    ).kind
  t.deepEqual(['*', '.', 'qotm', '~'].map(seen), ['known', 'unknown', 'known', 'unknown'])
})

test('ServiceEntry: workloads of its namespace, with mutual TLS and their accounts', (t) => {
  const spec = `{ hosts: [db.example], location: MESH_INTERNAL, resolution: STATIC, ${PORTS}, workloadSelector: { labels: { app: quotes-db } } }`
  t.deepEqual(addresses(spec, 'db.example'), ['quotes-db.test:15006 mutual'])
})

test('ServiceEntry: endpoints in the mesh need a known account for mutual TLS', (t) => {
  const spec = (account: string): string =>
    `{ hosts: [db.example], location: MESH_INTERNAL, resolution: STATIC, ${PORTS}, endpoints: [{ address: 192.0.2.1, labels: { security.istio.io/tlsMode: istio }${account} }] }`
  t.deepEqual(addresses(spec(', serviceAccount: db'), 'db.example'), ['192.0.2.1:8080 mutual'])
  t.deepEqual(addresses(spec(''), 'db.example'), [])
})

test('ServiceEntry: a Service of the same host wins; the oldest of two decides, endpoints merge', (t) => {
  t.deepEqual(addresses(`{ hosts: [${DB}], resolution: DNS, ${PORTS} }`, DB), [
    'quotes-db.test:15006 mutual',
  ])
  const of = (name: string, address: string): string =>
    entry(
      `{ hosts: [a.com], resolution: STATIC, ${PORTS}, endpoints: [{ address: ${address} }] }`,
      name,
    )
  const bundle = known([of('b', '192.0.2.2'), of('a', '192.0.2.1')], { host: 'a.com' })
  const [cluster] = Object.values(bundle.clusters)
  t.is(cluster?.service.name, 'a')
  t.deepEqual(
    cluster?.endpoints.map(({ address }) => address),
    ['192.0.2.1:8080', '192.0.2.2:8080'],
  )
})

test('the retries of the mesh take the place of the default ones', (t) => {
  const spec = '{ defaultHttpRetryPolicy: { attempts: 5, retryOn: reset } }'
  const intent = intentFrom([
    { path: 'a', text: SAMPLE.replace('{ trustDomain: cluster.local }', spec) },
  ])
  const bundle = assembleDestination(intent, INSTANCES, edge, 'quotes-db', 80)
  const [route] = bundle.kind === 'known' ? bundle.routes : []
  t.deepEqual(route?.action.kind === 'forward' && route.action.retry, {
    attempts: 5,
    retryOn: ['reset'],
    backoffMs: 25,
  })
})

test('opaque ports take no HTTP routes', (t) => {
  const service =
    'apiVersion: v1\nkind: Service\nmetadata: { name: raw, namespace: qotm }\nspec: { selector: { app: quotes-db }, ports: [{ name: tcp, port: 5432, targetPort: 8080 }] }\n'
  const made = virtualService(`{ hosts: [raw], http: [{ name: never, route: ${TO_DB} }] }`)
  const bundle = known([service, made], { host: 'raw', port: 5432 })
  t.deepEqual([bundle.protocol, bundle.routes.map(({ name }) => name)], ['tcp', ['default']])
})
