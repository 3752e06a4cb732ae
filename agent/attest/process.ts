import { readFileSync } from 'node:fs'

/** A process, told apart from any later one with its pid. */
export interface ProcessIdentity {
  readonly pid: number
  /** Field 22 of `/proc/<pid>/stat`: clock ticks between boot and its start. */
  readonly startTime: string
}

/** What is read of a process: itself, and its parent's pid (0: none, or outside the namespace). */
export interface ProcessStat extends ProcessIdentity {
  readonly parentPid: number
}

/** Reads a process; `undefined` if there is none. Must be synchronous: a turn of waiting is a race. */
export type ReadProcess = (pid: number) => ProcessStat | undefined

/** Reads `/proc/<pid>/stat` (proc(5)). */
export const readProcess: ReadProcess = (pid) => {
  try {
    return parseStat(readFileSync(`/proc/${pid}/stat`, 'latin1'))
  } catch {
    // Gone, or hidden from us: both mean that nothing can be said of it.
    return undefined
  }
}

/**
 * Parses `/proc/<pid>/stat`; `undefined` if it is malformed or a zombie's. The second field is the
 * program's name in parentheses, chosen by the program: it may hold spaces, parentheses and digits,
 * so what follows is read from the *last* parenthesis.
 */
export function parseStat(text: string): ProcessStat | undefined {
  const pid = Number(/^\d+/.exec(text)?.[0])
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  const [state, parentPid] = fields
  const startTime = fields[19] // field 22; fields[0] is field 3
  if (!pid || state === undefined || !startTime || !/^\d+$/.test(startTime)) return undefined
  if (state === 'Z' || state === 'X') return undefined
  return { pid, parentPid: Number(parentPid), startTime }
}
