/**
 * Whether a failed attempt is made again (istio-semantics §5.8). Pure: the caller counts, waits and
 * draws.
 *
 * INVARIANT: a request that the other side may have acted on goes out again only when the policy
 * names a condition that says so (`reset`, `5xx`, `gateway-error`, a status); the default has none.
 */
import type { RetryPolicy } from '#policy/model/index.ts'
import { ProxyError } from '../error.ts'
import type { HopFailure } from '../mesh/hop.ts'

/** Conditions as bits of {@link CompiledRetry.conditions}. */
const CONDITION = {
  '5xx': 1,
  'gateway-error': 2,
  reset: 4,
  'reset-before-request': 8,
  'connect-failure': 16,
  'refused-stream': 32,
  'retriable-4xx': 64,
  'retriable-status-codes': 128,
  // No headers to go by can be configured, no rate limiter marks answers, and nothing speaks HTTP/3.
  'retriable-headers': 0,
  'envoy-ratelimited': 0,
  'http3-post-connect-failure': 0,
} as const

/** Conditions on `grpc-status`. */
const GRPC_STATUS = {
  cancelled: 1,
  'deadline-exceeded': 4,
  'resource-exhausted': 8,
  internal: 13,
  unavailable: 14,
} as const

const GATEWAY_ERRORS: readonly number[] = [502, 503, 504]

/** A retry policy that a response is held against in one array read. */
export interface CompiledRetry {
  /** Attempts beyond the first; 0: never. */
  readonly retries: number
  readonly perTryTimeoutMs: number | undefined
  readonly backoffMs: number
  readonly maxBackoffMs: number
  readonly conditions: number
  /** 1 at each HTTP status that is retried; 600 long. */
  readonly statuses: Uint8Array
  /** 1 at each gRPC status that is retried; 17 long. */
  readonly grpcStatuses: Uint8Array
}

/** @throws {ProxyError} `PROXY_CONFIG_INVALID` on a condition that nobody knows */
export function compileRetry(policy: RetryPolicy): CompiledRetry {
  const statuses = new Uint8Array(600)
  const grpcStatuses = new Uint8Array(17)
  let conditions = 0
  for (const word of policy.retryOn) {
    if (Object.hasOwn(CONDITION, word)) conditions |= CONDITION[word as keyof typeof CONDITION]
    else if (Object.hasOwn(GRPC_STATUS, word)) {
      grpcStatuses[GRPC_STATUS[word as keyof typeof GRPC_STATUS]] = 1
    } else if (/^[1-5]\d\d$/.test(word)) statuses[Number(word)] = 1
    else {
      throw new ProxyError(
        'PROXY_CONFIG_INVALID',
        `Cannot retry on ${JSON.stringify(word)}: expected a condition of Envoy's or an HTTP status`,
      )
    }
  }
  if (conditions & CONDITION['5xx']) statuses.fill(1, 500, 600)
  if (conditions & CONDITION['gateway-error']) for (const at of GATEWAY_ERRORS) statuses[at] = 1
  if (conditions & CONDITION['retriable-4xx']) statuses[409] = 1
  return {
    retries: policy.attempts,
    perTryTimeoutMs: policy.perTryTimeoutMs,
    backoffMs: policy.backoffMs,
    maxBackoffMs: policy.backoffMs * 10,
    conditions,
    statuses,
    grpcStatuses,
  }
}

/** How an attempt ended. */
export type AttemptEnd =
  | { readonly kind: 'answered'; readonly status: number; readonly grpcStatus?: number }
  | { readonly kind: 'try-timed-out' }
  | Pick<HopFailure, 'kind' | 'mayHaveActed'>

export interface RetryInput {
  readonly retry: CompiledRetry
  /** Attempts made so far, at least 1. */
  readonly attempts: number
  readonly end: AttemptEnd
  /** Whether the whole body can be sent again. */
  readonly isReplayable: boolean
  /** Whether the cluster's retry budget has room. */
  readonly isWithinBudget: boolean
  /** Milliseconds left of the route's timeout; `undefined`: no limit. */
  readonly remainingMs: number | undefined
  /** A number in [0, 1). */
  readonly random: number
}

export type RetryDecision =
  | { readonly kind: 'retry'; readonly waitMs: number }
  | {
      readonly kind: 'give-up'
      readonly reason: GiveUpReason
    }

export type GiveUpReason =
  | 'not-retriable'
  | 'attempts-used'
  | 'body-gone'
  | 'budget-used'
  | 'no-time-left'

/** Whether to try again, and after how long. */
export function decideRetry(input: RetryInput): RetryDecision {
  const { retry, attempts, end, isReplayable, isWithinBudget, remainingMs, random } = input
  if (retry.retries === 0 || !isRetriable(retry, end)) return giveUp('not-retriable')
  if (attempts > retry.retries) return giveUp('attempts-used')
  if (!isReplayable) return giveUp('body-gone')
  if (!isWithinBudget) return giveUp('budget-used')
  const waitMs = random * Math.min(retry.backoffMs * 2 ** (attempts - 1), retry.maxBackoffMs)
  if (remainingMs !== undefined && waitMs >= remainingMs) return giveUp('no-time-left')
  return { kind: 'retry', waitMs }
}

/** Whether an answer with these statuses is one that `retry` is about: asked for every response. */
export function isRetriableAnswer(
  retry: CompiledRetry,
  status: number,
  grpcStatus?: number,
): boolean {
  if (retry.statuses[status] === 1) return true
  return grpcStatus !== undefined && retry.grpcStatuses[grpcStatus] === 1
}

/** The response flag that a reason adds (istio-semantics §13.6), '' for none. */
export function flagOfGivingUp(reason: GiveUpReason): '' | 'URX' | 'UO' {
  if (reason === 'attempts-used') return 'URX'
  return reason === 'budget-used' ? 'UO' : ''
}

function giveUp(reason: GiveUpReason): RetryDecision {
  return { kind: 'give-up', reason }
}

function isRetriable(retry: CompiledRetry, end: AttemptEnd): boolean {
  const { conditions } = retry
  switch (end.kind) {
    case 'answered':
      return isRetriableAnswer(retry, end.status, end.grpcStatus)
    case 'try-timed-out':
      return (conditions & WITHOUT_ANSWER) !== 0
    // A breaker that is open stays open for this request: trying again is what it is there to stop.
    case 'overflow':
      return false
    case 'connect':
    case 'untrusted':
    case 'reset':
    case 'protocol':
    case 'closed':
      return (conditions & (end.mayHaveActed ? WITHOUT_ANSWER : UNTOUCHED)) !== 0
    default:
      return end satisfies never
  }
}

/** Envoy counts an attempt without an answer as a 5xx, because it ends as one. */
const WITHOUT_ANSWER = CONDITION['5xx'] | CONDITION['gateway-error'] | CONDITION.reset

/** When the other side cannot have acted, every word for that will do. */
const UNTOUCHED =
  WITHOUT_ANSWER |
  CONDITION['reset-before-request'] |
  CONDITION['connect-failure'] |
  CONDITION['refused-stream']

/** The line that tells an app which attempt it sees (istio-semantics §13.4), `attempt` from 1. */
export function attemptCountLine(attempt: number): string {
  return attempt === 1 ? FIRST_ATTEMPT : `${ATTEMPT_COUNT}: ${attempt}\r\n`
}

/** The field's name. */
export const ATTEMPT_COUNT = 'x-envoy-attempt-count'

const FIRST_ATTEMPT = `${ATTEMPT_COUNT}: 1\r\n`
