/** Two meshes of their own trust domains, each `redoubt up`, that come to trust each other and cease to. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'

import { freePorts } from '#test/scenario/free-ports.ts'
import { ask, startMesh, type TestMesh } from './mesh.ts'

const SERVER = `require('node:http').createServer((_, r) => r.end('b says yes')).listen(process.env.PORT, '127.0.0.1')`
const IDLE = `require('node:http').createServer((_, r) => r.end('idle')).listen(process.env.PORT, '127.0.0.1')`
const id = (domain: string, account: string) => `spiffe://${domain}/ns/redoubt-system/sa/${account}`

const workload = (namespace: string, name: string, script: string) => `
---
apiVersion: redoubt.io/v1alpha1
kind: Workload
metadata: { namespace: ${namespace}, name: ${name}, labels: { app: ${name} } }
spec:
  serviceAccount: ${name}
  ports: [{ name: http, port: 8080 }]
  run: { command: [node, -e, ${JSON.stringify(script)}] }
---
apiVersion: v1
kind: Service
metadata: { namespace: ${namespace}, name: ${name} }
spec:
  selector: { app: ${name} }
  ports: [{ name: http, port: 8080 }]
`

const meshOf = (domain: string, endpoint: number, federated = '') => `
apiVersion: redoubt.io/v1alpha1
kind: Mesh
metadata: { name: mesh }
spec:
  trustDomain: ${domain}
  federation:
    endpoint: { listen: "127.0.0.1:${endpoint}", refreshHint: 10s }
    trustDomains: [${federated}]
`

const federationWith = (domain: string, port: number, bootstrap: string) =>
  `{ name: ${domain}, url: "https://127.0.0.1:${port}/", profile: https_spiffe, endpointSpiffeId: "${id(domain, 'redoubt-ca')}", bootstrapFile: "${bootstrap}" }`

const POLICIES = `
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { namespace: pay, name: strict }
spec: { mtls: { mode: STRICT } }
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { namespace: pay, name: who }
spec:
  selector: { matchLabels: { app: api } }
  action: ALLOW
  rules:
  - from: [{ source: { principals: ["a.example/ns/shop/sa/front"] } }]
`

/** What mesh A is told of the service in mesh B. */
const remote = (port: string) => `
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { namespace: shop, name: api-of-b }
spec:
  hosts: [api.b.example]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{ number: 80, name: http, protocol: HTTP }]
  endpoints: [{ address: 127.0.0.1, ports: { http: ${port} } }]
  subjectAltNames: ["spiffe://b.example/ns/pay/sa/api"]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { namespace: shop, name: api-of-b }
spec:
  host: api.b.example
  trafficPolicy: { tls: { mode: ISTIO_MUTUAL } }
`

/** Asks until the answer is `status`; what it was at last. */
async function askedUntil(mesh: TestMesh, name: string, status: number): Promise<number> {
  let last = 0
  for (const endMs = performance.now() + 20_000; performance.now() < endMs; await sleep(100)) {
    const headers = { host: 'api.b.example' }
    const answer = await ask(mesh.workload(name).outbound ?? '', { path: '/', headers })
    last = answer.status
    if (last === status) break
  }
  return last
}

test('a workload of a federated mesh is let in by its principal, others are not, and the end of the federation is the end of trust', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'redoubt-federation-'))
  const file = (name: string) => join(dir, name)
  const [portA = 0, portB = 0] = await freePorts(2)
  try {
    await writeFile(
      file('b.yaml'),
      meshOf('b.example', portB) + workload('pay', 'api', SERVER) + POLICIES,
    )
    await using b = await startMesh(['-f', file('b.yaml'), '--state', file('state-b')])
    const bundleOfB = b.ready.ca.bundle
    const inbound = b.workload('api').inbound?.['8080']?.split(':')[1] ?? ''
    const withB = meshOf('a.example', portA, federationWith('b.example', portB, bundleOfB))
    const rest = workload('shop', 'front', IDLE) + workload('shop', 'other', IDLE) + remote(inbound)
    await writeFile(file('a.yaml'), withB + rest)
    await using a = await startMesh(['-f', file('a.yaml'), '--state', file('state-a')])

    // B does not know A yet: whoever calls from there is nobody.
    t.is(await askedUntil(a, 'front', 503), 503)
    const withA = meshOf('b.example', portB, federationWith('a.example', portA, a.ready.ca.bundle))
    await writeFile(file('b.yaml'), withA + workload('pay', 'api', SERVER) + POLICIES)
    t.is(await askedUntil(a, 'front', 200), 200, 'the allowed principal of the other domain')
    t.is(await askedUntil(a, 'other', 403), 403, 'another principal of the other domain')

    await writeFile(
      file('b.yaml'),
      meshOf('b.example', portB) + workload('pay', 'api', SERVER) + POLICIES,
    )
    t.is(await askedUntil(a, 'front', 503), 503, 'nobody vouches for the other domain any more')
    t.false((await readFile(bundleOfB, 'utf8')).includes('a.example'))
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
})
