/** What a CA says of its clock, beside that of the cluster whose tokens it believes. Pure. */
import type { ProcessHealth } from '../standalone/status.ts'

/** Milliseconds of difference above which it is told as a warning: as between an agent and its CA. */
const MAX_SKEW_MS = 30_000

/**
 * Health with what is known of the API server's clock. A difference is no reason to be not ready: tokens are
 * judged by the cluster's clock, certificates by the CA's, and who reads both is to know.
 *
 * @param offsetMs - By which the API server is ahead; `undefined`: it has not been asked.
 */
export function withClusterClock(
  { ready, reasons }: Pick<ProcessHealth, 'ready' | 'reasons'>,
  offsetMs: number | undefined,
): ProcessHealth {
  if (offsetMs === undefined) return { ready, reasons }
  const seconds = Math.round(Math.abs(offsetMs) / 1000)
  const way = offsetMs > 0 ? 'behind' : 'ahead of'
  const skew = `clock skew: the clock of this CA is ${seconds} s ${way} the API server's, expected at most ${MAX_SKEW_MS / 1000} s`
  const isSkewed = Math.abs(offsetMs) > MAX_SKEW_MS
  return { ready, reasons: [...reasons, ...(isSkewed ? [skew] : [])], clockOffsetMs: offsetMs }
}
