/**
 * What `redoubt validate` and `redoubt authz test` take for 1,000 documents and 1,000 cases, start-up included:
 * the command as a user starts it, its CPU and the time on the clock. Budget (issue 5): 2 s.
 *
 *     node test/bench/cli.bench.ts
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const COUNT = 1000
const ROUNDS = 5

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
/** The same with a tag, so that the file is left to the `yaml` package whole. */
const written = (index: number): string => policy(index).replace('[GET]', '[!!str GET]')
const testCase = (id: number) => ({
  ...{ id, to: 'app/web', port: 8080, from: `spiffe://cluster.local/ns/app/sa/client-${id}` },
  ...{ method: 'GET', path: `/api/${id % 20}/x`, expect: 'allow' },
})
const all = (make: (index: number) => string): string =>
  Array.from({ length: COUNT }, (_, index) => make(index)).join('')

const cwd = mkdtempSync(join(tmpdir(), 'redoubt-cli-bench-'))
const launcher = join(import.meta.dirname, '../../deploy/cli/redoubt.js')

/** CPU of the children that have ended, in milliseconds: fields 16 and 17 of proc(5), in ticks of 10 ms. */
function childrenMs(): number {
  const fields = readFileSync('/proc/self/stat', 'utf8').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[13]) + Number(fields[14])) * 10
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0
}

/** `expected`: the exit code, so that no failure passes for speed. */
function measure(line: string, expected = 0): Record<string, number> {
  const rounds = Array.from({ length: ROUNDS }, () => {
    const [cpu, clock] = [childrenMs(), performance.now()]
    const { status, stderr } = spawnSync(process.execPath, [launcher, ...line.split(' ')], { cwd })
    if (status !== expected) throw new Error(`${line} ended with ${status}: ${stderr}`)
    return { cpu: childrenMs() - cpu, clock: performance.now() - clock }
  })
  return {
    'CPU, ms': median(rounds.map(({ cpu }) => cpu)),
    'clock, ms': Math.round(median(rounds.map(({ clock }) => clock))),
  }
}

try {
  writeFileSync(join(cwd, 'mesh.yaml'), WORKLOAD)
  writeFileSync(join(cwd, 'plain.yaml'), all(policy))
  writeFileSync(join(cwd, 'tagged.yaml'), all(written))
  writeFileSync(
    join(cwd, 'cases.jsonl'),
    all((id) => `${JSON.stringify(testCase(id))}\n`),
  )
  const batch = all((id) => `${JSON.stringify({ id, manifest: policy(id) })}\n`)
  writeFileSync(join(cwd, 'batch.jsonl'), batch)
  console.table({
    'validate, one document': measure('validate -f mesh.yaml'),
    'validate, 1,000 documents': measure('validate -f plain.yaml'),
    'validate, 1,000 that are not plain': measure('validate -f tagged.yaml'),
    'validate --batch, 1,000 lines': measure('validate --batch batch.jsonl'),
    'authz test, 1,000 cases': measure('authz test -f mesh.yaml -f plain.yaml --cases cases.jsonl'),
    'analyze, 1,000 documents': measure('analyze -f mesh.yaml -f plain.yaml', 1),
  })
} finally {
  rmSync(cwd, { recursive: true })
}
