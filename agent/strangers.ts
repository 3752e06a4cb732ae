/** Those who have connected and not said who they are: how long each may stay so. */
import type { Clock } from '#core/clock.ts'

export interface Strangers<One> {
  /** Begins one's time. */
  readonly add: (one: One) => void
  /** Ends it: he is known, or gone. */
  readonly remove: (one: One) => void
}

export interface StrangersDeps<One> {
  /** Elapsed milliseconds that each has. */
  readonly ms: number
  /** Told of each whose time has run out, once. */
  readonly late: (one: One) => void
  readonly clock: Clock
}

/**
 * All share one wait: a timer and a signal for each connection cost a fiftieth of what a new workload does.
 *
 * @param signal - Ends the wait; nobody is late after that.
 */
export function createStrangers<One>(
  { ms, late, clock }: StrangersDeps<One>,
  signal: AbortSignal,
): Strangers<One> {
  /** When each one's time runs out; the first to come is the first. */
  const endsMs = new Map<One, number>()
  let waiting = false

  const wait = async (): Promise<void> => {
    waiting = true
    for (let [first] = endsMs; first; [first] = endsMs) {
      const [one, endMs] = first
      const leftMs = endMs - clock.nowMs()
      if (leftMs > 0) {
        await clock.sleep(leftMs, signal)
      } else {
        endsMs.delete(one)
        late(one)
      }
    }
    waiting = false
  }
  return {
    add(one) {
      endsMs.set(one, clock.nowMs() + ms)
      if (!waiting) wait().catch(() => {}) // it ends by the signal alone
    },
    remove: (one) => void endsMs.delete(one),
  }
}
