import type { Log } from '#core/log.ts'
import type { CivilClock } from './sleep-until.ts'

export interface WatchClockDeps extends Pick<CivilClock, 'clock' | 'now'> {
  readonly log: Log
  /** Told of each jump. */
  readonly jumped: (ms: number) => void
}

/** Milliseconds between two looks: how late a machine that has slept is noticed to have. */
const LOOK_MS = 1000

/** Milliseconds by which civil time may have run apart from elapsed time between two looks. */
const TOLERANCE_MS = 1000

/**
 * Notices that civil time has jumped: a machine was suspended, or somebody set its clock. What is
 * returned gives a signal that aborts at the next jump; whoever sleeps until an instant wakes by it
 * and reckons anew, all in the same turn (users-and-performance §1.1, row 8).
 *
 * @param signal - Ends the watch.
 */
export function watchClock(
  { clock, now, log, jumped }: WatchClockDeps,
  signal: AbortSignal,
): () => AbortSignal {
  let next = new AbortController()
  const watch = async (): Promise<void> => {
    for (;;) {
      const [fromMs, fromCivilMs] = [clock.nowMs(), now().epochMilliseconds]
      await clock.sleep(LOOK_MS, signal)
      const passedMs = clock.nowMs() - fromMs
      const jumpMs = Math.round(now().epochMilliseconds - fromCivilMs - passedMs)
      if (Math.abs(jumpMs) <= TOLERANCE_MS) continue
      log('warn', 'clock-jumped', { ms: jumpMs })
      jumped(jumpMs)
      const woken = next
      next = new AbortController()
      woken.abort()
    }
  }
  watch().catch(() => {}) // it ends by the signal alone
  return () => next.signal
}
