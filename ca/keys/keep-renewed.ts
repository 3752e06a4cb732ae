import { backoff } from '#core/backoff.ts'
import type { Clock } from '#core/clock.ts'
import type { Log } from '#core/log.ts'
import { type Life, rotateAt } from '../x509/index.ts'

export interface KeepRenewedDeps {
  readonly clock: Clock
  readonly now: () => Temporal.Instant
  readonly random: () => number
  readonly log: Log
}

/** Milliseconds of one sleep: civil time may jump (a laptop wakes up), and is looked at this often. */
const MAX_SLEEP_MS = 30_000

/** Milliseconds between renewals at least: near the end of an issuer, what it issues lives ever shorter. */
const MIN_INTERVAL_MS = 500

/**
 * Replaces a certificate before it runs out, again and again, until `signal` aborts. A failure is
 * tried again with back-off; what is in force stays in force.
 *
 * @param life - Of what is in force.
 * @param renew - Puts a successor in force.
 */
export async function keepRenewed(
  { clock, now, random, log }: KeepRenewedDeps,
  life: () => Life,
  renew: () => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    const soonestMs = now().epochMilliseconds + MIN_INTERVAL_MS
    const dueMs = Math.max(soonestMs, rotateAt(life(), random()).epochMilliseconds)
    for (;;) {
      const leftMs = dueMs - now().epochMilliseconds
      if (leftMs <= 0) break
      await clock.sleep(Math.min(leftMs, MAX_SLEEP_MS), signal)
    }
    for (const waitMs of backoff({ random, baseMs: 250 })) {
      try {
        await renew()
        break
      } catch (cause) {
        signal.throwIfAborted()
        log('error', 'ca-renewal-failed', { waitMs, detail: String(cause) })
        await clock.sleep(waitMs, signal)
      }
    }
  }
}
