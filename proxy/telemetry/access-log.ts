import type { Clock } from '#core/clock.ts'
import { accessLogLine } from './access-log-line.ts'
import type { RequestRecord } from './record.ts'

/**
 * Takes one line, without its `\n`.
 *
 * @returns `false` when it can take no more for now; anything else is a yes
 */
export type WriteLine = (line: string) => unknown

export interface AccessLog {
  readonly add: (record: RequestRecord) => void
  /** Writes what is left. */
  readonly flush: () => void
  /** Lines that found no room. */
  readonly dropped: () => number
}

export interface AccessLogOptions {
  readonly write: WriteLine
  readonly clock: Clock
  readonly now: () => Temporal.Instant
}

/** Milliseconds that a line waits for company, so that whoever writes them on has many at a time. */
const WAIT_MS = 100
/** Characters that are written without waiting. */
const BATCH = 64 * 1024
/** Characters that wait for a slow reader; what comes on top is dropped and counted. */
const MAX_WAITING = 1024 * 1024

/** An access log that never holds a request up. `signal` ends it; {@link AccessLog.flush} still writes. */
export function createAccessLog(options: AccessLogOptions, signal: AbortSignal): AccessLog {
  const { write, clock } = options
  const timeOf = civilTime(options)
  let waiting: string[] = []
  let size = 0
  let dropped = 0
  let isBlocked = false
  let isTicking = false

  function flush(): void {
    const lines = waiting
    waiting = []
    size = 0
    isBlocked = false
    for (const [index, line] of lines.entries()) {
      if (write(line) !== false) continue
      isBlocked = true
      waiting = lines.slice(index + 1)
      for (const left of waiting) size += left.length
      return
    }
  }

  async function tick(): Promise<void> {
    while (waiting.length > 0) {
      await clock.sleep(WAIT_MS, signal)
      flush()
    }
    isTicking = false
  }

  return {
    flush,
    dropped: () => dropped,
    add(record) {
      if (size > MAX_WAITING) {
        dropped += 1
        return
      }
      const line = accessLogLine(record, timeOf(record.startMs))
      waiting.push(line)
      size += line.length
      if (size >= BATCH && !isBlocked) return flush()
      if (isTicking || signal.aborted) return
      isTicking = true
      // Ends with the signal alone; what waits then is for `flush`.
      tick().catch(() => {})
    },
  }
}

/**
 * The one place where elapsed time becomes civil time. Its text is put together from the second at
 * hand, since most requests share it.
 */
function civilTime({
  clock,
  now,
}: Pick<AccessLogOptions, 'clock' | 'now'>): (elapsedMs: number) => string {
  let offsetMs = 0
  let setAtMs = Number.NEGATIVE_INFINITY
  let second = Number.NaN
  let text = ''
  return (elapsedMs) => {
    // Civil time is stepped now and then; once a second is enough to follow it.
    if (elapsedMs - setAtMs > 1000) {
      setAtMs = clock.nowMs()
      offsetMs = now().epochMilliseconds - setAtMs
    }
    const epochMs = Math.floor(offsetMs + elapsedMs)
    const whole = Math.floor(epochMs / 1000)
    if (whole !== second) {
      second = whole
      text = Temporal.Instant.fromEpochMilliseconds(whole * 1000)
        .toString({ smallestUnit: 'second' })
        .slice(0, -1)
    }
    return `${text}.${String(epochMs - whole * 1000).padStart(3, '0')}Z`
  }
}
