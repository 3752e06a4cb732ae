import test, { type ExecutionContext } from 'ava'
import { readFileSync } from 'node:fs'

import { createManifestReader, type DocumentReport, readManifests } from '#policy/index.ts'
import { SAMPLE } from '../sample.ts'
import { cpuStopwatch } from '../../fakes/cpu-time.ts'

const read = (text: string): readonly DocumentReport[] =>
  readManifests([{ path: 'a.yaml', text }]).documents

const POLICY = `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: a, namespace: shop }
spec:
`

/** Faults as `pointer:line message | hint`. */
function faults(text: string): readonly string[] {
  return read(text).flatMap(({ errors }) =>
    errors.map(
      ({ pointer, line, message, hint }) =>
        `${pointer}:${line} ${message}${hint ? ` | ${hint}` : ''}`,
    ),
  )
}

test('the sample is valid and without warnings', (t) => {
  const documents = read(SAMPLE)
  t.is(documents.length, 11)
  t.deepEqual(
    documents.filter(({ valid, warnings }) => !valid || warnings.length > 0),
    [],
  )
})

test('a report has what `redoubt validate` prints', (t) => {
  t.deepEqual(read(`# nothing here\n---\n${POLICY}  actoin: DENY\n`), [
    {
      file: 'a.yaml',
      document: 1,
      line: 4,
      kind: 'AuthorizationPolicy',
      namespace: 'shop',
      name: 'a',
      valid: false,
      errors: [
        {
          pointer: '/spec/actoin',
          line: 8,
          message: 'unknown field "actoin"',
          hint: 'did you mean "action"?',
        },
      ],
      warnings: [],
      unsupported: [],
    },
  ])
})

test('all faults of a document are reported, each at its line', (t) => {
  const text = `${POLICY}  selector: { matchLabel: { app: a } }
  rules:
    - from:
        - source:
            principal: [x]
            ipBlocks: [10.0.0.0/8, 10.0.0.0/40]
      too: []
    - to:
        - operation: { ports: [http], methods: GET }
      when:
        - { key: "request.header[x]", values: [a] }
        - { key: source.ip }
`
  t.deepEqual(faults(text), [
    '/spec/selector/matchLabel:6 unknown field "matchLabel" | did you mean "matchLabels"?',
    '/spec/rules/0/from/0/source/principal:10 unknown field "principal" | did you mean "principals"?',
    '/spec/rules/0/from/0/source/ipBlocks/1:11 found "10.0.0.0/40", expected an IP address or a CIDR block such as 10.0.0.0/8: its prefix length is not in 0..32',
    '/spec/rules/0/too:12 unknown field "too" | did you mean "to"?',
    '/spec/rules/1/to/0/operation/ports/0:14 found "http", expected a port from 0 to 65535',
    '/spec/rules/1/to/0/operation/methods:14 found "GET", expected a list',
    '/spec/rules/1/when/0/key:16 found "request.header[x]": unknown attribute | did you mean "request.headers[name]"?',
    '/spec/rules/1/when/1:17 neither values nor notValues is set for "source.ip": expected at least one',
  ])
})

const WITH_FAULT = `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: a }
spec:
  hosts: [a]
  http:
    - route: [{ destination: { host: a } }]
      fault: { abort: { httpStatus: 503 } }
      headers: { request: { set: { x-from: "%DOWNSTREAM_REMOTE_ADDRESS%", x-share: "5%%" } } }
`

test('what is valid and not carried out is told apart from a fault, and is no intent', (t) => {
  const { intent, documents } = readManifests([{ path: 'a.yaml', text: WITH_FAULT }])
  const [report] = documents
  t.like(report, { valid: true, errors: [], warnings: [] })
  t.deepEqual(
    report?.unsupported.map(({ pointer, line }) => [pointer, line]),
    [
      ['/spec/http/0/fault', 9],
      ['/spec/http/0/headers/request/set/x-from', 10],
    ],
  )
  t.deepEqual(intent.virtualServices, [])
  t.deepEqual(faults(WITH_FAULT.replace('503', '99')), [
    '/spec/http/0/fault/abort/httpStatus:9 found 99, expected at least 200',
  ])
})

test('§3.1 rows 7, 10: names that no header can have are valid, and not carried out', (t) => {
  const text = `
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: { name: a, namespace: b }
spec:
  jwtRules:
    - { issuer: i, outputPayloadToHeader: "x pay", fromHeaders: [{ name: x-a }, { name: ":path" }] }
    - { issuer: j, outputPayloadToHeader: "" }
`
  const { intent, documents } = readManifests([{ path: 'a.yaml', text }])
  t.true(documents[0]?.valid)
  t.deepEqual(
    documents[0]?.unsupported.map(({ pointer, line }) => [pointer, line]),
    [
      ['/spec/jwtRules/0/outputPayloadToHeader', 7],
      ['/spec/jwtRules/0/fromHeaders/1/name', 7],
    ],
  )
  t.deepEqual(intent.requestAuthentications, [])
})

test('a kind that no mesh carries out is checked, and is no intent', (t) => {
  const text = `
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: { name: edge }
spec: { ingress: [{ port: { number: 80, name: http, protocol: HTTP }, defaultEndpoint: '127.0.0.1:80' }] }
`
  const [report] = readManifests([{ path: 'a.yaml', text }]).documents
  t.true(report?.valid)
  t.deepEqual(
    report?.unsupported.map(({ pointer }) => pointer),
    ['/kind'],
  )
  t.deepEqual(faults(text.replace('number: 80', 'number: 0')), [
    '/spec/ingress/0/port/number:5 found 0, expected a port from 1 to 65535',
  ])
})

test('two objects of one name are one too many, whatever is carried out of them', (t) => {
  const [, second] = readManifests([
    { path: 'a.yaml', text: `${WITH_FAULT}---${WITH_FAULT}` },
  ]).documents
  t.regex(second?.errors[0]?.message ?? '', /already defined/)
})

test('§0.2 what others say to Kubernetes is skipped, as Istio does, however often and in whatever shape', (t) => {
  const kinds = [
    ...['v1 Pod', 'v1 ServiceAccount', 'v1 Endpoints', 'v1 Node', 'v1 Event', 'apps/v1 Deployment'],
    ...['batch/v1 Job', 'rbac.authorization.k8s.io/v1 Role', 'policy/v1 PodDisruptionBudget'],
    ...[
      'networking.k8s.io/v1 Ingress',
      'networking.k8s.io/v1 NetworkPolicy',
      'cert-manager.io/v1 Issuer',
    ],
    ...[
      'autoscaling/v2 HorizontalPodAutoscaler',
      'apiextensions.k8s.io/v1 CustomResourceDefinition',
    ],
    'kustomize.config.k8s.io/v1beta1 Kustomization',
  ]
  for (const one of kinds) {
    const [apiVersion, kind] = one.split(' ')
    const text = `apiVersion: ${apiVersion}\nkind: ${kind}\nspec: [1]\n`
    const { documents } = readManifests([{ path: 'a.yaml', text: `${text}---\n${text}` }])
    for (const report of documents)
      t.like(report, { kind, valid: true, skipped: true, errors: [] }, one)
    t.is(documents.length, 2)
  }
})

test('the items of a List are objects, with pointers and lines of their own', (t) => {
  const policy = (name: string, spec: string) =>
    `  - { apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: { name: ${name} }, spec: ${spec} }`
  const text = [
    ...['apiVersion: v1', 'kind: List', 'metadata: { resourceVersion: "" }', 'items:'],
    ...[policy('a', '{ rules: [{}] }'), policy('b', '{ action: DENI }'), policy('a', '{}')],
    '  - { apiVersion: v1, kind: List, items: [5, { apiVersion: apps/v1, kind: Deployment }] }',
  ].join('\n')
  const { intent, documents } = readManifests([{ path: 'a.yaml', text: `${text}\n---\n${text}` }])
  t.deepEqual(
    intent.authorizationPolicies.map(({ name }) => name),
    ['a'],
  )
  t.deepEqual(
    documents.map(({ document, line, skipped, errors }) => [
      ...[document, line, skipped ?? false],
      ...errors.map((error) => `${error.pointer}:${error.line}`),
    ]),
    [
      [1, 5, false],
      [1, 6, false, '/items/1/spec/action:6'],
      [1, 7, false, '/items/2/metadata/name:7'],
      [1, 8, false, '/items/3/items/0:8'],
      [1, 8, true],
      [2, 14, false, '/items/0/metadata/name:14'],
      [2, 15, false, '/items/1/spec/action:15'],
      [2, 16, false, '/items/2/metadata/name:16'],
      [2, 17, false, '/items/3/items/0:17'],
      [2, 17, true],
    ],
  )
  const empty = '{"apiVersion":"v1","kind":"List","items":null}'
  t.deepEqual(readManifests([{ path: 'a.json', text: empty }]).documents, [])
})

test('a Service as the API server gives it back is one; what of it is for strangers is warned of', (t) => {
  const service = (spec: string) =>
    readManifests([
      {
        path: 'a.yaml',
        text: `apiVersion: v1\nkind: Service\nmetadata: { name: a, uid: u, resourceVersion: "5" }\nspec: ${spec}\nstatus: { loadBalancer: {} }\n`,
      },
    ])
  const given =
    'clusterIP: 10.0.0.1, clusterIPs: [10.0.0.1], ipFamilies: [IPv4], ipFamilyPolicy: SingleStack, internalTrafficPolicy: Cluster, sessionAffinity: None'
  const plain = service(`{ ${given}, type: ClusterIP, ports: [{ port: 80, protocol: TCP }] }`)
  t.like(plain.documents[0], { valid: true, warnings: [], unsupported: [] })
  t.is(plain.intent.services[0]?.ports[0]?.port, 80)
  const open = service(
    `{ ${given}, type: LoadBalancer, externalTrafficPolicy: Local, ports: [{ name: "", port: 80, nodePort: 30080 }] }`,
  )
  t.is(open.documents[0]?.warnings[0]?.pointer, '/spec/type')
  t.is(open.intent.services.length, 1)
  const elsewhere = service('{ type: ExternalName, externalName: a.example }')
  t.like(elsewhere.documents[0], { valid: true, warnings: [] })
  t.is(elsewhere.documents[0]?.unsupported[0]?.pointer, '/spec/type')
  t.deepEqual(elsewhere.intent.services, [])
  for (const unlike of ['sessionAffinity: ClientIP', 'internalTrafficPolicy: Local'])
    t.is(service(`{ ${unlike}, ports: [{ port: 80 }] }`).documents[0]?.unsupported.length, 1)
  t.false(service('{ type: NodePort }').documents[0]?.valid)
})

const OF_KINDS: readonly (readonly [string, string])[] = [
  ['{}', '/apiVersion:1 it is missing: expected a string'],
  ['[1]', ':1 found [1], expected a manifest'],
  ['just text', ':1 found "just text", expected a manifest'],
  ['apiVersion: v1', '/kind:1 it is missing: expected a string'],
  [
    'apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute',
    '/kind:2 the kind "HTTPRoute" of gateway.networking.k8s.io is not supported | supported: Namespace,',
  ],
  [
    'apiVersion: security.istoi.io/v1\nkind: Something',
    '/kind:2 the kind "Something" of security.istoi.io is not supported | supported: Namespace,',
  ],
  [
    'apiVersion: v1\nkind: Servce',
    '/kind:2 the kind "Servce" of the core group is not supported | did you mean "Service"?',
  ],
  [
    'apiVersion: one\nkind: two',
    '/kind:2 the kind "two" of the core group is not supported | supported: Namespace,',
  ],
  [
    'apiVersion: v1\nkind: List\nitems: { a: b }',
    '/kind:2 a List has its objects in items: expected a list of them | as kubectl get -o yaml prints them',
  ],
  [
    'apiVersion: security.istio.io/v1\nkind: AuthorisationPolicy',
    '/kind:2 the kind "AuthorisationPolicy" of security.istio.io is not supported | did you mean "AuthorizationPolicy"?',
  ],
  [
    'apiVersion: security.istio.io/v2\nkind: PeerAuthentication',
    '/apiVersion:1 found "security.istio.io/v2", which PeerAuthentication does not have | served: security.istio.io/v1, security.istio.io/v1beta1',
  ],
  [
    'apiVersion: networking.istio.io/v1\nkind: PeerAuthentication',
    '/apiVersion:1 found "networking.istio.io/v1", and the kind PeerAuthentication is of another group | did you mean "security.istio.io/v1"?',
  ],
  ['apiVersion: v1\nkind: Namespace', '/metadata:1 it is missing: expected an object'],
  [
    'apiVersion: v1\nkind: Namespace\nmetadata:',
    '/metadata:3 it has no value: expected an object, or leave the field out',
  ],
]

for (const [text, wanted] of OF_KINDS) {
  test(`${JSON.stringify(text)} is refused: ${wanted}`, (t) => {
    const found = faults(text)
    t.true(
      found.some((fault) => fault.startsWith(wanted)),
      JSON.stringify(found),
    )
  })
}

const BAD_YAML: readonly (readonly [string, RegExp])[] = [
  ['a: [1\nb: 2', /^:\d+ Cannot read YAML:/],
  ['kind: A\nkind: B', /^:2 Cannot read YAML: Map keys must be unique/],
  ['a: !!js/function x', /^:1 Cannot read YAML: Unresolved tag/],
  ['a: !secret x', /^:1 Cannot read YAML: Unresolved tag/],
  ['a: *nowhere', /^:1 Cannot read YAML: .*(Unresolved|nowhere|aliases)/],
  ['a: 1\n\tb: 2', /^:\d Cannot read YAML:/],
  ['a: { __proto__: { b: 1 } }', /^\/a\/__proto__:1 the key "__proto__" is refused everywhere/],
]

for (const [text, wanted] of BAD_YAML) {
  test(`YAML ${JSON.stringify(text)} is refused: ${wanted}`, (t) => {
    const found = faults(text)
    t.true(
      found.some((fault) => wanted.test(fault)),
      JSON.stringify(found),
    )
  })
}

function refusedQuickly(t: ExecutionContext, text: string, wanted: RegExp): void {
  const cpuMs = cpuStopwatch()
  const found = faults(text)
  t.true(
    found.some((fault) => wanted.test(fault)),
    JSON.stringify(found).slice(0, 300),
  )
  t.true(cpuMs() < 5000)
}

test('aliases that expand to very much are refused', (t) => {
  const levels = Array.from({ length: 12 }, (_, index) => {
    const before = index === 0 ? 'x' : `*l${index - 1}`
    return `l${index}: &l${index} [${Array.from({ length: 10 }, () => before).join(', ')}]`
  })
  refusedQuickly(t, levels.join('\n'), /its aliases expand to too much/)
})

test('an alias or two is followed, and a fault in it is found at the line of the anchor', (t) => {
  const text = `${POLICY}  rules:
    - from: [{ source: &peer { principals: [a] } }]
    - from: [{ source: *peer }]
`
  t.deepEqual(faults(text), [])
  t.deepEqual(faults(text.replace('principals', 'principal')), [
    '/spec/rules/0/from/0/source/principal:7 unknown field "principal" | did you mean "principals"?',
    '/spec/rules/1/from/0/source/principal:7 unknown field "principal" | did you mean "principals"?',
  ])
})

test('nesting without end is refused', (t) => {
  refusedQuickly(t, '['.repeat(200_000), /nested|Cannot read/)
  refusedQuickly(t, `a: ${'['.repeat(70)}${']'.repeat(70)}`, /nested deeper than 64 levels/)
})

test('a file of many megabytes is refused unread', (t) => {
  refusedQuickly(t, `# ${'x'.repeat(9_000_000)}`, /it has 9000002 characters/)
})

test('merge keys are fields like any other', (t) => {
  const [fault] = faults(
    `base: &b { a: 1 }\napiVersion: v1\nkind: Namespace\nmetadata: { name: a, <<: *b }`,
  )
  t.regex(fault ?? '', /<<|base/)
})

test('documents of one file are counted, empty ones are not, and JSON is YAML', (t) => {
  const text = `---\n# only a comment\n---\napiVersion: v1\nkind: Namespace\nmetadata: { name: a }\n---\n{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "b"}}\n...\n`
  t.deepEqual(
    read(text).map(({ document, line, name, valid }) => [document, line, name, valid]),
    [
      [1, 4, 'a', true],
      [2, 8, 'b', true],
    ],
  )
})

test('the second of two objects of one name is at fault, in whatever file it is', (t) => {
  const service = SAMPLE.split('---\n')[1] ?? ''
  const { documents, intent } = readManifests([
    { path: 'a.yaml', text: service },
    { path: 'b.yaml', text: `# a comment\n${service}` },
  ])
  t.is(intent.services.length, 1)
  t.deepEqual(
    documents.map(({ file, valid }) => [file, valid]),
    [
      ['a.yaml', true],
      ['b.yaml', false],
    ],
  )
  t.like(documents[1]?.errors[0], {
    pointer: '/metadata/name',
    message: 'Service qotm/edge is already defined at a.yaml:1',
  })
})

test('there is one Mesh', (t) => {
  const mesh = 'apiVersion: redoubt.io/v1alpha1\nkind: Mesh\nmetadata: { name: a }\n'
  const [, second] = read(`${mesh}---\n${mesh.replace('name: a', 'name: b')}`)
  t.regex(second?.errors[0]?.message ?? '', /there is already a Mesh, at a.yaml:1/)
})

test('a document with a fault leaves the others as they are', (t) => {
  const { intent, documents } = readManifests([
    { path: 'a.yaml', text: SAMPLE },
    { path: 'b.yaml', text: `${POLICY}  rules: [{ from: [{ source: {} }] }]\n` },
  ])
  t.is(documents.filter(({ valid }) => !valid).length, 1)
  t.is(intent.authorizationPolicies.length, 4)
})

test('without a Mesh there is a default one', (t) => {
  const { mesh } = readManifests([]).intent
  t.is(String(mesh.trustDomain), 'cluster.local')
  t.is(mesh.rootNamespace, 'istio-system')
  t.is(mesh.certificates.leafTtl.toString(), 'PT1H')
  t.is(mesh.outboundPolicy, 'ALLOW_ANY')
})

/** Specs of kinds of ours that must be refused, with the pointer. */
const casbin = ({ m = 'm = r.sub == p.sub', policy = '{ inline: "p, a" }', more = '' }): string =>
  `
  model:
    inline: |
      [request_definition]
      r = sub
      [policy_definition]
      p = sub
      [policy_effect]
      e = some(where (p.eft == allow))
      [matchers]
      ${m}
  policy: ${policy}
  ${more}`
const GRPC = 'envoyExtAuthzGrpc: { service: a.b, port: 1'
const providers = (...entries: string[]): string =>
  `{ extensionProviders: [${entries.map((entry) => `{ ${entry} }`).join(', ')}] }`

const OURS: readonly (readonly [kind: string, spec: string, pointer: string])[] = [
  ['Mesh', '{ trustDomain: Prod.Example }', '/spec/trustDomain'],
  ['Mesh', '{ certificates: { leafTtl: 0s } }', '/spec/certificates/leafTtl'],
  ['Mesh', '{ certificates: { leafTtl: 1h, caTtl: 5h } }', '/spec/certificates/caTtl'],
  ['Mesh', '{ certificates: { leafTtl: 1s, caTtl: 7s } }', '/spec/certificates/caTtl'],
  ['Mesh', '{ certificates: { leafTtl: 2h, maxLeafTtl: 1h } }', '/spec/certificates/leafTtl'],
  ['Mesh', '{ certificates: { caTtl: 100h, rootTtl: 50h } }', '/spec/certificates/rootTtl'],
  ['CasbinPolicy', casbin({ m: 'm = keyMatch(r.sub, p.sub)' }), '/spec/model/inline'],
  ['CasbinPolicy', casbin({ policy: '{ inline: "p, a, b" }' }), '/spec/policy/inline'],
  ['CasbinPolicy', casbin({ policy: '{}' }), '/spec/policy'],
  [
    'CasbinPolicy',
    casbin({ policy: '{ inline: "p, a", configMap: { name: a, key: b } }' }),
    '/spec/policy',
  ],
  [
    'CasbinPolicy',
    casbin({ policy: '{ postgres: { host: a, database: b, user: c, table: "x; drop" } }' }),
    '/spec/policy/postgres/table',
  ],
  [
    'CasbinPolicy',
    casbin({ policy: '{ postgres: { host: a, database: b, user: c, refresh: 10ms } }' }),
    '/spec/policy/postgres/refresh',
  ],
  [
    'CasbinPolicy',
    casbin({ policy: '{ postgres: { host: a, database: b, user: c, password: d } }' }),
    '/spec/policy/postgres/password',
  ],
  ['CasbinPolicy', casbin({ more: 'request: { sub: request.cookies }' }), '/spec/request/sub'],
  ['CasbinPolicy', casbin({ more: 'limits: { time: 2s }' }), '/spec/limits/time'],
  ['Mesh', providers('name: a'), '/spec/extensionProviders/0'],
  ['Mesh', providers('name: "", zipkin: {}'), '/spec/extensionProviders/0/name'],
  [
    'Mesh',
    '{ extensionProviders: [{ envoyExtAuthzGrpc: { service: a, port: 1 } }] }',
    '/spec/extensionProviders/0/name',
  ],
  [
    'Mesh',
    providers(`name: a, ${GRPC} }`, `name: a, ${GRPC} }`),
    '/spec/extensionProviders/1/name',
  ],
  [
    'Mesh',
    providers(`name: a, ${GRPC} }, envoyExtAuthzHttp: { service: a.b, port: 1 }`),
    '/spec/extensionProviders/0/envoyExtAuthzGrpc',
  ],
  [
    'Mesh',
    providers(`name: a, ${GRPC}, pathPrefix: /a }`),
    '/spec/extensionProviders/0/envoyExtAuthzGrpc/pathPrefix',
  ],
  [
    'Mesh',
    providers(`name: a, ${GRPC}, timeout: soon }`),
    '/spec/extensionProviders/0/envoyExtAuthzGrpc/timeout',
  ],
  [
    'Mesh',
    providers(`name: a, ${GRPC}, statusOnError: "299" }`),
    '/spec/extensionProviders/0/envoyExtAuthzGrpc/statusOnError',
  ],
  [
    'Mesh',
    providers(`name: a, ${GRPC}, statusOnError: 403 }`),
    '/spec/extensionProviders/0/envoyExtAuthzGrpc/statusOnError',
  ],
  [
    'Mesh',
    providers(`name: a, ${GRPC}, includeRequestBodyInCheck: { maxRequestBytes: 0 } }`),
    '/spec/extensionProviders/0/envoyExtAuthzGrpc/includeRequestBodyInCheck/maxRequestBytes',
  ],
  [
    'Mesh',
    providers('name: a, envoyExtAuthzGrpc: { service: "", port: 1 }'),
    '/spec/extensionProviders/0/envoyExtAuthzGrpc/service',
  ],
  [
    'Mesh',
    providers('name: a, envoyExtAuthzGrpc: { service: a_b, port: 1 }'),
    '/spec/extensionProviders/0/envoyExtAuthzGrpc/service',
  ],
  [
    'Mesh',
    providers('name: a, envoyExtAuthzGrpc: { service: a/b/c, port: 1 }'),
    '/spec/extensionProviders/0/envoyExtAuthzGrpc/service',
  ],
  [
    'Mesh',
    providers('name: a, envoyExtAuthzGrpc: { service: a.b, port: 0 }'),
    '/spec/extensionProviders/0/envoyExtAuthzGrpc/port',
  ],
  [
    'Mesh',
    providers('name: a, envoyExtAuthzHttp: { service: a.b, port: 1, pathPrefix: x }'),
    '/spec/extensionProviders/0/envoyExtAuthzHttp/pathPrefix',
  ],
  ['Workload', '{ ports: [] }', '/spec/ports'],
  ['Workload', '{ ports: [{ port: 0 }] }', '/spec/ports/0/port'],
  ['Workload', '{ ports: [{ port: 1 }, { port: 1 }] }', '/spec/ports/1/port'],
  ['Workload', '{ ports: [{ port: 1, name: a }, { port: 2, name: a }] }', '/spec/ports/1/name'],
  ['Workload', '{ ports: [{ port: 1 }], run: { command: [] } }', '/spec/run/command'],
  ['Workload', '{ ports: [{ port: 1 }], run: { command: [a] }, address: 127.0.0.1 }', '/spec'],
  ['Workload', '{ ports: [{ port: 1 }], address: "a b" }', '/spec/address'],
  ['Workload', '{ ports: [{ port: 1 }], address: "127.0.0.1:0" }', '/spec/address'],
  ['Workload', '{ ports: [{ port: 1 }, { port: 2 }], address: "127.0.0.1:1" }', '/spec/address'],
  ['Workload', '{ ports: [{ port: 1 }], sourceAddress: 10.0.0.1 }', '/spec/sourceAddress'],
  ['Workload', '{ ports: [{ port: 1 }], ready: {} }', '/spec/ready'],
  ['Workload', '{ ports: [{ port: 1 }], ready: { tcp: { port: 2 } } }', '/spec/ready/tcp/port'],
  [
    'Workload',
    '{ ports: [{ port: 1 }], ready: { httpGet: { path: x } } }',
    '/spec/ready/httpGet/path',
  ],
  ['Workload', '{ ports: [{ port: 1 }], proxy: { inbound: { 2: 3 } } }', '/spec/proxy/inbound/2'],
  ['Workload', '{ ports: [{ port: 1 }], serviceAccount: a/b }', '/spec/serviceAccount'],
]

for (const [kind, spec, pointer] of OURS) {
  test(`${kind} ${spec} is refused at ${pointer}`, (t) => {
    const [report] = read(
      `apiVersion: redoubt.io/v1alpha1\nkind: ${kind}\nmetadata: { name: a }\nspec: ${spec}\n`,
    )
    t.true(
      report?.errors.some((fault) => fault.pointer === pointer),
      JSON.stringify(report?.errors),
    )
  })
}

test('a workload in the namespace of the mesh itself is refused', (t) => {
  const text =
    'apiVersion: redoubt.io/v1alpha1\nkind: Workload\nmetadata: { name: ca, namespace: redoubt-system }\nspec: { ports: [{ port: 1 }] }'
  t.deepEqual(faults(text), ['/metadata/namespace:3 the namespace is reserved for the mesh itself'])
})

const TEMPLATES_OF_ENVOY = ['{*}', '{**}', 'foo/{*}', '//{*}', '/{*}//', '/a/{**}//']
const GOOD_PATHS = ['/{*}', '/foo/{**}/', '/foo/{*}/bar/{**}', '/a*', '*', '*/b', '/a//b', '/{*}/']
const BAD_PATHS = [
  '/*/baz/{*}',
  '/**/baz/{*}',
  '/{**}/foo/{*}',
  '/foo/{*}.txt',
  '/foo{*}',
  '/a/{b}',
  '/{*}//b',
]

for (const [paths, valid] of [
  [GOOD_PATHS, true],
  [[...BAD_PATHS, ...TEMPLATES_OF_ENVOY], false],
] as const) {
  for (const path of paths) {
    test(`the path ${path} is ${valid ? 'accepted' : 'refused'}`, (t) => {
      const [report] = read(`${POLICY}  rules: [{ to: [{ operation: { paths: ["${path}"] } }] }]\n`)
      t.is(report?.valid, valid, JSON.stringify(report?.errors))
    })
  }
}

test('golden fixtures are read the same with Windows line ends', (t) => {
  const text = readFileSync('test/fixtures/dialects/istio/virtual-service.in.yaml', 'utf8')
  const json = (written: string): string =>
    JSON.stringify(readManifests([{ path: 'a', text: written }]))
  t.is(json(text.replaceAll('\n', '\r\n')), json(text))
})

test('a reader that reads again gives what a new one would, and the same objects for the same text', (t) => {
  const reader = createManifestReader()
  const files = [
    { path: 'a.yaml', text: SAMPLE },
    { path: 'b.yaml', text: `${POLICY}  rules: [{}]\n` },
  ]
  const first = reader(files)
  const edited = [
    { path: 'a.yaml', text: SAMPLE },
    { path: 'b.yaml', text: `${POLICY}  rules: [{ to: [] }]\n` },
  ]
  const second = reader(edited)
  t.is(second.intent.services[0], first.intent.services[0])
  t.deepEqual(second.documents, readManifests(edited).documents)
  t.deepEqual(
    second.intent.authorizationPolicies,
    readManifests(edited).intent.authorizationPolicies,
  )
  t.deepEqual(reader([]).documents, [])
  t.is(reader(files).documents.length, first.documents.length)
})

test('a Secret that is wrong is told of without what is in it', (t) => {
  const secret = (data: string) =>
    readManifests([
      { path: 'x.yaml', text: `{apiVersion: v1, kind: Secret, metadata: {name: a}, ${data}}` },
    ]).documents
  for (const data of ['data: {p: hunter2!}', 'stringData: {p: 31337}', 'data: {p: [hunter2]}']) {
    const [report] = secret(data)
    t.false(report?.valid, data)
    t.notRegex(JSON.stringify(report), /hunter2|31337/)
  }
})
