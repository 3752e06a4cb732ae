import { type CivilClock, sleepUntil } from './sleep-until.ts'

/** Instants at which something is due. */
export interface Alarms {
  /** Calls `due` once civil time has reached `instant`, unless what it returns is called before. */
  readonly set: (instant: Temporal.Instant, due: () => void) => () => void
}

interface Alarm {
  readonly instant: Temporal.Instant
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
  let next: Temporal.Instant | undefined
  let sooner = new AbortController()

  const wait = async (): Promise<void> => {
    for (next = earliest(alarms); next; next = earliest(alarms)) {
      await sleepUntil(civil, next, signal, sooner.signal).catch(() => undefined) // looked at again
      if (signal.aborted) return
      if (sooner.signal.aborted) sooner = new AbortController()
      ring(alarms, civil.now())
    }
  }
  return {
    set(instant, due) {
      const alarm: Alarm = { instant, due }
      alarms.add(alarm)
      if (!next) void wait()
      else if (isBefore(instant, next)) sooner.abort()
      return () => void alarms.delete(alarm)
    },
  }
}

function ring(alarms: Set<Alarm>, now: Temporal.Instant): void {
  for (const alarm of alarms) {
    if (isBefore(now, alarm.instant)) continue
    alarms.delete(alarm)
    alarm.due()
  }
}

function earliest(alarms: ReadonlySet<Alarm>): Temporal.Instant | undefined {
  let first: Temporal.Instant | undefined
  for (const { instant } of alarms) {
    if (!first || isBefore(instant, first)) first = instant
  }
  return first
}

function isBefore(a: Temporal.Instant, b: Temporal.Instant): boolean {
  return Temporal.Instant.compare(a, b) < 0
}
