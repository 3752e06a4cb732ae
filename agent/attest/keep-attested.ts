import { backoff } from '#core/backoff.ts'
import type { Clock } from '#core/clock.ts'
import type { Log } from '#core/log.ts'
import type { NodeProof } from './evidence.ts'
import type { Node } from './node.ts'

export interface KeepAttestedDeps {
  readonly clock: Clock
  readonly random: () => number
  readonly log: Log
}

/**
 * Shows `proof` again whenever the CA does not know this node any more, until it does: a node that
 * slept through the end of its certificate comes back by itself. Ends with `signal`.
 */
export async function keepAttested(
  node: Node,
  proof: NodeProof,
  { clock, random, log }: KeepAttestedDeps,
  signal: AbortSignal,
): Promise<void> {
  for await (const { kind } of node.state.changes(signal)) {
    if (kind === 'attested') continue
    for (const waitMs of backoff({ baseMs: 250, maxMs: 30_000, random })) {
      try {
        await node.attest(proof, signal)
        break
      } catch (cause) {
        if (signal.aborted) return
        log('error', 'node-not-attested-anew', { waitMs, cause: String(cause) })
        await clock.sleep(waitMs, signal).catch(() => {}) // Only an abort rejects.
        if (signal.aborted) return
      }
    }
  }
}
