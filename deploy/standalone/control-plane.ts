/**
 * The three processes behind a mesh, in the order in which they need each other: the CA, the agent
 * that proves itself to it, the policy server that gets its certificate from the agent. Each is
 * restarted on the addresses it had, and told again what it must know.
 */
import { rename, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { join } from 'node:path'

import type { Intent, WorkloadInstance } from '#policy/index.ts'
import { type Child, type ChildDeps, startChild } from './child.ts'
import { makeJoinToken } from './join-tokens.ts'
import { type KeptProcess, type KeptProcessDeps, keepProcess } from './kept-process.ts'
import type {
  AgentProcessConfig,
  AgentReady,
  CaEvent,
  CaProcessConfig,
  CaReady,
  PolicyProcessConfig,
  PolicyReady,
  PolicyStatus,
  SourceFile,
} from './messages.ts'
import { createRegistrations, type Registrations } from './registrations.ts'
import type { StateDir } from './state-dir.ts'
import type { Topology } from './topology.ts'

/** What everything that starts processes needs. */
export interface SuperviseDeps extends KeptProcessDeps, ChildDeps {
  readonly now: () => Temporal.Instant
  /** Absolute path of Node. */
  readonly execPath: string
  readonly env: Readonly<Record<string, string | undefined>>
  readonly state: StateDir
}

/** What the policy server has to know, now. */
export interface PolicyInput {
  readonly files: readonly SourceFile[]
  readonly instances: readonly WorkloadInstance[]
}

export interface ControlPlaneOptions {
  readonly topology: () => Topology
  readonly lives: Intent['mesh']['certificates']
  readonly policy: () => PolicyInput
  /** Events of the policy server. */
  readonly onPolicyEvent: (event: unknown) => void
}

export interface RunningControlPlane {
  readonly ca: { readonly address: string; readonly metrics: string; readonly bundleFile: string }
  readonly agent: { readonly socket: string; readonly metrics: string }
  readonly policy: { readonly address: string; readonly metrics: string }
  readonly processes: readonly KeptProcess[]
  readonly registrations: Registrations
  /** Tells the policy server what it has to know. */
  readonly refreshPolicy: () => void
  /** Lets the agent fetch every identity of the topology. */
  readonly widenScope: () => Promise<void>
  readonly policyStatus: () => Promise<PolicyStatus>
  readonly stop: (graceMs: number) => Promise<void>
}

const ANY_PORT = '127.0.0.1:0'

/** Path of an entry point of `deploy/run`. */
export function entryPoint(name: 'ca' | 'agent' | 'policy' | 'proxy'): string {
  return fileURLToPath(new URL(`../run/${name}.ts`, import.meta.url))
}

/** @throws {DeployError} `DEPLOY_PROCESS_FAILED` if one of the three cannot start */
export async function openControlPlane(
  options: ControlPlaneOptions,
  deps: SuperviseDeps,
): Promise<RunningControlPlane> {
  const { state, log } = deps
  const started: KeptProcess[] = []
  const bundleFile = join(state.path, 'bundle.pem')
  const socket = join(state.sockets, 'agent.sock')
  const stop = async (graceMs: number): Promise<void> => {
    await Promise.all(started.map((process) => process.stop(graceMs)))
  }
  try {
    const ca = keepCa(options, bundleFile, deps)
    started.push(ca.process)
    await ca.process.firstReady
    const registrations = createRegistrations((list) => agent.process.call('workloads', list))
    const agent = keepAgent(options, { ca, socket, registrations }, deps)
    started.push(agent.process)
    await agent.process.firstReady
    const policy = keepPolicy(options, { socket, registrations }, deps)
    started.push(policy.process)
    await policy.process.firstReady

    const push = async (name: 'manifests' | 'instances', body: unknown): Promise<void> => {
      await policy.process.call(name, body).catch((cause: unknown) => {
        // It is being restarted, and will be configured with the newest.
        log('debug', 'policy-not-told', { call: name, cause: String(cause) })
      })
    }
    return {
      ca: { ...ca.at, bundleFile },
      agent: { socket, ...agent.at },
      policy: policy.at,
      processes: started,
      registrations,
      refreshPolicy() {
        const { files, instances } = options.policy()
        void push('manifests', files)
        void push('instances', instances)
      },
      widenScope: () => agent.widen(),
      policyStatus: async () => (await policy.process.call('status')) as PolicyStatus,
      stop,
    }
  } catch (cause) {
    await stop(500)
    throw cause
  }
}

/** Starts one of our entry points. */
export function startEntryPoint<Configuration extends { readonly logFile: string }>(
  name: 'ca' | 'agent' | 'policy' | 'proxy',
  title: string,
  configuration: Configuration,
  deps: SuperviseDeps,
  onEvent: (body: unknown) => void = () => {},
): Promise<Child> {
  return startChild(
    {
      title,
      command: [deps.execPath, '--disable-warning=ExperimentalWarning', entryPoint(name)],
      env: deps.env,
      cwd: deps.state.path,
      logFile: configuration.logFile,
      configuration,
    },
    { ...deps, onEvent },
  )
}

interface Kept<At> {
  readonly process: KeptProcess
  /** Where it listens; kept over restarts. */
  readonly at: At
}

function keepCa(
  { topology, lives }: ControlPlaneOptions,
  bundleFile: string,
  deps: SuperviseDeps,
): Kept<{ address: string; metrics: string }> & { readonly roots: () => string } {
  const at = { address: ANY_PORT, metrics: ANY_PORT }
  let roots = ''
  let written = Promise.resolve()
  const write = async (): Promise<void> => {
    await writeFile(`${bundleFile}.new`, roots, { mode: 0o644 })
    await rename(`${bundleFile}.new`, bundleFile)
  }
  const take = (newest: string): Promise<void> => {
    roots = newest
    written = written.then(write, write)
    return written
  }
  const process = keepProcess(
    {
      name: 'ca',
      start: () =>
        startEntryPoint(
          'ca',
          'the CA',
          {
            logFile: join(deps.state.path, 'logs', 'ca.log'),
            trustDomain: topology().trustDomain,
            stateDir: join(deps.state.path, 'ca'),
            listen: at.address,
            metrics: at.metrics,
            leafTtl: String(lives.leafTtl),
            maxLeafTtl: String(lives.maxLeafTtl),
            caTtl: String(lives.caTtl),
            rootTtl: String(lives.rootTtl),
          } satisfies CaProcessConfig,
          deps,
          (event) => {
            take((event as CaEvent).roots).catch((cause: unknown) =>
              deps.log('error', 'bundle-not-written', { cause: String(cause) }),
            )
          },
        ),
      async serve(child, signal) {
        const ready = (await orAborted(child.ready, signal)) as CaReady
        Object.assign(at, { address: ready.address, metrics: ready.metrics })
        await take(ready.roots)
      },
    },
    deps,
  )
  return { process, at, roots: () => roots }
}

function keepAgent(
  { topology }: ControlPlaneOptions,
  {
    ca,
    socket,
    registrations,
  }: {
    readonly ca: ReturnType<typeof keepCa>
    readonly socket: string
    readonly registrations: Registrations
  },
  deps: SuperviseDeps,
): Kept<{ metrics: string }> & { readonly widen: () => Promise<void> } {
  const at = { metrics: ANY_PORT }
  let granted = ''
  /** A token for the topology of now. */
  const joinToken = async (): Promise<string> => {
    const { control, scope } = topology()
    const { token, call } = makeJoinToken(control.agentId, scope, deps.now())
    await ca.process.call('add-join-token', call)
    granted = scope.join(' ')
    return token
  }
  const process = keepProcess(
    {
      name: 'agent',
      async start() {
        const configuration: AgentProcessConfig = {
          logFile: join(deps.state.path, 'logs', 'agent.log'),
          trustDomain: topology().trustDomain,
          agentId: topology().control.agentId,
          caAddress: ca.at.address,
          socketPath: socket,
          joinToken: await joinToken(),
          roots: ca.roots(),
          metrics: at.metrics,
          workloads: registrations.list(),
        }
        return startEntryPoint('agent', 'the agent', configuration, deps)
      },
      async serve(child, signal) {
        Object.assign(at, (await orAborted(child.ready, signal)) as AgentReady)
        // Who was started while the agent was.
        await child.call('workloads', registrations.list())
      },
    },
    deps,
  )
  return {
    process,
    at,
    async widen() {
      if (topology().scope.join(' ') !== granted) await process.call('attest', await joinToken())
    },
  }
}

function keepPolicy(
  { topology, policy, onPolicyEvent }: ControlPlaneOptions,
  { socket, registrations }: { readonly socket: string; readonly registrations: Registrations },
  deps: SuperviseDeps,
): Kept<{ address: string; metrics: string }> {
  const at = { address: ANY_PORT, metrics: ANY_PORT }
  const process = keepProcess(
    {
      name: 'policy',
      async start() {
        const { trustDomain, control } = topology()
        const configuration: PolicyProcessConfig = {
          logFile: join(deps.state.path, 'logs', 'policy.log'),
          trustDomain,
          agentSocket: socket,
          listen: at.address,
          metrics: at.metrics,
          ...policy(),
        }
        const child = await startEntryPoint(
          'policy',
          'the policy server',
          configuration,
          deps,
          onPolicyEvent,
        )
        registrations.set('policy', child, control.policyId)
        return child
      },
      async serve(child, signal) {
        const ready = (await orAborted(child.ready, signal)) as PolicyReady
        Object.assign(at, { address: ready.address, metrics: ready.metrics })
        const { files, instances } = policy() // What has changed while it started.
        await child.call('manifests', files)
        await child.call('instances', instances)
      },
    },
    deps,
  )
  return { process, at }
}

/** `promise`, or a rejection when `signal` aborts first. */
export function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>()
  const abort = (): void => reject(signal.reason)
  if (signal.aborted) abort()
  signal.addEventListener('abort', abort, { once: true })
  return Promise.race([promise, aborted]).finally(() => signal.removeEventListener('abort', abort))
}
