/** Requests of an access log, held against what changes. */
import { clientAddress, headerValues, normalizePath } from '../model/index.ts'
import type { Observation } from '../observed/read-log.ts'
import type { Comparison, Diagram } from './change.ts'
import { verdictsOf } from './locate.ts'

/** How many requests would have been decided otherwise. */
export interface Traffic {
  readonly requests: number
  /** By change, `before → after`, the most frequent first. */
  readonly changed: readonly {
    readonly change: string
    readonly count: number
    readonly example: Observation
  }[]
  /** Of these the log does not tell enough: it has no other headers, claims or ports. */
  readonly uncertain: number
}

/** Counts. Requests to workloads that were not compared are left out. */
export function replayTraffic(
  comparisons: readonly Comparison[],
  requests: readonly Observation[],
): Traffic {
  const diagrams = new Map(
    comparisons.flatMap(({ workloads, diagram }) =>
      diagram === undefined ? [] : workloads.map((workload) => [workload, diagram] as const),
    ),
  )
  const counts = new Map<string, { count: number; example: Observation }>()
  let [total, uncertain] = [0, 0]
  for (const request of requests) {
    const diagram = diagrams.get(request.workload)
    if (diagram === undefined) continue
    total += request.requests
    const found = verdictsIn(diagram, request)
    const [only] = found
    if (found.size !== 1) uncertain += request.requests
    else if (only !== undefined) {
      const known = counts.get(only) ?? { count: 0, example: request }
      counts.set(only, { ...known, count: known.count + request.requests })
    }
  }
  const changed = [...counts].map(([change, rest]) => ({ change, ...rest }))
  changed.sort((a, b) => b.count - a.count)
  return { requests: total, changed, uncertain }
}

function verdictsIn(diagram: Diagram, request: Observation): ReadonlySet<string | undefined> {
  const { space, root, pathNormalization } = diagram
  const { protocol, caller, sourceIp } = request
  const known = new Map<string, string | undefined | readonly string[]>([['peer', caller]])
  if (sourceIp !== undefined) known.set('sourceIp', sourceIp)
  if (protocol === 'http') addHttp(known, request, pathNormalization)
  const entries = space.find(({ attribute }) => attribute === 'entry')
  const entry = `${request.port}/${protocol}`
  if (request.port !== undefined && entries?.classOf(entry) !== undefined) known.set('entry', entry)
  return verdictsOf(space, root, known)
}

function addHttp(
  known: Map<string, string | undefined | readonly string[]>,
  { method, target, host, sourceIp, forwardedFor, userAgent }: Observation,
  pathNormalization: Diagram['pathNormalization'],
): void {
  const path = normalizePath(target, pathNormalization)
  known.set('method', method).set('host', host)
  if (path.kind === 'ok') known.set('path', path.path)
  const forwarded = forwardedFor === undefined ? [] : [forwardedFor]
  if (sourceIp !== undefined) known.set('remoteIp', clientAddress(forwarded, sourceIp))
  for (const [name, value] of [
    ['x-forwarded-for', forwardedFor],
    ['user-agent', userAgent],
  ] as const) {
    known.set(`header:${name}`, headerValues(name, value === undefined ? [] : [value])[0])
  }
}
