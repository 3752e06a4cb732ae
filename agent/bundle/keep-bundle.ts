import type { TrustBundle } from '#ca/x509/index.ts'
import { backoff } from '#core/backoff.ts'
import type { Clock } from '#core/clock.ts'
import type { Live, LiveSource } from '#core/live.ts'
import type { Log } from '#core/log.ts'
import type { NodeState } from '../attest/node.ts'

export interface KeepBundleDeps {
  readonly clock: Clock
  readonly random: () => number
  readonly log: Log
  readonly node: Live<NodeState>
  readonly failed: (cause: unknown) => void
}

/**
 * Follows the CA's trust bundle into `source` until `signal` aborts: a stream on each of the node's
 * channels in turn, opened again with back-off when it ends. A bundle that is not in order is left
 * out, the last good one stays, and it is not acknowledged.
 */
export async function keepBundle(
  deps: KeepBundleDeps,
  source: LiveSource<TrustBundle>,
  signal: AbortSignal,
): Promise<void> {
  let previous = new AbortController()
  for await (const state of deps.node.changes(signal)) {
    previous.abort()
    if (state.kind !== 'attested') continue
    previous = new AbortController()
    void follow(deps, state.connection, source, AbortSignal.any([signal, previous.signal]))
  }
  previous.abort()
}

async function follow(
  { clock, random, log, failed }: KeepBundleDeps,
  connection: Extract<NodeState, { kind: 'attested' }>['connection'],
  source: LiveSource<TrustBundle>,
  signal: AbortSignal,
): Promise<void> {
  const waiting = () => backoff({ baseMs: 50, maxMs: 5000, random })
  for (let waits = waiting(); !signal.aborted; ) {
    try {
      await connection.watchBundles((bundle) => {
        waits = waiting()
        take(source, bundle, log)
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

function take(source: LiveSource<TrustBundle>, bundle: TrustBundle, log: Log): void {
  if (sameRoots(source.live.current, bundle)) return
  source.set(bundle)
  log('info', 'bundle-taken', { generation: bundle.generation, roots: bundle.roots.length })
}

/** The same generation with the same roots need not wake every stream. */
function sameRoots(a: TrustBundle, b: TrustBundle): boolean {
  return (
    a.generation === b.generation &&
    a.roots.length === b.roots.length &&
    a.roots.every((root, index) => Buffer.compare(root, b.roots[index] ?? root.subarray(1)) === 0)
  )
}
