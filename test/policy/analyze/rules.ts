/** One row for each code of `redoubt analyze`: manifests in which it is raised, and such in which it is not. Long because it is all rows. */

/** Two workloads behind services, STRICT; nothing is found in it. */
export const BASE = `
apiVersion: redoubt.io/v1alpha1
kind: Mesh
metadata: { name: mesh }
spec:
  trustDomain: cluster.local
  extensionProviders: [{ name: http-gate, envoyExtAuthzHttp: { service: api.shop.svc.cluster.local, port: 80 } }]
---
apiVersion: redoubt.io/v1alpha1
kind: Workload
metadata: { name: web, namespace: shop, labels: { app: web } }
spec: { serviceAccount: web, ports: [{ name: http, port: 8080 }] , address: 127.0.0.1 }
---
apiVersion: redoubt.io/v1alpha1
kind: Workload
metadata: { name: api, namespace: shop, labels: { app: api, version: v1 } }
spec: { serviceAccount: api, ports: [{ name: http, port: 8080 }, { name: http-admin, port: 9090 }] , address: 127.0.0.1 }
---
apiVersion: redoubt.io/v1alpha1
kind: Workload
metadata: { name: db, namespace: shop, labels: { app: db } }
spec: { serviceAccount: db, ports: [{ name: tcp-sql, port: 5432 }] , address: 127.0.0.1 }
---
apiVersion: v1
kind: Service
metadata: { name: api, namespace: shop }
spec: { selector: { app: api }, ports: [{ name: http, port: 80, targetPort: 8080 }] }
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: default, namespace: istio-system }
spec: { mtls: { mode: STRICT } }
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: nothing, namespace: shop }
spec: {}
`

export interface Row {
  readonly code: string
  readonly raised: string
  /** What stands on the line that the finding names. */
  readonly on: RegExp
  readonly silent: string
  /** What the repaired document has, where the repair is certain. */
  readonly repaired?: RegExp
}

interface Policy {
  readonly name?: string
  readonly action?: string
  readonly app?: string
}

const WEB = 'from: [{ source: { principals: [cluster.local/ns/shop/sa/web] } }]'

const GRPC = `---
apiVersion: redoubt.io/v1alpha1
kind: Workload
metadata: { name: rpc, namespace: shop, labels: { app: rpc } }
spec: { serviceAccount: rpc, ports: [{ name: grpc, port: 9000 }], address: 127.0.0.1 }
`

function custom(app: string, provider: string): string {
  return `---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: ask-${app}-${provider}, namespace: shop }
spec:
  selector: { matchLabels: { app: ${app} } }
  action: CUSTOM
  provider: { name: ${provider} }
  rules: [{ to: [{ operation: { paths: ["/x"] } }] }]
`
}

/** Whoever is "a" may do anything. */
function casbin(name: string): string {
  return `---
apiVersion: redoubt.io/v1alpha1
kind: CasbinPolicy
metadata: { name: ${name}, namespace: shop }
spec:
  model:
    inline: |
      [request_definition]
      r = sub
      [policy_definition]
      p = sub
      [policy_effect]
      e = some(where (p.eft == allow))
      [matchers]
      m = r.sub == p.sub
  policy: { inline: "p, a" }
`
}

function policy(
  rules: string,
  { name = 'one', action = 'ALLOW', app = 'api' }: Policy = {},
): string {
  return `---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: ${name}, namespace: shop } # ${name}
spec:
  selector: { matchLabels: { app: ${app} } }
  action: ${action}
  rules: # of ${name}
${rules.replace(/^/gm, '    ')}
`
}

const to = (operation: string): string => `- ${WEB}\n  to: [{ operation: { ${operation} } }]`
const from = (source: string): string => `- from: [{ source: { ${source} } }]`

function object(kind: string, spec: string, { name = 'one', namespace = 'shop' } = {}): string {
  const [group, version] = kind === 'Service' ? ['', 'v1'] : [GROUPS[kind], 'v1']
  const apiVersion = group ? `${group}/${kind === 'Workload' ? 'v1alpha1' : version}` : version
  return `---
apiVersion: ${apiVersion}
kind: ${kind}
metadata: { name: ${name}, namespace: ${namespace} } # ${kind}
spec: ${spec}
`
}

const GROUPS: Readonly<Record<string, string>> = {
  VirtualService: 'networking.istio.io',
  DestinationRule: 'networking.istio.io',
  ServiceEntry: 'networking.istio.io',
  Gateway: 'networking.istio.io',
  Sidecar: 'networking.istio.io',
  Telemetry: 'telemetry.istio.io',
  PeerAuthentication: 'security.istio.io',
  RequestAuthentication: 'security.istio.io',
  Workload: 'redoubt.io',
}

const ROUTE = (destination: string): string =>
  object(
    'VirtualService',
    `{ hosts: [api], http: [{ route: [{ destination: { ${destination} } }] }] }`,
  )
const RULE = (labels: string): string =>
  object(
    'DestinationRule',
    `{ host: api, subsets: [{ name: v1, labels: { version: ${labels} } }] }`,
  )
const PORTS = (name: string, ports: string): string =>
  object('Service', `{ selector: { app: api }, ports: [${ports}] }`, { name })
const ENTRY = (name: string, protocol: string): string =>
  object(
    'ServiceEntry',
    `{ hosts: [api.example.com], resolution: DNS, ports: [{ number: 443, name: one, protocol: ${protocol} }] }`,
    { name },
  )
const VERIFIED = object(
  'RequestAuthentication',
  '{ selector: { matchLabels: { app: api } }, jwtRules: [{ issuer: me, jwksUri: "https://example.com/keys" }] }',
)

/** Of two objects each selects its own, or none has a selector. */
const SIDECAR = (name: string, app?: string): string =>
  object(
    'Sidecar',
    app === undefined
      ? '{ egress: [{ hosts: ["./*"] }] }'
      : `{ workloadSelector: { labels: { app: ${app} } }, egress: [{ hosts: ["./*"] }] }`,
    { name },
  )
const TELEMETRY = (name: string, app?: string): string =>
  object(
    'Telemetry',
    app === undefined
      ? '{ tracing: [{ disableSpanReporting: true }] }'
      : `{ selector: { matchLabels: { app: ${app} } }, tracing: [{ disableSpanReporting: true }] }`,
    { name },
  )
/** On the workload `web`, or one that is not there. */
const GATEWAY = (port: string, more = '', { app = 'web', name = 'door' } = {}): string =>
  object(
    'Gateway',
    `{ selector: { app: ${app} }, servers: [{ port: { ${port} }, hosts: [a.example]${more} }] }`,
    { name },
  )
const CLAIM_ROUTE = object(
  'VirtualService',
  '\n  hosts: [a.example]\n  gateways: [door]\n  http:\n    - match: [{ headers: { "@request.auth.claims.group": { exact: a } } }]\n      route: [{ destination: { host: api, port: { number: 80 } } }]',
)
const HTTP_8080 = 'number: 8080, name: http, protocol: HTTP'
const HTTPS_8080 = 'number: 8080, name: https, protocol: HTTPS'
const WITH_SECRET = ', tls: { mode: SIMPLE, credentialName: web-tls }'
const SECRET = `---
apiVersion: v1
kind: Secret
metadata: { name: web-tls, namespace: shop }
stringData: { tls.crt: a, tls.key: b }
`
const SPECS: Readonly<Record<string, string>> = {
  Service: '{ selector: { app: web }, ports: [{ name: http, port: 80, targetPort: 8080 }] }',
  Workload: '{ serviceAccount: web, ports: [{ name: http, port: 8080 }], address: 127.0.0.1 }',
}
const annotated = (kind: string, annotation: string): string =>
  object(kind, SPECS[kind] ?? '{}').replace(
    'namespace: shop }',
    `namespace: shop, annotations: { ${annotation} } }`,
  )

export const ROWS: readonly Row[] = [
  {
    code: 'IST0101',
    raised: GATEWAY(HTTP_8080, '', { app: 'gone' }),
    on: /selector/,
    silent: GATEWAY(HTTP_8080),
  },
  {
    code: 'IST0101',
    raised: GATEWAY(HTTPS_8080, WITH_SECRET),
    on: /servers/,
    silent: GATEWAY(HTTPS_8080, WITH_SECRET) + SECRET,
  },
  {
    code: 'IST0145',
    raised: GATEWAY(HTTP_8080) + GATEWAY(HTTPS_8080, WITH_SECRET, { name: 'door-two' }) + SECRET,
    on: /servers/,
    silent: GATEWAY(HTTP_8080) + GATEWAY(HTTP_8080, '', { name: 'door-two' }),
  },
  {
    code: 'IST0101',
    raised: ROUTE('host: nowhere'),
    on: /VirtualService|spec:/,
    silent: ROUTE('host: api'),
  },
  {
    code: 'IST0101',
    raised: ROUTE('host: api, subset: v9'),
    on: /spec:/,
    silent: ROUTE('host: api, subset: v1') + RULE('v1'),
  },
  {
    code: 'IST0101',
    raised: policy(from('namespaces: [shpo]')),
    on: /shpo/,
    silent: policy(from('namespaces: [shop]')),
  },
  { code: 'IST0106', raised: policy('- form: []'), on: /form/, silent: policy(`- ${WEB}`) },
  {
    code: 'IST0109',
    raised: ROUTE('host: api') + ROUTE('host: api').replace('name: one', 'name: two'),
    on: /spec:/,
    silent: ROUTE('host: api'),
  },
  {
    code: 'IST0112',
    raised:
      PORTS(
        'two',
        '{ name: http, port: 80, targetPort: 8080 }, { name: http-b, port: 81, targetPort: 9090 }',
      ) + ROUTE('host: two'),
    on: /spec:/,
    silent:
      PORTS(
        'two',
        '{ name: http, port: 80, targetPort: 8080 }, { name: http-b, port: 81, targetPort: 9090 }',
      ) + ROUTE('host: two, port: { number: 80 }'),
  },
  {
    code: 'IST0116',
    raised: PORTS('other', '{ name: tcp, port: 80, targetPort: 8080 }'),
    on: /spec:/,
    silent: PORTS('other', '{ name: http, port: 80, targetPort: 8080 }'),
  },
  {
    code: 'IST0118',
    raised: PORTS('other', '{ name: foo, port: 80, targetPort: 9090 }'),
    on: /spec:/,
    silent: PORTS('other', '{ name: http-foo, port: 80, targetPort: 9090 }'),
  },
  {
    code: 'IST0127',
    raised: policy(`- ${WEB}`, { app: 'apy' }),
    on: /selector:/,
    silent: policy(`- ${WEB}`),
  },
  {
    code: 'IST0130',
    raised: object(
      'VirtualService',
      '\n  hosts: [api]\n  http:\n    - route: [{ destination: { host: api } }]\n    - name: late\n      route: [{ destination: { host: api } }]',
    ),
    on: /late/,
    silent: object(
      'VirtualService',
      '\n  hosts: [api]\n  http:\n    - match: [{ uri: { prefix: /a } }]\n      route: [{ destination: { host: api } }]\n    - route: [{ destination: { host: api } }]',
    ),
  },
  {
    code: 'IST0131',
    raised: object(
      'VirtualService',
      '\n  hosts: [api]\n  http:\n    - match: [{ uri: { prefix: /a } }]\n      route: [{ destination: { host: api } }]\n    - match:\n        - uri: { prefix: /a } # again\n      route: [{ destination: { host: api } }]',
    ),
    on: /again/,
    silent: object(
      'VirtualService',
      '\n  hosts: [api]\n  http:\n    - match: [{ uri: { prefix: /a } }]\n      route: [{ destination: { host: api } }]\n    - match: [{ uri: { prefix: /b } }]\n      route: [{ destination: { host: api } }]',
    ),
  },
  {
    code: 'IST0131',
    raised: object(
      'VirtualService',
      '\n  hosts: [api]\n  http:\n    - match: [{ uri: { prefix: /a } }]\n      route: [{ destination: { host: api } }]\n    - match:\n        - uri: { prefix: /a } # again\n        # new\n        - uri: { prefix: /b }\n      route: [{ destination: { host: api } }]',
    ),
    on: /again/,
    silent: object(
      'VirtualService',
      '\n  hosts: [api]\n  http:\n    - match: [{ uri: { prefix: /a } }]\n      route: [{ destination: { host: api } }]\n    - match: [{ uri: { prefix: /c } }, { uri: { prefix: /b } }]\n      route: [{ destination: { host: api } }]',
    ),
    repaired: /match:\n {8}# new\n {8}- uri: \{ prefix: \/b \}\n/,
  },
  {
    code: 'IST0133',
    raised: policy(
      '- from: [{ source: { principals: [cluster.local/ns/shop/sa/web], namespaces: [] } }]',
    ),
    on: /from/,
    silent: policy(`- ${WEB}`),
  },
  {
    code: 'IST0137',
    raised: PORTS('other', '{ name: http, port: 81, targetPort: 8080 }'),
    on: /spec:/,
    silent: PORTS('other', '{ name: http, port: 81, targetPort: 9090 }'),
  },
  {
    code: 'IST0149',
    raised: object(
      'VirtualService',
      '\n  hosts: [api]\n  http:\n    - match: [{ headers: { "@request.auth.claims.group": { exact: a } } }]\n      route: [{ destination: { host: api } }]',
    ),
    on: /match/,
    silent: object(
      'VirtualService',
      '\n  hosts: [api]\n  http:\n    - match: [{ headers: { group: { exact: a } } }]\n      route: [{ destination: { host: api } }]',
    ),
  },
  {
    code: 'IST0149',
    raised: GATEWAY(HTTP_8080) + CLAIM_ROUTE + VERIFIED,
    on: /match/,
    silent: GATEWAY(HTTP_8080) + CLAIM_ROUTE + VERIFIED.replace('app: api', 'app: web'),
  },
  {
    code: 'IST0132',
    raised: GATEWAY(HTTP_8080) + CLAIM_ROUTE.replace('[a.example]', '[b.example]'),
    on: /hosts/,
    silent: GATEWAY(HTTP_8080) + CLAIM_ROUTE,
  },
  {
    code: 'RDB0016',
    raised: policy(to('ports: ["8081"]'), { app: 'web' }),
    on: /8081/,
    silent:
      policy(to('ports: ["8081"]'), { app: 'web' }) + GATEWAY(HTTP_8080.replace('8080', '8081')),
  },
  { code: 'IST0173', raised: RULE('v7'), on: /spec:/, silent: RULE('v1') },
  {
    code: 'IST0174',
    raised: RULE('v1').replace('host: api', 'host: nowhere'),
    on: /spec:/,
    silent: RULE('v1'),
  },
  {
    code: 'IST0177',
    raised: ENTRY('one', 'TLS') + ENTRY('two', 'HTTP'),
    on: /spec:/,
    silent: ENTRY('one', 'TLS') + ENTRY('two', 'TLS'),
  },
  {
    code: 'RDB0001',
    raised:
      policy(to('paths: [/a*]'), { name: 'wide' }) +
      policy(to('methods: [GET], paths: [/ab]'), { name: 'narrow' }),
    on: /from/,
    silent:
      policy(to('methods: [GET], paths: [/a*]'), { name: 'wide' }) +
      policy(to('paths: [/ab]'), { name: 'narrow' }),
  },
  {
    code: 'RDB0001',
    raised: policy(`- ${WEB} # first\n- ${WEB} # second`),
    on: /second/,
    silent: policy(`- ${WEB}`),
    repaired: /rules: # of one\n +- from: [^\n]*# first\n$/,
  },
  {
    code: 'RDB0001',
    raised: policy(`${to('methods: [GET], paths: [/ab]')}\n# all of it\n${to('paths: [/a*]')}`),
    on: /from/,
    silent: policy(`${to('methods: [GET], paths: [/ab]')}\n# all of it\n${to('paths: [/b*]')}`),
    repaired: /rules: # of one\n {4}# all of it\n {4}- from: [^\n]*\n[^\n]*\/a\*[^\n]*\n$/,
  },
  {
    code: 'RDB0002',
    raised:
      policy(to('paths: [/admin/users]')) +
      policy('- to: [{ operation: { paths: [/admin*] } }]', { name: 'no', action: 'DENY' }),
    on: /from/,
    silent:
      policy(to('paths: [/admin/users]')) +
      policy('- to: [{ operation: { paths: [/admin*], notMethods: [GET] } }]', {
        name: 'no',
        action: 'DENY',
      }),
  },
  {
    code: 'RDB0003',
    raised: policy(to('methods: [GET], notMethods: [GET, POST]')),
    on: /to:/,
    silent: policy(to('methods: [GET, PUT], notMethods: [GET, POST]')),
  },
  { code: 'RDB0004', raised: policy('- {} # all'), on: /all/, silent: policy(`- ${WEB}`) },
  {
    code: 'RDB0005',
    raised: policy('- to: [{ operation: { paths: [/health] } }]'),
    on: /health/,
    silent: policy(to('paths: [/health]')),
  },
  {
    code: 'RDB0006',
    raised: policy(`- ${WEB}\n- to: [{ operation: { methods: [GET] } }]`),
    on: /GET/,
    silent: policy(to('methods: [GET]')),
  },
  {
    code: 'RDB0007',
    raised: object(
      'PeerAuthentication',
      '{ selector: { matchLabels: { app: gone } }, mtls: { mode: STRICT } }',
    ),
    on: /spec:/,
    silent: object(
      'PeerAuthentication',
      '{ selector: { matchLabels: { app: api } }, mtls: { mode: STRICT } }',
    ),
  },
  {
    code: 'RDB0008',
    raised: object(
      'PeerAuthentication',
      '{ selector: { matchLabels: { app: api } }, mtls: { mode: STRICT } }',
      { namespace: 'istio-system' },
    ),
    on: /spec:/,
    silent: object('PeerAuthentication', '{ mtls: { mode: STRICT } }'),
  },
  {
    code: 'RDB0008',
    raised:
      object('PeerAuthentication', '{ mtls: { mode: STRICT } }') +
      object('PeerAuthentication', '{ mtls: { mode: DISABLE } }', { name: 'two' }),
    on: /name: two/,
    silent: object('PeerAuthentication', '{ mtls: { mode: STRICT } }'),
  },
  {
    code: 'RDB0009',
    raised: object('PeerAuthentication', '{ mtls: { mode: PERMISSIVE } }'),
    on: /PERMISSIVE/,
    silent: object('PeerAuthentication', '{ mtls: { mode: STRICT } }'),
  },
  {
    code: 'RDB0010',
    raised: object(
      'PeerAuthentication',
      '{ selector: { matchLabels: { app: web } }, mtls: { mode: DISABLE } }',
    ),
    on: /DISABLE/,
    silent: GATEWAY(HTTP_8080),
  },
  {
    code: 'RDB0010',
    raised: object(
      'PeerAuthentication',
      '{ selector: { matchLabels: { app: api } }, portLevelMtls: { 9090: { mode: DISABLE } } }',
    ),
    on: /DISABLE/,
    silent: object(
      'PeerAuthentication',
      '{ selector: { matchLabels: { app: api } }, portLevelMtls: { 9090: { mode: STRICT } } }',
    ),
  },
  {
    code: 'RDB0011',
    raised: policy('- to: [{ operation: { methods: [DELETE] } }]', { app: 'db', action: 'DENY' }),
    on: /DELETE/,
    silent: policy('- to: [{ operation: { methods: [DELETE], ports: ["8080"] } }]', {
      action: 'DENY',
    }),
  },
  {
    code: 'RDB0011',
    raised: policy(to('methods: [GET]'), { app: 'db' }),
    on: /from/,
    silent: policy(to('ports: ["5432"]'), { app: 'db' }),
  },
  {
    code: 'RDB0011',
    raised: policy(to('paths: [/pkg.Service/Call]'), { app: 'db' }),
    on: /from/,
    silent: `${GRPC}${policy(to('paths: [/pkg.Service/Call]'), { app: 'rpc' })}`,
  },
  {
    code: 'RDB0012',
    raised:
      policy(`- ${WEB}`)
        .replaceAll('namespace: shop', 'namespace: other')
        .replace('sa/web', 'sa/w') +
      object(
        'Workload',
        '{ serviceAccount: w, ports: [{ name: http, port: 8080 }], address: 127.0.0.1 }',
        { name: 'api', namespace: 'other' },
      ).replace('namespace: other }', 'namespace: other, labels: { app: api } }'),
    on: /spec:/,
    silent: policy(`- ${WEB}`),
  },
  {
    code: 'RDB0013',
    raised: policy(to('ports: ["8080"]')),
    on: /rules/,
    silent: policy(to('ports: ["8080", "9090"]')),
  },
  {
    code: 'RDB0014',
    raised: policy(from('principals: [cluster.local/ns/shop/sa/wbe]')),
    on: /wbe/,
    silent: policy(from('principals: [cluster.local/ns/shop/sa/web]')),
  },
  {
    code: 'RDB0014',
    raised: policy(from('serviceAccounts: [shop/nobody]')),
    on: /nobody/,
    silent: policy(from('serviceAccounts: [web]')),
  },
  {
    code: 'RDB0014',
    raised: policy(from('principals: [elsewhere/ns/shop/sa/web]')),
    on: /elsewhere/,
    silent: policy(from('principals: ["*/ns/shop/sa/web"]')),
  },
  {
    code: 'RDB0015',
    raised: policy(to('hosts: [appi.shop]')),
    on: /appi/,
    silent: policy(to('hosts: [api.shop, "api:*", "*.shop.svc.cluster.local"]')),
  },
  {
    code: 'RDB0016',
    raised: policy(to('ports: ["80"]')),
    on: /"80"/,
    silent: policy(to('ports: ["8080", "9090"]')),
  },
  {
    code: 'RDB0017',
    raised: policy(from('requestPrincipals: ["*"]')),
    on: /requestPrincipals/,
    silent: policy(from('requestPrincipals: ["*"]')) + VERIFIED,
  },
  {
    code: 'RDB0018',
    raised: policy(from('principals: [spiffe://cluster.local/ns/shop/sa/web]')),
    on: /spiffe/,
    silent: policy(`- ${WEB}`),
  },
  {
    code: 'RDB0019',
    raised: policy(to('methods: [get]')),
    on: /get/,
    silent: policy(to('methods: [GET]')),
  },
  {
    code: 'RDB0019',
    raised: policy(to('methods: [List]')),
    on: /List/,
    silent: policy(to('methods: ["*"]')),
  },
  {
    code: 'RDB0020',
    raised: policy(to('paths: ["/a/../b"]')),
    on: /\/a/,
    silent: policy(to('paths: ["/a/b", "/a.b/*", "/a/{*}/b"]')),
  },
  {
    code: 'RDB0020',
    raised: policy(to('paths: ["/a?b=c"]')),
    on: /\/a/,
    silent: policy(to('paths: ["/a/..*"]')),
  },
  {
    code: 'RDB0021',
    raised: policy(to('methods: [GET, POST, GET]')),
    on: /GET/,
    silent: policy(to('methods: [GET, POST]')),
    repaired: /methods: \[ ?GET, POST ?\]/,
  },
  {
    code: 'RDB0022',
    raised: `---
apiVersion: redoubt.io/v1alpha1
kind: Workload
metadata: { name: bare, namespace: shop, labels: { app: bare, sidecar.istio.io/inject: "false" } }
spec: { serviceAccount: web, ports: [{ name: http, port: 8080 }], address: 127.0.0.1 }
${policy(`- ${WEB}`, { app: 'bare' })}`,
    on: /spec:/,
    silent: policy(`- ${WEB}`),
  },
  {
    code: 'RDB0023',
    raised: custom('api', 'gate'),
    on: /name: gate|provider/,
    silent: `${casbin('gate')}${custom('api', 'gate')}`,
  },
  {
    code: 'RDB0024',
    raised: `${casbin('one')}${casbin('two')}${custom('api', 'one')}${custom('api', 'two')}`,
    on: /provider/,
    silent: `${casbin('one')}${casbin('two')}${custom('api', 'one')}${custom('web', 'two')}`,
  },
  {
    code: 'RDB0025',
    raised: custom('db', 'http-gate').replace('paths: ["/x"]', 'ports: ["5432"]'),
    on: /provider/,
    silent: custom('api', 'http-gate'),
  },
  {
    code: 'RDB0026',
    raised: `${casbin('gate').replace('inline: "p, a"', 'configMap: { name: lines, key: csv }')}${custom('api', 'gate')}`,
    on: /configMap/,
    silent: `${casbin('gate').replace('inline: "p, a"', 'configMap: { name: lines, key: csv }')}${custom('api', 'gate')}---
apiVersion: v1
kind: ConfigMap
metadata: { name: lines, namespace: shop }
data: { csv: "p, a" }
`,
  },
  {
    code: 'RDB0026',
    raised: `${casbin('gate').replace('inline: "p, a"', 'configMap: { name: lines, key: csv }')}${custom('api', 'gate')}---
apiVersion: v1
kind: ConfigMap
metadata: { name: lines, namespace: shop }
data: { csv: "p, a, b" }
`,
    on: /policy:/,
    silent: `${casbin('gate')}${custom('api', 'gate')}`,
  },
  {
    code: 'IST0002',
    raised: VERIFIED.replace('jwksUri', '"jwks_uri"'),
    on: /jwks_uri/,
    silent: VERIFIED,
    repaired: /issuer: me, "jwksUri": "https/,
  },
  {
    code: 'RDB0027',
    raised: policy(`- ${WEB}`).replace('istio.io/v1', "istio.io/v1beta1 # since 'one'"),
    on: /v1beta1/,
    silent: policy(`- ${WEB}`),
    repaired: /^apiVersion: security\.istio\.io\/v1 # since 'one'$/m,
  },
  {
    code: 'IST0002',
    raised: object(
      'VirtualService',
      '\n  hosts: [api]\n  http:\n    - fault: { delay: { percent: 5, fixedDelay: 1s } }\n      route: [{ destination: { host: api } }]',
    ),
    on: /percent/,
    silent: object(
      'VirtualService',
      '{ hosts: [api], http: [{ fault: { delay: { percentage: { value: 5 }, fixedDelay: 1s } }, route: [{ destination: { host: api } }] }] }',
    ),
  },
  {
    code: 'IST0101',
    raised: object(
      'VirtualService',
      '\n  hosts: [api]\n  gateways: [nowhere, mesh]\n  http: [{ route: [{ destination: { host: api } }] }]',
    ),
    on: /gateways/,
    silent: object(
      'VirtualService',
      '{ hosts: [api], gateways: [mesh], http: [{ route: [{ destination: { host: api } }] }] }',
    ),
  },
  {
    code: 'IST0107',
    raised: annotated('Service', 'proxy.istio.io/config: "{}"'),
    on: /proxy\.istio\.io/,
    silent: annotated('Service', 'networking.istio.io/exportTo: "*"'),
  },
  {
    code: 'IST0108',
    raised: annotated('Service', 'networking.istio.io/exportsTo: "*"'),
    on: /exportsTo/,
    silent: annotated('Service', 'example.com/exportsTo: "*"'),
  },
  {
    code: 'IST0110',
    raised: SIDECAR('one', 'api') + SIDECAR('two', 'api'),
    on: /two/,
    silent: SIDECAR('one', 'api') + SIDECAR('two', 'web'),
  },
  {
    code: 'IST0111',
    raised: SIDECAR('one') + SIDECAR('two'),
    on: /two/,
    silent: SIDECAR('one') + SIDECAR('two', 'web'),
  },
  {
    code: 'IST0125',
    raised: annotated('Service', 'galley.istio.io/analyze-suppress: IST127'),
    on: /IST127/,
    silent: annotated('Service', 'galley.istio.io/analyze-suppress: "IST0127, RDB0005"'),
  },
  {
    code: 'IST0128',
    raised: object('DestinationRule', '{ host: api, trafficPolicy: { tls: { mode: SIMPLE } } }'),
    on: /SIMPLE/,
    silent: object(
      'DestinationRule',
      '{ host: api, trafficPolicy: { tls: { mode: SIMPLE, caCertificates: /ca.pem } } }',
    ),
  },
  {
    code: 'IST0129',
    raised: object(
      'DestinationRule',
      '{ host: api, trafficPolicy: { portLevelSettings: [{ port: { number: 80 }, tls: { mode: SIMPLE } }] } }',
    ),
    on: /SIMPLE/,
    silent: object(
      'DestinationRule',
      '{ host: api, trafficPolicy: { portLevelSettings: [{ port: { number: 80 }, tls: { mode: ISTIO_MUTUAL } }] } }',
    ),
  },
  {
    code: 'IST0134',
    raised: ENTRY('one', 'TCP'),
    on: /number: 443/,
    silent: ENTRY('one', 'TLS'),
  },
  {
    code: 'IST0135',
    raised: annotated('Workload', 'sidecar.istio.io/inject: "true"'),
    on: /inject/,
    silent: annotated('Workload', 'example.com/inject: "true"'),
  },
  {
    code: 'IST0159',
    raised: TELEMETRY('one', 'api') + TELEMETRY('two', 'api'),
    on: /two/,
    silent: TELEMETRY('one', 'api') + TELEMETRY('two', 'db'),
  },
  {
    code: 'IST0160',
    raised: TELEMETRY('one') + TELEMETRY('two'),
    on: /two/,
    silent: TELEMETRY('one') + TELEMETRY('two', 'db'),
  },
  {
    code: 'IST0171',
    raised: `${object('ServiceEntry', '{ hosts: [a.example.com], resolution: DNS, ports: [{ number: 443, name: tls, protocol: TLS }] }')}status: { conditions: [{ type: Reconciled, status: "False", reason: Busy }] }\n`,
    on: /Reconciled/,
    silent: `${object('ServiceEntry', '{ hosts: [a.example.com], resolution: DNS, ports: [{ number: 443, name: tls, protocol: TLS }] }')}status: { conditions: [{ type: Reconciled, status: "True" }] }\n`,
  },
]
