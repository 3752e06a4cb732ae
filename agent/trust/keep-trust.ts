import { backoff } from '#core/backoff.ts'
import type { Clock } from '#core/clock.ts'
import type { Live } from '#core/live.ts'
import type { Log } from '#core/log.ts'
import type { NodeState } from '../attest/node.ts'

export interface KeepTrustDeps {
  readonly clock: Clock
  readonly random: () => number
  readonly log: Log
  readonly node: Live<NodeState>
  readonly failed: (cause: unknown) => void
}

/**
 * Follows what the CA says is trusted until `signal` aborts: a stream on each of the node's channels
 * in turn, opened again with back-off when it ends. What is not in order is left out, the last good
 * bundle and deny-list stay, and it is not acknowledged.
 */
export async function keepTrust(deps: KeepTrustDeps, signal: AbortSignal): Promise<void> {
  let previous = new AbortController()
  for await (const state of deps.node.changes(signal)) {
    previous.abort()
    if (state.kind !== 'attested') continue
    previous = new AbortController()
    void follow(deps, state.connection, AbortSignal.any([signal, previous.signal]))
  }
  previous.abort()
}

async function follow(
  { clock, random, log, failed }: KeepTrustDeps,
  connection: Extract<NodeState, { kind: 'attested' }>['connection'],
  signal: AbortSignal,
): Promise<void> {
  const waiting = () => backoff({ baseMs: 50, maxMs: 5000, random })
  for (let waits = waiting(); !signal.aborted; ) {
    try {
      await connection.watchBundles(() => {
        waits = waiting()
      }, signal)
    } catch (cause) {
      if (signal.aborted) return
      failed(cause)
      log('warn', 'bundle-stream-failed', { cause: String(cause) })
    }
    // Only an abort rejects, and the loop looks at that.
    await clock.sleep(waits.next().value, signal).catch(() => {})
  }
}
