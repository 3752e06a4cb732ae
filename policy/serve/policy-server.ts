/** The policy server: one gRPC service over connections that somebody else accepted. */
import type { Duplex } from 'node:stream'

import type { SpiffeId } from '#ca/spiffe/index.ts'
import type { Clock } from '#core/clock.ts'
import type { Live } from '#core/live.ts'
import type { Log } from '#core/log.ts'
import type { Intent, WorkloadInstance } from '../model/intent.ts'

export interface PolicyServerDeps {
  readonly intent: Live<Intent>
  readonly instances: Live<readonly WorkloadInstance[]>
  readonly clock: Clock
  /** Numbers in [0, 1). */
  readonly random: () => number
  readonly log: Log
}

/** One resource of one subscriber. */
export interface ResourceStatus {
  readonly name: string
  /** Version that the newest intent gives. */
  readonly desired: string
  /** Version that the sidecar last acknowledged; empty before the first. */
  readonly applied: string
  /** Its last refusal, until it acknowledges a version. */
  readonly rejected?: { readonly version: string; readonly reason: string }
}

export interface SubscriberStatus {
  /** `namespace/name`. */
  readonly workload: string
  readonly connected: boolean
  readonly resources: readonly ResourceStatus[]
}

export interface PolicyEvent {
  readonly kind: 'connected' | 'disconnected' | 'applied' | 'rejected'
  /** `namespace/name`. */
  readonly workload: string
  /** Of the resource; absent for connections. */
  readonly name?: string
  readonly version?: string
  /** Why it was rejected. */
  readonly reason?: string
}

export interface PolicyServer extends AsyncDisposable {
  /** Serves gRPC on `socket`, whose TLS has proved `peer`. */
  readonly accept: (socket: Duplex, peer: SpiffeId) => void
  readonly status: () => readonly SubscriberStatus[]
  /** Calls `listener` at each event until the returned function is called. */
  readonly onEvent: (listener: (event: PolicyEvent) => void) => () => void
  readonly health: () => { readonly ready: boolean; readonly reasons: readonly string[] }
  /** Prometheus text. */
  readonly metrics: () => Promise<string>
}

export function openPolicyServer(_deps: PolicyServerDeps): PolicyServer {
  throw new Error('not yet')
}
