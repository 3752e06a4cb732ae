/** Requests of an access log, held against what changes. */
import type { SpiffeId } from '#ca/spiffe/index.ts'
import { clientAddress, headerValues, normalizePath } from '../model/index.ts'
import type { Comparison, Diagram } from './change.ts'
import { verdictsOf } from './locate.ts'

/** What an access log tells of a request that reached a workload. */
export interface LoggedRequest {
  /** `namespace/name` */
  readonly workload: string
  /** Workload port, where the log tells it. */
  readonly port: number | undefined
  readonly from: SpiffeId | undefined
  readonly method: string
  /** As sent, with its query. */
  readonly target: string
  readonly host: string | undefined
  readonly sourceIp: string | undefined
  readonly forwardedFor: string | undefined
  readonly userAgent: string | undefined
}

/** How many requests would have been decided otherwise. */
export interface Traffic {
  readonly requests: number
  /** By change, `before → after`, the most frequent first. */
  readonly changed: readonly {
    readonly change: string
    readonly count: number
    readonly example: LoggedRequest
  }[]
  /** Of these the log does not tell enough: it has no other headers, claims or ports. */
  readonly uncertain: number
}

/** Counts. Requests to workloads that were not compared are left out. */
export function replayTraffic(
  comparisons: readonly Comparison[],
  requests: readonly LoggedRequest[],
): Traffic {
  const diagrams = new Map(
    comparisons.flatMap(({ workloads, diagram }) =>
      diagram === undefined ? [] : workloads.map((workload) => [workload, diagram] as const),
    ),
  )
  const verdicts = new Map<string, ReadonlySet<string | undefined>>()
  const counts = new Map<string, { count: number; example: LoggedRequest }>()
  let [total, uncertain] = [0, 0]
  for (const request of requests) {
    const diagram = diagrams.get(request.workload)
    if (diagram === undefined) continue
    total += 1
    const key = JSON.stringify(request)
    const found = verdicts.get(key) ?? verdictsIn(diagram, request)
    verdicts.set(key, found)
    const [only] = found
    if (found.size !== 1) uncertain += 1
    else if (only !== undefined) {
      const known = counts.get(only) ?? { count: 0, example: request }
      counts.set(only, { ...known, count: known.count + 1 })
    }
  }
  const changed = [...counts].map(([change, rest]) => ({ change, ...rest }))
  changed.sort((a, b) => b.count - a.count)
  return { requests: total, changed, uncertain }
}

function verdictsIn(diagram: Diagram, request: LoggedRequest): ReadonlySet<string | undefined> {
  const { space, root, pathNormalization } = diagram
  const { from, method, target, host, sourceIp, forwardedFor, userAgent } = request
  const path = normalizePath(target, pathNormalization)
  const known = new Map<string, string | undefined | readonly string[]>([
    ['peer', from],
    ['method', method],
    ['host', host],
  ])
  if (path.kind === 'ok') known.set('path', path.path)
  if (sourceIp !== undefined) {
    known.set('sourceIp', sourceIp)
    known.set('remoteIp', clientAddress(forwardedFor === undefined ? [] : [forwardedFor], sourceIp))
  }
  for (const [name, value] of [
    ['x-forwarded-for', forwardedFor],
    ['user-agent', userAgent],
  ] as const) {
    known.set(`header:${name}`, headerValues(name, value === undefined ? [] : [value])[0])
  }
  const entries = space.find(({ attribute }) => attribute === 'entry')
  const entry = `${request.port}/http`
  if (request.port !== undefined && entries?.classOf(entry) !== undefined) known.set('entry', entry)
  return verdictsOf(space, root, known)
}
