/** What a gateway is told, of Istio's manifests (istio-semantics §5.2, §7). */
import test from 'ava'

import {
  assembleDestination,
  assembleGateway,
  assembleInbound,
  type DocumentReport,
  gatewayPortsOf,
  type Intent,
  readManifests,
  type WorkloadInstance,
} from '#policy/index.ts'
import { parseGatewayBundle } from '#policy/model/index.ts'

const BASE = `
apiVersion: v1
kind: Service
metadata: { name: web, namespace: shop }
spec: { selector: { app: web }, ports: [{ name: http, port: 80, targetPort: 8080 }] }
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: default, namespace: istio-system }
spec: { mtls: { mode: STRICT } }
`

const DOOR: WorkloadInstance = {
  namespace: 'edge',
  name: 'door',
  labels: { istio: 'ingress', zone: 'a' },
  serviceAccount: 'door',
  sidecar: true,
  ports: [
    { port: 8080, name: 'web', address: '127.0.0.1:1' },
    { port: 9090, name: 'own', address: '127.0.0.1:2' },
  ],
}

function object(
  kind: string,
  name: string,
  spec: string,
  namespace = 'edge',
  created = '',
): string {
  const at = created === '' ? '' : `, creationTimestamp: "${created}"`
  const version = kind === 'Service' ? 'v1' : 'networking.istio.io/v1'
  return `---\napiVersion: ${version}\nkind: ${kind}\nmetadata: { name: ${name}, namespace: ${namespace}${at} }\nspec: ${spec}\n`
}

interface Written {
  readonly name?: string
  readonly namespace?: string
  readonly created?: string
  readonly selector?: string
}

const gateway = (
  servers: string,
  {
    name = 'door',
    namespace = 'edge',
    created = '',
    selector = '{ istio: ingress }',
  }: Written = {},
): string =>
  object('Gateway', name, `{ selector: ${selector}, servers: [${servers}] }`, namespace, created)

const http = (number: number, hosts: string, more = ''): string =>
  `{ port: { number: ${number}, name: http-${number}, protocol: HTTP }, hosts: [${hosts}]${more} }`
const https = (number: number, hosts: string, tls: string, name = 'https'): string =>
  `{ port: { number: ${number}, name: ${name}, protocol: HTTPS }, hosts: [${hosts}], tls: { ${tls} } }`

const ROUTE = 'route: [{ destination: { host: web.shop.svc.cluster.local } }]'

interface Routed {
  readonly name?: string
  readonly namespace?: string
  readonly created?: string
  readonly gateways?: string
  readonly more?: string
}

const routes = (
  hosts: string,
  rules: string,
  { name = 'one', namespace = 'edge', created = '', gateways = 'door', more = '' }: Routed = {},
): string =>
  object(
    'VirtualService',
    name,
    `{ hosts: [${hosts}], gateways: [${gateways}], http: [${rules}]${more} }`,
    namespace,
    created,
  )

function intentOf(...texts: readonly string[]): Intent {
  const { intent, documents } = readManifests([{ path: 'a.yaml', text: BASE + texts.join('') }])
  const faulty = documents.filter(
    ({ errors, unsupported }) => errors.length + unsupported.length > 0,
  )
  if (faulty.length > 0) throw new Error(JSON.stringify(faulty, undefined, 1))
  return intent
}

/** Virtual hosts by listener, each with the names of its routes. */
function tables(...texts: readonly string[]) {
  const bundle = assembleGateway(intentOf(...texts), [DOOR], DOOR)
  assertParses(bundle)
  return bundle.listeners.map(({ port, servers }) => ({
    port,
    servers: servers.map(({ name, virtualHosts }) => ({
      name,
      hosts: Object.fromEntries(
        virtualHosts.map(({ host, routes: all }) => [host, all.map((one) => one.name).join(' ')]),
      ),
    })),
  }))
}

/** What is assembled is what a sidecar takes. */
function assertParses(bundle: unknown): void {
  parseGatewayBundle(Buffer.from(JSON.stringify(bundle)))
}

/** The hosts of the only table. */
function hostsOf(...texts: readonly string[]): Readonly<Record<string, string>> {
  const [listener] = tables(...texts)
  return listener?.servers[0]?.hosts ?? {}
}

test('§7.3 a gateway listens where the first Service leads, else at the port itself', (t) => {
  const portsOf = (...texts: readonly string[]) =>
    gatewayPortsOf(intentOf(...texts), DOOR).map(({ port }) => port)
  const door = gateway(`${http(80, '"*"')}, ${http(81, '"*"')}`)
  const service = (ports: string, selector = '{ istio: ingress }', namespace = 'edge') =>
    object('Service', 'door', `{ selector: ${selector}, ports: [${ports}] }`, namespace)
  t.deepEqual(portsOf(door), [80, 81])
  t.deepEqual(portsOf(door, service('{ port: 80, targetPort: 8080 }')), [81, 8080])
  t.deepEqual(portsOf(door, service('{ port: 80, targetPort: web }')), [81, 8080])
  t.deepEqual(portsOf(door, service('{ port: 80, targetPort: gone }')), [80, 81])
  t.deepEqual(
    portsOf(door, service('{ port: 80, targetPort: 8080 }', '{ istio: other }')),
    [80, 81],
  )
  t.deepEqual(
    portsOf(door, service('{ port: 80, targetPort: 8080 }', '{ istio: ingress }', 'shop')),
    [80, 81],
    'a Service selects in its own namespace',
  )
})

test('§7.1 a selector takes workloads of any namespace, and none of them all gateways there are', (t) => {
  const of = (...texts: readonly string[]) => gatewayPortsOf(intentOf(...texts), DOOR)
  t.is(of(gateway(http(80, '"*"'), { namespace: 'elsewhere' })).length, 1)
  t.deepEqual(of(gateway(http(80, '"*"'), { selector: '{ istio: ingress, zone: b }' })), [])
  t.deepEqual(of(gateway(http(80, '"*"'), { selector: '{}' })), [])
  const all = gateway(http(81, '"*"'), { name: 'all', selector: '{}' })
  t.deepEqual(
    of(gateway(http(80, '"*"')), all).map(({ port }) => port),
    [80, 81],
  )
})

test('§7.4 row 1–4: plaintext servers at one port are one table, TLS servers have each their own', (t) => {
  const credential = 'mode: SIMPLE, credentialName: c'
  const two = gateway(http(80, 'b.example'), { name: 'second', created: '2026-01-01T00:00:00Z' })
  const rule = (name: string, gateways: string, host: string): string =>
    routes(host, `{ name: ${name}, ${ROUTE} }`, { name, gateways })
  t.deepEqual(
    tables(
      gateway(http(80, 'a.example'), { created: '2026-02-01T00:00:00Z' }),
      two,
      rule('a', 'door', 'a.example'),
      rule('b', 'second', 'b.example'),
    ),
    [
      {
        port: 80,
        servers: [{ name: 'edge/second/http-80', hosts: { 'a.example': 'a', 'b.example': 'b' } }],
      },
    ],
  )
  const tls = [https(443, 'a.example', credential, 'a'), https(443, '"*.example"', credential, 'b')]
  t.deepEqual(tables(gateway(tls.join(', ')), routes('"*.example"', `{ name: r, ${ROUTE} }`)), [
    {
      port: 443,
      servers: [
        { name: 'edge/door/a', hosts: { 'a.example': 'r' } },
        { name: 'edge/door/b', hosts: { '*.example': 'r' } },
      ],
    },
  ])
  // The older one stays whole.
  for (const [younger, why] of [
    [https(80, 'b.example', credential), 'plaintext and TLS'],
    [http(80, 'b.example', ', bind: 127.0.0.2'), 'two addresses'],
  ] as const) {
    const intent = intentOf(
      gateway(http(80, 'a.example'), { created: '2026-01-01T00:00:00Z' }),
      gateway(younger, { name: 'younger', created: '2026-02-01T00:00:00Z' }),
    )
    const names = gatewayPortsOf(intent, DOOR).flatMap(({ servers }) =>
      servers.map((one) => one.gateway.name),
    )
    t.deepEqual(names, ['door'], why)
  }
  const twice = [
    https(443, 'a.example', credential, 'a'),
    https(443, 'a.example, b.example', credential, 'b'),
  ]
  t.deepEqual(
    tables(gateway(twice.join(', '))).flatMap(({ servers }) => servers.map(({ name }) => name)),
    ['edge/door/a'],
  )
})

test('§7.4 row 8, §7.1: of hosts that server and VirtualService both have, the narrower is served', (t) => {
  const served = (server: string, virtual: string, namespace = 'edge') =>
    Object.keys(
      hostsOf(
        gateway(http(80, server)),
        routes(virtual, `{ ${ROUTE} }`, { namespace, gateways: 'edge/door' }),
      ),
    )
  t.deepEqual(served('"*"', 'a.example'), ['a.example'])
  t.deepEqual(served('a.example', '"*"'), ['a.example'])
  t.deepEqual(served('"*.example"', 'a.example, b.example, c.org'), ['a.example', 'b.example'])
  t.deepEqual(served('"*.a.example"', '"*.example"'), ['*.a.example'])
  t.deepEqual(served('"*.example"', '"*.a.example"'), ['*.a.example'])
  t.deepEqual(served('a.example', 'b.example'), [])
  t.deepEqual(served('"*.example"', 'example'), [])
  t.deepEqual(served('A.example', 'a.example'), ['a.example'])
  t.deepEqual(served('shop/a.example', 'a.example', 'shop'), ['a.example'])
  t.deepEqual(served('./a.example', 'a.example', 'shop'), [])
  t.deepEqual(served('./a.example', 'a.example', 'edge'), ['a.example'])
  t.deepEqual(served('"*/a.example"', 'a.example', 'shop'), ['a.example'])
})

test('§7.4 row 7: a server without routes serves nothing, and still redirects', (t) => {
  t.deepEqual(hostsOf(gateway(http(80, 'a.example'))), {})
  const redirect = ', tls: { httpsRedirect: true }'
  t.deepEqual(hostsOf(gateway(http(80, 'a.example', redirect))), { 'a.example': 'https-redirect' })
  t.deepEqual(
    hostsOf(gateway(http(80, '"*"', redirect)), routes('a.example', `{ name: r, ${ROUTE} }`)),
    { 'a.example': 'https-redirect', '*': 'https-redirect' },
  )
})

test('§5.2 VirtualServices of one host at a gateway are one after the other, catch-alls last', (t) => {
  const match = (name: string, path: string): string =>
    `{ name: ${name}, match: [{ uri: { prefix: ${path} } }], ${ROUTE} }`
  const door = gateway(http(80, '"*"'))
  t.is(
    hostsOf(
      door,
      routes(
        'a.example',
        `${match('y1', '/y')}, { name: yall, ${ROUTE} }, ${match('never', '/')}`,
        {
          name: 'young',
          created: '2026-02-01T00:00:00Z',
        },
      ),
      routes('a.example', `${match('o1', '/o')}, ${match('oall', '/')}`, {
        name: 'old',
        created: '2026-01-01T00:00:00Z',
      }),
    )['a.example'],
    'o1 y1 oall',
  )
  const blocks = `{ name: both, match: [{ uri: { exact: /a } }, { uri: { prefix: / } }], ${ROUTE} }`
  t.is(
    hostsOf(
      door,
      routes('a.example', blocks),
      routes('a.example', match('b', '/b'), { name: 'two' }),
    )['a.example'],
    'both b both',
    'a block that takes everything goes alone',
  )
})

test('§5.1, §0.5 who is bound: by name, in any old form, and only what the gateway may see', (t) => {
  const door = gateway(http(80, '"*"'))
  const bound = (gateways: string, namespace = 'edge', more = '') =>
    'a.example' in hostsOf(door, routes('a.example', `{ ${ROUTE} }`, { gateways, namespace, more }))
  t.true(bound('door'))
  t.false(bound('door', 'shop'), 'a short name is of its own namespace')
  t.true(bound('edge/door', 'shop'))
  t.true(bound('door.edge', 'shop'))
  t.true(bound('door.edge.svc.cluster.local', 'shop'))
  t.true(bound('mesh, edge/door', 'shop'))
  t.false(bound('mesh', 'edge'))
  t.false(bound('edge/door', 'shop', ', exportTo: [.]'))
  t.true(bound('edge/door', 'shop', ', exportTo: [edge]'))
})

test('§5.4 at a gateway a block is for it, or for whom it names, and for the port of its server', (t) => {
  const kept = (match: string) =>
    hostsOf(
      gateway(http(80, '"*"')),
      routes('a.example', `{ name: r, match: [{ ${match} }], ${ROUTE} }`),
    )['a.example'] === 'r'
  t.true(kept('port: 80'))
  t.false(kept('port: 8080'))
  t.true(kept('sourceLabels: { zone: a }, sourceNamespace: edge'))
  t.false(kept('sourceLabels: { zone: b }'))
  t.false(kept('sourceNamespace: shop'))
  t.true(kept('gateways: [door]'))
  t.true(kept('gateways: [door], sourceLabels: { zone: b }'), 'then labels are not looked at')
  t.false(kept('gateways: [mesh]'))
})

test('§5.4 claims stand apart from headers, each by the names that lead to it', (t) => {
  const match = `headers: { "@request.auth.claims.a.B": { exact: x }, "@Request.Auth.Claims[http://c.d][e]": { regex: y+ }, X-Plain: { prefix: z } }, withoutHeaders: { "@request.auth.claims.f": { prefix: w } }`
  const bundle = assembleGateway(
    intentOf(gateway(http(80, '"*"')), routes('a.example', `{ match: [{ ${match} }], ${ROUTE} }`)),
    [],
    DOOR,
  )
  t.deepEqual(bundle.listeners[0]?.servers[0]?.virtualHosts[0]?.routes[0]?.match, [
    {
      headers: { 'x-plain': { kind: 'prefix', value: 'z' } },
      claims: [
        { path: ['a', 'B'], match: { kind: 'exact', value: 'x' } },
        { path: ['http://c.d', 'e'], match: { kind: 'regex', value: 'y+' } },
      ],
      withoutClaims: [{ path: ['f'], match: { kind: 'prefix', value: 'w' } }],
    },
  ])
  t.deepEqual(Object.keys(bundle.clusters), ['outbound|80||web.shop.svc.cluster.local'])
})

test('§7.5 a Secret is for the gateway of its namespace, which a Gateway there names', (t) => {
  const secret = (name: string, data: string, namespace = 'edge'): string =>
    `---\napiVersion: v1\nkind: Secret\nmetadata: { name: ${name}, namespace: ${namespace} }\nstringData: ${data}\n`
  const tlsOf = (namespace: string, mode: string, ...secrets: readonly string[]) => {
    const server = https(443, 'a.example', `mode: ${mode}, credentialName: c`)
    const intent = intentOf(gateway(server, { namespace }), ...secrets)
    return assembleGateway(intent, [], DOOR).listeners[0]?.servers[0]?.tls
  }
  const own = { kind: 'inline', pem: 'C' }
  const key = { kind: 'inline', pem: 'K' }
  t.deepEqual(tlsOf('edge', 'SIMPLE', secret('c', '{ tls.crt: C, tls.key: K }'))?.certificates, [
    { chain: own, key } as never,
  ])
  t.deepEqual(tlsOf('edge', 'SIMPLE', secret('c', '{ cert: C, key: K }'))?.certificates, [
    { chain: own, key } as never,
  ])
  const missing = { kind: 'missing', secret: 'c' }
  t.deepEqual(tlsOf('edge', 'SIMPLE')?.certificates, [{ chain: missing, key: missing } as never])
  t.deepEqual(
    tlsOf(
      'shop',
      'SIMPLE',
      secret('c', '{ tls.crt: C, tls.key: K }'),
      secret('c', '{ tls.crt: C, tls.key: K }', 'shop'),
    )?.certificates,
    [{ chain: missing, key: missing } as never],
    'a Gateway of another namespace',
  )
  const mutual = (...secrets: readonly string[]) =>
    tlsOf('edge', 'MUTUAL', ...secrets)?.clientCa as unknown
  t.deepEqual(mutual(secret('c', '{ tls.crt: C, tls.key: K, ca.crt: A }')), {
    kind: 'inline',
    pem: 'A',
  })
  t.deepEqual(
    mutual(
      secret('c', '{ tls.crt: C, tls.key: K, ca.crt: A }'),
      secret('c-cacert', '{ cacert: B }'),
    ),
    { kind: 'inline', pem: 'B' },
  )
  t.deepEqual(mutual(secret('c', '{ tls.crt: C, tls.key: K }')), missing)
})

test('§2.3, §2.5 at the ports of a gateway there is no mutual TLS, whoever comes', (t) => {
  const intent = intentOf(
    gateway(http(80, '"*"')),
    object(
      'Service',
      'door',
      '{ selector: { istio: ingress }, ports: [{ name: http, port: 80, targetPort: 8080 }, { name: http-own, port: 81, targetPort: 9090 }] }',
    ),
  )
  t.deepEqual(
    assembleInbound(intent, DOOR).ports.map(({ port, mtls, protocol }) => [port, mtls, protocol]),
    [
      [9090, 'STRICT', 'http'],
      [8080, 'DISABLE', 'http'],
    ],
  )
  const tlsTo = (port: number) => {
    const bundle = assembleDestination(intent, [DOOR], DOOR, 'door', port)
    if (bundle.kind !== 'known') throw new Error('unknown')
    return Object.values(bundle.clusters).flatMap(({ endpoints }) =>
      endpoints.map(({ tls }) => tls),
    )
  }
  t.deepEqual(tlsTo(80), ['none'])
  t.deepEqual(tlsTo(81), ['mutual'])
})

/** Each row: a server, and the places of what no gateway of ours does. */
const notCarried: readonly (readonly [server: string, pointers: readonly string[]])[] = [
  [http(80, '"*"'), []],
  [http(80, '"*"', ', bind: 0.0.0.0, tls: { httpsRedirect: true }'), []],
  [https(443, '"*"', 'mode: SIMPLE, credentialName: c, minProtocolVersion: TLSV1_3'), []],
  [https(443, '"*"', 'mode: MUTUAL, credentialNames: [c, d], subjectAltNames: [a]'), []],
  [
    https(
      443,
      '"*"',
      'mode: OPTIONAL_MUTUAL, serverCertificate: a, privateKey: b, caCertificates: c',
    ),
    [],
  ],
  [https(443, '"*"', 'mode: PASSTHROUGH'), ['/tls/mode']],
  [https(443, '"*"', 'mode: ISTIO_MUTUAL'), ['/tls/mode']],
  [https(443, '"*"', 'mode: AUTO_PASSTHROUGH'), ['/tls/mode']],
  [https(443, '"*"', 'mode: SIMPLE, credentialName: "sds://c"'), ['/tls/credentialName']],
  [https(443, '"*"', 'mode: SIMPLE, credentialName: "kubernetes://c"'), []],
  [
    https(
      443,
      '"*"',
      'mode: MUTUAL, credentialName: c, verifyCertificateSpki: [a], insecureSkipVerify: true',
    ),
    ['/tls/verifyCertificateSpki', '/tls/insecureSkipVerify'],
  ],
  [
    https(
      443,
      '"*"',
      'mode: SIMPLE, credentialName: c, minProtocolVersion: TLSV1_0, cipherSuites: [AES128-SHA]',
    ),
    ['/tls/minProtocolVersion'],
  ],
  ...['HTTP2', 'GRPC', 'TCP', 'MONGO'].map(
    (protocol) =>
      [
        `{ port: { number: 80, name: a, protocol: ${protocol} }, hosts: ["*"] }`,
        ['/port/protocol'],
      ] as const,
  ),
  ['{ port: { number: 0, name: a, protocol: HTTP }, bind: "unix:///a", hosts: ["*"] }', ['/bind']],
]

for (const [server, pointers] of notCarried) {
  test(`§7.6 ${server} is valid, not carried out: ${pointers.join(' ') || 'nothing'}`, (t) => {
    const [report] = readManifests([{ path: 'a.yaml', text: gateway(server) }])
      .documents as readonly [DocumentReport]
    t.deepEqual(report.errors, [])
    t.deepEqual(
      report.unsupported.map(({ pointer }) => pointer),
      pointers.map((one) => `/spec/servers/0${one}`),
    )
  })
}

test('§5.4 a claim without what it must be, and one for sidecars, are not carried out', (t) => {
  const report = (match: string, gateways: string) => {
    const text = routes('a.example', `{ match: [{ headers: { ${match} } }], ${ROUTE} }`, {
      gateways,
    })
    const [one] = readManifests([{ path: 'a.yaml', text }]).documents
    return {
      errors: one?.errors.length,
      unsupported: one?.unsupported.map(({ pointer }) => pointer),
    }
  }
  const claim = '"@request.auth.claims.a": { exact: b }'
  t.deepEqual(report(claim, 'door'), { errors: 0, unsupported: [] })
  t.is(report(claim, 'mesh, door').errors, 1)
  t.deepEqual(report('"@request.auth.claims.a": {}', 'door').unsupported, [
    '/spec/http/0/match/0/headers/@request.auth.claims.a',
  ])
})
