import type { Clock } from '#core/clock.ts'

/** Resolves after `ms` (which may be infinite), or as soon as `signal` aborts. */
export async function untilEnd(ms: number, clock: Clock, signal: AbortSignal): Promise<void> {
  if (Number.isFinite(ms)) return clock.sleep(ms, signal).catch(() => {}) // The signal is an end too.
  const { promise, resolve } = Promise.withResolvers<void>()
  if (signal.aborted) return
  // A timer that keeps the process alive; signals and sockets of a parent would not.
  const alive = new AbortController()
  const idle = async (): Promise<void> => {
    while (!alive.signal.aborted) await clock.sleep(60_000, alive.signal).catch(() => {})
  }
  void idle()
  signal.addEventListener('abort', () => resolve(), { once: true })
  await promise
  alive.abort()
}
