/**
 * What 10,000 policies cost to load in a sidecar that they all apply to, and what an edit of one of them costs
 * after that. CPU, not time. Budget (issue 5): 1 s, and an edit compiles only what it touches.
 *
 *     node test/bench/authz-load.bench.ts
 */
import { loadAll } from 'js-yaml'

import { assembleInbound, createManifestReader } from '#policy/index.ts'
import { compileAuthorization, createCompileMemory } from '#policy/casbin/index.ts'
import { parseInboundBundle } from '#policy/model/index.ts'

const COUNT = 10_000
const PER_FILE = 100

const WORKLOAD = `
apiVersion: redoubt.io/v1alpha1
kind: Workload
metadata: { name: web, namespace: app }
spec: { serviceAccount: web, ports: [{ name: http, port: 8080 }] }
`
const policy = (index: number): string => `---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: p${index}, namespace: app }
spec:
  rules:
    - from: [{ source: { principals: [cluster.local/ns/app/sa/client-${index}] } }]
      to: [{ operation: { methods: [GET], paths: ["/api/${index % 20}/*", "/items/*"] } }]
`
const files = [
  { path: 'mesh.yaml', text: WORKLOAD },
  ...Array.from({ length: COUNT / PER_FILE }, (_, file) => {
    const own = Array.from({ length: PER_FILE }, (_, index) => policy(file * PER_FILE + index))
    return { path: `policies-${file}.yaml`, text: own.join('') }
  }),
]
const edited = files.map((file, at) =>
  at === 7 ? { ...file, text: file.text.replace('/items/*', '/edited/*') } : file,
)

function measure<T>(run: () => T): { readonly ms: number; readonly value: T } {
  const start = process.cpuUsage()
  const value = run()
  const { user, system } = process.cpuUsage(start)
  return { ms: Math.round((user + system) / 1000), value }
}

const read = createManifestReader()
const memory = createCompileMemory()

function load(texts: typeof files) {
  const manifests = measure(() => read(texts).intent)
  const [workload] = manifests.value.workloads
  if (workload === undefined) throw new Error('the manifests have a workload')
  const ports = workload.ports.map((port) => ({ ...port, address: '' }))
  const bundle = measure(() => {
    return Buffer.from(JSON.stringify(assembleInbound(manifests.value, { ...workload, ports })))
  })
  const parsed = measure(() => parseInboundBundle(bundle.value))
  const { authorization, ...rest } = parsed.value
  const compiled = measure(() =>
    compileAuthorization({ ...rest, policies: authorization }, { memory }),
  )
  return {
    'manifests read, ms': manifests.ms,
    'bundle assembled, ms': bundle.ms,
    'bundle read by the sidecar, ms': parsed.ms,
    'policies compiled, ms': compiled.ms,
  }
}

console.table({ 'loaded first': load(files), 'one of them edited': load(edited) })

// Last: the reader uses the parser of the first, and must not find it warm.
const yaml = measure(() => files.map(({ text }) => loadAll(text)))
const texts = yaml.value.flat().map((value) => JSON.stringify(value))
const json = measure(() => texts.map((text) => JSON.parse(text) as unknown))
console.log(`the same text, parsed alone: js-yaml ${yaml.ms} ms; its values as JSON: ${json.ms} ms`)
