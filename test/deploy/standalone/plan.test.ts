/** The pure part of the standalone deployment: what is to run, what is in force, what an app is told. */
import test from 'ava'

import { appEnvironment } from '#deploy/standalone/app-environment.ts'
import { parseAddress, formatAddress } from '#deploy/standalone/address.ts'
import { createDenialDigest, deniedFromLine } from '#deploy/standalone/denial-digest.ts'
import { faultLines, keepLastGood } from '#deploy/standalone/last-good.ts'
import { caAuthorityOf } from '#deploy/standalone/ca-settings.ts'
import { caOptions } from '#deploy/run/ca-options.ts'
import type { CaProcessConfig, DeniedRequests, SourceFile } from '#deploy/standalone/messages.ts'
import { readyWorkload } from '#deploy/standalone/ready-line.ts'
import {
  planChange,
  planTopology,
  type Topology,
  type WorkloadPlan,
} from '#deploy/standalone/topology.ts'
import { readManifests } from '#policy/index.ts'
import { FakeClock } from '#test/fakes/fake-clock.ts'

const HEAD = 'apiVersion: redoubt.io/v1alpha1\nkind: Workload\n'
const WEB = `${HEAD}metadata: { name: web, namespace: shop }
spec:
  serviceAccount: front
  ports: [{ name: http, port: 8080 }, { port: 9090 }]
  run: { command: [./serve, --fast], cwd: app, env: { A: b } }
  ready: { httpGet: { path: /healthz, port: http } }
  sourceAddress: 127.0.0.7
  proxy: { outbound: 15001, inbound: { 8080: 15006 } }
`

function topologyOf(...texts: readonly string[]): Topology {
  const { intent, documents } = readManifests(
    texts.map((text, index) => ({ path: `mesh/${index}.yaml`, text })),
  )
  const faults = documents.flatMap(faultLines)
  if (faults.length > 0) throw new Error(faults.join('\n'))
  return planTopology(intent, '/srv')
}

test('planTopology() plans a started workload: identity, sidecar, app', (t) => {
  t.deepEqual(topologyOf(WEB).workloads as unknown, [
    {
      key: 'shop/web',
      namespace: 'shop',
      name: 'web',
      spiffeId: 'spiffe://cluster.local/ns/shop/sa/front',
      ports: [
        { name: 'http', port: 8080 },
        { name: '', port: 9090 },
      ],
      app: {
        kind: 'run',
        command: ['/srv/mesh/app/serve', '--fast'],
        env: { A: 'b' },
        cwd: '/srv/mesh/app',
      },
      sidecar: {
        outbound: '127.0.0.1:15001',
        inbound: { 8080: '127.0.0.1:15006', 9090: '127.0.0.1:0' },
        admin: '127.0.0.1:0',
        metrics: '127.0.0.1:0',
        readiness: '127.0.0.1:0',
        sourceAddress: '127.0.0.7',
        accessLog: 'refusals',
      },
      ready: { kind: 'http', path: '/healthz', port: 8080 },
    },
  ])
})

test('planTopology() gives the agent the identities that it needs, and no other', (t) => {
  const { scope, control } = topologyOf(WEB, WEB.replace('name: web', 'name: twin'))
  t.deepEqual(scope as readonly string[], [
    'spiffe://cluster.local/ns/redoubt-system/sa/redoubt-policy',
    'spiffe://cluster.local/ns/shop/sa/front',
  ])
  t.is(control.caId as string, 'spiffe://cluster.local/ns/redoubt-system/sa/redoubt-ca')
  t.is(control.agentId as string, 'spiffe://cluster.local/ns/redoubt-system/sa/redoubt-agent')
})

test('planTopology() dials an app where it listens: each workload port, or the one port given', (t) => {
  const at = (address: string, ports: string): unknown => {
    const text = `${HEAD}metadata: { name: a }\nspec: { ports: [${ports}], address: "${address}" }`
    return topologyOf(text).workloads[0]?.app
  }
  t.deepEqual(at('10.0.0.1', '{ port: 80 }, { port: 81 }'), {
    kind: 'address',
    addresses: { 80: '10.0.0.1:80', 81: '10.0.0.1:81' },
  })
  t.deepEqual(at('[::1]:3000', '{ port: 80 }'), {
    kind: 'address',
    addresses: { 80: '[::1]:3000' },
  })
})

const GATEWAY = `---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: door, namespace: shop }
spec:
  selector: { app: door }
  servers:
    - { port: { number: 80, name: http, protocol: HTTP }, hosts: ['*'] }
    - { port: { number: 81, name: more, protocol: HTTP }, hosts: ['*'], bind: '::1' }
---
apiVersion: v1
kind: Service
metadata: { name: door, namespace: shop }
spec: { selector: { app: door }, ports: [{ port: 80, targetPort: 8080 }] }
`

test('planTopology() opens the ports of a gateway, and the workload’s others as ever', (t) => {
  const door = WEB.replace('namespace: shop', 'namespace: shop, labels: { app: door }')
  const [workload] = topologyOf(door, GATEWAY).workloads
  t.deepEqual(workload?.sidecar?.gateway, [
    { port: 81, listen: '[::1]:0', servers: [81] },
    { port: 8080, listen: '127.0.0.1:15006', servers: [80] },
  ])
  t.deepEqual(workload?.sidecar?.inbound, { 9090: '127.0.0.1:0' })
  const [plain] = topologyOf(WEB, GATEWAY).workloads
  t.false('gateway' in (plain?.sidecar ?? {}))
  t.deepEqual(
    planChange(topologyOf(door).workloads, topologyOf(door, GATEWAY).workloads).changed.length,
    1,
    'a Gateway that comes starts its workload anew',
  )
  const addresses = {
    outbound: '127.0.0.1:1',
    inbound: { 81: '[::1]:2', 8080: '127.0.0.1:15006', 9090: '127.0.0.1:3' },
    admin: '',
    metrics: '',
    readiness: '',
  }
  const seen = (plan: WorkloadPlan) =>
    readyWorkload({
      plan,
      addresses: () => addresses,
      appAddresses: {},
      ports: () => [],
      app: () => undefined,
    }).gateway
  t.deepEqual(workload && seen(workload), { 80: '127.0.0.1:15006', 81: '[::1]:2' })
  t.is(plain && seen(plain), undefined)
})

test('planTopology() leaves the sidecar out where injection is off', (t) => {
  const text = WEB.replace(
    'namespace: shop',
    'namespace: shop, labels: { sidecar.istio.io/inject: "false" }',
  )
  t.is(topologyOf(text).workloads[0]?.sidecar, undefined)
})

test('planChange() tells apart what is new, gone and different', (t) => {
  const before = topologyOf(WEB, WEB.replace('name: web', 'name: old')).workloads
  const after = topologyOf(
    WEB.replace('--fast', '--slow'),
    WEB.replace('name: web', 'name: new'),
  ).workloads
  const { added, removed, changed } = planChange(before, after)
  t.deepEqual(
    [added.map(({ key }) => key), removed, changed.map(({ key }) => key)],
    [['shop/new'], ['shop/old'], ['shop/web']],
  )
  t.deepEqual(planChange(after, after), { added: [], removed: [], changed: [] })
})

test('planChange() does not restart a workload whose labels alone have changed', (t) => {
  const labelled = WEB.replace('namespace: shop', 'namespace: shop, labels: { a: b }')
  const { changed } = planChange(topologyOf(WEB).workloads, topologyOf(labelled).workloads)
  t.deepEqual(changed, [])
})

const APP = {
  ports: [
    { name: 'http', port: 8080 },
    { name: 'side-door', port: 9090 },
  ],
  real: { 8080: 20_001, 9090: 20_002 },
  outbound: '127.0.0.1:15001',
  own: {},
  inherited: {
    PATH: '/bin',
    npm_lifecycle_event: 'start',
    REDOUBT_STATE: '/s',
    NODE_OPTIONS: '-x',
  },
}

test('appEnvironment() tells ports and proxy, and keeps what is ours from the app', (t) => {
  t.deepEqual(appEnvironment(APP), {
    PATH: '/bin',
    PORT: '20001',
    PORT_HTTP: '20001',
    PORT_SIDE_DOOR: '20002',
    http_proxy: 'http://127.0.0.1:15001',
    HTTP_PROXY: 'http://127.0.0.1:15001',
    ALL_PROXY: 'socks5h://127.0.0.1:15001',
    no_proxy: 'localhost,127.0.0.1,::1',
    REDOUBT_OUTBOUND: '127.0.0.1:15001',
  })
})

test('appEnvironment() lets the manifest have the last word', (t) => {
  const env = appEnvironment({ ...APP, own: { PORT: '1', NODE_OPTIONS: '--y', http_proxy: '' } })
  t.is(env['PORT'], '1')
  t.is(env['NODE_OPTIONS'], '--y')
  t.is(env['http_proxy'], '')
})

test('appEnvironment() names no proxy where there is no sidecar', (t) => {
  const { outbound: _, ...bare } = APP
  const env = appEnvironment(bare)
  t.is(env['http_proxy'], undefined)
  t.is(env['REDOUBT_OUTBOUND'], undefined)
})

const FILES: readonly SourceFile[] = [
  { path: 'a.yaml', text: WEB },
  { path: 'b.yaml', text: WEB.replace('name: web', 'name: api') },
]

function namesOf({ intent }: { intent: { workloads: readonly { name: string }[] } }): string[] {
  return intent.workloads.map(({ name }) => name)
}

test('keepLastGood() takes what has no fault', (t) => {
  const reading = keepLastGood(FILES, [], readManifests)
  t.deepEqual([namesOf(reading), reading.faulty], [['web', 'api'], []])
})

test('keepLastGood() keeps the last good text of a whole file, and takes the others', (t) => {
  const edited = [
    { path: 'a.yaml', text: `${WEB.replace('front', 'back')}---\nkind: Nonsense\n` },
    { path: 'b.yaml', text: WEB.replace('name: web', 'name: db') },
  ]
  const reading = keepLastGood(edited, FILES, readManifests)
  t.deepEqual(namesOf(reading), ['web', 'db'])
  t.is(reading.intent.workloads[0]?.serviceAccount, 'front')
  t.deepEqual(
    reading.faulty.map(({ file, document }) => [file, document]),
    [['a.yaml', 2]],
  )
})

test('keepLastGood() leaves a file out that never was good', (t) => {
  const reading = keepLastGood([...FILES, { path: 'c.yaml', text: '{' }], FILES, readManifests)
  t.deepEqual(namesOf(reading), ['web', 'api'])
  t.is(reading.faulty[0]?.file, 'c.yaml')
})

test('keepLastGood() takes nothing that no mesh carries out, however valid', (t) => {
  const mirrored = `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: a }
spec:
  hosts: [a]
  http: [{ route: [{ destination: { host: a } }], mirror: { host: b } }]
`
  const reading = keepLastGood([...FILES, { path: 'c.yaml', text: mirrored }], FILES, readManifests)
  t.deepEqual(reading.intent.virtualServices, [])
  t.deepEqual(
    reading.files.map(({ path }) => path),
    ['a.yaml', 'b.yaml'],
  )
  const [line = ''] = reading.faulty.flatMap(faultLines)
  t.regex(line, /^c\.yaml:6: VirtualService a at \/spec\/http\/0\/mirror: .*not carried out yet/)
})

test('keepLastGood() ends where two files cannot both be in force', (t) => {
  const twins = [FILES[0]!, { path: 'b.yaml', text: WEB }]
  const reading = keepLastGood(twins, FILES, readManifests)
  t.true(namesOf(reading).includes('web'))
  t.true(reading.faulty.length > 0)
})

test('keepLastGood() lets a file go that was removed', (t) => {
  t.deepEqual(namesOf(keepLastGood(FILES.slice(1), FILES, readManifests)), ['api'])
})

test('faultLines() say file, line, place, what is wrong and what to do', (t) => {
  const text = WEB.replace('serviceAccount', 'serviceAcount')
  const { faulty } = keepLastGood([{ path: 'a.yaml', text }], [], readManifests)
  const [line = ''] = faulty.flatMap(faultLines)
  t.regex(line, /^a\.yaml:5: Workload web at \/spec\/serviceAcount: .*\(.*serviceAccount.*\)$/)
})

const DENIED = {
  method: 'GET',
  path: '/a?b=c',
  response_code: 403,
  source_principal: 'spiffe://td/ns/n/sa/x',
  decision: 'deny',
  action: 'DENY',
  policy: 'n/p',
  rule: 1,
}

test('deniedFromLine() reads a refusal by a policy, without the query', (t) => {
  t.deepEqual(deniedFromLine(JSON.stringify(DENIED)), {
    count: 1,
    from: 'spiffe://td/ns/n/sa/x',
    method: 'GET',
    path: '/a',
    status: 403,
    reason: 'DENY policy n/p, rule 1',
  })
})

test('deniedFromLine() names the policies that were considered where none matches', (t) => {
  const line = { ...DENIED, policy: null, rule: null, considered: ['n/a', 'n/b'] }
  t.is(deniedFromLine(JSON.stringify(line))?.reason, 'no ALLOW policy matches (n/a, n/b)')
  const bare = { ...line, considered: [] }
  t.is(deniedFromLine(JSON.stringify(bare))?.reason, 'no ALLOW policy applies')
})

test('deniedFromLine() passes over everything else', (t) => {
  t.is(deniedFromLine(JSON.stringify({ ...DENIED, decision: 'allow' })), undefined)
  t.is(deniedFromLine('{"response_code":200}'), undefined)
})

test('createDenialDigest() reports the first at once and a flood once a second', async (t) => {
  const clock = new FakeClock()
  const reports: DeniedRequests[] = []
  const ended = new AbortController()
  const digest = createDenialDigest(clock, ended.signal, (denied) => reports.push(denied))
  const line = JSON.stringify(DENIED)
  for (let index = 0; index < 500; index += 1) digest(line)
  digest(JSON.stringify({ ...DENIED, method: 'PUT' }))
  t.deepEqual(
    reports.map(({ count, method }) => [count, method]),
    [
      [1, 'GET'],
      [1, 'PUT'],
    ],
  )
  await clock.advance(1000)
  t.deepEqual(
    reports.slice(2).map(({ count, method }) => [count, method]),
    [[499, 'GET']],
  )
  await clock.advance(1000)
  digest(line)
  t.is(reports.length, 4)
  ended.abort()
})

for (const text of ['', ':', 'a', 'a:', 'a:x', 'a:99999', '::1:80', 'a:1:2']) {
  test(`parseAddress() refuses ${JSON.stringify(text)}`, (t) => {
    t.throws(() => parseAddress(text), { message: /expected host:port/ })
  })
}

test("parseAddress() and formatAddress() are each other's way back", (t) => {
  for (const text of ['127.0.0.1:0', 'localhost:65535', '[::1]:443']) {
    const { host, port } = parseAddress(text)
    t.is(formatAddress(host, port), text)
  }
})

const MESH = 'apiVersion: redoubt.io/v1alpha1\nkind: Mesh\nmetadata: { name: mesh }\nspec:\n'
const readMesh = (spec: string) => readManifests([{ path: 'mesh.yaml', text: MESH + spec }])

test('a Mesh says where the keys of its CA are and by which names it is known; paths become absolute', async (t) => {
  const { intent, documents } = readMesh(`  certificateAuthority:
    keys: { store: files, passphrase: { file: secrets/ca } }
    serverNames: [istiod.istio-system.svc]
    machines: [{ rootsFile: machines.pem, name: '*.nodes', agentId: spiffe://a/b, scope: [] }]
`)
  t.deepEqual(documents.flatMap(faultLines), [])
  const authority = caAuthorityOf(intent, '/srv')
  t.deepEqual(authority, {
    keys: { kind: 'files', passphrase: { file: '/srv/secrets/ca' } },
    serverNames: ['istiod.istio-system.svc'],
    machines: [
      { rootsFile: '/srv/machines.pem', name: '*.nodes', agentId: 'spiffe://a/b', scope: [] },
    ],
  })
  const config = { authority: { ...authority, machines: [] }, federated: [], trustDomain: 'a' }
  const options = await caOptions(config as unknown as CaProcessConfig)
  t.like(options, { serverNames: ['istiod.istio-system.svc'], keys: authority.keys })
})

for (const name of ['10.0.0.1', 'Istiod.svc', '*.svc', 'a..b', 'a_b']) {
  test(`a Mesh may not have its CA known as ${name}`, (t) => {
    const spec = `  certificateAuthority: { serverNames: ['${name}'] }\n`
    const errors = readMesh(spec).documents[0]?.errors ?? []
    t.is(errors[0]?.pointer, '/spec/certificateAuthority/serverNames/0')
    t.is(errors[0]?.message, `found "${name}", expected a DNS name in lower case`)
  })
}
