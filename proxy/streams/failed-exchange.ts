import type { Exchange, HopAnswer } from '../mesh/hop.ts'

/** An exchange that could not be begun: told later, as all that happens to one. */
export function failedExchange(answer: HopAnswer, cause: unknown): Exchange {
  const detail = cause instanceof Error ? cause.message : String(cause)
  let isGivenUp = false
  queueMicrotask(() => {
    if (!isGivenUp) answer.onFailure({ kind: 'protocol', detail, mayHaveActed: false })
  })
  const abort = (): void => {
    isGivenUp = true
  }
  return { write: () => true, pause() {}, resume() {}, abort }
}
