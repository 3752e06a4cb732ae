/**
 * Passive health checks: an endpoint that fails again and again is left alone for a while
 * (istio-semantics §6.7). Times are milliseconds on the monotonic clock.
 */

/** What an endpoint's answers have shown of it. */
export type Health =
  | {
      readonly kind: 'in'
      readonly consecutive5xx: number
      readonly consecutiveGateway: number
      /** Ejections so far, of which one is forgiven for each interval since `returnedMs`. */
      readonly ejections: number
      readonly returnedMs: number
    }
  | { readonly kind: 'ejected'; readonly untilMs: number; readonly ejections: number }

/** `gateway-error`: 502, 503, 504, or no answer at all; `server-error`: any other 5xx. */
export type HealthEvent = 'success' | 'server-error' | 'gateway-error' | 'tick'

export interface OutlierLimits {
  /** 0: never ejects for this. */
  readonly consecutive5xxErrors: number
  /** 0: never ejects for this. */
  readonly consecutiveGatewayErrors: number
  readonly intervalMs: number
  /** Times the number of ejections. */
  readonly baseEjectionTimeMs: number
}

/** An endpoint of which nothing is known. */
export const HEALTHY: Extract<Health, { readonly kind: 'in' }> = {
  kind: 'in',
  consecutive5xx: 0,
  consecutiveGateway: 0,
  ejections: 0,
  returnedMs: 0,
}

/** No ejection is longer, unless the base time is (Envoy's `max_ejection_time`). */
const MAX_EJECTION_MS = 300_000

/**
 * The health after `event`. The same object when nothing changed, so that a success costs nothing.
 *
 * @param mayEject - whether the share of ejected endpoints still allows one more
 */
export function stepHealth(
  state: Health,
  event: HealthEvent,
  { nowMs, mayEject, limits }: OutlierMoment,
): Health {
  switch (state.kind) {
    // in → in | ejected
    case 'in': {
      if (event === 'tick') return state
      if (event === 'success') return forgive(state)
      const failed = count(state, event)
      return mayEject && isOutlier(failed, limits) ? eject(failed, nowMs, limits) : failed
    }

    // ejected → ejected | in, with time alone: answers to what was sent before no longer count
    case 'ejected':
      return event === 'tick' && nowMs >= state.untilMs
        ? { ...HEALTHY, ejections: state.ejections, returnedMs: nowMs }
        : state

    default:
      return state satisfies never
  }
}

/** What a step needs to know beside the event. */
export interface OutlierMoment {
  readonly nowMs: number
  readonly mayEject: boolean
  readonly limits: OutlierLimits
}

type In = Extract<Health, { readonly kind: 'in' }>

function forgive(state: In): Health {
  if (state.consecutive5xx === 0 && state.consecutiveGateway === 0) return state
  return { ...state, consecutive5xx: 0, consecutiveGateway: 0 }
}

function count(state: In, event: 'server-error' | 'gateway-error'): In {
  return {
    ...state,
    consecutive5xx: state.consecutive5xx + 1,
    consecutiveGateway: event === 'gateway-error' ? state.consecutiveGateway + 1 : 0,
  }
}

function isOutlier(state: In, limits: OutlierLimits): boolean {
  const { consecutive5xxErrors, consecutiveGatewayErrors } = limits
  return (
    (consecutive5xxErrors > 0 && state.consecutive5xx >= consecutive5xxErrors) ||
    (consecutiveGatewayErrors > 0 && state.consecutiveGateway >= consecutiveGatewayErrors)
  )
}

function eject(
  state: In,
  nowMs: number,
  { intervalMs, baseEjectionTimeMs }: OutlierLimits,
): Health {
  const forgiven = Math.floor((nowMs - state.returnedMs) / intervalMs)
  const ejections = Math.max(0, state.ejections - forgiven) + 1
  const longestMs = Math.max(baseEjectionTimeMs, MAX_EJECTION_MS)
  return {
    kind: 'ejected',
    ejections,
    untilMs: nowMs + Math.min(baseEjectionTimeMs * ejections, longestMs),
  }
}

/** Whether one more of `total` endpoints may be ejected. The first always may. */
export function mayEjectOneMore(
  ejected: number,
  { total, maxPercent }: { readonly total: number; readonly maxPercent: number },
): boolean {
  return ejected === 0 || (ejected + 1) * 100 <= total * maxPercent
}
