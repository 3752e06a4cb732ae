/** HTTPRetry (istio-semantics §5.8). */
import { z } from 'zod'

import type { RetryIntent } from '../../model/traffic.ts'
import { parseDurationMs } from '../grammar.ts'
import { notYet } from '../carried-out.ts'
import { fields, type Report } from '../schema.ts'
import { suggest } from '../suggest.ts'
import { count, duration, orNull } from './values.ts'

const CONDITIONS = [
  '5xx',
  'gateway-error',
  'reset',
  'reset-before-request',
  'connect-failure',
  'retriable-4xx',
  'refused-stream',
  'retriable-status-codes',
  'retriable-headers',
  'envoy-ratelimited',
  'http3-post-connect-failure',
  'cancelled',
  'deadline-exceeded',
  'internal',
  'resource-exhausted',
  'unavailable',
]

/** First and last of each run of status codes that have a name (IANA registry). */
const STATUS_RUNS = [
  [100, 103],
  [200, 208],
  [226, 226],
  [300, 305],
  [307, 308],
  [400, 418],
  [421, 426],
  [428, 429],
  [431, 431],
  [451, 451],
  [500, 508],
  [510, 511],
] as const

export interface RawRetries {
  readonly attempts?: number | undefined
  readonly perTryTimeout?: string | undefined
  readonly retryOn?: string | undefined
  readonly backoff?: string | undefined
  readonly retryRemoteLocalities?: boolean | null | undefined
  readonly retryIgnorePreviousHosts?: boolean | null | undefined
}

export const retriesSchema: z.ZodType<RawRetries> = fields(
  {
    attempts: count.optional(),
    perTryTimeout: duration.optional(),
    retryOn: z.string().optional(),
    backoff: duration.optional(),
    // What a retry does anyway may be said.
    retryRemoteLocalities: notYet(orNull(z.boolean()), { when: (value) => value === true }),
    retryIgnorePreviousHosts: notYet(orNull(z.boolean()), { when: (value) => value === false }),
  },
  { check: checkRetries },
)

function checkRetries(value: RawRetries, report: Report): void {
  const { attempts = 0, perTryTimeout, retryOn, retryRemoteLocalities } = value
  if (
    attempts === 0 &&
    (perTryTimeout ?? retryRemoteLocalities ?? (retryOn || undefined)) !== undefined
  ) {
    report(['attempts'], 'it is 0, which turns retries off: expected at least 1, or no other field')
  }
  for (const word of retryOn ? retryOn.split(',') : []) {
    if (CONDITIONS.includes(word) || isStatus(word)) continue
    const meant = suggest(word.trim(), CONDITIONS)
    report(
      ['retryOn'],
      `found ${JSON.stringify(word)}, expected conditions and status codes with commas and without spaces`,
      meant ? `did you mean ${JSON.stringify(meant)}?` : `conditions: ${CONDITIONS.join(', ')}`,
    )
  }
}

function isStatus(word: string): boolean {
  if (!/^[-+]?\d+$/.test(word)) return false
  return STATUS_RUNS.some(([first, last]) => Number(word) >= first && Number(word) <= last)
}

/** A status code in three digits. */
function canonical(word: string): string {
  return isStatus(word) ? String(Number(word)) : word
}

/** The retries that `raw` asks for; what it leaves out is §5.8's default. */
export function readRetries({
  attempts = 0,
  perTryTimeout,
  retryOn,
  backoff,
}: RawRetries): RetryIntent {
  const perTryTimeoutMs = perTryTimeout && parseDurationMs(perTryTimeout)
  const backoffMs = backoff && parseDurationMs(backoff)
  return {
    attempts,
    ...(perTryTimeoutMs ? { perTryTimeoutMs } : {}),
    ...(retryOn ? { retryOn: retryOn.split(',').map(canonical) } : {}),
    ...(backoffMs ? { backoffMs } : {}),
  }
}
