import { setTimeout } from 'node:timers/promises'

import type { Clock } from '#core/clock.ts'

/** The machine's monotonic clock. Sleeping keeps the process alive. */
export const systemClock: Clock = {
  nowMs: () => performance.now(),
  async sleep(ms, signal) {
    signal.throwIfAborted()
    try {
      await setTimeout(ms, undefined, { signal })
    } catch (cause) {
      signal.throwIfAborted()
      throw cause
    }
  },
}

/** Civil time. */
export const systemNow = (): Temporal.Instant => Temporal.Now.instant()
