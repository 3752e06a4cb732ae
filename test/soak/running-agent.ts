/** Starts a CA and an agent, each in a process of its own. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { temporaryDir } from '../ca/harness.ts'
import { type NodeStart, NODE_STARTS } from '../../deploy/standalone/entry-point.ts'
import type { CaReady } from '../bench/ca-process.ts'
import type { AgentReading, AgentSetup } from './agent-process.ts'

const PLAIN: NodeStart = { arguments: [], env: {} }

export interface RunningAgent extends AsyncDisposable {
  readonly socketPath: string
  readonly pid: number
  readonly read: () => Promise<AgentReading>
}

export interface RunningAgentOptions {
  readonly callers: AgentSetup['callers']
  /** Life of workload certificates, ISO 8601. @default PT1H */
  readonly leafTtl?: string
  /** Arguments of the agent's Node. @default none */
  readonly nodeArguments?: readonly string[]
}

export async function startAgentProcess(options: RunningAgentOptions): Promise<RunningAgent> {
  const { callers, leafTtl = 'PT1H', nodeArguments = [] } = options
  const { arguments: usual, env } = NODE_STARTS.agent ?? PLAIN
  // As the launcher has it: what reads TypeScript is not in memory where all was read before.
  const NODE_COMPILE_CACHE = fileURLToPath(
    new URL('../../node_modules/.cache/redoubt', import.meta.url),
  )
  const start = {
    arguments: [...usual, ...nodeArguments],
    env: { NODE_COMPILE_CACHE, ...env },
  }
  await using opening = new AsyncDisposableStack()
  const dir = opening.use(await temporaryDir())
  const ca = opening.use(child('../bench/ca-process.ts', [leafTtl], PLAIN))
  const [{ address, roots, joinToken }] = (await once(ca.process, 'message')) as [CaReady]
  const agent = opening.use(child('./agent-process.ts', [], start))
  const socketPath = join(dir.path, 'agent.sock')
  const setup: AgentSetup = { caAddress: address, caRoots: roots, joinToken, socketPath, callers }
  agent.process.send(setup)
  await once(agent.process, 'message')
  const owned = opening.move()
  return {
    socketPath,
    pid: agent.process.pid ?? 0,
    async read() {
      agent.process.send('read')
      const [reading] = (await once(agent.process, 'message')) as [AgentReading]
      return reading
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

function child(
  file: string,
  args: readonly string[],
  { arguments: nodeArguments, env }: NodeStart,
): { readonly process: ChildProcess } & AsyncDisposable {
  const started = fork(new URL(file, import.meta.url), args, {
    execArgv: ['--disable-warning=ExperimentalWarning', ...nodeArguments],
    env: { ...process.env, ...env },
  })
  return {
    process: started,
    async [Symbol.asyncDispose]() {
      if (started.exitCode !== null || started.signalCode !== null) return
      const exited = once(started, 'exit')
      started.kill('SIGTERM')
      await exited
    },
  }
}
