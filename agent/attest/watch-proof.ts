/**
 * When that ends which this node proves itself by. An agent that is attested needs it no more until the
 * CA does not know it, and then it is too late to find out that nobody has renewed it.
 */
import type { Clock } from '#core/clock.ts'
import type { Log } from '#core/log.ts'
import { type NodeProof, proofEnd } from './evidence.ts'

export interface ProofWatch {
  readonly kind: NodeProof['kind']
  /** `undefined`: it does not say, it could not be read, or there is none that can be shown again. */
  readonly endsAt: () => Temporal.Instant | undefined
  /** What to tell people; `undefined` while it could be shown again. */
  readonly reason: () => string | undefined
}

export interface WatchProofDeps {
  readonly clock: Clock
  readonly now: () => Temporal.Instant
  readonly log: Log
}

/** Milliseconds between two looks; the kubelet renews a token at four fifths of its life, of 10 min at least. */
const LOOK_MS = 30_000

/** @param signal - Ends the watch. */
export function watchProof(
  proof: NodeProof | undefined,
  { clock, now, log }: WatchProofDeps,
  signal: AbortSignal,
): ProofWatch {
  let endsAt: Temporal.Instant | undefined
  let fault: string | undefined
  const reason = (): string | undefined => {
    if (fault !== undefined) return fault
    if (!endsAt || Temporal.Instant.compare(now(), endsAt) < 0) return undefined
    return `what this node proves itself by ended at ${endsAt} and nobody has renewed it: once the CA does not know the node any more it stays out`
  }
  const watch = async (shown: NodeProof): Promise<void> => {
    for (let told: string | undefined; !signal.aborted; ) {
      try {
        endsAt = await proofEnd(shown)
        fault = undefined
      } catch (cause) {
        fault = (cause as Error).message
      }
      const said = reason()
      if (said !== undefined && said !== told) log('error', 'node-proof-stale', { cause: said })
      told = said
      await clock.sleep(LOOK_MS, signal).catch(() => {}) // the loop looks at the signal
    }
  }
  if (proof && proof.kind !== 'join-token') void watch(proof)
  return { kind: proof?.kind ?? 'join-token', endsAt: () => endsAt, reason }
}
