/** The agent and the policy server, each kept running on the addresses it had. */
import { join } from 'node:path'

import type { Intent, WorkloadInstance } from '#policy/index.ts'
import type { KeptCas } from './ca-processes.ts'
import { orAborted, startEntryPoint, type SuperviseDeps } from './entry-point.ts'
import { makeJoinToken } from './join-tokens.ts'
import { type KeptProcess, keepProcess } from './kept-process.ts'
import type {
  AgentProcessConfig,
  AgentReady,
  CaAuthority,
  CaSettings,
  FederatedDomain,
  PolicyProcessConfig,
  PolicyReady,
  SourceFile,
} from './messages.ts'
import type { Registrations } from './registrations.ts'
import type { Topology } from './topology.ts'

/** What the policy server has to know, now. */
export interface PolicyInput {
  readonly files: readonly SourceFile[]
  readonly instances: readonly WorkloadInstance[]
}

export interface ControlPlaneOptions {
  readonly topology: () => Topology
  readonly lives: Intent['mesh']['certificates']
  readonly ca: CaSettings
  /** What the manifests say of the CA; what changes of it holds from its next start on. */
  readonly authority: () => CaAuthority
  /** Trust domains that are federated with, now. */
  readonly federated: () => readonly FederatedDomain[]
  readonly policy: () => PolicyInput
  /** Events of the policy server. */
  readonly onPolicyEvent: (event: unknown) => void
}

const ANY_PORT = '127.0.0.1:0'

interface Kept<At> {
  readonly process: KeptProcess
  /** Where it listens; kept over restarts. */
  readonly at: At
}

/** Milliseconds between two attempts to let a node that lost its identity join again. */
const REJOIN_MS = 1000

/** The agent; it proves itself by a new one-time token at each start. */
export function keepAgent(
  { topology }: ControlPlaneOptions,
  {
    ca,
    socket,
    registrations,
  }: {
    readonly ca: KeptCas
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
    await ca.call('add-join-token', call)
    granted = scope.join(' ')
    return token
  }
  let serving: AbortSignal | undefined
  const rejoin = async (): Promise<void> => {
    while (serving && !serving.aborted) {
      try {
        return await process.call('attest', await joinToken()).then(() => {})
      } catch (cause) {
        deps.log('warn', 'agent-not-attested-anew', { cause: String(cause) })
        await deps.clock.sleep(REJOIN_MS, serving).catch(() => {}) // It is being restarted.
      }
    }
  }
  const process = keepProcess(
    {
      name: 'agent',
      async start() {
        const configuration: AgentProcessConfig = {
          logFile: join(deps.state.path, 'logs', 'agent.log'),
          trustDomain: topology().trustDomain,
          agentId: topology().control.agentId,
          caAddress: ca.at.map(({ address }) => address).join(),
          socketPath: socket,
          joinToken: await joinToken(),
          roots: ca.roots(),
          metrics: at.metrics,
          workloads: registrations.list(),
        }
        return startEntryPoint('agent', 'the agent', configuration, deps, () => void rejoin())
      },
      async serve(child, signal) {
        serving = signal
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

/** The policy server. */
export function keepPolicy(
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
