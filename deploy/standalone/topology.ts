/** What has to run for an intent: pure, so that `up --dry-run` could print it and tests compare it. */
import { isAbsolute, resolve } from 'node:path'

import { serviceAccountId, type SpiffeId, type TrustDomain } from '#ca/spiffe/index.ts'
import { gatewayPortsOf, type Intent, type Workload } from '#policy/index.ts'

/** The accounts of the mesh's own processes, in the namespace that no manifest may use. */
const SYSTEM_NAMESPACE = 'redoubt-system'

/** Who the control plane is. */
export interface ControlPlane {
  readonly caId: SpiffeId
  readonly agentId: SpiffeId
  readonly policyId: SpiffeId
}

/** One workload to run. Equal plans are the same process; another plan means a restart. */
export interface WorkloadPlan {
  /** `namespace/name`. */
  readonly key: string
  readonly namespace: string
  readonly name: string
  readonly spiffeId: SpiffeId
  readonly sidecar?: SidecarPlan
  readonly app: AppPlan
  readonly ports: Workload['ports']
  readonly ready?: NonNullable<Workload['ready']>
}

/** Addresses to listen on, `host:port`; port 0 takes a free one. */
export interface SidecarPlan {
  readonly outbound: string
  /** By workload port. */
  readonly inbound: Readonly<Record<string, string>>
  /** Where it is a gateway. */
  readonly gateway?: readonly GatewayPlan[]
  readonly admin: string
  readonly metrics: string
  readonly readiness: string
  readonly sourceAddress?: string
  /** Which requests it logs. */
  readonly accessLog: Intent['mesh']['accessLog']
}

/** A port at which a sidecar takes requests from outside the mesh. */
export interface GatewayPlan {
  /** Workload port. */
  readonly port: number
  readonly listen: string
  /** Ports of the Gateways' servers that lead here. */
  readonly servers: readonly number[]
}

export type AppPlan =
  | {
      readonly kind: 'run'
      readonly command: readonly [string, ...string[]]
      readonly env: Readonly<Record<string, string>>
      /** Absolute. */
      readonly cwd: string
    }
  /** By workload port: where it already listens. */
  | { readonly kind: 'address'; readonly addresses: Readonly<Record<string, string>> }

export interface Topology {
  readonly trustDomain: TrustDomain
  readonly control: ControlPlane
  readonly workloads: readonly WorkloadPlan[]
  /** Every identity that the agent has to be able to fetch, sorted. */
  readonly scope: readonly SpiffeId[]
}

/** @param cwd - Absolute: what relative manifest paths start from. */
export function planTopology(intent: Intent, cwd: string): Topology {
  const { trustDomain } = intent.mesh
  const system = (serviceAccount: string): SpiffeId =>
    serviceAccountId(trustDomain, { namespace: SYSTEM_NAMESPACE, serviceAccount })
  const control = {
    caId: system('redoubt-ca'),
    agentId: system('redoubt-agent'),
    policyId: system('redoubt-policy'),
  }
  const workloads = intent.workloads.map((workload) => planWorkload(workload, intent, cwd))
  const ids = new Set([control.policyId, ...workloads.map(({ spiffeId }) => spiffeId)])
  return { trustDomain, control, workloads, scope: [...ids].sort() }
}

function planWorkload(workload: Workload, intent: Intent, cwd: string): WorkloadPlan {
  const { namespace, name, serviceAccount, ports, ready } = workload
  return {
    key: `${namespace}/${name}`,
    namespace,
    name,
    spiffeId: serviceAccountId(intent.mesh.trustDomain, { namespace, serviceAccount }),
    ports,
    app: planApp(workload, cwd),
    ...(workload.sidecar ? { sidecar: planSidecar(workload, intent) } : {}),
    ...(ready ? { ready } : {}),
  }
}

function planSidecar(workload: Workload, intent: Intent): SidecarPlan {
  const { ports, proxyPorts, sourceAddress } = workload
  const { accessLog } = intent.mesh
  const local = (port = 0): string => `127.0.0.1:${port}`
  const gateway = planGateway(workload, intent)
  const guarded = ports.filter(({ port }) => !gateway.some((one) => one.port === port))
  return {
    outbound: local(proxyPorts.outbound),
    inbound: Object.fromEntries(guarded.map(({ port }) => [port, local(proxyPorts.inbound[port])])),
    ...(gateway.length === 0 ? {} : { gateway }),
    admin: local(proxyPorts.admin),
    metrics: local(proxyPorts.metrics),
    readiness: local(proxyPorts.readiness),
    accessLog,
    ...(sourceAddress === undefined ? {} : { sourceAddress }),
  }
}

function planGateway(workload: Workload, intent: Intent): readonly GatewayPlan[] {
  const fixed = workload.proxyPorts.inbound
  return gatewayPortsOf(intent, workload).map(({ port, bind = '127.0.0.1', servers }) => {
    const host = bind.includes(':') ? `[${bind}]` : bind
    const numbers = new Set(servers.map((server) => server.port))
    return { port, listen: `${host}:${fixed[port] ?? 0}`, servers: [...numbers] }
  })
}

function planApp({ app, ports }: Workload, cwd: string): AppPlan {
  if (app.kind === 'address') {
    const host = app.host.includes(':') ? `[${app.host}]` : app.host
    const address = (port: number): string => `${host}:${app.port ?? port}`
    return {
      kind: 'address',
      addresses: Object.fromEntries(ports.map(({ port }) => [port, address(port)])),
    }
  }
  const folder = app.manifest === '-' ? cwd : resolve(cwd, app.manifest, '..')
  const [program = '', ...args] = app.command
  const directory = resolve(folder, app.cwd ?? '.')
  // A program with a slash in its name is a file of the app's, as a shell would have it.
  const found =
    program.includes('/') && !isAbsolute(program) ? resolve(directory, program) : program
  return { kind: 'run', command: [found, ...args], env: app.env, cwd: directory }
}

export interface TopologyChange {
  readonly added: readonly WorkloadPlan[]
  readonly removed: readonly string[]
  /** To be stopped and started anew. */
  readonly changed: readonly WorkloadPlan[]
}

/** What has to happen for `after` to run where `before` does. */
export function planChange(
  before: readonly WorkloadPlan[],
  after: readonly WorkloadPlan[],
): TopologyChange {
  const old = new Map(before.map((plan) => [plan.key, JSON.stringify(plan)]))
  const kept = new Set(after.map(({ key }) => key))
  return {
    added: after.filter(({ key }) => !old.has(key)),
    removed: before.map(({ key }) => key).filter((key) => !kept.has(key)),
    changed: after.filter(
      (plan) => old.has(plan.key) && old.get(plan.key) !== JSON.stringify(plan),
    ),
  }
}
