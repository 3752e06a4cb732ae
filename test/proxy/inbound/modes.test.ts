/** What a guarded port accepts (istio-semantics §2.4, §1.9): real sockets, real TLS, one sidecar. */
import test from 'ava'
import { readManifests } from '#policy/index.ts'
import {
  openRunningSidecar,
  type RunningSidecar,
  type Seen,
  type SidecarRequest,
} from '#test/fakes/running-sidecar.ts'

const PORTS = {
  ...{ http: 8080, tcp: 9000, auto: 7000, undeclared: 5555, tls: 8443 },
  grpc: 8081,
} as const
const CLI = 'spiffe://cluster.local/ns/app/sa/cli'

function intentWith(mode: string, more = '', mesh = '{}') {
  const text = `
apiVersion: redoubt.io/v1alpha1
kind: Mesh
metadata: { name: mesh }
spec: ${mesh}
---
apiVersion: redoubt.io/v1alpha1
kind: Workload
metadata: { name: web-1, namespace: app, labels: { app: web } }
spec:
  serviceAccount: web
  ports: [{ port: 8080 }, { port: 9000 }, { port: 7000 }, { port: 5555 }, { port: 8443 }, { port: 8081 }]
  run: { command: [x] }
---
apiVersion: v1
kind: Service
metadata: { name: web, namespace: app }
spec:
  selector: { app: web }
  ports:
    - { name: http, port: 80, targetPort: 8080 }
    - { name: tcp, port: 9000 }
    - { name: other, port: 7000 }
    - { name: https, port: 8443 }
    - { name: grpc, port: 8081 }
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: mode, namespace: app }
spec: { mtls: { mode: ${mode} } }
${more}`
  const { intent, documents } = readManifests([{ path: 'modes.yaml', text }])
  const faults = documents.flatMap(({ errors }) => errors)
  if (faults.length > 0) throw new Error(JSON.stringify(faults))
  return intent
}

/** `untouched`: the app itself got the client's TLS. */
type Fate = 'http' | 'tcp' | 'closed' | 'untouched' | 'unsendable' | number

const MESH_HTTP = { from: CLI, protocol: 'http/1.1' } as const
const MESH_TCP = { from: CLI, protocol: 'tcp' } as const
const FOREIGN = { from: CLI, protocol: 'http/1.1', alpn: ['http/1.1'] } as const
const NO_ALPN = { from: CLI, protocol: 'tcp', alpn: [''] } as const
const RAW_HTTP = { from: 'none', protocol: 'http/1.1' } as const
const RAW_TCP = { from: 'none', protocol: 'tcp' } as const

type Try = readonly [request: Omit<SidecarRequest, 'port'>, fate: Fate]

const ROWS: readonly {
  readonly title: string
  readonly ports: readonly (keyof typeof PORTS)[]
  readonly mode: string
  readonly tries: readonly Try[]
}[] = [
  {
    title: '§2.4 row 1: an HTTP port in STRICT takes TLS, and reads HTTP in it',
    ports: ['http'],
    mode: 'STRICT',
    tries: [
      [MESH_HTTP, 'http'],
      [FOREIGN, 'http'],
      [RAW_HTTP, 'closed'],
      [RAW_TCP, 'closed'],
    ],
  },
  {
    title: '§2.4 row 2: an HTTP port in PERMISSIVE closes TLS that is not the mesh’s',
    ports: ['http'],
    mode: 'PERMISSIVE',
    tries: [
      [MESH_HTTP, 'http'],
      [{ ...MESH_HTTP, alpn: ['istio', 'http/1.1'] }, 'http'],
      [FOREIGN, 'closed'],
      [NO_ALPN, 'closed'],
      [RAW_HTTP, 'http'],
      [RAW_TCP, 400],
    ],
  },
  {
    title: '§2.4 row 3: an HTTP port in DISABLE reads HTTP, and nothing is in TLS',
    ports: ['http'],
    mode: 'DISABLE',
    tries: [
      [MESH_HTTP, 'closed'],
      [RAW_HTTP, 'http'],
    ],
  },
  {
    title: '§2.4 row 4: a TCP port in STRICT takes TLS, and carries what is in it',
    ports: ['tcp', 'tls'],
    mode: 'STRICT',
    tries: [
      [MESH_TCP, 'tcp'],
      [MESH_HTTP, 'tcp'],
      [{ ...MESH_HTTP, alpn: ['h2'] }, 'tcp'],
      [RAW_TCP, 'closed'],
      [RAW_HTTP, 'closed'],
    ],
  },
  {
    title: '§2.4 row 5: a TCP port in PERMISSIVE passes TLS that is not the mesh’s untouched',
    ports: ['tcp', 'tls'],
    mode: 'PERMISSIVE',
    tries: [
      [MESH_TCP, 'tcp'],
      [NO_ALPN, 'untouched'],
      [FOREIGN, 'untouched'],
      [RAW_TCP, 'tcp'],
      [RAW_HTTP, 'tcp'],
    ],
  },
  {
    title: '§2.4 row 6: a TCP port in DISABLE carries all bytes, the app’s own TLS too',
    ports: ['tcp', 'tls'],
    mode: 'DISABLE',
    tries: [
      [RAW_TCP, 'tcp'],
      [RAW_HTTP, 'tcp'],
      [MESH_TCP, 'untouched'],
      [FOREIGN, 'untouched'],
    ],
  },
  {
    title: '§2.4 row 7: a port that detects, in STRICT, tells HTTP by ALPN',
    ports: ['auto', 'undeclared'],
    mode: 'STRICT',
    tries: [
      [MESH_HTTP, 'http'],
      [MESH_TCP, 'tcp'],
      [FOREIGN, 'tcp'],
      [{ ...MESH_HTTP, alpn: ['h2'] }, 'tcp'],
      [NO_ALPN, 'tcp'],
      [RAW_HTTP, 'closed'],
    ],
  },
  {
    title: '§2.4 row 8: a port that detects, in PERMISSIVE, tells by ALPN or by the first line',
    ports: ['auto', 'undeclared'],
    mode: 'PERMISSIVE',
    tries: [
      [MESH_HTTP, 'http'],
      [MESH_TCP, 'tcp'],
      [FOREIGN, 'untouched'],
      [NO_ALPN, 'untouched'],
      [RAW_HTTP, 'http'],
      [RAW_TCP, 'tcp'],
      [{ ...RAW_HTTP, raw: 'get / HTTP/1.1\r\nhost: a\r\n\r\n' }, 400],
      [{ ...RAW_TCP, raw: 'GET /\r\n' }, 'tcp'],
      [{ ...RAW_TCP, raw: 'EHLO me.example\r\n' }, 'tcp'],
    ],
  },
  {
    title: '§2.4 row 9: a port that detects, in DISABLE, tells by the first line',
    ports: ['auto', 'undeclared'],
    mode: 'DISABLE',
    tries: [
      [RAW_HTTP, 'http'],
      [RAW_TCP, 'tcp'],
      [FOREIGN, 'untouched'],
    ],
  },
]

let sidecar: RunningSidecar
test.before(async () => {
  sidecar = await openRunningSidecar(Object.values(PORTS))
})
test.after.always(() => sidecar?.[Symbol.asyncDispose]())

async function fateOf(request: SidecarRequest): Promise<Fate> {
  const before = sidecar.reached.length
  const seen: Seen = await sidecar.send(request)
  if (sidecar.reached.slice(before).some((bytes) => bytes.startsWith('\x16'))) return 'untouched'
  if (seen.kind !== 'http') return seen.kind
  return seen.chain ?? seen.status ?? 0
}

for (const { title, ports, mode, tries } of ROWS) {
  test.serial(title, async (t) => {
    await sidecar.apply(intentWith(mode))
    for (const name of ports) {
      for (const [request, fate] of tries) {
        const port = PORTS[name]
        t.is(await fateOf({ ...request, port }), fate, `${name} ${JSON.stringify(request)}`)
      }
    }
  })
}

test.serial(
  '§2.4 row 15: a client certificate is required and verified wherever TLS ends, PERMISSIVE too',
  async (t) => {
    for (const mode of ['STRICT', 'PERMISSIVE']) {
      await sidecar.apply(intentWith(mode))
      for (const from of ['nocert', `badca:${CLI}`]) {
        t.is(await fateOf({ ...MESH_HTTP, from, port: PORTS.http }), 'closed', `${mode} ${from}`)
      }
    }
  },
)

test.serial(
  '§2.4 row 16, §1.9: peers are of the trust domain or of an alias, else the handshake fails',
  async (t) => {
    const alias = 'spiffe://old-td/ns/app/sa/cli'
    await sidecar.apply(intentWith('STRICT'))
    t.is(await fateOf({ ...MESH_HTTP, from: alias, port: PORTS.http }), 'closed')
    await sidecar.apply(intentWith('STRICT', '', '{ trustDomainAliases: [old-td] }'))
    t.is(await fateOf({ ...MESH_HTTP, from: alias, port: PORTS.http }), 'http')
    t.is(await fateOf({ ...MESH_HTTP, port: PORTS.http }), 'http')
    t.is(await fateOf({ ...MESH_HTTP, from: `badca:${alias}`, port: PORTS.http }), 'closed')
    t.is(
      await fateOf({ ...MESH_HTTP, from: 'spiffe://else/ns/app/sa/cli', port: PORTS.http }),
      'closed',
    )
  },
)

test.serial(
  '§1.7 row 14: connection.sni is known of TLS that passes untouched as well',
  async (t) => {
    const deny = `---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: deny, namespace: app }
spec:
  action: DENY
  rules: [{ when: [{ key: connection.sni, values: [evil.example] }] }]
`
    await sidecar.apply(intentWith('PERMISSIVE', deny))
    const port = PORTS.tcp
    t.is(await fateOf({ ...NO_ALPN, sni: 'EVIL.example', port }), 'closed')
    t.is(await fateOf({ ...NO_ALPN, sni: 'good.example', port }), 'untouched')
  },
)

test.serial(
  '§1.4 row 12: a Host is matched as sent, odd ports too; one with a space is 400',
  async (t) => {
    const deny = `---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: deny, namespace: app }
spec:
  action: DENY
  rules: [{ to: [{ operation: { hosts: ["EX.com:8080x", ":80"] } }] }]
`
    await sidecar.apply(intentWith('PERMISSIVE', deny))
    const ask = (host: string) => fateOf({ ...MESH_HTTP, host, port: PORTS.http })
    t.is(await ask('ex.COM:8080x'), 403)
    t.is(await ask(':80'), 403)
    t.is(await ask('ex.com:8080y'), 'http')
    t.is(await ask('a b'), 400)
    t.is(await ask('a/b'), 400)
  },
)

test.serial(
  '§0.8.13 gRPC callers read the 400 of %00 in gRPC’s form, as of all answers behind the codec',
  async (t) => {
    await sidecar.apply(intentWith('PERMISSIVE'))
    const headers = [['content-type', 'application/grpc']] as const
    const seen = await sidecar.send({ ...MESH_HTTP, port: PORTS.http, path: '/a%00', headers })
    t.is(seen.status, 200)
    t.is((await sidecar.send({ ...MESH_HTTP, port: PORTS.http, path: '/a%00' })).status, 400)
  },
)

test.serial(
  '§2.4 row 1: on a gRPC port HTTP/1 is read and decided on, whatever a peer says by ALPN, and so is HTTP/2',
  async (t) => {
    const deny = `---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: deny, namespace: app }
spec:
  action: DENY
  rules: [{ to: [{ operation: { paths: [/a] } }], from: [{ source: { namespaces: [other] } }] }]
`
    await sidecar.apply(intentWith('STRICT', deny))
    const other = { from: 'spiffe://cluster.local/ns/other/sa/x', port: PORTS.grpc } as const
    const hidden = { ...other, protocol: 'http/1.1', alpn: ['istio-peer-exchange'] } as const
    t.is(await fateOf({ ...hidden, path: '/a' }), 403)
    t.is(await fateOf({ ...hidden, path: '/b' }), 'http')
    t.is(await fateOf({ ...other, protocol: 'tcp', raw: 'hello\r\n\r\n' }), 400)
    for (const alpn of [['istio-h2'], ['h2'], ['istio'], ['istio-peer-exchange'], ['']]) {
      const stream = { ...other, protocol: 'h2', alpn } as const
      t.is(await fateOf({ ...stream, path: '/a' }), 403, alpn[0])
      t.is(await fateOf({ ...stream, path: '/b' }), 'http', alpn[0])
    }
  },
)

test.serial(
  '§2.4 row 1: what a peer has agreed on by ALPN is what it speaks, and of its names those tell that say what comes',
  async (t) => {
    await sidecar.apply(intentWith('STRICT'))
    const peer = { from: CLI, port: PORTS.http } as const
    for (const [protocol, alpn, fate] of [
      ['h2', ['istio', 'h2'], 'http'],
      ['http/1.1', ['istio', 'http/1.1'], 'http'],
      ['http/1.1', ['istio'], 'http'],
      ['h2', ['istio', 'http/1.1'], 'closed'],
      ['h2', ['http/1.1'], 'closed'],
      ['http/1.1', ['h2'], 'closed'],
      ['http/1.1', ['istio', 'h2', 'http/1.1'], 'closed'],
    ] as const) {
      t.is(await fateOf({ ...peer, protocol, alpn }), fate, `${protocol} ${alpn.join()}`)
    }
  },
)

test.serial(
  '§2.4 rows 2, 4, 8: HTTP/2 is read on ports that take HTTP, and on those that detect it; on a TCP port it is bytes',
  async (t) => {
    const deny = `---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: deny, namespace: app }
spec:
  action: DENY
  rules: [{ to: [{ operation: { paths: [/a], ports: ["8080", "8081", "7000", "5555"] } }] }]
`
    await sidecar.apply(intentWith('PERMISSIVE', deny))
    for (const from of [CLI, 'none']) {
      const stream = { from, protocol: 'h2' } as const
      for (const port of [PORTS.http, PORTS.grpc, PORTS.auto, PORTS.undeclared]) {
        t.is(await fateOf({ ...stream, port, path: '/a' }), 403, `${from} ${port}`)
        t.is(await fateOf({ ...stream, port, path: '/b' }), 'http', `${from} ${port}`)
      }
      t.is(await fateOf({ ...stream, port: PORTS.tcp, path: '/a' }), 'tcp', from)
    }
    // A peer that promised other bytes than these has them carried (§2.4 row 7).
    const hidden = { from: CLI, protocol: 'h2', alpn: ['istio'], path: '/b' } as const
    t.is(await fateOf({ ...hidden, port: PORTS.auto }), 'closed')
  },
)
