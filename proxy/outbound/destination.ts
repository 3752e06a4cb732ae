import type { Clock } from '#core/clock.ts'
import type { Live } from '#core/live.ts'
import type { DestinationBundle } from '#policy/model/index.ts'
import type { ClusterState } from './cluster-state.ts'
import type { PickRoute } from './route.ts'

/** One version of how to reach one host and port, compiled. */
export interface Destination {
  readonly bundle: DestinationBundle
  readonly version: string
  readonly pickRoute: PickRoute
  readonly clusters: ReadonlyMap<string, ClusterState>
}

/** What the outbound side asks of the policy stream. The first call for a host and port subscribes. */
export type FindDestination = (host: string, port: number) => Live<Destination | undefined>

/** Milliseconds that a first request waits for its destination: one round trip to the policy server. */
export const DESTINATION_TIMEOUT_MS = 5_000

/**
 * Calls back once with the first version there is, or `undefined` when none came in time. Only for a
 * destination that has none: the request path reads `.current`.
 */
export function awaitDestination(
  live: Live<Destination | undefined>,
  clock: Clock,
  onKnown: (destination: Destination | undefined) => void,
): void {
  const known = live.current
  if (known !== undefined) return queueMicrotask(() => onKnown(known))
  const aborter = new AbortController()
  let settled = false
  const settle = (destination: Destination | undefined): void => {
    if (settled) return
    settled = true
    aborter.abort()
    onKnown(destination)
  }
  const watch = async (): Promise<void> => {
    for await (const destination of live.changes(aborter.signal)) {
      if (destination !== undefined) return settle(destination)
    }
  }
  // Both end with the first outcome; there is nobody left to tell of the other.
  watch().catch(() => settle(undefined))
  clock.sleep(DESTINATION_TIMEOUT_MS, aborter.signal).then(
    () => settle(undefined),
    () => {},
  )
}
