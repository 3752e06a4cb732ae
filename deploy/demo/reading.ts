/**
 * One reading of everything that the processes of a mesh report about themselves, and what the demo
 * makes of it. Pure: text in, facts out.
 */
import type { ExposedSample } from './exposition.ts'
import type { Bucket } from './quantile.ts'

/** What was asked of one workload's processes, or as much of it as answered. */
export interface WorkloadReading {
  /** `namespace/name` */
  readonly workload: string
  readonly spiffeId: string
  /** Of the certificate that the sidecar shows; lower-case hex. */
  readonly serial: string
  /** Epoch milliseconds. */
  readonly notAfterMs: number
  /** When the agent will renew it, epoch milliseconds; `undefined` while it does not say. */
  readonly renewalMs: number | undefined
  readonly rotations: number
  readonly retries: number
}

/** Requests from one workload to another, as the caller's sidecar counted them. */
export interface EdgeReading {
  readonly from: string
  readonly to: string
  readonly requests: number
  /** Answered below 500, refusals left out. */
  readonly succeeded: number
  readonly refused: number
  readonly buckets: readonly Bucket[]
}

/** Who was refused, by which policy; from the sidecar that refused. */
export interface RefusalReading {
  readonly from: string
  readonly to: string
  /** The policy that denied; `undefined` for a default denial. */
  readonly policy: string | undefined
  /** ALLOW policies that applied and did not match. */
  readonly considered: readonly string[]
  readonly count: number
}

/** What the sample's load generator saw. */
export interface LoadReading {
  readonly requests: number
  readonly lost: number
  readonly failures: Readonly<Record<string, number>>
  /** Answers by version of `qotm`. */
  readonly versions: Readonly<Record<string, number>>
}

/** What the sample's intruder saw. */
export interface IntruderReading {
  readonly requests: number
  readonly refused: number
  /** Anything but a refusal, by what it was. */
  readonly other: Readonly<Record<string, number>>
}

export interface Reading {
  /** Monotonic milliseconds. */
  readonly atMs: number
  readonly workloads: readonly WorkloadReading[]
  readonly edges: readonly EdgeReading[]
  readonly refusals: readonly RefusalReading[]
  readonly load: LoadReading | undefined
  readonly intruder: IntruderReading | undefined
}

/** Edges as the sidecar of `from` (`namespace/name`) counted them. */
export function edgesOf(from: string, samples: readonly ExposedSample[]): readonly EdgeReading[] {
  const edges = new Map<string, { requests: number; succeeded: number; refused: number }>()
  const buckets = new Map<string, Map<number, number>>()
  for (const { name, labels, value } of samples) {
    if (labels['reporter'] !== 'source') continue
    const to = destinationOf(labels)
    if (name === 'istio_requests_total') {
      const edge = edges.get(to) ?? { requests: 0, succeeded: 0, refused: 0 }
      const status = Number(labels['response_code'])
      edge.requests += value
      if (status === 403) edge.refused += value
      else if (status > 0 && status < 500) edge.succeeded += value
      edges.set(to, edge)
    } else if (name === 'istio_request_duration_milliseconds_bucket') {
      const of = buckets.get(to) ?? new Map<number, number>()
      const le = labels['le'] === '+Inf' ? Number.POSITIVE_INFINITY : Number(labels['le'])
      of.set(le, (of.get(le) ?? 0) + value)
      buckets.set(to, of)
    }
  }
  return [...edges].map(([to, counted]) => ({
    from,
    to,
    ...counted,
    buckets: [...(buckets.get(to) ?? [])]
      .map(([le, count]) => ({ le, count }))
      .sort((a, b) => a.le - b.le),
  }))
}

/** The workload that answered; its service where the caller never learned which one it was. */
function destinationOf(labels: Readonly<Record<string, string>>): string {
  const known = (name: string): string | undefined =>
    labels[name] === 'unknown' ? undefined : labels[name]
  const workload = known('destination_workload')
  const namespace = known('destination_workload_namespace') ?? 'unknown'
  return workload === undefined
    ? (known('destination_service_name') ?? 'unknown')
    : `${namespace}/${workload}`
}

/** The sum of one counter or gauge over all its labels. */
export function sumOf(name: string, samples: readonly ExposedSample[]): number {
  return samples.reduce((sum, sample) => (sample.name === name ? sum + sample.value : sum), 0)
}

/** The value of a gauge that has one row per SPIFFE ID; `undefined` if there is no such row. */
export function valueFor(
  name: string,
  spiffeId: string,
  samples: readonly ExposedSample[],
): number | undefined {
  return samples.find((sample) => sample.name === name && sample.labels['spiffe_id'] === spiffeId)
    ?.value
}
