/**
 * Who speaks to whom: the labels of istio-semantics §13.2 that stay the same from request to
 * request, and the series that are counted under them. An edge is found once for a connection or an
 * endpoint; a request then only adds to numbers.
 */
import type { SpiffeId } from '#ca/spiffe/index.ts'
import type { ServiceRef, WorkloadRef } from '#policy/model/index.ts'
import { Histogram } from './buckets.ts'

/** What a label cannot be known from is left out, and reads `unknown`. */
export interface EdgeLabels {
  /** `source`: counted by the client's sidecar. */
  readonly reporter: 'source' | 'destination'
  readonly source?: Partial<WorkloadRef>
  readonly sourcePrincipal?: SpiffeId | undefined
  readonly destination?: Partial<WorkloadRef>
  readonly destinationPrincipal?: SpiffeId | undefined
  readonly service?: Partial<ServiceRef>
  readonly protocol: 'http' | 'grpc' | 'tcp'
  /** Of the downstream connection: known to the server's sidecar only. */
  readonly security: 'mutual_tls' | 'none' | 'unknown'
}

/** What is counted for one edge, status, gRPC status and flag. */
export class RequestSeries {
  /** `,name="value"` for the labels that vary, in Istio's order. */
  readonly labels: string
  requests = 0
  readonly durationMs: Histogram = new Histogram()
  readonly requestBytes: Histogram = new Histogram()
  readonly responseBytes: Histogram = new Histogram()

  constructor(labels: string) {
    this.labels = labels
  }
}

/** What is counted for one edge's opaque connections; their bytes when they close. */
export class TcpSeries {
  readonly labels: string
  opened = 0
  closed = 0
  sentBytes = 0
  receivedBytes = 0

  constructor(labels: string) {
    this.labels = labels
  }
}

/** Flags that one edge and status are counted under apart; a further one counts as `-`. */
const MAX_FLAGS = 32

/** One edge. Only `telemetry.edge` makes one. */
export class Edge {
  readonly labels: EdgeLabels
  /** Its labels as Prometheus text. */
  readonly id: string
  /** Attempts beyond the first. */
  retries = 0
  readonly requests: RequestSeries[] = []
  readonly connections: TcpSeries[] = []
  readonly #head: string
  readonly #tail: string
  /** Without flags, by status: nearly every request. */
  readonly #plain: (RequestSeries | undefined)[] = []
  readonly #other = new Map<string, RequestSeries>()

  constructor(
    labels: EdgeLabels,
    { head, tail }: { readonly head: string; readonly tail: string },
  ) {
    this.labels = labels
    this.id = head + tail
    this.#head = head
    this.#tail = tail
  }

  /**
   * The series of one kind of outcome.
   *
   * @param status - 0..599; 0 when there was no response
   * @param flags - Envoy's response flags, `-` for none
   * @param grpcStatus - -1 when it is not gRPC
   */
  series(status: number, flags: string, grpcStatus: number): RequestSeries {
    if (flags === '-' && grpcStatus < 0) {
      return this.#plain[status] ?? this.#addPlain(status)
    }
    const key = `${status} ${flags} ${grpcStatus}`
    const known = this.#other.get(key)
    if (known !== undefined) return known
    if (this.#other.size >= MAX_FLAGS) return this.series(status, '-', -1)
    const made = this.#make(status, flags, grpcStatus)
    this.#other.set(key, made)
    return made
  }

  /** The series of its opaque connections. */
  tcpSeries(): TcpSeries {
    const [known] = this.connections
    if (known !== undefined) return known
    const made = new TcpSeries(`${this.#head},response_flags="-"${this.#tail}`)
    this.connections.push(made)
    return made
  }

  #addPlain(status: number): RequestSeries {
    const bounded = status >= 100 && status <= 599 ? status : 0
    const known = this.#plain[bounded]
    if (known !== undefined) return known
    const made = this.#make(bounded, '-', -1)
    this.#plain[bounded] = made
    return made
  }

  #make(status: number, flags: string, grpcStatus: number): RequestSeries {
    const grpc = grpcStatus < 0 ? '' : String(grpcStatus)
    const made = new RequestSeries(
      `${this.#head},response_code="${status}",grpc_response_status="${grpc}",response_flags="${flags}"${this.#tail}`,
    )
    this.requests.push(made)
    return made
  }
}
