/** Requests in forms that have gone past policies elsewhere, sent to a sidecar that runs. */
import test, { type ExecutionContext } from 'ava'

import { readManifests } from '#policy/index.ts'
import {
  openRunningSidecar,
  type RunningSidecar,
  type SidecarRequest,
} from '#test/fakes/running-sidecar.ts'

const HTTP = 8080
const TCP = 9000
const DETECTED = 7000
const WORKLOAD = `
apiVersion: redoubt.io/v1alpha1
kind: Workload
metadata: { name: web-1, namespace: app, labels: { app: web } }
spec:
  serviceAccount: web
  ports: [{ name: http, port: ${HTTP} }, { name: tcp-raw, port: ${TCP} }, { name: any, port: ${DETECTED} }]
  address: 127.0.0.1
`
const CALLER = 'spiffe://cluster.local/ns/app/sa/web'

/** What one character a byte is on the wire. */
const wireOf = (text: string): string => Buffer.from(text, 'utf8').toString('latin1')

const security = (kind: string, spec: unknown, annotations = {}): string =>
  JSON.stringify({
    apiVersion: 'security.istio.io/v1',
    kind,
    metadata: { name: 'p', namespace: 'app', annotations },
    spec,
  })

async function apply(
  t: ExecutionContext,
  sidecar: RunningSidecar,
  ...manifests: readonly string[]
): Promise<void> {
  const text = [WORKLOAD, ...manifests].join('\n---\n')
  const { intent, documents } = readManifests([{ path: 'mesh.yaml', text }])
  t.deepEqual(
    documents.flatMap(({ errors }) => errors),
    [],
  )
  await sidecar.apply(intent)
}

const request = (head: string): SidecarRequest => ({
  from: CALLER,
  port: HTTP,
  protocol: 'http/1.1',
  raw: `${head}\r\n\r\n`,
})

const withHeader = (value: string): SidecarRequest =>
  request(`GET / HTTP/1.1\r\nhost: web\r\nx-a: ${value}`)

test('users §2.3.41: header values beyond ASCII meet rules as Envoy compares them, byte for byte', async (t) => {
  await using sidecar = await openRunningSidecar([HTTP])
  const key = 'request.headers[x-a]'
  const status = async (value: string) => (await sidecar.send(withHeader(value))).status
  const deny = (condition: object) =>
    security('AuthorizationPolicy', { action: 'DENY', rules: [{ when: [{ key, ...condition }] }] })

  await apply(t, sidecar, deny({ values: ['café', '€*'] }))
  t.is(await status(wireOf('café')), 403)
  t.is(await status(wireOf('€ 5')), 403)
  t.is(await status('caf\xe9'), 200, 'ISO 8859-1 is other bytes')
  t.is(await status(wireOf('cafe')), 200)

  await apply(t, sidecar, deny({ notValues: ['café', '*z'] }))
  t.is(await status(wireOf('café')), 200)
  t.is(await status('caf\xe9'), 403, 'bytes that are no UTF-8 are no value that is excepted')
  t.is(await status('\xff'), 403)
  t.is(await status('\xffz'), 200)
})

test('users §1.5.47: what is tried out drops nothing: HTTP/1, HTTP/2, gRPC and raw bytes, with a certificate and without', async (t) => {
  await using sidecar = await openRunningSidecar([HTTP, TCP, DETECTED])
  const tried = { 'istio.io/dry-run': 'true' }
  await apply(
    t,
    sidecar,
    security('PeerAuthentication', { mtls: { mode: 'PERMISSIVE' } }),
    security('AuthorizationPolicy', { action: 'DENY', rules: [{}] }, tried),
    security(
      'AuthorizationPolicy',
      { action: 'ALLOW', rules: [{ to: [{ operation: { paths: ['/none'] } }] }] },
      tried,
    ).replace('"p"', '"q"'),
  )
  const forms: Readonly<Record<string, Partial<SidecarRequest>>> = {
    'HTTP/1': { port: HTTP, protocol: 'http/1.1' },
    'gRPC in HTTP/1': {
      port: HTTP,
      protocol: 'http/1.1',
      method: 'POST',
      path: '/pkg.Service/Call',
      headers: [['content-type', 'application/grpc']],
    },
    'HTTP/2': { port: HTTP, protocol: 'h2' },
    'HTTP/2, detected': { port: DETECTED, protocol: 'h2' },
    'gRPC in HTTP/2': { port: HTTP, protocol: 'grpc', method: 'POST', path: '/pkg.Service/Call' },
    'HTTP/1, detected': { port: DETECTED, protocol: 'http/1.1' },
    'raw bytes': { port: TCP, protocol: 'tcp' },
    'raw bytes, detected': { port: DETECTED, protocol: 'tcp' },
  }
  for (const from of [CALLER, 'none']) {
    for (const [what, form] of Object.entries(forms)) {
      const seen = await sidecar.send({ from, port: HTTP, protocol: 'tcp', ...form })
      const passed = seen.kind === 'tcp' || (seen.kind === 'http' && seen.status === 200)
      t.true(passed, `${what} from ${from}: ${JSON.stringify(seen)}`)
    }
  }
})

test('users §2.3.47: a WebSocket is decided on as any request, and the target goes on as it was sent', async (t) => {
  await using sidecar = await openRunningSidecar([HTTP])
  const rules = [{ to: [{ operation: { paths: ['/admin', '/admin/*'] } }] }]
  await apply(t, sidecar, security('AuthorizationPolicy', { action: 'DENY', rules }))
  const upgrade = 'host: web\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: x'
  for (const target of ['/admin/ws', '/x/../admin/ws', '/x/%2e%2e/admin/ws', '/x\\..\\admin/ws']) {
    const seen = await sidecar.send(request(`GET ${target} HTTP/1.1\r\n${upgrade}`))
    t.is(seen.status, 403, target)
  }
  const raw = '/public/%7Ea%20b?next=/%2e%2e/admin'
  const seen = await sidecar.send(request(`GET ${raw} HTTP/1.1\r\nhost: web`))
  t.is(seen.status, 200)
  t.is(seen.forwardedPath, raw)
})

test('users §1.4.43: a query is no part of the path that rules see', async (t) => {
  await using sidecar = await openRunningSidecar([HTTP])
  const rules = [{ to: [{ operation: { paths: ['/healthz'] } }] }]
  await apply(t, sidecar, security('AuthorizationPolicy', { action: 'ALLOW', rules }))
  const status = async (target: string) =>
    (await sidecar.send(request(`GET ${target} HTTP/1.1\r\nhost: web`))).status
  t.is(await status('/healthz'), 200)
  t.is(await status('/healthz?verbose=1&exclude=/other'), 200)
  t.is(await status('/healthz/?verbose'), 403)
  t.is(await status('/other?/healthz'), 403)
})
