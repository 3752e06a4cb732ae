/** CPU time of a running process, all threads, from the kernel's accounting. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

export interface Cpu {
  readonly userMs: number
  readonly systemMs: number
}

let ticksPerSecond: number | undefined

/** Resolution is one clock tick, usually 10 ms. `/proc/<pid>/stat` fields 14 and 15 (proc(5)). */
export function cpuOf(pid: number): Cpu {
  ticksPerSecond ??= Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }))
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const ms = (ticks: string | undefined): number => (Number(ticks) * 1000) / (ticksPerSecond ?? 100)
  return { userMs: ms(fields[11]), systemMs: ms(fields[12]) }
}

/** The sum over several processes. */
export function cpuOfAll(pids: readonly number[]): Cpu {
  return pids
    .map(cpuOf)
    .reduce((a, b) => ({ userMs: a.userMs + b.userMs, systemMs: a.systemMs + b.systemMs }), {
      userMs: 0,
      systemMs: 0,
    })
}
