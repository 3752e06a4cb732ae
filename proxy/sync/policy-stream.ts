import type { Clock } from '#core/clock.ts'
import type { Live } from '#core/live.ts'
import type { Log } from '#core/log.ts'
import type { SpiffeId } from '#ca/spiffe/index.ts'
import type { Svid } from '#agent/client/index.ts'
import type { CompiledDestination, CompiledInbound } from './compiled.ts'

export interface PolicyStreamDeps {
  readonly svid: Live<Svid>
  /** `host:port` of the policy server. */
  readonly address: string
  /** Who must answer there. */
  readonly policyId: SpiffeId
  readonly workload: { readonly namespace: string; readonly name: string }
  readonly now: () => Temporal.Instant
  readonly clock: Clock
  /** Numbers in [0, 1). */
  readonly random: () => number
  readonly log: Log
}

/** One resource, for `/config_dump`. */
export interface HeldResource {
  readonly name: string
  /** Version last received; '' before the first. */
  readonly desired: string
  /** Version in force; '' when none. */
  readonly applied: string
  /** Why the newest one is not in force. */
  readonly rejected?: { readonly version: string; readonly reason: string }
}

export interface PolicySession {
  /** `undefined` until the first bundle compiled. A later one that does not leaves the last good one. */
  readonly inbound: Live<CompiledInbound | undefined>
  /**
   * How `host:port` is reached, `host` in lower case. The first call subscribes; `undefined` until
   * the policy server answers. Read `.current` for each request: that is also what keeps it subscribed.
   */
  readonly destination: (host: string, port: number) => Live<CompiledDestination | undefined>
  readonly isConnected: () => boolean
  readonly held: () => readonly HeldResource[]
  /** All destinations that are in force, for `/clusters`. */
  readonly destinations: () => readonly CompiledDestination[]
}

/**
 * Holds one stream to the policy server for as long as `signal` lets it, through every failure of
 * the server, and compiles what comes before it replaces what is in force.
 */
export function openPolicyStream(_deps: PolicyStreamDeps, _signal: AbortSignal): PolicySession {
  throw new Error('not yet')
}
