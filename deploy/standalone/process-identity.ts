/** Processes as `/proc` tells of them: a pid alone may already belong to another. */
import { readFileSync } from 'node:fs'

/** A process, told apart from any later one with its pid. */
export interface ProcessIdentity {
  readonly pid: number
  /** Field 22 of `/proc/<pid>/stat`: clock ticks between boot and its start. */
  readonly startTime: string
}

interface ProcessStat extends ProcessIdentity {
  readonly parentPid: number
  readonly session: number
}

/** A running process; `undefined` if there is none with this pid (a zombie is none). */
export function readProcess(pid: number): ProcessStat | undefined {
  let text: string
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'latin1')
  } catch {
    // Gone: what was asked.
    return undefined
  }
  // The name in parentheses is the program's own choice and may hold parentheses itself.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  const [state = 'Z', parentPid, , session] = fields
  const startTime = fields[19] // field 22; fields[0] is field 3
  if (state === 'Z' || state === 'X' || startTime === undefined) return undefined
  return { pid, startTime, parentPid: Number(parentPid), session: Number(session) }
}

/** Whether this very process still runs. */
export function isRunning({ pid, startTime }: ProcessIdentity): boolean {
  return readProcess(pid)?.startTime === startTime
}

/**
 * The processes whose end is ours: every ancestor in the session of `pid`. npm, npx, the shell they
 * start and a launcher in another Node are among them; init and what started the session are not.
 */
export function readStarters(pid: number): readonly ProcessIdentity[] {
  const self = readProcess(pid)
  const starters: ProcessIdentity[] = []
  for (let at = self && readProcess(self.parentPid); at; at = readProcess(at.parentPid)) {
    if (at.pid <= 1 || at.session !== self?.session) break
    starters.push({ pid: at.pid, startTime: at.startTime })
  }
  return starters
}
