/**
 * How much signing callers may ask for: a token bucket for each, and one for all together. What is
 * over it is refused before any arithmetic, with the time after which asking again makes sense; a
 * queue would only move the herd of a rotation (users-and-performance §1.1 row 18).
 */
import { LRUCache } from 'lru-cache'

import type { SpiffeId } from '../spiffe/index.ts'

/** A token bucket: certificates or tokens a second in the long run, and at once after a rest. */
export interface SigningRate {
  /** Above 0. */
  readonly perSecond: number
  /** At least 1. */
  readonly burst: number
}

/** One for each caller, and one for all of them. */
export interface SigningRates {
  readonly perCaller: SigningRate
  readonly total: SigningRate
}

/** A node of a thousand workloads starts at once; a core signs some 5,000 a second. */
export const DEFAULT_RATES: SigningRates = {
  perCaller: { perSecond: 1000, burst: 2000 },
  total: { perSecond: 5000, burst: 20_000 },
}

/** How much of what was wanted is granted, from the first. */
export interface Grant {
  readonly granted: number
  /** Milliseconds after which what was not granted would be; 0 if all was. */
  readonly retryAfterMs: number
}

export interface SigningLimit {
  readonly take: (caller: SpiffeId, wanted: number) => Grant
}

/** Callers remembered; one that is forgotten begins anew with a full bucket. */
const MAX_CALLERS = 10_000

/** A limit by a clock of milliseconds that never goes back. */
export function createSigningLimit(rates: SigningRates, nowMs: () => number): SigningLimit {
  const callers = new LRUCache<SpiffeId, Bucket>({ max: MAX_CALLERS })
  const all = new Bucket(rates.total, nowMs())
  return {
    take(caller, wanted) {
      const at = nowMs()
      const own = callers.get(caller) ?? new Bucket(rates.perCaller, at)
      callers.set(caller, own)
      const granted = Math.min(wanted, own.filledTo(at), all.filledTo(at))
      own.take(granted)
      all.take(granted)
      const left = wanted - granted
      return {
        granted,
        retryAfterMs: left === 0 ? 0 : Math.max(own.waitMs(left), all.waitMs(left)),
      }
    },
  }
}

class Bucket {
  readonly #rate: SigningRate
  #tokens: number
  #atMs: number

  constructor(rate: SigningRate, atMs: number) {
    this.#rate = rate
    this.#tokens = rate.burst
    this.#atMs = atMs
  }

  /** Whole tokens at `atMs`. */
  filledTo(atMs: number): number {
    const { perSecond, burst } = this.#rate
    const grown = (Math.max(0, atMs - this.#atMs) * perSecond) / 1000
    this.#tokens = Math.min(burst, this.#tokens + grown)
    this.#atMs = Math.max(this.#atMs, atMs)
    return Math.floor(this.#tokens)
  }

  take(count: number): void {
    this.#tokens -= count
  }

  /** Until there are `count` tokens, or a full bucket if it holds fewer; at least 1. */
  waitMs(count: number): number {
    const { perSecond, burst } = this.#rate
    const missing = Math.min(count, burst) - this.#tokens
    return missing <= 0 ? 1 : Math.ceil((missing * 1000) / perSecond)
  }
}
