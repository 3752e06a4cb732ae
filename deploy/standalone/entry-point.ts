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

/**
 * How Node is started for each.
 *
 * A CA makes garbage of short life and much of it. Threads for each core, which wait for each other where the
 * cores have other work, made a third of a certificate's cost of collecting it; one alone, a tenth
 * (test/bench/ca-calls.bench.ts). Pieces of 8 MB take it some 2 ms each, of 32 MB some 10: that is in the
 * way of whoever waits for a certificate (test/bench/ca-latency.bench.ts). V8's other threads, four as a rule,
 * compile and mark all at once, and the one that issues gets a third of a core meanwhile; beside one of them the
 * slowest certificates take a third less.
 *
 * An agent holds little for each of many workloads, and what it makes for a burst of them is garbage a moment
 * later: its young generation is small, and what is freed goes back to the kernel; not the 64 kB of each read
 * of a socket, which it asks for again at once (a sixth of a burst's CPU, and 3 MB). The slowest and largest of
 * V8's compilers stays away (`--max-opt=2`): what it makes of an agent's code is as fast as what the one before
 * it makes, and costs 5 MB. Without all this, 500 workloads leave 215 MB resident, with it 111
 * (test/bench/agent.bench.ts).
 */
export const NODE_STARTS: Readonly<Partial<Record<EntryPoint, NodeStart>>> = {
  ca: {
    arguments: ['--v8-pool-size=1', '--no-parallel-scavenge', '--max-semi-space-size=8'],
    env: {},
  },
  agent: {
    arguments: ['--no-parallel-scavenge', '--max-semi-space-size=1', '--max-opt=2'],
    env: {
      MALLOC_ARENA_MAX: '1',
      MALLOC_TOP_PAD_: '0',
      MALLOC_TRIM_THRESHOLD_: '65536',
      MALLOC_MMAP_THRESHOLD_: '70000',
    },
  },
}

/** What is put before an entry point, and into its environment. */
export interface NodeStart {
  readonly arguments: readonly string[]
  readonly env: Readonly<Record<string, string>>
}

/** Starts one of our entry points. */
export function startEntryPoint<Configuration extends { readonly logFile: string }>(
  name: EntryPoint,
  title: string,
  configuration: Configuration,
  deps: SuperviseDeps,
  onEvent: (body: unknown) => void = () => {},
): Promise<Child> {
  const { arguments: more, env } = NODE_STARTS[name] ?? { arguments: [], env: {} }
  const quiet = '--disable-warning=ExperimentalWarning'
  return startChild(
    {
      title,
      command: [deps.execPath, quiet, ...more, pathOf(name)],
      env: { ...deps.env, ...env },
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
