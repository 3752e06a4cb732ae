/** One process that the supervisor started: a group of its own, output into a file, perhaps a channel. */
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'

import type { Clock } from '#core/clock.ts'
import { DeployError } from '../error.ts'
import type { Guard } from './guard.ts'
import type { Down, Up } from './messages.ts'
import { readProcess } from './process-identity.ts'

export interface ChildSpec {
  /** For messages: `the CA`, `the app of qotm/edge`. */
  readonly title: string
  readonly command: readonly [string, ...string[]]
  readonly env: Readonly<Record<string, string | undefined>>
  /** Absolute; must exist. */
  readonly cwd: string
  /** Absolute; standard output and error are appended to it. */
  readonly logFile: string
  /** First message on the channel; left out: there is no channel. */
  readonly configuration?: unknown
}

/** How a process ended. */
export interface Exit {
  readonly code: number | null
  readonly signal: string | null
  /** The line that it gave for a failure. */
  readonly failure?: string
}

export interface Child {
  readonly pid: number
  readonly startTime: string
  /** Resolves once, when the process has ended and its group with it. */
  readonly exited: Promise<Exit>
  /** What it said when it was ready. @throws {DeployError} `DEPLOY_PROCESS_FAILED` if it ends before */
  readonly ready: Promise<unknown>
  readonly call: (name: string, body?: unknown) => Promise<unknown>
  /** Asks it to end; whatever is there of its group after `graceMs` is killed. */
  readonly stop: (graceMs: number) => Promise<void>
}

/** Sends a signal to a process, or with a negative pid to a group, as `process.kill` does. */
export type Kill = (pid: number, signal: 'SIGTERM' | 'SIGKILL') => void

export interface ChildDeps {
  readonly guard: Guard
  readonly kill: Kill
  readonly clock: Clock
  readonly onEvent?: (body: unknown) => void
}

/** Starts a process. @throws {DeployError} `DEPLOY_PROCESS_FAILED` if its program cannot be started */
export async function startChild(spec: ChildSpec, deps: ChildDeps): Promise<Child> {
  const child = await spawned(spec)
  const pid = child.pid ?? 0
  deps.guard.add(pid)
  const startTime = readProcess(pid)?.startTime ?? '0'
  const answers = new Map<number, PromiseWithResolvers<unknown>>()
  const ready = Promise.withResolvers<unknown>()
  let failure: string | undefined
  ready.promise.catch(() => {}) // Nobody may be waiting: what has no channel is never ready.

  child.on('message', (message: Up) => {
    if (message.kind === 'ready') ready.resolve(message.body)
    else if (message.kind === 'event') deps.onEvent?.(message.body)
    else if (message.kind === 'failed') failure = message.message
    else settle(answers, message)
  })
  const exited = Promise.withResolvers<Exit>()
  child.on('exit', (code, signal) => {
    signalGroup(deps.kill, pid, 'SIGKILL')
    deps.guard.remove(pid)
    const exit = { code, signal, ...(failure === undefined ? {} : { failure }) }
    const ended = processFailed(spec.title, exit)
    ready.reject(ended)
    for (const answer of answers.values()) answer.reject(ended)
    exited.resolve(exit)
  })
  if ('configuration' in spec) send(child, { kind: 'configure', body: spec.configuration })

  let lastId = 0
  return {
    pid,
    startTime,
    exited: exited.promise,
    ready: ready.promise,
    async call(name, body) {
      const answer = Promise.withResolvers<unknown>()
      lastId += 1
      answers.set(lastId, answer)
      if (!send(child, { kind: 'call', id: lastId, name, body })) {
        answer.reject(processFailed(spec.title, { code: child.exitCode, signal: child.signalCode }))
      }
      return answer.promise
    },
    stop: (graceMs) => stop(child, exited.promise, deps, graceMs),
  }
}

/** What to say of a process that ended. */
export function exitText({ code, signal, failure }: Exit): string {
  if (failure !== undefined) return failure
  return signal === null ? `it exited with code ${code}` : `it was ended by ${signal}`
}

function processFailed(title: string, exit: Exit): DeployError {
  return new DeployError(
    'DEPLOY_PROCESS_FAILED',
    exit.failure ?? `Cannot go on with ${title}: ${exitText(exit)}`,
  )
}

async function spawned({
  title,
  command: [program, ...args],
  env,
  cwd,
  logFile,
  configuration,
}: ChildSpec): Promise<ChildProcess> {
  const log = openSync(logFile, 'a', 0o600)
  try {
    const child = spawn(program, args, {
      cwd,
      env: { ...env },
      detached: true, // A group of its own: a terminal's Ctrl-C is the supervisor's to pass on.
      stdio: ['ignore', log, log, ...(configuration === undefined ? [] : (['ipc'] as const))],
    })
    await new Promise((resolve, reject) => {
      child.once('spawn', resolve)
      child.once('error', reject)
    })
    child.on('error', () => {}) // A message to a process that has just ended; its exit tells.
    return child
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException
    const why =
      code === 'ENOENT' ? `there is no program "${program}", or no directory ${cwd}` : message
    throw new DeployError('DEPLOY_PROCESS_FAILED', `Cannot start ${title}: ${why}`, { cause })
  } finally {
    closeSync(log)
  }
}

function settle(
  answers: Map<number, PromiseWithResolvers<unknown>>,
  message: Extract<Up, { kind: 'answer' | 'refused' }>,
): void {
  const answer = answers.get(message.id)
  answers.delete(message.id)
  if (message.kind === 'answer') answer?.resolve(message.body)
  else answer?.reject(new DeployError('DEPLOY_CALL_REFUSED', message.message))
}

function send(child: ChildProcess, message: Down): boolean {
  if (!child.connected) return false
  child.send(message, () => {}) // A failure to deliver is the end of the process, which is seen.
  return true
}

async function stop(
  child: ChildProcess,
  exited: Promise<unknown>,
  { clock, kill }: ChildDeps,
  graceMs: number,
): Promise<void> {
  if (child.connected) child.disconnect()
  signalGroup(kill, child.pid ?? 0, 'SIGTERM')
  const patience = new AbortController()
  const late = clock.sleep(graceMs, patience.signal).then(
    () => signalGroup(kill, child.pid ?? 0, 'SIGKILL'),
    () => {}, // It ended in time.
  )
  await exited
  patience.abort()
  await late
}

function signalGroup(kill: Kill, group: number, signal: 'SIGTERM' | 'SIGKILL'): void {
  if (group <= 1) return
  try {
    kill(-group, signal)
  } catch (cause) {
    // No such group: it has ended by itself, which is what was wanted.
    if ((cause as NodeJS.ErrnoException).code !== 'ESRCH') throw cause
  }
}
