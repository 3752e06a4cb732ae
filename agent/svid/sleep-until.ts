import type { Clock } from '#core/clock.ts'

/** What waiting for civil time needs. */
export interface CivilClock {
  readonly clock: Clock
  readonly now: () => Temporal.Instant
  /** Aborts at the next jump of civil time; see watch-clock.ts. Left out: nobody watches. */
  readonly jump?: () => AbortSignal
}

/** Longest single sleep, milliseconds: civil time is looked at again this often, watched or not. */
const MAX_SLICE_MS = 30_000

/**
 * Sleeps until civil time has reached `instant`. The one place where elapsed and civil time meet.
 *
 * Rejects with its reason once one of `signals` aborts.
 */
export async function sleepUntil(
  { clock, now, jump }: CivilClock,
  instant: Temporal.Instant,
  ...signals: readonly AbortSignal[]
): Promise<void> {
  for (;;) {
    for (const signal of signals) signal.throwIfAborted()
    const leftMs = instant.epochMilliseconds - now().epochMilliseconds
    if (leftMs <= 0) return
    const woken = AbortSignal.any(jump ? [...signals, jump()] : [...signals])
    await clock.sleep(Math.min(leftMs, MAX_SLICE_MS), woken).catch(() => undefined) // looked at again
  }
}
