/** How much slower than a calm machine this one runs us: limits in wall time are stretched by it. */
import { setTimeout as sleep } from 'node:timers/promises'

const SPIN_MS = 4
const PAUSE_MS = 60

/**
 * Starts to measure; the result ends it, and is the largest ratio of wall time to CPU time that a short piece of
 * work had: 1 on a machine that has a core to spare, about the number of those who want one otherwise.
 */
export function startSlowness(): () => number {
  const ending = new AbortController()
  let worst = 1
  const measure = async (): Promise<void> => {
    while (!ending.signal.aborted) {
      worst = Math.max(worst, spin())
      await sleep(PAUSE_MS, undefined, { ref: false })
    }
  }
  void measure()
  return () => {
    ending.abort()
    return Math.max(worst, spin())
  }
}

function spin(): number {
  const startMs = performance.now()
  const before = process.threadCpuUsage()
  for (;;) {
    const { user, system } = process.threadCpuUsage(before)
    const cpuMs = (user + system) / 1000
    if (cpuMs >= SPIN_MS) return (performance.now() - startMs) / cpuMs
  }
}
