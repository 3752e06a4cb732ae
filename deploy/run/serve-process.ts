/**
 * What every process of a standalone mesh does at its edges: it is configured over the channel that
 * its supervisor left it, logs to a file, answers calls, and ends when the channel does. That end
 * cannot be missed: the kernel closes the descriptor when the supervisor dies, however it dies.
 */
import { flushCompileCache } from 'node:module'
import pino, { type DestinationStream } from 'pino'

import type { Clock } from '#core/clock.ts'
import type { Log } from '#core/log.ts'
import type { Down, Up } from '../standalone/messages.ts'
import { systemClock, systemNow } from './system-clock.ts'

/** What a process is given. */
export interface ProcessDeps {
  readonly clock: Clock
  readonly now: () => Temporal.Instant
  /** Numbers in [0, 1). */
  readonly random: () => number
  readonly log: Log
  /** Tells the supervisor of something that happened. */
  readonly emit: (event: unknown) => void
  /** Aborts when the process is to end. */
  readonly signal: AbortSignal
  readonly pid: number
}

/** What a process is when it serves. Disposing it drains. */
export interface Serving extends AsyncDisposable {
  /** Told to the supervisor. */
  readonly ready: unknown
  /** By name; what they return is told to the supervisor. */
  readonly calls?: Readonly<Record<string, (body: never) => unknown>>
}

/** Longest that a process takes to end once it is told to; beyond it, it exits with what it has. */
const MAX_SHUTDOWN_MS = 2500

/** Serves until the channel ends. `open` is called once, with the configuration. */
export async function serveProcess<Config extends { readonly logFile: string }>(
  name: string,
  open: (config: Config, deps: ProcessDeps) => Promise<Serving>,
): Promise<void> {
  const ending = new AbortController()
  const end = (): void => ending.abort(new Error('The supervisor has ended'))
  process.on('disconnect', end)
  process.on('SIGTERM', end)
  // A terminal sends these to every process of its group; it is for the supervisor to say when.
  for (const signal of ['SIGINT', 'SIGHUP', 'SIGUSR2'] as const) process.on(signal, () => {})

  const calls = new Map<string, (body: never) => unknown>()
  const opened = Promise.withResolvers<void>()
  const config = Promise.withResolvers<Config>()
  process.on('message', (message: Down) => {
    if (message.kind === 'configure') config.resolve(message.body as Config)
    else void opened.promise.then(() => answer(calls, message))
  })
  ending.signal.addEventListener('abort', () => config.reject(ending.signal.reason))

  const configuration = await config.promise.catch(() => process.exit(0))
  const { log, flush } = openLog(name, configuration.logFile)
  try {
    const serving = await open(configuration, {
      clock: systemClock,
      now: systemNow,
      random: Math.random, // Jitter, balancing, names of requests: nothing that has to be secret.
      log,
      emit: (body) => void send({ kind: 'event', body }),
      signal: ending.signal,
      pid: process.pid,
    })
    for (const [call, run] of Object.entries(serving.calls ?? {})) calls.set(call, run)
    void send({ kind: 'ready', body: serving.ready })
    opened.resolve()
    log('info', 'process-ready')
    flushCompileCache() // For those who start next; by itself it is written at the end only.
    await ended(ending.signal)
    log('info', 'process-ending')
    await Promise.race([serving[Symbol.asyncDispose](), patience()])
  } catch (cause) {
    if (!ending.signal.aborted) await fail(log, cause, flush)
  }
  flush()
  process.exit(0)
}

function openLog(name: string, file: string): { log: Log; flush: () => void } {
  const destination = pino.destination({ dest: file, sync: false, mode: 0o600 })
  const level = process.env['REDOUBT_LOG_LEVEL'] ?? 'info'
  const base = { process: name, pid: process.pid }
  const logger = pino({ base, level }, destination as DestinationStream)
  const log: Log = (level, event, fields) => logger[level]({ ...fields, event })
  const flush = (): void => {
    try {
      destination.flushSync()
    } catch {
      // The file is not open yet: the process ends in the moment in which it began.
    }
  }
  process.on('uncaughtException', (cause) => void fail(log, cause, flush))
  return { log, flush }
}

/** Ends the process, once the supervisor has been told why. */
async function fail(log: Log, cause: unknown, flush: () => void): Promise<never> {
  const message = cause instanceof Error ? cause.message : String(cause)
  log('error', 'process-failed', { message, stack: cause instanceof Error ? cause.stack : '' })
  flush()
  await send({ kind: 'failed', message })
  process.exit(1)
}

async function answer(
  calls: ReadonlyMap<string, (body: never) => unknown>,
  { id, name, body }: Extract<Down, { kind: 'call' }>,
): Promise<void> {
  try {
    const run = calls.get(name)
    if (!run)
      throw new Error(`Cannot answer the call "${name}": this process has none of that name`)
    void send({ kind: 'answer', id, body: await run(body as never) })
  } catch (cause) {
    void send({
      kind: 'refused',
      id,
      message: cause instanceof Error ? cause.message : String(cause),
    })
  }
}

/** Resolves when the message is on its way, or can go nowhere. */
function send(message: Up): Promise<void> {
  return new Promise((resolve) => {
    // A channel that has closed meanwhile is the supervisor's end, which `disconnect` reports.
    if (process.connected) process.send?.(message, undefined, undefined, () => resolve())
    else resolve()
  })
}

function ended(signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  if (signal.aborted) resolve()
  signal.addEventListener('abort', () => resolve(), { once: true })
  return promise
}

async function patience(): Promise<void> {
  await systemClock.sleep(MAX_SHUTDOWN_MS, new AbortController().signal)
}
