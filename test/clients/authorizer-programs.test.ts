/** Authorizers of others, unmodified, asked by the sidecars of a whole mesh over mutual TLS. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import { connect } from 'node:net'
import { join } from 'node:path'
import { ask, startMesh, temporary, until } from '../process/mesh.ts'
import { freePorts } from '../scenario/free-ports.ts'
import { testWith } from './harness.ts'

interface Ports {
  readonly web: number
  readonly app: number
  readonly http: number
  readonly grpc: number
}

/** Whom the app's policy asks, as a Mesh names it. */
const PROVIDERS = {
  http: `
    - name: gate
      envoyExtAuthzHttp:
        service: gate.shop.svc.cluster.local
        port: 8000
        timeout: 5s
        includeRequestHeadersInCheck: [x-ext-authz]
        includeAdditionalHeadersInCheck: { x-ext-authz-additional-header-override: ours }
        headersToUpstreamOnAllow: [x-ext-authz-*]`,
  grpc: `
    - name: gate
      envoyExtAuthzGrpc: { service: gate.shop.svc.cluster.local, port: 9000, timeout: 2s }`,
} as const

function manifests(provider: keyof typeof PROVIDERS, { web, app, http, grpc }: Ports): string {
  const workload = (name: string, account: string, ports: string): string => `
apiVersion: redoubt.io/v1alpha1
kind: Workload
metadata: { name: ${name}, namespace: shop, labels: { app: ${name} } }
spec: { serviceAccount: ${account}, ports: [${ports}], address: 127.0.0.1 }
---`
  const service = (name: string, ports: string): string => `
apiVersion: v1
kind: Service
metadata: { name: ${name}, namespace: shop }
spec: { selector: { app: ${name} }, ports: [${ports}] }
---`
  const own = (port: number): string => `{ name: http, port: ${port} }`
  const gate = `{ name: http, port: ${http} }, { name: grpc, port: ${grpc} }`
  return `
apiVersion: redoubt.io/v1alpha1
kind: Mesh
metadata: { name: shop }
spec:
  extensionProviders:${PROVIDERS[provider]}
---${workload('web', 'a', own(web))}${workload('orders', 'orders', own(app))}${workload('gate', 'gate', gate)}
${service('orders', `{ name: http, port: 80, targetPort: ${app} }`)}
${service('gate', `{ name: http, port: 8000, targetPort: ${http} }, { name: grpc, port: 9000, targetPort: ${grpc} }`)}
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: default, namespace: shop }
spec: { mtls: { mode: STRICT } }
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: ask, namespace: shop }
spec:
  selector: { matchLabels: { app: orders } }
  action: CUSTOM
  provider: { name: gate }
  rules: [{ to: [{ operation: { notPaths: [/health] } }] }]
`
}

interface Scene extends AsyncDisposable {
  /** What the app answers with the headers that it got, as JSON, or a refusal. */
  readonly call: (
    path: string,
    headers?: Readonly<Record<string, string>>,
  ) => Promise<{ readonly status: number; readonly body: string }>
  readonly kill: () => Promise<unknown>
}

/** A mesh that asks `program`, started by `args` with its ports. */
async function open(
  provider: keyof typeof PROVIDERS,
  program: string,
  args: (ports: Ports, folder: string) => readonly string[],
): Promise<Scene> {
  await using opening = new AsyncDisposableStack()
  const folder = opening.use(await temporary())
  const app = opening.adopt(createServer(), end)
  app.on('request', (request, response) => void response.end(JSON.stringify(request.headers)))
  app.listen(0, '127.0.0.1')
  await once(app, 'listening')
  const at = app.address()
  const [web = 0, http = 0, grpc = 0] = await freePorts(3)
  const ports = { web, http, grpc, app: typeof at === 'object' && at !== null ? at.port : 0 }
  const child = spawn(program, args(ports, folder.path), { stdio: 'ignore' })
  const exited = once(child, 'exit')
  const kill = async (): Promise<unknown> => {
    child.kill('SIGKILL')
    return exited
  }
  opening.defer(async () => void (await kill()))
  await until(() => isOpen(provider === 'http' ? http : grpc))
  const file = join(folder.path, 'mesh.yaml')
  await writeFile(file, manifests(provider, ports))
  const mesh = opening.use(await startMesh(['-f', file, '--state', join(folder.path, 'state')]))
  const { outbound = '' } = mesh.workload('web')
  const owned = opening.move()
  return {
    call: (path, headers = {}) =>
      ask(outbound, { path, headers: { ...headers, host: 'orders.shop.svc.cluster.local' } }),
    kill,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

function end(server: Server): void {
  server.closeAllConnections()
  server.close()
}

async function isOpen(port: number): Promise<true | undefined> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return undefined
  } finally {
    socket.destroy()
  }
}

const DENIED = 'denied by ext_authz for not found header `x-ext-authz: allow` in the request'
const byPorts = ({ http, grpc }: Ports) => ['-http', `${http}`, '-grpc', `${grpc}`]

testWith(
  'REDOUBT_ISTIO_EXTAUTHZ',
  '§1.11 Istio’s own authorizer, over HTTP: what it says is done, and without it nobody comes in',
  async (t, program) => {
    await using scene = await open('http', program, byPorts)
    const allowed = await scene.call('/a', {
      'x-ext-authz': 'allow',
      'x-ext-authz-check-result': 'mine',
    })
    t.is(allowed.status, 200, allowed.body)
    t.like(JSON.parse(allowed.body), {
      'x-ext-authz-check-result': 'allowed',
      'x-ext-authz-additional-header-override': 'ours',
    })
    for (const headers of [{}, { 'x-ext-authz': 'deny' }]) {
      t.deepEqual(await scene.call('/a', headers), { status: 403, body: DENIED })
    }
    t.is((await scene.call('/health')).status, 200)
    await scene.kill()
    t.deepEqual(await scene.call('/a', { 'x-ext-authz': 'allow' }), { status: 403, body: '' })
    t.is((await scene.call('/health')).status, 200)
  },
)

testWith(
  'REDOUBT_ISTIO_EXTAUTHZ',
  '§1.11 Istio’s own authorizer, over gRPC: it knows the caller by its certificate, and overwrites what the caller says',
  async (t, program) => {
    await using scene = await open('grpc', program, byPorts)
    const known = await scene.call('/a?b', { 'x-ext-authz-check-result': 'mine' })
    t.is(known.status, 200, known.body)
    const got = JSON.parse(known.body) as Readonly<Record<string, string>>
    t.like(got, {
      'x-ext-authz-check-result': 'allowed',
      'x-ext-authz-additional-header-override': 'grpc-additional-header-override-value',
    })
    t.regex(got['x-ext-authz-check-received'] ?? '', /spiffe:\/\/cluster\.local\/ns\/shop\/sa\/a"/)
    t.deepEqual(await scene.call('/a', { 'x-ext-authz': 'deny' }), { status: 403, body: DENIED })
    await scene.kill()
    t.deepEqual(await scene.call('/a'), { status: 403, body: '' })
  },
)

const REGO = `package envoy.authz

default allow := {"allowed": false, "http_status": 401, "body": "who are you", "headers": {"x-why": "nobody"}}

allow := {"allowed": true, "headers": {"x-user": "ann"}} if {
  input.attributes.request.http.method == "GET"
  input.attributes.request.http.headers["x-key"] == "open"
  input.attributes.source.principal == "spiffe://cluster.local/ns/shop/sa/a"
}
`

testWith(
  'REDOUBT_OPA_ENVOY',
  '§1.11 OPA with its Envoy plugin decides by Rego on who calls and what is asked',
  async (t, program) => {
    await using policy = await temporary()
    const file = join(policy.path, 'policy.rego')
    await writeFile(file, REGO)
    await using scene = await open('grpc', program, ({ http, grpc }) => [
      ...['run', '--server', `--addr=127.0.0.1:${http}`, file],
      `--set=plugins.envoy_ext_authz_grpc.addr=127.0.0.1:${grpc}`,
      '--set=plugins.envoy_ext_authz_grpc.path=envoy/authz/allow',
    ])
    const allowed = await scene.call('/a', { 'x-key': 'open', 'x-user': 'mine' })
    t.is(allowed.status, 200, allowed.body)
    t.like(JSON.parse(allowed.body), { 'x-user': 'ann' })
    t.deepEqual(await scene.call('/a'), { status: 401, body: 'who are you' })
  },
)
