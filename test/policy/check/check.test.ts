import test from 'ava'
import { readFileSync } from 'node:fs'
import { parseSpiffeId, type SpiffeId } from '#ca/spiffe/index.ts'
import {
  type CheckQuery,
  check,
  createChecker,
  explain,
  readCase,
  readManifests,
  testCase,
} from '#policy/index.ts'

const MANIFESTS = `
apiVersion: redoubt.io/v1alpha1
kind: Mesh
metadata: { name: mesh }
spec: { trustDomainAliases: [old-td], pathNormalization: { normalization: MERGE_SLASHES } }
---
apiVersion: v1
kind: Service
metadata: { name: web, namespace: app }
spec:
  selector: { app: web }
  ports:
    - { name: http, port: 80, targetPort: 8080 }
    - { name: grpc-x, port: 81, targetPort: 8081 }
    - { name: tcp-y, port: 9000, targetPort: 9000 }
---
apiVersion: redoubt.io/v1alpha1
kind: Workload
metadata: { name: web, namespace: app, labels: { app: web } }
spec:
  serviceAccount: web
  ports: [{ port: 8080 }, { port: 8081 }, { port: 9000 }, { port: 7000 }]
  run: { command: [node, web.js] }
---
apiVersion: redoubt.io/v1alpha1
kind: Workload
metadata: { name: db, namespace: app, labels: { app: db } }
spec: { serviceAccount: db, ports: [{ name: http, port: 5432 }], run: { command: [node, db.js] } }
---
apiVersion: redoubt.io/v1alpha1
kind: Workload
metadata: { name: bare, namespace: app, labels: { app: bare, sidecar.istio.io/inject: "false" } }
spec: { serviceAccount: bare, ports: [{ port: 80 }], run: { command: [node, bare.js] } }
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: strict, namespace: app }
spec:
  selector: { matchLabels: { app: web } }
  mtls: { mode: STRICT }
  portLevelMtls: { 7000: { mode: DISABLE }, 9000: { mode: PERMISSIVE } }
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: allow, namespace: app }
spec:
  selector: { matchLabels: { app: web } }
  rules:
    - from: [{ source: { namespaces: [front] } }]
      to: [{ operation: { methods: [GET, POST], paths: [/a, /p.S/M] } }]
    - from: [{ source: { namespaces: [ops] } }]
    - when: [{ key: "request.auth.claims[scope]", values: [read] }]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: deny, namespace: app }
spec:
  selector: { matchLabels: { app: web } }
  action: DENY
  rules: [{ from: [{ source: { principals: ["*/sa/evil"] } }] }]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: audit, namespace: app }
spec:
  selector: { matchLabels: { app: web } }
  action: AUDIT
  rules: [{ from: [{ source: { namespaces: [ops] } }] }]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: dry, namespace: app, annotations: { istio.io/dry-run: "true" } }
spec:
  selector: { matchLabels: { app: web } }
  action: DENY
  rules: [{}]
`
const { intent, documents } = readManifests([{ path: 'mesh.yaml', text: MANIFESTS }])
const front = parseSpiffeId('spiffe://cluster.local/ns/front/sa/web')
const dryRun = [{ policy: 'app/dry', action: 'DENY', result: 'denied', rule: 0 }] as const
const allowed: CheckQuery = {
  to: { namespace: 'app', name: 'web', port: 8080 },
  from: front,
  path: '/a?q=1',
}

test('the manifests of this file are valid', (t) => {
  t.deepEqual(
    documents.flatMap(({ errors }) => errors),
    [],
  )
})

test('check() allows, and says by which rule, with all that the contract names', (t) => {
  t.deepEqual(check(intent, allowed), {
    decision: 'allow',
    status: null,
    action: 'ALLOW',
    policy: 'app/allow',
    rule: 0,
    reason: 'allowed-by-policy',
    normalizedPath: '/a',
    mtlsMode: 'STRICT',
    dryRun,
    audit: [],
  })
})

/** Each case is the allowed query with one thing changed. */
const changes: Readonly<Record<string, [Partial<CheckQuery>, object]>> = {
  'another path: 403, and which ALLOW policies applied': [
    { path: '/b' },
    { decision: 'deny', status: 403, action: 'ALLOW', policy: null, considered: ['app/allow'] },
  ],
  'another method': [{ method: 'PUT' }, { decision: 'deny', status: 403 }],
  'DENY by name, before ALLOW': [
    { from: parseSpiffeId('spiffe://cluster.local/ns/front/sa/evil') },
    { decision: 'deny', status: 403, action: 'DENY', policy: 'app/deny', rule: 0 },
  ],
  'AUDIT beside': [
    { from: parseSpiffeId('spiffe://cluster.local/ns/ops/sa/x') },
    { decision: 'allow', rule: 1, audit: ['app/audit'], dryRun },
  ],
  'an alias of the trust domain': [
    { from: parseSpiffeId('spiffe://old-td/ns/front/sa/web') },
    { decision: 'allow' },
  ],
  'a foreign trust domain: refused in the handshake': [
    { from: parseSpiffeId('spiffe://foreign/ns/front/sa/web') },
    { decision: 'deny', status: null, action: 'none', reason: 'untrusted-domain' },
  ],
  'plaintext under STRICT': [
    { from: undefined },
    { decision: 'deny', status: null, action: 'none', reason: 'mtls-required', mtlsMode: 'STRICT' },
  ],
  'mTLS where it is disabled': [
    { to: { namespace: 'app', name: 'web', port: 7000 } },
    { decision: 'deny', status: null, reason: 'mtls-disabled', mtlsMode: 'DISABLE' },
  ],
  'merged slashes and resolved dots': [
    { path: '//x/..//a' },
    { decision: 'allow', normalizedPath: '/a' },
  ],
  'an absolute target': [{ path: 'http://h/a' }, { decision: 'allow', normalizedPath: '/a' }],
  'a lower-case method, HTTP/2 too': [
    { method: 'get', protocol: 'http2' },
    { decision: 'deny', status: 400, reason: 'unknown-method', action: 'none' },
  ],
  'an escaped NUL': [{ path: '/a%00' }, { decision: 'deny', status: 400, reason: 'escaped-nul' }],
  'an escaped NUL in gRPC: behind the codec, so in gRPC’s form': [
    { to: { namespace: 'app', name: 'web', port: 8081 }, path: '/a%00' },
    { decision: 'deny', status: 200, grpcStatus: 13, reason: 'escaped-nul' },
  ],
  'a Host with an odd port is only a Host': [{ host: 'web:80x' }, { decision: 'allow' }],
  'a Host that is none': [
    { host: 'a b' },
    { decision: 'deny', status: 400, reason: 'invalid-header' },
  ],
  'a raw space': [{ path: '/a b' }, { decision: 'deny', status: 400 }],
  'parameters at a dot segment, under a path rule': [
    { path: '/x/..;/a' },
    { decision: 'deny', status: 400, reason: 'ambiguous-path', action: 'none' },
  ],
  'a line break in a header': [
    { headers: { x: ['a\r\nb'] } },
    { decision: 'deny', status: 400, reason: 'invalid-header' },
  ],
  'OPTIONS *': [
    { method: 'OPTIONS', path: '*' },
    { decision: 'deny', status: 404 },
  ],
  'CONNECT, which no sidecar carries to its app': [
    { method: 'CONNECT', path: 'web:80' },
    { decision: 'deny', status: 404, reason: 'no-resource' },
  ],
  'CONNECT with a path': [
    { method: 'CONNECT' },
    { decision: 'deny', status: 400, reason: 'not-a-path' },
  ],
  'QUERY without content-type': [{ method: 'QUERY' }, { decision: 'deny', status: 400 }],
  'claims: scopes are divided at spaces': [
    { path: '/b', claims: { scope: 'write read' } },
    { decision: 'allow', rule: 2 },
  ],
  'gRPC denied: 200 and grpc-status 7': [
    { to: { namespace: 'app', name: 'web', port: 8081 }, path: '/p.S/N' },
    { decision: 'deny', status: 200, grpcStatus: 7 },
  ],
  'gRPC allowed: POST by default, as the port declares': [
    { to: { namespace: 'app', name: 'web', port: 8081 }, path: '/p.S/M' },
    { decision: 'allow' },
  ],
  'HTTP/2 on a gRPC port is not gRPC': [
    { to: { namespace: 'app', name: 'web', port: 8081 }, protocol: 'http2', path: '/x' },
    { decision: 'deny', status: 403 },
  ],
  'TCP: HTTP rules vanish, status null': [
    { to: { namespace: 'app', name: 'web', port: 9000 } },
    { decision: 'deny', status: null, normalizedPath: null, reason: 'no-allow-matched' },
  ],
  'TCP: what the port declares holds whatever the caller speaks': [
    { to: { namespace: 'app', name: 'web', port: 9000 }, protocol: 'http1' },
    { decision: 'deny', status: null, normalizedPath: null },
  ],
  'TCP: a rule without HTTP': [
    {
      to: { namespace: 'app', name: 'web', port: 9000 },
      from: parseSpiffeId('spiffe://cluster.local/ns/ops/sa/x'),
    },
    { decision: 'allow', rule: 1 },
  ],
  'plaintext under PERMISSIVE reaches policy': [
    { to: { namespace: 'app', name: 'web', port: 9000 }, from: undefined },
    { decision: 'deny', reason: 'no-allow-matched', mtlsMode: 'PERMISSIVE' },
  ],
  'several ports and none given: the list': [
    { to: { namespace: 'app', name: 'web' } },
    { decision: 'error', reason: 'port-needed', choices: ['8080', '8081', '9000', '7000'] },
  ],
  'the only port': [
    { to: { namespace: 'app', name: 'db' } },
    { decision: 'allow', action: 'none', policy: null, reason: 'no-policy-applies' },
  ],
  'an undeclared port: the workload’s mode': [
    { to: { namespace: 'app', name: 'web', port: 1234 }, from: undefined },
    { decision: 'deny', reason: 'mtls-required' },
  ],
  'no sidecar': [
    { to: { namespace: 'app', name: 'bare' }, from: undefined },
    { decision: 'allow', reason: 'no-sidecar' },
  ],
  'no such workload': [
    { to: { namespace: 'app', name: 'gone' } },
    { decision: 'error', reason: 'unknown-workload' },
  ],
}
for (const [what, [change, expected]] of Object.entries(changes)) {
  test(`check() ${what}`, (t) => {
    t.like(check(intent, { ...allowed, ...change }), expected)
  })
}

test('check() asks an external provider, or tells that it would have to', (t) => {
  const custom = `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: ask, namespace: app }
spec:
  selector: { matchLabels: { app: db } }
  action: CUSTOM
  provider: { name: opa }
  rules: [{ to: [{ operation: { paths: [/ask*] } }] }]
`
  const text = `${MANIFESTS}---${custom}`
  const read = readManifests([{ path: 'mesh.yaml', text }])
  t.deepEqual(
    read.documents.flatMap(({ errors }) => errors),
    [],
  )
  const query = { to: { namespace: 'app', name: 'db' }, from: front, path: '/ask/1' }
  t.like(check(read.intent, query), {
    decision: 'error',
    reason: 'needs-provider',
    action: 'CUSTOM',
    policy: 'app/ask',
    rule: 0,
    choices: ['opa'],
  })
  t.like(check(read.intent, { ...query, providers: { opa: 'allow' } }), { decision: 'allow' })
  t.like(check(read.intent, { ...query, providers: { opa: 'deny' } }), {
    decision: 'deny',
    status: 403,
    action: 'CUSTOM',
    reason: 'denied-by-provider',
  })
  t.like(check(read.intent, { ...query, path: '/b' }), { decision: 'allow' })
})

test('§0.8.17 check() takes the cookie crumbs of HTTP/2 for one value, empty ones as Envoy does', (t) => {
  const text = `${MANIFESTS}---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: cookies, namespace: app }
spec:
  selector: { matchLabels: { app: db } }
  action: DENY
  rules: [{ when: [{ key: "request.headers[cookie]", values: [a=1, a=1; b=2] }] }]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: some-cookie, namespace: app }
spec:
  selector: { matchLabels: { app: db } }
  rules: [{ when: [{ key: "request.headers[cookie]", values: ["*"] }] }]
`
  const read = readManifests([{ path: 'mesh.yaml', text }])
  const to = { namespace: 'app', name: 'db' }
  const policyOf = (protocol: 'http1' | 'http2', cookie: readonly string[]) =>
    check(read.intent, { to, from: front, protocol, headers: { cookie } }).policy
  t.is(policyOf('http2', ['a=1', 'b=2']), 'app/cookies')
  t.is(policyOf('http2', ['', 'a=1']), 'app/cookies')
  t.is(policyOf('http2', ['a=1', '']), 'app/some-cookie')
  t.is(policyOf('http2', ['', '']), null, 'as if it had not been sent')
  t.is(policyOf('http1', ['']), 'app/some-cookie')
  t.is(policyOf('http1', ['b=2', 'a=1']), 'app/cookies', 'lines of HTTP/1 count one by one')
})

test('check() takes a caller with an address of its own to come from there', (t) => {
  const text = `${MANIFESTS}---
apiVersion: redoubt.io/v1alpha1
kind: Workload
metadata: { name: client, namespace: front }
spec: { serviceAccount: web, ports: [{ port: 80 }], run: { command: [x] }, sourceAddress: 127.0.0.7 }
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: by-address, namespace: app }
spec:
  selector: { matchLabels: { app: db } }
  rules: [{ from: [{ source: { ipBlocks: [127.0.0.7], remoteIpBlocks: [127.0.0.7] } }] }]
`
  const read = readManifests([{ path: 'mesh.yaml', text }])
  t.deepEqual(
    read.documents.flatMap(({ errors }) => errors),
    [],
  )
  const query = { to: { namespace: 'app', name: 'db' }, from: front }
  t.is(check(read.intent, query).decision, 'allow')
  t.is(check(read.intent, { ...query, sourceIp: '127.0.0.8' }).decision, 'deny')
  const forwarded = { 'x-forwarded-for': ['127.0.0.7, 10.0.0.1'] }
  t.is(check(read.intent, { ...query, headers: forwarded }).decision, 'deny')
})

test('explain() gives the decision of check(), and the first field that stopped each rule (users §1.4.36)', (t) => {
  const query = { ...allowed, path: '/b', from: front }
  const { policies, sentence, ...result } = explain(intent, query)
  t.deepEqual(result, check(intent, query))
  t.regex(
    sentence ?? '',
    /^rule 0 of app\/allow would have matched but for path: is \/b, must be \/a or /,
  )
  const allow = policies.find(({ policy }) => policy === 'app/allow')
  t.like(allow, {
    policy: 'app/allow',
    action: 'ALLOW',
    dryRun: false,
    matched: false,
    rules: [
      {
        rule: 0,
        matched: false,
        miss: {
          field: 'to[0].operation.paths',
          wanted: ['/a', '/p.S/M'],
          actual: ['/b'],
          reason: 'unmatched',
        },
      },
      {
        rule: 1,
        matched: false,
        miss: {
          field: 'from[0].source.namespaces',
          wanted: ['ops'],
          actual: [front],
          reason: 'unmatched',
        },
      },
      {
        rule: 2,
        matched: false,
        miss: { field: 'when[0].values', wanted: ['read'], actual: [], reason: 'unmatched' },
      },
    ],
  })
})

test('explain() says the rule that decided as a sentence', (t) => {
  const { policy, rule, sentence = '' } = explain(intent, allowed)
  t.true(sentence.startsWith(`rule ${rule} of ${policy} matches when `), sentence)
})

const mixed = (mode: string) =>
  readManifests([
    {
      path: 'mesh.yaml',
      text: `
apiVersion: redoubt.io/v1alpha1
kind: Workload
metadata: { name: web, namespace: app, labels: { app: web } }
spec: { serviceAccount: web, ports: [{ name: http, port: 8080 }] }
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: mode, namespace: app }
spec: { mtls: { mode: ${mode} } }
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: allow, namespace: app }
spec:
  rules:
    - from: [{ source: { principals: [cluster.local/ns/front/sa/web] } }]
    - to: [{ operation: { methods: [GET], paths: [/public] } }]
`,
    },
  ]).intent

test('users §1.4.44: who has no certificate is told apart from who has one that is not allowed', (t) => {
  const query = { to: { namespace: 'app', name: 'web' }, protocol: 'http1', path: '/' } as const
  const stranger = 'spiffe://cluster.local/ns/other/sa/web' as SpiffeId
  const missOf = (from: SpiffeId | undefined) => {
    const { reason, policies } = explain(mixed('PERMISSIVE'), { ...query, from })
    return [reason, policies[0]?.rules[0]?.miss]
  }
  const wanted = ['cluster.local/ns/front/sa/web']
  t.like(missOf(undefined), ['no-allow-matched', { wanted, actual: [] }])
  const actual = [stranger]
  t.like(missOf(stranger), ['no-allow-matched', { wanted, actual }])
  t.is(check(mixed('STRICT'), { ...query, from: undefined }).reason, 'mtls-required')
  t.is(check(mixed('STRICT'), { ...query, from: stranger }).reason, 'no-allow-matched')
})

test('users §1.4.42: the rule that let somebody in is a sentence, which shows what a stray "-" has done', (t) => {
  const { decision, sentence } = explain(mixed('PERMISSIVE'), {
    to: { namespace: 'app', name: 'web' },
    protocol: 'http1',
    path: '/public',
    from: undefined,
  })
  t.is(decision, 'allow')
  t.is(sentence, 'rule 1 of app/allow matches when the method is GET and the path is /public')
})

test('explain() of TCP names the attribute that takes an ALLOW rule out', (t) => {
  const { policies } = explain(intent, {
    ...allowed,
    to: { namespace: 'app', name: 'web', port: 9000 },
  })
  t.is(policies.find(({ policy }) => policy === 'app/allow')?.rules[0]?.miss?.reason, 'http-only')
})

test('readCase() reads every key of the contract', (t) => {
  const line = {
    id: 'x',
    to: 'app/web',
    port: 8080,
    from: 'spiffe://cluster.local/ns/front/sa/web',
    proto: 'http1',
    method: 'GET',
    path: '/a',
    host: 'h',
    headers: { a: '1', b: ['2', '3'] },
    claims: { iss: 'i' },
    sourceIp: '10.0.0.1',
    remoteIp: '10.0.0.2',
    destIp: '10.0.0.3',
    sni: 's',
    expect: 'allow',
  }
  t.deepEqual(readCase(JSON.stringify(line), 1), {
    kind: 'case',
    case: {
      id: 'x',
      expect: 'allow',
      query: {
        to: { namespace: 'app', name: 'web', port: 8080 },
        from: front,
        protocol: 'http1',
        method: 'GET',
        path: '/a',
        host: 'h',
        headers: { a: ['1'], b: ['2', '3'] },
        claims: { iss: 'i' },
        sourceIp: '10.0.0.1',
        remoteIp: '10.0.0.2',
        destinationIp: '10.0.0.3',
        sni: 's',
      },
    },
  })
})

for (const [line, why] of Object.entries({
  '{': 'Cannot read case on line 7: ',
  '[]': 'Cannot read case on line 7: the line is no JSON object',
  '{"id":1,"to":"web"}': 'Cannot read case 1 on line 7: its "to" is not namespace/workload',
  '{"id":1,"to":"a/b","from":"x"}': 'Cannot read case 1 on line 7: Cannot parse SPIFFE ID "x"',
  '{"id":1,"to":"a/b","protocol":"tcp"}':
    'Cannot read case 1 on line 7: it has the unknown key "protocol"',
  '{"id":1,"to":"a/b","proto":"udp"}': 'Cannot read case 1 on line 7: its proto is none of http1',
  '{"id":1,"to":"a/b","port":"80"}': 'Cannot read case 1 on line 7: its port is no integer',
  '{"id":1,"to":"a/b","headers":{"a":1}}':
    'Cannot read case 1 on line 7: its header "a" is neither',
})) {
  test(`readCase() refuses ${line}`, (t) => {
    const read = readCase(line, 7)
    t.true(read.kind === 'fault' && read.message.startsWith(why), JSON.stringify(read))
  })
}

/**
 * `decisions.jsonl`: random policies and requests at their boundaries, with what Istio 1.31 and Envoy
 * 1.40 decided, which policy they named and which path they forwarded. Left out: what we refuse on
 * purpose (unknown methods in HTTP/2, path parameters under a path rule).
 */
test('check() decides what Istio and Envoy decided, by the same policy and path', (t) => {
  const sets = readFileSync('test/fixtures/authz/decisions.jsonl', 'utf8').trim().split('\n')
  let count = 0
  for (const line of sets) {
    const { manifests, cases } = JSON.parse(line) as { manifests: object[]; cases: object[] }
    const text = manifests.map((one) => JSON.stringify(one)).join('\n---\n')
    const read = readManifests([{ path: 'set.yaml', text }])
    t.deepEqual(
      read.documents.flatMap(({ errors }) => errors),
      [],
    )
    const ask = createChecker(read.intent)
    for (const one of cases) {
      const reading = readCase(JSON.stringify(one), 1)
      if (reading.kind === 'fault') t.fail(reading.message)
      else t.like(testCase(reading.case, ask), { ok: true }, JSON.stringify(one))
      count += 1
    }
  }
  t.true(count >= 450, `${count} requests`)
})

const ASKING = `${MANIFESTS}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: ask, namespace: app }
spec:
  selector: { matchLabels: { app: db } }
  action: CUSTOM
  provider: { name: gate }
  rules: [{ to: [{ operation: { paths: [/ask] } }] }]
`
const GATE = `
    - name: gate
      envoyExtAuthzHttp: { service: web.app.svc.cluster.local, port: 80 }`
const withProviders = (providers: string, more = ''): string =>
  ASKING.replace(
    'spec: { trustDomainAliases',
    `spec:\n  extensionProviders:${providers}\n  ${more}\n  unused: { trustDomainAliases`,
  ).replace(/ {2}unused: .*\n/, '')

function ask(text: string, change: Partial<CheckQuery> = {}) {
  const { intent, documents } = readManifests([{ path: 'x.yaml', text }])
  const faulty = documents.filter(({ valid }) => !valid)
  if (faulty.length > 0) throw new Error(JSON.stringify(faulty))
  const from = parseSpiffeId('spiffe://cluster.local/ns/app/sa/front')
  return check(intent, { to: { namespace: 'app', name: 'db' }, from, path: '/ask', ...change })
}

test('§1.11 a provider that the Mesh has needs an answer; one that it has not denies what its rules match', (t) => {
  t.like(ask(withProviders(GATE)), { decision: 'error', reason: 'needs-provider' })
  const unknown = { decision: 'deny', status: 403, reason: 'custom-provider-unavailable' } as const
  t.like(ask(withProviders(' []')), unknown)
  t.like(ask(withProviders(GATE.replace('web.app', 'none.app'))), unknown)
  t.like(
    ask(
      withProviders(GATE.replace('name: gate', 'name: Gate')).replace(
        '{ name: gate }',
        '{ name: Gate }',
      ),
    ),
    unknown,
  )
  t.like(ask(withProviders(' []'), { path: '/other' }), { decision: 'allow' })
  t.like(ask(withProviders(' []'), { providers: { gate: 'allow' } }), { decision: 'allow' })
})

test('§1.11 several providers on one workload deny, unless the Mesh takes several: then all must agree', (t) => {
  const second = `---${ASKING.split('---').at(-1)?.replace('name: ask', 'name: ask-too').replace('name: gate', 'name: other').replace('[/ask]', '[/ask, /too]')}`
  const both = `${GATE}${GATE.replace('name: gate', 'name: other')}`
  const denied = { decision: 'deny', reason: 'custom-provider-unavailable' } as const
  const yes = { gate: 'allow', other: 'allow' } as const
  t.like(ask(withProviders(both) + second, { providers: yes }), denied)
  t.like(ask(withProviders(both) + second, { path: '/too' }), denied)
  t.like(ask(withProviders(both) + second, { path: '/b' }), { decision: 'allow' })
  const taken = withProviders(both, 'enableMultipleCustomAuthzProviders: true') + second
  t.like(ask(taken), { decision: 'error', choices: ['gate'] })
  t.like(ask(taken, { providers: { gate: 'allow' } }), { decision: 'error', choices: ['other'] })
  t.like(ask(taken, { providers: { ...yes, other: 'deny' } }), { reason: 'denied-by-provider' })
  t.like(ask(taken, { providers: yes }), { decision: 'allow' })
})

test('§1.11 on TCP a provider that speaks HTTP is not asked', (t) => {
  const all = withProviders(GATE)
    .replace('{ paths: [/ask] }', '{ ports: ["5432"] }')
    .replace('{ name: http, port: 5432 }', '{ name: tcp, port: 5432 }')
  const tcp = { to: { namespace: 'app', name: 'db', port: 5432 }, protocol: 'tcp' } as const
  t.like(ask(all, tcp), { decision: 'allow' })
  t.like(ask(all.replace('envoyExtAuthzHttp', 'envoyExtAuthzGrpc'), tcp), {
    reason: 'needs-provider',
  })
})

test('§2.4 what is no HTTP is 400 on a port that takes HTTP, whatever policies say', (t) => {
  const tcp = { to: { namespace: 'app', name: 'db', port: 5432 }, protocol: 'tcp' } as const
  t.like(ask(MANIFESTS, tcp), { decision: 'deny', status: 400, reason: 'not-http' })
  const other = MANIFESTS.replace('{ name: http, port: 5432 }', '{ name: tcp, port: 5432 }')
  t.not(ask(other, tcp).reason, 'not-http')
})

test('a CasbinPolicy answers offline; lines in a database need an answer', (t) => {
  const casbin = `
---
apiVersion: redoubt.io/v1alpha1
kind: CasbinPolicy
metadata: { name: gate, namespace: app }
spec:
  model:
    inline: |
      [request_definition]
      r = sub, act
      [policy_definition]
      p = sub, act
      [policy_effect]
      e = some(where (p.eft == allow))
      [matchers]
      m = r.sub == p.sub && r.act == p.act
  policy: { inline: "p, cluster.local/ns/app/sa/front, GET" }
`
  t.like(ask(ASKING + casbin), { decision: 'allow' })
  t.like(ask(ASKING + casbin, { method: 'POST' }), {
    decision: 'deny',
    status: 403,
    action: 'CUSTOM',
    reason: 'denied-by-provider',
  })
  t.like(ask(ASKING + casbin, { method: 'POST', providers: { gate: 'allow' } }), {
    decision: 'allow',
  })
  const stored = casbin.replace(
    /policy: .*/,
    'policy: { postgres: { host: db, database: a, user: u } }',
  )
  t.like(ask(ASKING + stored), { reason: 'needs-provider', choices: ['app/gate'] })
  t.like(ask(ASKING + stored, { providers: { gate: 'deny' } }), { reason: 'denied-by-provider' })
})

test('deploy/samples/casbin decides as it says', (t) => {
  const path = 'deploy/samples/casbin/orders.yaml'
  const { intent } = readManifests([{ path, text: readFileSync(path, 'utf8') }])
  const decide = (method: string, tenant: string, path = '/orders/7') =>
    check(intent, {
      to: { namespace: 'shop', name: 'orders' },
      from: parseSpiffeId('spiffe://cluster.local/ns/shop/sa/web'),
      method,
      path,
      headers: { 'x-tenant': [tenant] },
    }).decision
  t.deepEqual(
    [decide('GET', 'red'), decide('DELETE', 'red'), decide('GET', 'blue')],
    ['allow', 'allow', 'allow'],
  )
  t.deepEqual(
    [decide('DELETE', 'blue'), decide('GET', 'green'), decide('GET', 'red', '/orders/7/x')],
    ['deny', 'deny', 'deny'],
  )
  t.is(decide('GET', 'none', '/health'), 'allow')
})

const DOOR = `
---
apiVersion: redoubt.io/v1alpha1
kind: Workload
metadata: { name: door, namespace: app, labels: { app: door } }
spec: { serviceAccount: door, ports: [{ port: 8080 }] }
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: door, namespace: app }
spec:
  selector: { app: door }
  servers: [{ port: { number: 8080, name: http, protocol: HTTP }, hosts: ['*'] }]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: door, namespace: app }
spec:
  selector: { matchLabels: { app: door } }
  rules:
    - from: [{ source: { remoteIpBlocks: [10.0.0.0/8] } }]
      to: [{ operation: { notPaths: [/admin*], ports: ["8080"] } }]
    - when: [{ key: "request.headers[x-forwarded-proto]", values: [https] }]
    - when: [{ key: "request.headers[x-envoy-attempt-count]", values: ["*"] }]
    - when: [{ key: connection.sni, values: [a.example] }]
`

test('§1.4, §7.4 at a gateway strangers are asked about as it sees them, whatever they say of themselves', (t) => {
  const ask = (query: Partial<CheckQuery>, text = DOOR) => {
    const { intent } = readManifests([{ path: 'a.yaml', text: MANIFESTS + text }])
    const to = { namespace: 'app', name: 'door' }
    return check(intent, { to, from: undefined, ...query })
  }
  t.like(ask({ sourceIp: '10.1.2.3' }), { decision: 'allow', rule: 0, mtlsMode: 'DISABLE' })
  t.like(ask({ sourceIp: '10.1.2.3', path: '/x/../admin' }), { decision: 'deny', status: 403 })
  const lies = {
    'x-forwarded-for': ['10.1.2.3'],
    'X-Forwarded-Proto': ['https'],
    'x-envoy-attempt-count': ['1'],
  }
  t.like(ask({ sourceIp: '192.0.2.1', headers: lies }), {
    decision: 'deny',
    reason: 'no-allow-matched',
  })
  t.like(ask({ sourceIp: '192.0.2.1', remoteIp: '10.1.2.3' }), { decision: 'allow' })
  t.like(ask({ sourceIp: '192.0.2.1', sni: 'a.example' }), { decision: 'deny' })
  const tls = DOOR.replace('protocol: HTTP', 'protocol: HTTPS').replace(
    "hosts: ['*']",
    "hosts: ['*'], tls: { mode: SIMPLE, credentialName: c }",
  )
  t.like(ask({ sourceIp: '192.0.2.1' }, tls), { decision: 'allow', rule: 1 })
  t.like(ask({ sourceIp: '192.0.2.1', sni: 'A.example' }, tls.replace('[https]', '[none]')), {
    decision: 'allow',
    rule: 3,
  })
  const from = parseSpiffeId('spiffe://cluster.local/ns/app/sa/web')
  t.like(ask({ from }), { decision: 'deny', status: null, reason: 'mtls-disabled' })
})
