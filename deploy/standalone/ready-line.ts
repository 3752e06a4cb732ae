/** What `redoubt up --output json` prints when a mesh is ready, and `mesh.json` holds (design.md §2). Pure. */
import type { Intent, WorkloadInstance } from '#policy/index.ts'
import type { ProxyAddresses } from './messages.ts'
import type { WorkloadPlan } from './topology.ts'

export interface ReadyWorkload {
  readonly namespace: string
  readonly name: string
  readonly spiffeId: string
  /** Of the sidecar, as are `inbound`, `admin`, `metrics`, `readiness` and `pid`; absent without one. */
  readonly outbound?: string
  /** By workload port. */
  readonly inbound?: Readonly<Record<string, string>>
  /** Where strangers connect, by the port of the Gateway's server; absent where there is no Gateway. */
  readonly gateway?: Readonly<Record<string, string>>
  readonly admin?: string
  /** By workload port: where the app itself listens. */
  readonly app: Readonly<Record<string, string>>
  readonly metrics?: string
  readonly readiness?: string
  readonly pid?: number
  /** Of the app, where the supervisor started it. */
  readonly appPid?: number
}

export interface ReadyService {
  /** FQDN. */
  readonly host: string
  readonly ports: readonly {
    readonly name: string
    readonly port: number
    readonly targetPort: number | string
    readonly protocol: string
  }[]
}

export interface ReadyLine {
  readonly ready: true
  readonly trustDomain: string
  readonly ca: {
    /** Of the first, as is `metrics`. */
    readonly address: string
    /** Absolute path of the roots, PEM. */
    readonly bundle: string
    /** Of the bundle as SPIFFE writes it, with the keys that verify JWT-SVIDs. */
    readonly document: string
    readonly metrics: string
    /** All CAs, the first included: processes `ca`, `ca-2`, … */
    readonly replicas: readonly { readonly address: string; readonly metrics: string }[]
  }
  readonly policy: { readonly address: string; readonly metrics: string }
  readonly agent: { readonly socket: string; readonly metrics: string }
  readonly workloads: readonly ReadyWorkload[]
  readonly services: readonly ReadyService[]
  /** Workloads that are not ready yet, `namespace/name`. */
  readonly notReady: readonly string[]
  /** Absolute. */
  readonly state: string
  /** Of the supervisor. */
  readonly pid: number
}

/** What a running workload looks like from outside. */
export interface SeenWorkload {
  readonly plan: WorkloadPlan
  readonly addresses: () => ProxyAddresses | undefined
  readonly appAddresses: Readonly<Record<string, string>>
  readonly ports: () => WorkloadInstance['ports'] | undefined
  readonly sidecar?: { readonly child: () => { readonly pid: number } | undefined }
  readonly app: () => { readonly child: () => { readonly pid: number } | undefined } | undefined
}

/** One workload of the line. */
export function readyWorkload(workload: SeenWorkload): ReadyWorkload {
  const { plan, appAddresses, sidecar } = workload
  const { namespace, name, spiffeId } = plan
  const addresses = workload.addresses()
  const pid = sidecar?.child()?.pid
  const appPid = workload.app()?.child()?.pid
  return {
    namespace,
    name,
    spiffeId,
    ...(addresses
      ? { outbound: addresses.outbound, inbound: addresses.inbound, admin: addresses.admin }
      : {}),
    ...gatewayOf(plan, addresses),
    app: appAddresses,
    ...(addresses ? { metrics: addresses.metrics, readiness: addresses.readiness } : {}),
    ...(pid === undefined ? {} : { pid }),
    ...(appPid === undefined ? {} : { appPid }),
  }
}

function gatewayOf(
  { sidecar }: WorkloadPlan,
  addresses: ProxyAddresses | undefined,
): Pick<ReadyWorkload, 'gateway'> {
  if (sidecar?.gateway === undefined || addresses === undefined) return {}
  const open = sidecar.gateway.flatMap(({ port, servers }) =>
    servers.map((server) => [server, addresses.inbound[port] ?? ''] as const),
  )
  return { gateway: Object.fromEntries(open) }
}

/** The services of an intent. */
export function readyServices({ services }: Intent): readonly ReadyService[] {
  return services.map(({ host, ports }) => ({ host, ports }))
}
