import fc from 'fast-check'

import test from 'ava'

import { readManifests } from '#policy/index.ts'
import { learn, learnedIntents, readAccessLog, replay, rollout } from '#policy/observed/index.ts'

const MESH = `
apiVersion: redoubt.io/v1alpha1
kind: Workload
metadata: { name: api-1, namespace: shop, labels: { app: api, version: v1 } }
spec: { serviceAccount: api, ports: [{ name: http, port: 8080 }, { name: http-b, port: 9090 }] }
---
apiVersion: redoubt.io/v1alpha1
kind: Workload
metadata: { name: api-2, namespace: shop, labels: { app: api, version: v1, canary: "yes" } }
spec: { serviceAccount: api, ports: [{ name: http, port: 8080 }] }
---
apiVersion: redoubt.io/v1alpha1
kind: Workload
metadata: { name: bare, namespace: shop }
spec: { serviceAccount: bare, ports: [{ name: http, port: 8080 }] }
`
const mesh = (extra = '') => readManifests([{ path: 'mesh.yaml', text: MESH + extra }]).intent
const PLAIN = { pathTemplates: [], methodGroups: [], anyMethod: false }

const line = (change: Readonly<Record<string, unknown>> = {}): string =>
  JSON.stringify({
    start_time: '2026-01-02T03:04:05.006Z',
    method: 'GET',
    path: '/orders/1?q=2',
    authority: 'api',
    upstream_cluster: 'inbound|8080||',
    reporter: 'destination',
    source_principal: 'spiffe://cluster.local/ns/shop/sa/web',
    destination_workload: 'shop/api-1',
    decision: 'allow',
    action: 'none',
    policy: null,
    ...change,
  })
const read = (...lines: readonly string[]) => readAccessLog([lines.join('\n')])

test('readAccessLog() counts what callees logged, and says what it passed over', (t) => {
  const observed = read(
    line(),
    line({ start_time: '2026-01-02T04:00:00.000Z' }),
    `shop.api-1.access: ${line({ source_principal: 'unknown' })}`,
    line({ reporter: 'source' }),
    line({ decision: undefined }),
    '{"cut": ',
    '{}',
    '',
  )
  t.like(observed, { requests: 3, skipped: 2, unreadable: 2 })
  t.like(observed.observations, [
    { requests: 2, port: 8080, lastSeen: '2026-01-02T04:00:00.000Z' },
    { requests: 1, caller: undefined },
  ])
  const since = Temporal.Instant.from('2026-01-02T03:30:00Z')
  t.is(
    readAccessLog(
      [line(), line({ start_time: '2026-01-02T04:00:00.000Z' })].map((one) => one),
      { since },
    ).requests,
    1,
  )
})

test('learn() writes exactly the pairs of method and path, each caller for itself', (t) => {
  const { observations } = read(
    line(),
    line({ path: '/orders/2' }),
    line({ path: '/orders/2', method: 'PUT' }),
    line({ source_principal: 'spiffe://cluster.local/ns/shop/sa/job', path: '/a/../jobs' }),
    line({ source_principal: null, path: '/health' }),
  )
  const { policies, leftOut } = learn(mesh(), observations, PLAIN)
  t.deepEqual(leftOut, [])
  t.like(policies, [
    {
      namespace: 'shop',
      name: 'learned-api-1',
      labels: { app: 'api', version: 'v1' },
      alsoSelects: ['shop/api-2'],
      requests: 5,
    },
  ])
  const rules = policies[0]?.rules.map(({ principals, operations }) => ({
    principals,
    to: operations.map(({ port, methods, paths, requests }) => [port, methods, paths, requests]),
  }))
  t.deepEqual(rules, [
    {
      principals: ['cluster.local/ns/shop/sa/web'],
      to: [
        [8080, ['GET'], ['/orders/1'], 1],
        [8080, ['GET', 'PUT'], ['/orders/2'], 2],
      ],
    },
    { principals: ['cluster.local/ns/shop/sa/job'], to: [[8080, ['GET'], ['/jobs'], 1]] },
    { principals: [], to: [[8080, ['GET'], ['/health'], 1]] },
  ])
})

test('learn() generalises as told, and leaves out what it cannot write', (t) => {
  const { observations } = read(
    line(),
    line({ path: '/orders/2', method: 'POST' }),
    line({ decision: 'deny', upstream_cluster: null }),
    line({ destination_workload: 'shop/gone' }),
    line({ destination_workload: 'shop/bare' }),
    line({ upstream_cluster: null }),
    line({ path: '/%00' }),
  )
  const options = {
    pathTemplates: ['/orders/{*}'],
    methodGroups: [['GET', 'HEAD']],
    anyMethod: false,
  }
  const { policies, leftOut } = learn(mesh(), observations, options)
  t.deepEqual(
    policies[0]?.rules[0]?.operations.map(({ methods, paths }) => ({ methods, paths })),
    [{ methods: ['GET', 'HEAD', 'POST'], paths: ['/orders/{*}'] }],
  )
  t.deepEqual(
    leftOut.map(({ why }) => why),
    [
      'refused',
      'the manifests have no workload shop/gone',
      'shop/bare has no labels to select it by',
      'the line does not say to which port',
      'its path is answered 400: escaped-nul',
    ],
  )
  const any = learn(mesh(), observations, { ...options, anyMethod: true })
  t.deepEqual(any.policies[0]?.rules[0]?.operations[0]?.methods, [])
})

test('what was learned, replayed, denies nothing that was seen and what was not', (t) => {
  const of = (...values: readonly string[]) => fc.constantFrom(...values)
  const request = fc.record({
    method: of('GET', 'PUT', 'POST'),
    path: of('/', '/a', '/a/b?c', '/a*', '/a/../b', '//a', '/%41', '/orders/7', '/é'),
    source_principal: fc.constantFrom(
      null,
      'spiffe://cluster.local/ns/shop/sa/web',
      'spiffe://cluster.local/ns/other/sa/web',
    ),
    destination_workload: of('shop/api-1', 'shop/api-2'),
    upstream_cluster: of('inbound|8080||', 'inbound|9090||'),
  })
  const intent = mesh()
  fc.assert(
    fc.property(fc.array(request, { minLength: 1, maxLength: 12 }), request, (seen, other) => {
      const { observations } = read(...seen.map(line))
      const { policies, leftOut } = learn(intent, observations, PLAIN)
      const skipped = new Set(leftOut.map(({ observation }) => observation))
      const known = observations.filter((one) => !skipped.has(one))
      const intents = learnedIntents(policies)
      t.deepEqual(replay(intent, intents, known).denied, [])
      // A caller that was never seen is refused, whatever it asks.
      const stranger = { ...other, source_principal: 'spiffe://cluster.local/ns/shop/sa/stranger' }
      if (!policies.some(({ workloads }) => workloads.includes(other.destination_workload))) return
      const { denied, requests } = replay(intent, intents, read(line(stranger)).observations)
      t.is(denied.length, requests)
    }),
    { numRuns: 200 },
  )
})

const dry = (action: string, result: string, policy = `shop/${action}`) => ({
  policy,
  action,
  result,
  rule: null,
})
const permissive = `---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: one, namespace: shop }
spec: { mtls: { mode: MODE } }
`

test('rollout() names callers that dry-run policies would refuse, as if all were enforced (users §1.5.46)', (t) => {
  const cases: readonly (readonly [object, readonly string[]])[] = [
    [{}, []],
    [{ dry_run: [dry('DENY', 'allowed')] }, []],
    [{ dry_run: [dry('DENY', 'denied')] }, ['DENY']],
    [{ dry_run: [dry('ALLOW', 'denied')] }, ['ALLOW']],
    [{ dry_run: [dry('ALLOW', 'denied'), dry('ALLOW', 'allowed', 'shop/b')] }, []],
    [{ dry_run: [dry('ALLOW', 'denied'), dry('DENY', 'denied')] }, ['DENY', 'ALLOW']],
    // An ALLOW policy in force matched: one more takes nothing away.
    [{ action: 'ALLOW', policy: 'shop/x', dry_run: [dry('ALLOW', 'denied')] }, []],
    [{ decision: 'deny', dry_run: [dry('DENY', 'denied')] }, []],
    [{ source_principal: null }, ['STRICT']],
  ]
  for (const [change, causes] of cases) {
    const { refused } = rollout(read(line({ ...change })).observations)
    t.deepEqual(
      refused.map(({ cause }) => cause),
      causes,
      JSON.stringify(change),
    )
  }
})

const connection = (change: Readonly<Record<string, unknown>> = {}): string =>
  line({ method: null, path: null, protocol: null, authority: null, ...change })

test('§1.8 an opaque connection is learned as a rule of its own, by caller and port alone', (t) => {
  const { observations } = read(
    line({ upstream_cluster: 'inbound|9090||' }),
    connection(),
    connection(),
    connection({ source_principal: null }),
  )
  t.deepEqual(
    observations.map(({ protocol, requests }) => [protocol, requests]),
    [
      ['http', 1],
      ['tcp', 2],
      ['tcp', 1],
    ],
  )
  const { policies, leftOut } = learn(mesh(), observations, PLAIN)
  t.deepEqual(leftOut, [])
  t.deepEqual(
    policies[0]?.rules.map(({ principals, operations }) => [
      principals,
      operations.map(({ port, methods, paths }) => ({ port, methods, paths })),
    ]),
    [
      [['cluster.local/ns/shop/sa/web'], [{ port: 9090, methods: ['GET'], paths: ['/orders/1'] }]],
      [['cluster.local/ns/shop/sa/web'], [{ port: 8080, methods: [], paths: [] }]],
      [[], [{ port: 8080, methods: [], paths: [] }]],
    ],
  )
  const intents = learnedIntents(policies)
  t.deepEqual(replay(mesh(), intents, observations).denied, [])
  const stranger = connection({ source_principal: 'spiffe://cluster.local/ns/x/sa/y' })
  t.is(replay(mesh(), intents, read(stranger).observations).denied.length, 1)
})

test('rollout() holds what was let in against a dry-run PeerAuthentication, by caller and address', (t) => {
  const dryMode = (mode: string): string => `---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: try, namespace: shop, annotations: { redoubt.io/dry-run: "true" } }
spec: { selector: { matchLabels: { app: api } }, mtls: { mode: ${mode} } }
`
  const lines = [
    line({ source_principal: null, downstream_remote_address: '10.0.0.9:40000' }),
    connection({ source_principal: null, downstream_remote_address: '10.0.0.7:40000' }),
    line(),
  ]
  const { observations } = read(...lines)
  const strict = rollout(observations, mesh(dryMode('STRICT')))
  t.deepEqual(strict.untried, ['shop/try'])
  t.like(strict.refused, [
    { caller: null, cause: 'STRICT', policies: ['shop/try'], addresses: ['10.0.0.7', '10.0.0.9'] },
  ])
  t.deepEqual(
    strict.refused[0]?.examples.map(({ request }) => request),
    ['GET /orders/1?q=2', 'connection to port 8080'],
  )
  t.like(rollout(observations, mesh(dryMode('DISABLE'))).refused, [
    { caller: 'spiffe://cluster.local/ns/shop/sa/web', cause: 'DISABLE', requests: 1 },
  ])
  // Something is tried out, and it asks for nothing of this: then plaintext is meant to stay.
  t.deepEqual(rollout(observations, mesh(dryMode('PERMISSIVE'))).refused, [])
  // Without manifests the lines say it themselves.
  const told = lines.map((one, at) => {
    const result = at < 2 ? 'denied' : 'allowed'
    return JSON.stringify({ ...JSON.parse(one), dry_run: [dry('STRICT', result, 'shop/try')] })
  })
  t.like(rollout(read(...told).observations), {
    refused: [{ caller: null, cause: 'STRICT', policies: ['shop/try'], requests: 2 }],
    tried: ['shop/try'],
  })
})

test('rollout() groups by caller and workload, and knows modes and policies from manifests', (t) => {
  const plain = { source_principal: null }
  const { observations } = read(
    line(plain),
    line({ ...plain, path: '/b' }),
    line({ ...plain, path: '/b' }),
  )
  const { refused, requests } = rollout(
    observations,
    mesh(permissive.replace('MODE', 'PERMISSIVE')),
  )
  t.is(requests, 3)
  t.like(refused, [{ workload: 'shop/api-1', caller: null, cause: 'STRICT', requests: 3 }])
  t.deepEqual(refused[0]?.examples[0], { request: 'GET /b', requests: 2 })
  for (const mode of ['STRICT', 'DISABLE']) {
    t.deepEqual(rollout(observations, mesh(permissive.replace('MODE', mode))).refused, [], mode)
  }
  const policy = `---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: dry, namespace: shop, annotations: { istio.io/dry-run: "true" } }
spec: { action: DENY, rules: [{}] }
`
  t.deepEqual(rollout(observations, mesh(policy)).untried, ['shop/dry'])
  const met = read(line({ dry_run: [dry('DENY', 'allowed', 'shop/dry')] }))
  t.deepEqual(rollout(met.observations, mesh(policy)), {
    refused: [],
    requests: 1,
    tried: ['shop/dry'],
    untried: [],
  })
})
