/** A process that is started anew whenever it ends. */
import { backoff } from '#core/backoff.ts'
import type { Clock } from '#core/clock.ts'
import type { Log } from '#core/log.ts'
import { DeployError } from '../error.ts'
import { type Child, exitText } from './child.ts'
import type { Tell } from './event.ts'

export interface KeptProcessDeps {
  readonly clock: Clock
  /** Numbers in [0, 1). */
  readonly random: () => number
  readonly log: Log
  readonly tell: Tell
}

export interface KeptProcessOptions {
  /** Short: `ca`, `sidecar`, `app`. */
  readonly name: string
  /** `namespace/name` of the workload that it belongs to. */
  readonly workload?: string
  /** Starts it; called again after each end. */
  readonly start: () => Promise<Child>
  /** Resolves when the child is of use; rejects when `signal` aborts, which it does when the child ends. */
  readonly serve: (child: Child, signal: AbortSignal) => Promise<void>
  /** Called whenever its state has changed. */
  readonly onChange?: () => void
}

export type ProcessState = 'starting' | 'ready' | 'waiting'

export interface KeptProcess {
  readonly name: string
  readonly workload?: string
  /** Resolves when it is ready for the first time; rejects if its first start fails. */
  readonly firstReady: Promise<void>
  readonly state: () => ProcessState
  /** The running one. */
  readonly child: () => Child | undefined
  readonly restarts: () => number
  /** How it last ended, in words. */
  readonly lastExit: () => string | undefined
  /** Calls the running one. @throws {DeployError} `DEPLOY_CALL_REFUSED`, `DEPLOY_PROCESS_FAILED` */
  readonly call: (name: string, body?: unknown) => Promise<unknown>
  /** Ends it for good; what is left after `graceMs` is killed. */
  readonly stop: (graceMs: number) => Promise<void>
}

/** One that has run for so long has not failed at its start. */
const STEADY_MS = 10_000

const WAITS = { baseMs: 100, maxMs: 10_000 }

/** Starts a process and keeps it running until it is stopped. */
export function keepProcess(options: KeptProcessOptions, deps: KeptProcessDeps): KeptProcess {
  const { name, workload, onChange = () => {} } = options
  const { clock, log } = deps
  const ending = new AbortController()
  const firstReady = Promise.withResolvers<void>()
  firstReady.promise.catch(() => {}) // Some owners do not wait for it.
  let child: Child | undefined
  let state: ProcessState = 'starting'
  let restarts = 0
  let lastExit: string | undefined
  const enter = (next: ProcessState): void => {
    state = next
    onChange()
  }
  const tell = (event: 'exited' | 'restarted', detail: string): void => {
    const facts = { process: name, restarts }
    deps.tell({ event, detail, facts, ...(workload === undefined ? {} : { workload }) })
  }

  const runOnce = async (): Promise<void> => {
    enter('starting')
    child = await options.start()
    const gone = new AbortController()
    const ended = child.exited.then((exit) => {
      lastExit = exitText(exit)
      gone.abort(
        new DeployError(
          'DEPLOY_PROCESS_FAILED',
          exit.failure ?? `Cannot go on with the ${name}: ${lastExit}`,
        ),
      )
    })
    onChange()
    try {
      await options.serve(child, AbortSignal.any([gone.signal, ending.signal]))
      enter('ready')
      if (restarts > 0) tell('restarted', `the ${name} runs again, pid ${child.pid}`)
      firstReady.resolve()
    } catch (cause) {
      firstReady.reject(cause)
      if (!gone.signal.aborted && !ending.signal.aborted) {
        log('warn', 'process-not-ready', { process: name, workload, cause: String(cause) })
        await child.stop(WAITS.baseMs)
      }
    }
    await ended
  }

  const loop = async (): Promise<void> => {
    let waits = backoff({ ...WAITS, random: deps.random })
    for (; !ending.signal.aborted; restarts += 1) {
      const startedMs = clock.nowMs()
      try {
        await runOnce()
      } catch (cause) {
        lastExit = cause instanceof Error ? cause.message : String(cause)
        firstReady.reject(cause)
      }
      child = undefined
      if (ending.signal.aborted) return
      enter('waiting')
      tell('exited', `the ${name} has ended: ${lastExit}`)
      if (clock.nowMs() - startedMs > STEADY_MS) waits = backoff({ ...WAITS, random: deps.random })
      await clock.sleep(waits.next().value, ending.signal)
    }
  }
  const done = loop().catch((cause: unknown) => {
    if (!ending.signal.aborted)
      log('error', 'process-not-kept', { process: name, cause: String(cause) })
  })

  return {
    name,
    ...(workload === undefined ? {} : { workload }),
    firstReady: firstReady.promise,
    state: () => state,
    child: () => child,
    restarts: () => restarts,
    lastExit: () => lastExit,
    async call(call, body) {
      if (child) return child.call(call, body)
      throw new DeployError('DEPLOY_CALL_REFUSED', `Cannot call the ${name}: it is not running`)
    },
    async stop(graceMs) {
      ending.abort(
        new DeployError(
          'DEPLOY_PROCESS_FAILED',
          `Cannot go on with the ${name}: the mesh is ending`,
        ),
      )
      await child?.stop(graceMs)
      await done
    },
  }
}
