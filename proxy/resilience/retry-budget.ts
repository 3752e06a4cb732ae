/** How much of the traffic may be retries: what keeps retries from finishing off a service in trouble. */
export interface RetryBudget {
  /** Of the requests in flight, 0..100. */
  readonly percent: number
  /** Retries in flight that are allowed however little traffic there is. */
  readonly minRetryConcurrency: number
}

/** What Istio has when nothing is said (istio-semantics §6.6). */
export const DEFAULT_RETRY_BUDGET: RetryBudget = { percent: 20, minRetryConcurrency: 3 }

/** Whether one more retry may be in flight beside `retries` of them among `requests` requests. */
export function isWithinBudget(
  { retries, requests }: { readonly retries: number; readonly requests: number },
  { percent, minRetryConcurrency }: RetryBudget = DEFAULT_RETRY_BUDGET,
): boolean {
  return retries < Math.max(minRetryConcurrency, (requests * percent) / 100)
}
