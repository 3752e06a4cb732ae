import type { Clock } from '#core/clock.ts'

/** What waiting for civil time needs. */
export interface CivilClock {
  readonly clock: Clock
  readonly now: () => Temporal.Instant
}

/**
 * Longest single sleep, milliseconds. Elapsed time stands still while a machine is suspended and
 * civil time does not, so the latter is looked at again this often.
 */
const MAX_SLICE_MS = 30_000

/**
 * Sleeps until civil time has reached `instant`. The one place where elapsed and civil time meet.
 *
 * Rejects with `signal.reason` once `signal` aborts.
 */
export async function sleepUntil(
  { clock, now }: CivilClock,
  instant: Temporal.Instant,
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    signal.throwIfAborted()
    const leftMs = instant.epochMilliseconds - now().epochMilliseconds
    if (leftMs <= 0) return
    await clock.sleep(Math.min(leftMs, MAX_SLICE_MS), signal)
  }
}
