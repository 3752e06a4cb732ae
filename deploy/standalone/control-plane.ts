/**
 * The three processes behind a mesh, in the order in which they need each other: the CA, the agent
 * that proves itself to it, the policy server that gets its certificate from the agent. Each is
 * restarted on the addresses it had, and told again what it must know.
 */
import { join } from 'node:path'

import {
  type BundleFiles,
  bundleFilesIn,
  type CaAddresses,
  keepCas,
  ledgerOf,
} from './ca-processes.ts'
import { type ControlPlaneOptions, keepAgent, keepPolicy } from './control-processes.ts'
import type { RowsFault } from '#policy/index.ts'
import type { SuperviseDeps } from './entry-point.ts'
import type { KeptProcess } from './kept-process.ts'
import type {
  AdministratorCall,
  AdministratorSvid,
  ForcedRotation,
  ForcedRotationCall,
  PolicyStatus,
} from './messages.ts'
import { noteLedger } from './ledger-file.ts'
import { createRegistrations, type Registrations } from './registrations.ts'

/** Milliseconds that an agent gets to end before it is started anew. */
const RESTART_MS = 500

export interface RunningControlPlane {
  readonly ca: { readonly replicas: readonly CaAddresses[]; readonly files: BundleFiles }
  readonly agent: { readonly socket: string; readonly metrics: string }
  readonly policy: { readonly address: string; readonly metrics: string }
  readonly processes: readonly KeptProcess[]
  readonly registrations: Registrations
  /** Tells the policy server what it has to know. */
  readonly refreshPolicy: () => void
  /** Lets the agent fetch every identity of the topology. */
  readonly widenScope: () => Promise<void>
  /** A certificate of the administrator for the owner of this mesh. */
  readonly admitAdministrator: (call: AdministratorCall) => Promise<AdministratorSvid>
  /** A step of a root rotation that waits for nobody, for the owner of this mesh. */
  readonly rotateByForce: (call: ForcedRotationCall) => Promise<ForcedRotation>
  readonly policyStatus: () => Promise<PolicyStatus>
  /** Lines in databases that cannot be read now. */
  readonly unreadRows: () => Promise<readonly RowsFault[]>
  /** Calls the process of a CA. */
  readonly callCa: KeptProcess['call']
  /** Calls those of all CAs that run. */
  readonly callCas: (name: string, body?: unknown) => Promise<void>
  readonly stop: (graceMs: number) => Promise<void>
}

/** @throws {DeployError} `DEPLOY_PROCESS_FAILED` if one of the three cannot start */
export async function openControlPlane(
  options: ControlPlaneOptions,
  deps: SuperviseDeps,
): Promise<RunningControlPlane> {
  const { state, log } = deps
  const started: KeptProcess[] = []
  const files = bundleFilesIn(state.path)
  const socket = join(state.sockets, 'agent.sock')
  const stop = async (graceMs: number): Promise<void> => {
    await Promise.all(started.map((process) => process.stop(graceMs)))
  }
  try {
    await noteLedger(state.path, ledgerOf(options))
    const ca = keepCas(options, files, deps)
    started.push(...ca.processes)
    await Promise.all(ca.processes.map(({ firstReady }) => firstReady))
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
      ca: { replicas: ca.at, files },
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
      async rotateByForce(call) {
        const done = (await ca.call('rotate-by-force', call)) as ForcedRotation
        // Nobody knows the CA by what it shows now: the agent starts anew with the new root.
        if (done.recovered) void agent.process.child()?.stop(RESTART_MS)
        return done
      },
      async admitAdministrator(call) {
        const svid = (await ca.call('admit-administrator', call)) as AdministratorSvid
        const others = ca.at.map(({ address }) => address).filter((each) => each !== svid.address)
        return { ...svid, address: [svid.address, ...others].join() }
      },
      callCa: ca.call,
      callCas: ca.callAll,
      policyStatus: async () => (await policy.process.call('status')) as PolicyStatus,
      unreadRows: async () => (await policy.process.call('unread')) as readonly RowsFault[],
      stop,
    }
  } catch (cause) {
    await stop(500)
    throw cause
  }
}
