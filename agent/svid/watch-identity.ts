import type { SpiffeId } from '#ca/spiffe/index.ts'
import type { TrustBundle } from '#ca/x509/index.ts'
import { eitherChange, type Watched } from '#core/live.ts'
import type { SvidCache } from './cache.ts'
import type { IssuedSvid } from './issued-svid.ts'

/** All that a workload is given. */
export interface WorkloadIdentity {
  readonly svid: IssuedSvid
  readonly bundle: TrustBundle
}

export interface WatchIdentityDeps {
  readonly cache: SvidCache
  readonly bundle: Watched<TrustBundle>
  readonly now: () => Temporal.Instant
}

/**
 * What `id` may have, at once or as soon as there is something, and at every change; a slow reader
 * gets the newest. An SVID that has run out is not yielded. Ends when `signal` aborts.
 *
 * @throws {AgentError} `AGENT_ISSUE_REFUSED` if the CA does not grant `id` to this node
 */
export async function* watchIdentity(
  { cache, bundle, now }: WatchIdentityDeps,
  id: SpiffeId,
  signal: AbortSignal,
): AsyncGenerator<WorkloadIdentity, void> {
  using holding = cache.hold(id)
  let seen: WorkloadIdentity | undefined
  for await (const _ of eitherChange(holding.state, bundle, signal)) {
    const state = holding.state.current
    if (state.kind === 'refused') throw state.cause
    if (state.kind === 'pending') continue
    const { svid } = state
    if (Temporal.Instant.compare(svid.life.notAfter, now()) <= 0) continue
    if (seen?.svid === svid && seen.bundle === bundle.current) continue
    seen = { svid, bundle: bundle.current }
    yield seen
  }
}
