/** A small mesh for tests of this folder: edge calls qotm (90/10), qotm calls quotes-db, an intruder calls both. */
import type { Intent, WorkloadInstance } from '#policy/index.ts'
import { readManifests } from '#policy/index.ts'

export const SAMPLE = `
apiVersion: redoubt.io/v1alpha1
kind: Mesh
metadata: { name: test }
spec: { trustDomain: cluster.local }
---
apiVersion: v1
kind: Service
metadata: { name: edge, namespace: qotm }
spec: { selector: { app: edge }, ports: [{ name: http, port: 80, targetPort: 8080 }] }
---
apiVersion: v1
kind: Service
metadata: { name: qotm, namespace: qotm }
spec: { selector: { app: qotm }, ports: [{ name: http, port: 80, targetPort: http }] }
---
apiVersion: v1
kind: Service
metadata: { name: quotes-db, namespace: qotm }
spec: { selector: { app: quotes-db }, ports: [{ name: http, port: 80, targetPort: 8080 }] }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: qotm, namespace: qotm }
spec:
  hosts: [qotm]
  http:
    - route:
        - { destination: { host: qotm, subset: v1 }, weight: 90 }
        - { destination: { host: qotm, subset: v2 }, weight: 10 }
      retries: { attempts: 3, retryOn: "503" }
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: qotm, namespace: qotm }
spec:
  host: qotm
  subsets:
    - { name: v1, labels: { version: v1 } }
    - { name: v2, labels: { version: v2 } }
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: default, namespace: qotm }
spec: { mtls: { mode: STRICT } }
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: allow-nothing, namespace: qotm }
spec: {}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: allow-edge, namespace: qotm }
spec:
  selector: { matchLabels: { app: qotm } }
  rules:
    - from: [{ source: { principals: [cluster.local/ns/qotm/sa/edge] } }]
      to: [{ operation: { methods: [GET] } }]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: allow-qotm, namespace: qotm }
spec:
  selector: { matchLabels: { app: quotes-db } }
  rules: [{ from: [{ source: { principals: [cluster.local/ns/qotm/sa/qotm] } }] }]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: deny-intruder, namespace: qotm }
spec:
  action: DENY
  rules: [{ from: [{ source: { principals: [cluster.local/ns/qotm/sa/intruder] } }] }]
`

/** Intent of `SAMPLE` and `more`, which must be valid. */
export function intentOf(...more: readonly string[]): Intent {
  const files = [SAMPLE, ...more].map((text, index) => ({ path: `${index}.yaml`, text }))
  return intentFrom(files)
}

/** Intent of manifests alone. */
export function intentFrom(files: readonly { path: string; text: string }[]): Intent {
  const { intent, documents } = readManifests(files)
  const errors = documents.flatMap((document) => document.errors)
  if (errors.length > 0) throw new Error(JSON.stringify(errors))
  return intent
}

export function instance(name: string, over: Partial<WorkloadInstance> = {}): WorkloadInstance {
  const [app = name, version = 'v1'] = name.split(/-(?=v\d)/)
  return {
    namespace: 'qotm',
    name,
    labels: { app, version },
    serviceAccount: app,
    sidecar: true,
    ports: [{ port: 8080, name: 'http', address: `${name}.test:15006` }],
    ...over,
  }
}

export const INSTANCES: readonly WorkloadInstance[] = [
  'edge',
  'qotm-v1',
  'qotm-v2',
  'quotes-db',
  'intruder',
].map((name) => instance(name))
