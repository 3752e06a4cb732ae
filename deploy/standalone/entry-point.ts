/** Starting an entry point of `deploy/run` as a process. */
import { fileURLToPath } from 'node:url'

import { type Child, type ChildDeps, startChild } from './child.ts'
import type { KeptProcessDeps } from './kept-process.ts'
import type { StateDir } from './state-dir.ts'

/** What everything that starts processes needs. */
export interface SuperviseDeps extends KeptProcessDeps, ChildDeps {
  readonly now: () => Temporal.Instant
  /** Absolute path of Node. */
  readonly execPath: string
  readonly env: Readonly<Record<string, string | undefined>>
  readonly state: StateDir
}

export type EntryPoint = 'ca' | 'agent' | 'policy' | 'proxy'

/** Starts one of our entry points. */
export function startEntryPoint<Configuration extends { readonly logFile: string }>(
  name: EntryPoint,
  title: string,
  configuration: Configuration,
  deps: SuperviseDeps,
  onEvent: (body: unknown) => void = () => {},
): Promise<Child> {
  return startChild(
    {
      title,
      command: [deps.execPath, '--disable-warning=ExperimentalWarning', pathOf(name)],
      env: deps.env,
      cwd: deps.state.path,
      logFile: configuration.logFile,
      configuration,
    },
    { ...deps, onEvent },
  )
}

function pathOf(name: EntryPoint): string {
  return fileURLToPath(new URL(`../run/${name}.ts`, import.meta.url))
}

/** `promise`, or a rejection when `signal` aborts first. */
export function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>()
  const abort = (): void => reject(signal.reason)
  if (signal.aborted) abort()
  signal.addEventListener('abort', abort, { once: true })
  return Promise.race([promise, aborted]).finally(() => signal.removeEventListener('abort', abort))
}
