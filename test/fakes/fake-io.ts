import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'

import type { Command, ExitCode, Io } from '#deploy/cli/command.ts'
import { systemClock, systemNow } from '#deploy/run/system-clock.ts'

/** What a command printed. */
export interface Printed {
  readonly exitCode: ExitCode
  readonly out: string
  readonly err: string
}

/** How a test runs a command: what the user typed, and the world it sees. */
export interface Run extends Partial<Io> {
  readonly arguments?: readonly string[]
  readonly options?: Readonly<Record<string, unknown>>
  readonly stdin?: string
}

/** Runs a command without a process or a terminal. */
export async function runCommand(command: Command, run: Run = {}): Promise<Printed> {
  const out: string[] = []
  const err: string[] = []
  const { arguments: args = [], options = {}, stdin = '', ...world } = run
  const io: Io = {
    clock: systemClock,
    now: systemNow,
    random: Math.random,
    kill: () => {},
    out: (line) => void out.push(line),
    err: (line) => void err.push(line),
    readFile: (path) => readFile(resolve(world.cwd ?? '/', path), 'utf8'),
    readStdin: async () => stdin,
    env: {},
    cwd: '/',
    pid: 1,
    execPath: process.execPath,
    uid: 0,
    isTerminal: false,
    colour: false,
    columns: 80,
    ...world,
  }
  const input = { arguments: args, options: { output: 'text', timeout: '5', ...options } }
  const exitCode = await command.run(io, input, new AbortController().signal)
  return { exitCode, out: out.join('\n'), err: err.join('\n') }
}
