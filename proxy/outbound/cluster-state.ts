/**
 * One cluster as a sidecar lives with it: its endpoints, how busy and how healthy each is, and the
 * limits. It outlives bundles; what has not changed keeps its connections and its past.
 */
import type { Cluster, Endpoint } from '#policy/model/index.ts'
import type { Hop } from '../mesh/hop.ts'
import { Breaker } from '../resilience/breaker.ts'
import {
  HEALTHY,
  type Health,
  type HealthEvent,
  mayEjectOneMore,
  stepHealth,
} from '../resilience/outlier.ts'
import { isWithinBudget } from '../resilience/retry-budget.ts'
import type { Edge } from '../telemetry/edge.ts'
import { type Balancer, createBalancer } from './balance.ts'

export interface ClusterDeps {
  /** Milliseconds on the monotonic clock. */
  readonly nowMs: () => number
  /** Numbers in [0, 1). */
  readonly random: () => number
}

/** One endpoint. Made anew when anything about how to reach it changes. */
export class EndpointState {
  readonly endpoint: Endpoint
  /** Requests sent there that are not over. */
  active = 0
  health: Health = HEALTHY
  /** Until then others are preferred, because it could not be reached; monotonic milliseconds. */
  restsUntilMs = 0
  /** The data path's way there, opened at the first request and closed when the endpoint retires. */
  hop: Hop | undefined = undefined
  /** Where requests to it are counted; resolved at the first one. */
  edge: Edge | undefined = undefined

  constructor(endpoint: Endpoint) {
    this.endpoint = endpoint
  }
}

/** How an attempt ended, for the endpoint's health: the status of its answer, or 0 without one. */
export type AttemptStatus = number

/**
 * Milliseconds that an endpoint is passed over after nobody could be reached there. Without it the
 * least busy endpoint is the one that fails fastest, and a dead one draws most of the requests.
 */
const REST_MS = 1000

/** See the module comment. */
export class ClusterState {
  readonly name: string
  /** As the newest bundle has it. */
  cluster: Cluster
  /** All endpoints, ejected ones too. */
  endpoints: readonly EndpointState[] = []
  /** Requests to the cluster, retries too; beyond `maxRequests`: 503, flag UO. */
  readonly requests: Breaker
  /** Retries among them. */
  retries = 0
  readonly #deps: ClusterDeps
  readonly #byKey = new Map<string, EndpointState>()
  #balance: Balancer
  /** Those that are not ejected. */
  #available: readonly EndpointState[] = []
  #ejected = 0
  /** When the first ejection ends. */
  #returnMs = Number.POSITIVE_INFINITY
  /** When the last endpoint that rests is awake; 0: none rests. */
  #awakeMs = 0

  constructor(name: string, cluster: Cluster, deps: ClusterDeps) {
    this.name = name
    this.cluster = cluster
    this.requests = new Breaker(cluster.connectionPool.maxRequests)
    this.#deps = deps
    this.#balance = createBalancer(cluster.loadBalancing, deps.random)
    this.#settle(cluster)
  }

  /** Takes what a newer bundle says. Endpoints that are gone finish what they have and close. */
  update(cluster: Cluster): void {
    if (cluster.loadBalancing !== this.cluster.loadBalancing) {
      this.#balance = createBalancer(cluster.loadBalancing, this.#deps.random)
    }
    this.cluster = cluster
    this.requests.limit = cluster.connectionPool.maxRequests
    this.#settle(cluster)
  }

  /** Closes all ways to it once they are idle. */
  retire(): void {
    for (const { hop } of this.endpoints) hop?.close()
    this.endpoints = []
    this.#available = []
    this.#byKey.clear()
  }

  /**
   * Picks where the next attempt goes, one that has not been `tried` if there is one;
   * `undefined`: nobody is there or all are ejected (503, flag UH). There is no panic mode: with
   * Istio's `minHealthPercent` of 0 an ejected endpoint is never used (§6.7).
   */
  pick(tried?: readonly EndpointState[]): EndpointState | undefined {
    if (this.#ejected > 0) this.#readmit()
    const available = this.#awakeMs === 0 ? this.#available : this.#awake()
    if (tried === undefined || tried.length === 0) return this.#balance(available)
    const fresh = available.filter((one) => !tried.includes(one))
    return this.#balance(fresh.length > 0 ? fresh : this.#available)
  }

  /** Lets `endpoint` rest: a connection to it could not be made. Where all rest, none does. */
  rest(endpoint: EndpointState): void {
    endpoint.restsUntilMs = this.#deps.nowMs() + REST_MS
    this.#awakeMs = endpoint.restsUntilMs
  }

  #awake(): readonly EndpointState[] {
    const nowMs = this.#deps.nowMs()
    if (nowMs >= this.#awakeMs) {
      this.#awakeMs = 0
      return this.#available
    }
    const awake = this.#available.filter(({ restsUntilMs }) => restsUntilMs <= nowMs)
    return awake.length > 0 ? awake : this.#available
  }

  /** Counts an attempt to `endpoint` in; followed by one {@link end}. */
  begin(endpoint: EndpointState): void {
    endpoint.active += 1
  }

  /**
   * Counts the attempt out and judges the endpoint by its answer.
   *
   * @param status - 0: no answer; below 0: it says nothing of the endpoint (the client went away)
   */
  end(endpoint: EndpointState, status: AttemptStatus): void {
    endpoint.active -= 1
    if (this.cluster.outlierDetection === undefined || status < 0) return
    if (status > 0 && status < 500 && endpoint.health === HEALTHY) return
    this.#judge(endpoint, eventOf(status))
  }

  /** Whether one more retry fits the budget. */
  mayRetry(): boolean {
    return isWithinBudget({ retries: this.retries, requests: this.requests.active })
  }

  #judge(endpoint: EndpointState, event: HealthEvent): void {
    const limits = this.cluster.outlierDetection
    if (limits === undefined) return
    const before = endpoint.health
    endpoint.health = stepHealth(before, event, {
      nowMs: this.#deps.nowMs(),
      limits,
      mayEject: mayEjectOneMore(this.#ejected, {
        total: this.endpoints.length,
        maxPercent: limits.maxEjectionPercent,
      }),
    })
    if (before.kind !== endpoint.health.kind) this.#sort()
  }

  #readmit(): void {
    if (this.#deps.nowMs() < this.#returnMs) return
    for (const endpoint of this.endpoints) {
      if (endpoint.health.kind === 'ejected') this.#judge(endpoint, 'tick')
    }
  }

  #sort(): void {
    this.#available = this.endpoints.filter(({ health }) => health.kind === 'in')
    this.#ejected = this.endpoints.length - this.#available.length
    this.#returnMs = Number.POSITIVE_INFINITY
    for (const { health } of this.endpoints) {
      if (health.kind === 'ejected') this.#returnMs = Math.min(this.#returnMs, health.untilMs)
    }
  }

  #settle(cluster: Cluster): void {
    const keys = new Set<string>()
    this.endpoints = cluster.endpoints.map((endpoint) => {
      const key = JSON.stringify([endpoint, cluster.sni, cluster.connectionPool, cluster.service])
      keys.add(key)
      const known = this.#byKey.get(key) ?? new EndpointState(endpoint)
      if (cluster.outlierDetection === undefined) known.health = HEALTHY
      this.#byKey.set(key, known)
      return known
    })
    for (const [key, { hop }] of this.#byKey) {
      if (keys.has(key)) continue
      this.#byKey.delete(key)
      hop?.close()
    }
    this.#sort()
  }
}

function eventOf(status: AttemptStatus): HealthEvent {
  if (status === 0 || status === 502 || status === 503 || status === 504) return 'gateway-error'
  return status >= 500 ? 'server-error' : 'success'
}
