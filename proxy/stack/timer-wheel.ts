import type { Clock } from '#core/clock.ts'

/** Milliseconds between two turns; a timer is late by up to as much. */
const TURN_MS = 20
const SLOTS = 256

/** A deadline that is set again and again: made once per connection, moved per request. */
export interface WheelTimer {
  /** Calls back once, in `ms` milliseconds or up to 20 ms later; replaces what was set before. */
  readonly set: (ms: number) => void
  readonly clear: () => void
}

export interface TimerWheel {
  readonly timer: (onDue: () => void) => WheelTimer
}

interface Entry {
  next: Entry
  previous: Entry
  dueMs: number
  readonly onDue: () => void
}

/**
 * All deadlines of one process on one coarse wheel: to set or clear one is a few assignments, so that
 * a request can have a timeout without the cost of a timer. It turns only while something is set.
 */
export function createTimerWheel(clock: Clock, signal: AbortSignal): TimerWheel {
  const slots = Array.from({ length: SLOTS }, () => emptyList())
  let count = 0
  let turning = false
  let turnedMs = 0

  async function turn(): Promise<void> {
    turnedMs = clock.nowMs()
    while (count > 0 && !signal.aborted) {
      await clock.sleep(TURN_MS, signal)
      const nowMs = clock.nowMs()
      const from = Math.floor(turnedMs / TURN_MS)
      const to = Math.min(Math.floor(nowMs / TURN_MS), from + SLOTS)
      turnedMs = nowMs
      for (let at = from; at <= to; at += 1) expire(slots[at % SLOTS] as Entry, nowMs)
    }
    turning = false
  }

  function expire(list: Entry, nowMs: number): void {
    for (let entry = list.next; entry !== list; ) {
      if (entry.dueMs > nowMs) {
        entry = entry.next
        continue
      }
      unlink(entry)
      count -= 1
      entry.onDue()
      // From the front again: the callback may have taken any entry off.
      entry = list.next
    }
  }

  return {
    timer(onDue) {
      const entry: Entry = Object.assign(emptyList(), { onDue })
      const clear = (): void => {
        if (entry.next === entry) return
        unlink(entry)
        count -= 1
      }
      return {
        clear,
        set(ms) {
          clear()
          // Never before its time: up to the end of the turn that it falls into.
          entry.dueMs = clock.nowMs() + ms
          const slot = slots[(Math.floor(entry.dueMs / TURN_MS) + 1) % SLOTS] as Entry
          entry.next = slot
          entry.previous = slot.previous
          slot.previous.next = entry
          slot.previous = entry
          count += 1
          if (turning || signal.aborted) return
          turning = true
          // Ends with the signal alone, and then nobody waits for it.
          turn().catch(() => {})
        },
      }
    },
  }
}

function emptyList(): Entry {
  const entry = { dueMs: 0, onDue: () => {} } as unknown as Entry
  entry.next = entry
  entry.previous = entry
  return entry
}

function unlink(entry: Entry): void {
  entry.previous.next = entry.next
  entry.next.previous = entry.previous
  entry.next = entry
  entry.previous = entry
}
