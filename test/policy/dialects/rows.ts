/**
 * Rows of the specification that are about validation, each with manifests on both sides of its line.
 * `npm run test:oracle` asks Istio's own webhook and CRDs about the same manifests.
 */

export type Manifest = Readonly<Record<string, unknown>>

/** What becomes of manifests: taken (Istio says nothing, we may), taken with a warning, or refused. */
export interface VerdictRow {
  readonly accepted?: readonly Manifest[]
  readonly warned?: readonly Manifest[]
  readonly refused?: readonly Manifest[]
}

const object = (kind: string, group: string, spec: unknown, metadata: object = {}): Manifest => ({
  apiVersion: `${group}.istio.io/v1`,
  kind,
  metadata: { name: 'one', namespace: 'app', ...metadata },
  spec,
})
const policy = (spec: unknown, metadata?: object): Manifest =>
  object('AuthorizationPolicy', 'security', spec, metadata)
const deny = (rule: unknown): Manifest => policy({ action: 'DENY', rules: [rule] })
const allow = (rule: unknown): Manifest => policy({ rules: [rule] })
const custom = (rule: unknown): Manifest =>
  policy({ action: 'CUSTOM', provider: { name: 'p' }, rules: [rule] })
const source = (fields: object): Manifest => allow({ from: [{ source: fields }] })
const operation = (fields: object): Manifest => allow({ to: [{ operation: fields }] })
const condition = (key: string, values: readonly string[] = ['v']): Manifest =>
  allow({ when: [{ key, values }] })
const peers = (spec: unknown, metadata?: object): Manifest =>
  object('PeerAuthentication', 'security', spec, metadata)
const tokens = (spec: unknown, metadata?: object): Manifest =>
  object('RequestAuthentication', 'security', spec, metadata)
const jwt = (rule: object): Manifest => tokens({ jwtRules: [{ issuer: 'iss', ...rule }] })
const selector = (matchLabels: unknown) => ({ selector: { matchLabels } })
const routes = (http: object, more: object = {}): Manifest =>
  object('VirtualService', 'networking', {
    hosts: ['a.example'],
    http: [{ route: [{ destination: { host: 'a.example' } }], ...http }],
    ...more,
  })
const hosts = (...list: readonly string[]): Manifest => routes({}, { hosts: list })
const matching = (match: object): Manifest => routes({ match: [match] })
const toPort = (number: number): Manifest =>
  routes({ route: [{ destination: { host: 'a.example', port: { number } } }] })
const rule = (trafficPolicy: object): Manifest =>
  object('DestinationRule', 'networking', { host: 'a.example', trafficPolicy })
const entry = (spec: object): Manifest =>
  object('ServiceEntry', 'networking', {
    hosts: ['a.example'],
    ports: [{ number: 80, name: 'http', protocol: 'HTTP' }],
    resolution: 'STATIC',
    ...spec,
  })
const annotated = (annotations: object, manifest: Manifest): Manifest => ({
  ...manifest,
  metadata: { ...(manifest['metadata'] as object), annotations },
})
const dryRun = (value: string, manifest: Manifest): Manifest =>
  annotated({ 'istio.io/dry-run': value }, manifest)
const many = <T>(count: number, make: (index: number) => T): T[] =>
  Array.from({ length: count }, (_, index) => make(index))
const labels = (count: number) => Object.fromEntries(many(count, (index) => [`l${index}`, 'v']))

const NOWHERE = { rules: [{}] }
const SERVICE = { kind: 'Service', group: '', name: 'web' }
const KEYS = '{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}'

/** By the title of their test. */
export const VERDICTS: Readonly<Record<string, VerdictRow>> = {
  '§0.2 row 6: an object that asks to be refused is refused': {
    refused: [annotated({ 'internal.istio.io/webhook-always-reject': 'true' }, policy(NOWHERE))],
  },
  '§0.2 row 7: annotations of generated objects are refused': {
    refused: [
      annotated({ 'internal.istio.io/parents': 'x' }, policy(NOWHERE)),
      annotated({ 'internal.istio.io/parent-namespace': 'x' }, peers({})),
    ],
  },
  '§0.2 row 8: only an AuthorizationPolicy can be dry-run': {
    accepted: [dryRun('true', policy(NOWHERE))],
    refused: [dryRun('true', tokens({ jwtRules: [] })), dryRun('true', hosts('a.example'))],
  },
  '§0.2 row 9, §1.14 row 18: only ALLOW and DENY can be dry-run': {
    accepted: [dryRun('true', deny({})), dryRun('false', deny({}))],
    refused: [dryRun('true', custom({})), dryRun('true', policy({ action: 'AUDIT', ...NOWHERE }))],
  },
  '§0.2 row 10: dry-run is a boolean, in any of Go’s spellings': {
    accepted: many(6, (at) => dryRun(['1', 't', 'T', 'TRUE', 'True', '0'][at] ?? '', deny({}))),
    refused: [dryRun('yes', deny({})), dryRun('', deny({})), dryRun('tRUE', deny({}))],
  },
  '§0.3 row 1: a DNS label': {
    accepted: [routes({}, { exportTo: ['a-b', `${'a'.repeat(63)}`] })],
    refused: ['a_b', '-a', 'a-', 'a'.repeat(64), 'a.b'].map((name) =>
      routes({}, { exportTo: [name] }),
    ),
  },
  '§0.3 row 2: an FQDN': {
    accepted: [hosts('a.b.example'), hosts('a.example.'), hosts('1.a')],
    refused: [
      hosts('a..b'),
      hosts(''),
      hosts('a.1'),
      hosts(`${'a.'.repeat(130)}b`),
      hosts('a_b.c'),
    ],
  },
  '§0.3 row 3: a wildcard domain has its star in front': {
    accepted: [hosts('*.a.example'), hosts('*-foo.example'), hosts('*foo.example')],
    refused: [hosts('a.*.example'), hosts('a*.example'), hosts('**.example')],
  },
  '§0.3 row 4: a port is 1 to 65535': {
    accepted: [toPort(1), toPort(65_535)],
    refused: [toPort(0), toPort(65_536), toPort(-1)],
  },
  '§0.3 row 5: a duration is whole milliseconds, one at least': {
    accepted: [routes({ timeout: '1ms' }), routes({ timeout: '1.5s' }), routes({ timeout: '1h' })],
    refused: [routes({ timeout: '1us' }), routes({ timeout: '1500us' }), routes({ timeout: '1' })],
  },
  '§0.3 row 6: a whole percent': {
    accepted: [0, 100].map((maxEjectionPercent) =>
      rule({ outlierDetection: { maxEjectionPercent } }),
    ),
    refused: [-1, 101].map((maxEjectionPercent) =>
      rule({ outlierDetection: { maxEjectionPercent } }),
    ),
  },
  '§0.3 row 7: a percent with a point': {
    accepted: [0, 0.0001, 100].map((value) =>
      routes({ fault: { delay: { fixedDelay: '1s', percentage: { value } } } }),
    ),
    refused: [0.00001, 100.1, -1].map((value) =>
      routes({ fault: { delay: { fixedDelay: '1s', percentage: { value } } } }),
    ),
  },
  '§0.3 row 8: a weight is not negative': {
    accepted: [routes({ route: [{ destination: { host: 'a' }, weight: 7 }] })],
    refused: [routes({ route: [{ destination: { host: 'a' }, weight: -1 }] })],
  },
  '§0.3 row 9: a regex is RE2’s, of 1024 bytes at most': {
    accepted: [
      matching({ uri: { regex: '/a.*' } }),
      matching({ uri: { regex: 'a'.repeat(1024) } }),
    ],
    refused: ['(', '(?=a)', 'a'.repeat(1025), ''].map((regex) => matching({ uri: { regex } })),
  },
  '§0.3 row 10: a Unix address is a path or an abstract name': {
    accepted: ['unix:///var/x.sock', 'unix://@x'].map((address) =>
      entry({ endpoints: [{ address }], location: 'MESH_INTERNAL' }),
    ),
    refused: ['unix://', 'unix://x', 'unix:///var/'].map((address) =>
      entry({ endpoints: [{ address }], location: 'MESH_INTERNAL' }),
    ),
  },
  '§0.3 row 11: an address or a subnet': {
    accepted: [
      entry({ addresses: ['10.0.0.0/8'], resolution: 'NONE' }),
      entry({ addresses: ['10.1.2.3'] }),
    ],
    refused: [entry({ addresses: ['10.0.0.0/33'] }), entry({ addresses: ['10.0.0'] })],
  },
  '§0.3 row 12: names of protocols, in any case': {
    accepted: 'http HTTP2 https grpc GRPC-WEB tcp TLS udp mongo redis mysql'
      .split(' ')
      .map((protocol) => entry({ ports: [{ number: 80, name: 'x', protocol }] })),
    refused: ['QUIC', 'HTTP3', 'FOO'].map((protocol) =>
      entry({ ports: [{ number: 80, name: 'x', protocol }] }),
    ),
  },
  '§0.3 row 13: names of headers in matches': {
    accepted: ['x-a', 'X_a', ':method', ':authority'].map((name) =>
      matching({ headers: { [name]: { exact: 'v' } } }),
    ),
    refused: ['a b', 'a:', ''].map((name) => matching({ headers: { [name]: { exact: 'v' } } })),
  },
  '§0.3 row 14: names of headers in CORS are tokens or a star': {
    accepted: [routes({ corsPolicy: { allowHeaders: ['x-a', '*'] } })],
    refused: ['a b', 'a@'].map((name) => routes({ corsPolicy: { allowHeaders: [name] } })),
  },
  '§0.3 row 15: values of headers: no control characters, operators whole or doubled': {
    accepted: ['a', 'a\tb', '5%%', '%START_TIME%', '%REQ(x-a)%'].map((value) =>
      routes({ headers: { request: { set: { 'x-a': value } } } }),
    ),
    refused: ['a\nb', '5%', '%START', '\u0001'].map((value) =>
      routes({ headers: { request: { set: { 'x-a': value } } } }),
    ),
  },
  '§0.4 rows 1, 2, §1.14 row 1, §2.2 row 4: keys and values of a selector': {
    accepted: [
      policy({ ...NOWHERE, ...selector({ a: 'b' }) }),
      policy({ ...NOWHERE, ...selector({ a: '' }) }),
    ],
    refused: [{ '': 'v' }, { 'a*': 'v' }, { a: '*' }, { a: 'b*' }].flatMap((matchLabels) => [
      policy({ ...NOWHERE, ...selector(matchLabels) }),
      peers(selector(matchLabels)),
      tokens(selector(matchLabels)),
    ]),
  },
  '§0.4 row 3: a selector has 4096 labels at most, a value 63 characters': {
    accepted: [
      policy({ ...NOWHERE, ...selector(labels(4096)) }),
      peers(selector({ a: 'v'.repeat(63) })),
    ],
    refused: [
      policy({ ...NOWHERE, ...selector(labels(4097)) }),
      peers(selector({ a: 'v'.repeat(64) })),
    ],
  },
  '§0.4 row 4, §1.14 row 17: a selector without labels is warned of': {
    warned: [policy({ ...NOWHERE, selector: {} }), policy({ ...NOWHERE, ...selector({}) })],
  },
  '§0.4 row 5: one of selector, targetRef and targetRefs': {
    accepted: [
      policy({ ...NOWHERE, targetRefs: [SERVICE] }),
      policy({ ...NOWHERE, targetRef: SERVICE }),
    ],
    refused: [
      policy({ ...NOWHERE, ...selector({ a: 'b' }), targetRefs: [SERVICE] }),
      policy({ ...NOWHERE, ...selector({ a: 'b' }), targetRef: SERVICE }),
      policy({ ...NOWHERE, targetRef: SERVICE, targetRefs: [SERVICE] }),
      tokens({ ...selector({ a: 'b' }), targetRefs: [SERVICE] }),
    ],
  },
  '§0.4 rows 6, 7: a targetRef has kind and name, and no namespace': {
    refused: [
      { kind: 'Service', group: '' },
      { name: 'a', group: '' },
      { ...SERVICE, kind: '' },
      { ...SERVICE, namespace: 'app' },
    ].map((ref) => policy({ ...NOWHERE, targetRefs: [ref] })),
  },
  '§0.4 row 8, §1.1 rows 2, 3: what a targetRef may point to': {
    accepted: [
      ['', 'Service'],
      ['networking.istio.io', 'ServiceEntry'],
      ['gateway.networking.k8s.io', 'Gateway'],
      ['gateway.networking.k8s.io', 'GatewayClass'],
    ].map(([group, kind]) => policy({ ...NOWHERE, targetRefs: [{ group, kind, name: 'a' }] })),
    refused: [
      policy({ ...NOWHERE, targetRefs: [{ group: 'apps', kind: 'Deployment', name: 'a' }] }),
      policy({ ...NOWHERE, targetRefs: [{ group: '', kind: 'Gateway', name: 'a' }] }),
      policy({ ...NOWHERE, targetRefs: many(17, (at) => ({ ...SERVICE, name: `s${at}` })) }),
    ],
  },
  '§0.5 rows 2, 3, 4, 5: values of exportTo': {
    accepted: [
      routes({}, { exportTo: ['*'] }),
      routes({}, { exportTo: ['.'] }),
      routes({}, { exportTo: ['.', 'other'] }),
      entry({ exportTo: ['~'] }),
    ],
    refused: [
      routes({}, { exportTo: ['.', '.'] }),
      routes({}, { exportTo: ['.', 'app'] }),
      routes({}, { exportTo: ['*', 'other'] }),
      routes({}, { exportTo: ['~'] }),
      entry({ exportTo: ['~', 'other'] }),
      routes({}, { exportTo: ['a b'] }),
    ],
  },
  '§0.8.1, §1.2 rows 6, 7, §1.14 row 5: DENY and CUSTOM without rules, or with an empty list of them':
    {
      refused: [
        policy({ action: 'DENY' }),
        policy({ action: 'DENY', rules: [] }),
        policy({ action: 'CUSTOM', provider: { name: 'p' } }),
        policy({ action: 'CUSTOM', provider: { name: 'p' }, rules: [] }),
      ],
    },
  '§0.8.2: empty lists of from and to are none; an empty source is no source': {
    refused: [
      allow({ from: [{}] }),
      allow({ from: [{ source: { principals: [] } }] }),
      allow({ to: [{}] }),
    ],
  },
  '§0.8.3, §1.2 row 5: a rule that is null': { refused: [policy({ rules: [null] })] },
  '§0.8.4: a claim with an empty second bracket': {
    accepted: [condition('request.auth.claims[a][]')],
  },
  '§0.8.6: status 600 passes': {
    accepted: [
      object('VirtualService', 'networking', {
        hosts: ['a.example'],
        http: [{ directResponse: { status: 600 } }],
      }),
    ],
    refused: [
      object('VirtualService', 'networking', {
        hosts: ['a.example'],
        http: [{ directResponse: { status: 601 } }],
      }),
    ],
  },
  '§0.8.7: ISTIO_MUTUAL with files, and an empty consistentHash, are valid': {
    accepted: [
      rule({ tls: { mode: 'ISTIO_MUTUAL', clientCertificate: '/a', privateKey: '/b' } }),
      rule({ loadBalancer: { consistentHash: {} } }),
    ],
  },
  '§0.8.8: presence is taken, an empty element of spaceDelimitedClaims is not': {
    accepted: [jwt({ jwks: KEYS, spaceDelimitedClaims: ['roles'] })],
    refused: [jwt({ jwks: KEYS, spaceDelimitedClaims: [''] })],
  },
  '§1.1 row 1: selector.matchLabels': {
    accepted: [policy({ ...NOWHERE, ...selector({ app: 'web' }) })],
    refused: [
      policy({ ...NOWHERE, ...selector(['app']) }),
      policy({ ...NOWHERE, selector: 'app' }),
    ],
  },
  '§1.1 row 4: the four actions, and no other': {
    accepted: [
      policy({ action: 'ALLOW', ...NOWHERE }),
      policy({ action: 'DENY', ...NOWHERE }),
      policy({ action: 'AUDIT', ...NOWHERE }),
      custom({}),
    ],
    refused: [policy({ action: 'allow', ...NOWHERE }), policy({ action: 'LOG', ...NOWHERE })],
  },
  '§1.1 row 5, §1.14 rows 2, 4: CUSTOM needs provider.name, and nothing else may have one': {
    accepted: [custom({})],
    refused: [
      policy({ action: 'CUSTOM', ...NOWHERE }),
      policy({ action: 'CUSTOM', provider: {}, ...NOWHERE }),
      policy({ action: 'CUSTOM', provider: { name: 'p' } }),
      ...['ALLOW', 'DENY', 'AUDIT'].map((action) =>
        policy({ action, provider: { name: 'p' }, ...NOWHERE }),
      ),
    ],
  },
  '§1.1 row 6: 512 rules at most': {
    accepted: [policy({ rules: many(512, () => ({})) })],
    refused: [policy({ rules: many(513, () => ({})) })],
  },
  '§1.1 row 7: 512 sources of a rule at most': {
    accepted: [allow({ from: many(512, () => ({ source: { principals: ['a'] } })) })],
    refused: [allow({ from: many(513, () => ({ source: { principals: ['a'] } })) })],
  },
  '§1.14 row 3: CUSTOM may use nothing that mTLS or a token proves': {
    accepted: [
      custom({ from: [{ source: { ipBlocks: ['10.0.0.0/8'], notRemoteIpBlocks: ['1.1.1.1'] } }] }),
      custom({ when: [{ key: 'source.ip', values: ['10.0.0.1'] }] }),
    ],
    refused: [
      ...['namespaces', 'principals', 'requestPrincipals', 'notNamespaces', 'notPrincipals'].map(
        (field) => custom({ from: [{ source: { [field]: ['a'] } }] }),
      ),
      ...['serviceAccounts', 'notServiceAccounts', 'trustDomains', 'notTrustDomains'].map((field) =>
        custom({ from: [{ source: { [field]: ['a'] } }] }),
      ),
      ...[
        'source.namespace',
        'source.serviceAccount',
        'source.trustDomain',
        'source.principal',
        'request.auth.principal',
        'request.auth.audiences',
        'request.auth.claims[a]',
      ].map((key) => custom({ when: [{ key, values: ['a'] }] })),
    ],
  },
  '§1.14 row 6: what is null': {
    refused: [
      policy({ rules: [null] }),
      allow({ from: [null] }),
      allow({ from: [{ source: null }] }),
      allow({ to: [null] }),
      allow({ to: [{ operation: null }] }),
    ],
  },
  '§1.14 row 7: a source or operation with nothing inside': {
    refused: [source({}), operation({})],
  },
  '§1.14 row 8: serviceAccounts beside principals or namespaces': {
    accepted: [source({ serviceAccounts: ['a'], ipBlocks: ['10.0.0.1'] })],
    refused: ['principals', 'namespaces', 'notPrincipals', 'notNamespaces'].flatMap((other) => [
      source({ serviceAccounts: ['a'], [other]: ['b'] }),
      source({ notServiceAccounts: ['a'], [other]: ['b'] }),
    ]),
  },
  '§1.14 row 9: values of serviceAccounts': {
    accepted: [
      source({ serviceAccounts: many(16, (at) => `a${at}`) }),
      source({ serviceAccounts: ['n/a', 'é'.repeat(160)] }),
      condition(
        'source.serviceAccount',
        many(16, (at) => `a${at}`),
      ),
    ],
    refused: [
      source({ serviceAccounts: many(17, (at) => `a${at}`) }),
      source({ serviceAccounts: ['é'.repeat(161)] }),
      condition(
        'source.serviceAccount',
        many(17, (at) => `a${at}`),
      ),
      ...['*', 'a*', 'a/b/c', '/a', 'a/', 'a'.repeat(321)].map((one) =>
        source({ serviceAccounts: [one] }),
      ),
    ],
  },
  '§1.14 row 10: values of trustDomains': {
    accepted: [
      ...['td', '*', 'td*', '*td'].map((one) => source({ trustDomains: [one] })),
      // §1.7: in a condition the stars alone are minded.
      condition('source.trustDomain', ['a/b', '*a/', 'td*']),
    ],
    refused: [
      ...['*a*', 'a*b', 'a/b', ''].map((one) => source({ trustDomains: [one] })),
      ...['*a*', 'a*b', ''].map((one) => condition('source.trustDomain', [one])),
    ],
  },
  '§1.14 row 11: addresses and blocks': {
    accepted: ['10.0.0.1', '10.0.0.0/8', '::1', '2001:db8::/32'].map((one) =>
      source({ ipBlocks: [one] }),
    ),
    refused: [
      ...['10.0.0.0/33', 'x', '10.0.0', '1.2.3.4:80'].flatMap((one) => [
        source({ ipBlocks: [one] }),
        source({ notRemoteIpBlocks: [one] }),
        condition('source.ip', [one]),
        condition('remote.ip', [one]),
        condition('destination.ip', [one]),
      ]),
    ],
  },
  '§1.14 row 12: ports are 0 to 65535': {
    accepted: ['0', '80', '65535', '00000000000000080'].map((one) => operation({ ports: [one] })),
    refused: ['65536', '-1', 'http', '1.5'].flatMap((one) => [
      operation({ ports: [one] }),
      condition('destination.port', [one]),
    ]),
  },
  '§1.14 row 13: empty texts': {
    refused: [
      ...['principals', 'requestPrincipals', 'namespaces', 'ipBlocks'].map((field) =>
        source({ [field]: ['a', ''] }),
      ),
      ...['hosts', 'methods', 'paths', 'ports', 'notHosts'].map((field) =>
        operation({ [field]: [''] }),
      ),
      condition('request.headers[a]', ['']),
    ],
  },
  '§1.14 row 14: templates': {
    accepted: ['/a/{*}', '/a/{**}', '/{*}/b/{**}', '/foo/{**}/'].map((one) =>
      operation({ paths: [one] }),
    ),
    refused: [
      '/*/baz/{*}',
      '/**/baz/{*}',
      '/{**}/foo/{*}',
      '/foo/{*}.txt',
      '/foo{*}',
      '/{a}',
      '/{',
      '/}',
      '/a/{**}/{**}',
    ].flatMap((one) => [operation({ paths: [one] }), operation({ notPaths: [one] })]),
  },
  '§1.14 row 15: keys of conditions': {
    accepted: [
      'request.headers[x]',
      'source.principal',
      'connection.sni',
      'experimental.envoy.filters.network.x[k]',
      'request.auth.claims[a][b]',
      // What stands between the outer brackets is not looked at, and neither is what stands before them.
      ...['request.auth.claims[a[b]]', 'request.auth.claims[[a]]', 'request.auth.claims[a]b]'],
      ...['request.headers[a[b]]', 'request.headers[x][y]', 'request.headersx[a]'],
      ...['request.auth.claims.a[b]', 'experimental.envoy.filters.a[b][c]'],
      'experimental.envoy.filters.[b]',
    ].map((key) => condition(key)),
    refused: [
      ...['request.headers[a]b', 'request.auth.claimsx', 'experimental.envoy.filters[a]'].map(
        (key) => condition(key),
      ),
      ...['', 'x', 'request.headers', 'request.headers[]', 'request.header[x]', 'source.user'].map(
        (key) => condition(key),
      ),
      ...[
        'destination.namespace',
        'destination.labels[a]',
        'destination.name',
        'destination.user',
      ].map((key) => condition(key)),
      allow({ when: [{ key: 'source.principal' }] }),
      allow({ when: [{ key: 'source.principal', values: [], notValues: [] }] }),
    ],
  },
  '§1.14 row 16: a DENY that HTTP alone can match, on no port': {
    accepted: [
      deny({ to: [{ operation: { methods: ['GET'], ports: ['80'] } }] }),
      deny({ from: [{ source: { principals: ['a'] } }] }),
    ],
    warned: [
      // Of these Istio warns without need.
      deny({ from: [{ source: { trustDomains: ['a'] } }] }),
      deny({
        from: [{ source: { requestPrincipals: ['*'] } }],
        when: [{ key: 'destination.port', values: ['80'] }],
      }),
      deny({ to: [{ operation: { methods: ['GET'] } }] }),
      deny({ from: [{ source: { requestPrincipals: ['a'] } }] }),
    ],
  },
  '§2.1 rows 1, 2: mode and selector of PeerAuthentication': {
    accepted: ['UNSET', 'DISABLE', 'PERMISSIVE', 'STRICT']
      .map((mode) => peers({ mtls: { mode } }))
      .concat(peers({}), peers(selector({ a: 'b' }))),
    refused: [
      peers({ mtls: { mode: 'strict' } }),
      peers({ mtls: { mode: 'ISTIO_MUTUAL' } }),
      peers({ targetRefs: [SERVICE] }),
    ],
  },
  '§2.1 row 3, §2.2 row 3: ports of portLevelMtls': {
    accepted: [
      peers({ ...selector({ a: 'b' }), portLevelMtls: { 1: { mode: 'STRICT' }, 65535: {} } }),
    ],
    refused: ['0', '65536', '-1'].map((port) =>
      peers({ ...selector({ a: 'b' }), portLevelMtls: { [port]: { mode: 'STRICT' } } }),
    ),
  },
  '§2.2 row 1: portLevelMtls without a selector': {
    refused: [
      peers({ portLevelMtls: { 80: { mode: 'STRICT' } } }),
      peers({ ...selector({}), portLevelMtls: { 80: { mode: 'STRICT' } } }),
    ],
  },
  '§2.2 row 2: an empty portLevelMtls': {
    refused: [peers({ ...selector({ a: 'b' }), portLevelMtls: {} })],
  },
  '§3.1 row 1: selector and targetRefs of RequestAuthentication': {
    accepted: [tokens(selector({ a: 'b' })), tokens({ targetRefs: [SERVICE] }), tokens({})],
    refused: [tokens({ ...selector({ a: 'b' }), targetRef: SERVICE })],
  },
  '§3.4: routing by claims is for gateways, in both spellings, and never for sidecars': {
    accepted: [
      '@request.auth.claims.group',
      '@request.auth.claims[a][b]',
      '@request.auth.claims.a.b',
    ].flatMap((name) => [
      routes({ match: [{ headers: { [name]: { exact: 'x' } } }] }, { gateways: ['gw'] }),
      routes({ match: [{ withoutHeaders: { [name]: { prefix: 'x' } } }] }, { gateways: ['gw'] }),
    ]),
    refused: [
      ...[undefined, ['mesh'], ['gw', 'mesh']].map((gateways) =>
        routes(
          { match: [{ headers: { '@request.auth.claims.group': { exact: 'x' } } }] },
          gateways === undefined ? {} : { gateways },
        ),
      ),
      ...['@request.auth.claims', '@request.auth.claims.', '@request.auth.foo'].map((name) =>
        routes({ match: [{ headers: { [name]: { exact: 'x' } } }] }, { gateways: ['gw'] }),
      ),
    ],
  },
  '§3.1 row 13, §3.2 row 8: timeout': {
    accepted: [
      jwt({ jwksUri: 'https://k', timeout: '1ms' }),
      jwt({ jwksUri: 'https://k', timeout: '5s' }),
    ],
    refused: [
      jwt({ jwksUri: 'https://k', timeout: '0s' }),
      jwt({ jwksUri: 'https://k', timeout: '1us' }),
    ],
  },
  '§3.2 row 1, §3.1 row 3: an issuer, or keys by URI': {
    accepted: [
      tokens({ jwtRules: [{ jwksUri: 'https://k' }] }),
      tokens({ jwtRules: [{ issuer: 'iss' }] }),
    ],
    refused: [tokens({ jwtRules: [{}] }), tokens({ jwtRules: [{ jwks: KEYS }] })],
  },
  '§3.2 row 2, §3.1 row 6: one way to the keys': {
    accepted: [jwt({ jwks: KEYS }), jwt({ jwksUri: 'https://k' }), jwt({ jwks_uri: 'https://k' })],
    refused: [
      jwt({ jwks: KEYS, jwksUri: 'https://k' }),
      jwt({ jwksUri: 'https://k', jwks_uri: 'https://k' }),
      jwt({ jwks: KEYS, jwks_uri: 'https://k' }),
    ],
  },
  '§3.2 row 3, §3.1 row 5: jwksUri': {
    accepted: [jwt({ jwksUri: 'http://k:8080/x' }), jwt({ jwksUri: 'https://[::1]:1/' })],
    refused: ['ftp://k', 'k', 'https://k:port/', '/keys', `https://k/${'a'.repeat(2048)}`].map(
      (jwksUri) => jwt({ jwksUri }),
    ),
  },
  '§3.2 row 4: keys that are none': {
    refused: ['{', '<html>', '[]', '7'].map((jwks) => jwt({ jwks })),
  },
  '§3.2 row 5: private keys are warned of': {
    warned: [jwt({ jwks: '{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB","d":"AQAB"}]}' })],
  },
  '§3.2 row 6: empty places and audiences': {
    accepted: [jwt({ jwks: KEYS, fromHeaders: [{ name: 'x', prefix: '' }] })],
    refused: [
      { audiences: [''] },
      { fromHeaders: [{ name: '' }] },
      { fromHeaders: [null] },
      { fromParams: [''] },
      { fromCookies: [''] },
    ].map((more) => jwt({ jwks: KEYS, ...more })),
  },
  '§3.2 row 7: outputClaimToHeaders': {
    accepted: [jwt({ jwks: KEYS, outputClaimToHeaders: [{ header: 'x-A_1', claim: 'a.b' }] })],
    refused: [
      { header: '', claim: 'a' },
      { header: 'x', claim: '' },
      { header: 'x y', claim: 'a' },
      { header: 'x.y', claim: 'a' },
      null,
    ].map((one) => jwt({ jwks: KEYS, outputClaimToHeaders: [one] })),
  },
}
