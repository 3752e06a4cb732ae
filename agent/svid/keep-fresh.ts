import { type Life, rotateAt } from '#ca/x509/index.ts'
import { backoff } from '#core/backoff.ts'
import type { Log } from '#core/log.ts'
import type { Alarms } from './alarms.ts'
import { type CivilClock, sleepUntil } from './sleep-until.ts'

/** What rotation needs of an SVID. */
export interface Rotatable {
  readonly life: Life
}

/** What getting a successor needs. */
export interface RenewDeps<Svid extends Rotatable> extends CivilClock {
  readonly alarms: Alarms
  readonly random: () => number
  readonly log: Log
  /** Gets the successor; a new key each time. */
  readonly fetch: (signal: AbortSignal) => Promise<Svid>
  /** Told of each failure, once per attempt. */
  readonly failed?: (cause: unknown) => void
  /** Told once when an SVID runs out before it could be replaced. */
  readonly expired: () => void
}

export interface KeepFreshDeps<Svid extends Rotatable> extends RenewDeps<Svid> {
  /**
   * Told of each success. `renewAt` is when the next one is due; what is returned aborts if it is to be
   * replaced before that.
   */
  readonly accept: (svid: Svid, renewAt: Temporal.Instant) => AbortSignal
}

/**
 * Replaces `first` before it runs out, and each successor, until `signal` aborts. While the CA is away the
 * last good one stays, and this goes on trying, past its end too.
 */
export async function keepFresh<Svid extends Rotatable>(
  deps: KeepFreshDeps<Svid>,
  first: Svid,
  signal: AbortSignal,
): Promise<void> {
  for (let svid = first; ; ) {
    const renewAt = rotateAt(svid.life, deps.random())
    const hurry = deps.accept(svid, renewAt)
    await sleepUntil(deps, renewAt, signal, hurry).catch(() => {
      signal.throwIfAborted() // else it is only due sooner
    })
    svid = await renew(deps, svid, signal)
  }
}

/** The successor of `svid`, however many attempts it takes. Rejects with its reason once `signal` aborts. */
export async function renew<Svid extends Rotatable>(
  deps: RenewDeps<Svid>,
  svid: Svid,
  signal: AbortSignal,
): Promise<Svid> {
  const { clock, now, random, log, alarms, fetch, failed, expired } = deps
  const { notAfter } = svid.life
  // Beside the attempts, because one of them may hang beyond the end.
  const cancel = alarms.set(notAfter, expired)
  signal.addEventListener('abort', cancel, { once: true })
  try {
    const waits = backoff({ baseMs: 100, maxMs: maxWaitMs(svid.life), random })
    for (;;) {
      try {
        return await fetch(signal)
      } catch (cause) {
        signal.throwIfAborted()
        failed?.(cause)
        const waitMs = waits.next().value
        const leftMs = notAfter.epochMilliseconds - now().epochMilliseconds
        log('warn', 'svid-rotation-failed', { waitMs, leftMs, cause: String(cause) })
        await clock.sleep(waitMs, signal)
      }
    }
  } finally {
    cancel()
    signal.removeEventListener('abort', cancel)
  }
}

/** Most milliseconds by which such a renewal is put off: of a workload's, and of the node's own. */
export const HURRY_MS = { workload: 30_000, node: 5000 } as const

/**
 * Milliseconds by which a renewal that all have to make at once is put off: up to a twentieth of the
 * life, and not more than `mostMs`, so that the CA is not called by everybody together.
 *
 * @param spread - A number in [0, 1); pass `random()`.
 */
export function hurryDelayMs({ issuedAt, notAfter }: Life, spread: number, mostMs: number): number {
  const lifeMs = notAfter.epochMilliseconds - issuedAt.epochMilliseconds
  return spread * Math.min(mostMs, lifeMs / 20)
}

/** A twentieth of the life, within 1 s and 30 s: many attempts before the end, and no storm. */
export function maxWaitMs({ issuedAt, notAfter }: Life): number {
  const lifeMs = notAfter.epochMilliseconds - issuedAt.epochMilliseconds
  return Math.min(30_000, Math.max(1000, lifeMs / 20))
}
