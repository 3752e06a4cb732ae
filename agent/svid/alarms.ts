import { type CivilClock, sleepUntil } from './sleep-until.ts'

/** Instants at which something is due. */
export interface Alarms {
  /** Calls `due` once civil time has reached `instant`, unless what it returns is called before. */
  readonly set: (instant: Temporal.Instant, due: () => void) => () => void
}

interface Alarm {
  readonly instant: Temporal.Instant
  /** The same in epoch milliseconds: each wake looks at every alarm, and instants are dear to compare. */
  readonly atMs: number
  readonly due: () => void
}

/**
 * Alarms that share one wait: a node's many certificates wait most of their lives, and a wait of its own
 * costs each some 5 kB.
 *
 * @param signal - Ends all; nothing is due after that.
 */
export function createAlarms(civil: CivilClock, signal: AbortSignal): Alarms {
  const alarms = new Set<Alarm>()
  /** What the wait is for; `undefined`: nobody waits. */
  let next: Alarm | undefined
  let sooner = new AbortController()

  const wait = async (): Promise<void> => {
    for (next = earliest(alarms); next; next = earliest(alarms)) {
      await sleepUntil(civil, next.instant, signal, sooner.signal).catch(() => undefined) // looked at again
      if (signal.aborted) return
      if (sooner.signal.aborted) sooner = new AbortController()
      ring(alarms, civil.now().epochMilliseconds)
    }
  }
  return {
    set(instant, due) {
      const alarm: Alarm = { instant, atMs: instant.epochMilliseconds, due }
      alarms.add(alarm)
      if (!next) void wait()
      else if (alarm.atMs < next.atMs) sooner.abort()
      return () => void alarms.delete(alarm)
    },
  }
}

function ring(alarms: Set<Alarm>, nowMs: number): void {
  for (const alarm of alarms) {
    if (nowMs < alarm.atMs) continue
    alarms.delete(alarm)
    alarm.due()
  }
}

function earliest(alarms: ReadonlySet<Alarm>): Alarm | undefined {
  let first: Alarm | undefined
  for (const alarm of alarms) {
    if (!first || alarm.atMs < first.atMs) first = alarm
  }
  return first
}
