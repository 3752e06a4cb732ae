import type { Clock } from '#core/clock.ts'
import { isRunning, readStarters } from './process-identity.ts'

const PAUSE_MS = 200

/**
 * Resolves when one of the processes that started `pid` has ended: SIGTERM to npm or npx ends only
 * the wrapper and tells nobody (npm 11), and a shell that is killed says nothing either.
 */
export async function untilStarterEnds(
  pid: number,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  const starters = readStarters(pid)
  while (starters.every(isRunning)) await clock.sleep(PAUSE_MS, signal)
}
