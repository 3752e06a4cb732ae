/**
 * How far this node's clock is from the CA's. Certificates say when they begin and end by the CA's; a
 * node that is ahead drops them early, one that is behind keeps them too long, and neither knows.
 */
import type { Log } from '#core/log.ts'

/** Milliseconds of difference above which it is told. */
export const MAX_SKEW_MS = 30_000

export interface ClockSkew {
  /**
   * Takes down when the CA signed what it answered between `asked` and `answered`, by our clock. Only
   * what lies outside of that is a difference: the network is no clock.
   */
  readonly note: (
    signedAt: Temporal.Instant,
    asked: Temporal.Instant,
    answered: Temporal.Instant,
  ) => void
  /** Takes down that the CA's certificate begins later than now, so that no answer can be had from it. */
  readonly noteFuture: (detail: string) => void
  /** Milliseconds by which the CA is ahead of us, negative if behind; `undefined` before its first answer. */
  readonly offsetMs: () => number | undefined
  /** What to tell people; `undefined` while it is small. */
  readonly reason: () => string | undefined
}

export function createClockSkew(log: Log): ClockSkew {
  let offsetMs: number | undefined
  let future: string | undefined
  const isSkewed = (): boolean => future !== undefined || Math.abs(offsetMs ?? 0) > MAX_SKEW_MS
  return {
    offsetMs: () => offsetMs,
    note(signedAt, asked, answered) {
      const before = isSkewed()
      future = undefined
      offsetMs = outside(signedAt.epochMilliseconds, [asked, answered])
      const seconds = Math.round(offsetMs / 1000)
      if (isSkewed() !== before) {
        log(isSkewed() ? 'error' : 'info', isSkewed() ? 'clock-skew' : 'clock-skew-over', {
          seconds,
        })
      }
    },
    noteFuture(detail) {
      if (!isSkewed()) log('error', 'clock-skew', { detail })
      future = detail
    },
    reason() {
      if (!isSkewed()) return undefined
      if (future !== undefined)
        return `clock skew: the CA's certificate is not valid yet: ${future}`
      const seconds = Math.round(Math.abs(offsetMs ?? 0) / 1000)
      const way = (offsetMs ?? 0) > 0 ? 'behind' : 'ahead of'
      return `clock skew: the clock of this node is ${seconds} s ${way} the CA's, expected at most ${MAX_SKEW_MS / 1000} s`
    },
  }
}

function outside(atMs: number, [from, to]: readonly [Temporal.Instant, Temporal.Instant]): number {
  if (atMs < from.epochMilliseconds) return atMs - from.epochMilliseconds
  return Math.max(0, atMs - to.epochMilliseconds)
}
