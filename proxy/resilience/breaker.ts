/**
 * Refuses what goes beyond a limit instead of queueing it: Envoy's circuit breaker (istio-semantics
 * §6.6), one for each thing that is limited.
 */
export class Breaker {
  /** What is in flight. */
  active = 0
  /** Whole number; may change while things are in flight. */
  limit: number

  constructor(limit: number) {
    this.limit = limit
  }

  /** Counts one more in, or refuses it. Whoever was let in calls {@link leave} once. */
  enter(): boolean {
    if (this.active >= this.limit) return false
    this.active += 1
    return true
  }

  leave(): void {
    this.active -= 1
  }
}
