/** Our own pair, as users run it: `redoubt up` with a client and a server workload and ten policies. */
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Pair } from './peers.ts'
import { start } from './processes.ts'

const LAUNCHER = fileURLToPath(new URL('../../deploy/cli/redoubt.js', import.meta.url))

interface ReadyWorkload {
  readonly name: string
  readonly outbound: string
  readonly inbound: Readonly<Record<string, string>>
  readonly pid: number
}

/** @throws {Error} when the mesh does not get ready */
export async function startRedoubt(directory: string, appPort: number): Promise<Pair> {
  const manifests = join(directory, 'manifests')
  mkdirSync(manifests)
  writeFileSync(join(manifests, 'mesh.yaml'), manifestsFor(appPort))
  const running = start(
    [
      process.execPath,
      LAUNCHER,
      'up',
      '-f',
      manifests,
      '--state',
      join(directory, 'state'),
      '--output',
      'json',
    ],
    join(directory, 'redoubt.log'),
  )
  const lines = createInterface({ input: running.child.stdout ?? process.stdin })
  const [line] = (await Promise.race([
    once(lines, 'line'),
    once(running.child, 'exit').then(([code]) => {
      throw new Error(`redoubt up ended with ${code}: see ${join(directory, 'redoubt.log')}`)
    }),
  ])) as [string]
  const ready = JSON.parse(line) as { readonly workloads: readonly ReadyWorkload[] }
  const of = (name: string): ReadyWorkload => {
    const found = ready.workloads.find((workload) => workload.name === name)
    if (found === undefined) throw new Error(`the ready line has no workload ${name}`)
    return found
  }
  return {
    name: 'redoubt',
    outbound: of('client').outbound,
    inbound: of('server').inbound['8080'] ?? '',
    host: 'server.bench.svc.cluster.local',
    pids: [of('client').pid, of('server').pid],
    [Symbol.asyncDispose]: () => running[Symbol.asyncDispose](),
  }
}

function manifestsFor(appPort: number): string {
  const others = Array.from({ length: 9 }, (_, index) =>
    allow(`other-${index}`, `other-${index}`, `/other/${index}*`),
  )
  return [
    MESH.replaceAll('APP', `127.0.0.1:${appPort}`),
    ...others,
    allow('allow-client', 'client', '/items*'),
  ].join('---\n')
}

const allow = (
  name: string,
  account: string,
  path: string,
): string => `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: ${name}, namespace: bench }
spec:
  selector: { matchLabels: { app: server } }
  action: ALLOW
  rules:
    - from: [{ source: { principals: ['cluster.local/ns/bench/sa/${account}'] } }]
      to: [{ operation: { methods: [GET], paths: ['${path}'] } }]
`

const MESH = `apiVersion: redoubt.io/v1alpha1
kind: Mesh
metadata: { name: bench }
spec: { trustDomain: cluster.local }
---
apiVersion: v1
kind: Namespace
metadata: { name: bench }
---
apiVersion: v1
kind: Service
metadata: { name: server, namespace: bench }
spec:
  selector: { app: server }
  ports: [{ name: http, port: 80, targetPort: 8080 }]
---
apiVersion: redoubt.io/v1alpha1
kind: Workload
metadata: { name: client, namespace: bench, labels: { app: client } }
spec: { serviceAccount: client, ports: [{ name: http, port: 8080 }], address: APP }
---
apiVersion: redoubt.io/v1alpha1
kind: Workload
metadata: { name: server, namespace: bench, labels: { app: server } }
spec: { serviceAccount: server, ports: [{ name: http, port: 8080 }], address: APP }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: server, namespace: bench }
spec:
  hosts: [server]
  http:
    - match: [{ uri: { prefix: /admin } }, { headers: { x-canary: { exact: 'yes' } } }]
      directResponse: { status: 404 }
    - route: [{ destination: { host: server } }]
`
