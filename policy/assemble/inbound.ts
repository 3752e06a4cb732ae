/** `inbound/<namespace>/<workload>`: what a sidecar needs to guard its app. */
import type { AuthorizationPolicy } from '../model/authorization.ts'
import {
  BUNDLE_FORMAT,
  type InboundBundle,
  type InboundPort,
  type WorkloadRef,
} from '../model/bundle.ts'
import type {
  InstancePort,
  Intent,
  Service,
  ServicePort,
  WorkloadInstance,
} from '../model/intent.ts'
import { portProtocol } from '../model/port-protocol.ts'
import { type PeerModes, peerModes, portMode, triedModes } from './peer-mode.ts'
import type { CasbinRows } from './casbin.ts'
import { type GatewayPort, gatewayPortsOf } from './gateway-ports.ts'
import { assembleProviders, withMeantProvider } from './providers.ts'
import { proxiedProtocol, servicesOf } from './registry.ts'
import { selects } from './select.ts'
import { assembleTokenRules, type KeySetOf } from './token-rules.ts'

/**
 * Everything that the sidecar of `workload` guards its app with. Pure.
 *
 * @param keySetOf - keys that rules name by URI; left out: none could be had
 * @param rowsOf - lines of CasbinPolicies that are in a database; left out: none was read
 */
export function assembleInbound(
  intent: Intent,
  workload: WorkloadInstance,
  keySetOf: KeySetOf = () => undefined,
  rowsOf: CasbinRows = new Map(),
): InboundBundle {
  const { mesh } = intent
  const modes = peerModes(intent, workload)
  const tried = triedModes(intent, workload)
  const authorization = policiesOf(intent, workload)
  return {
    format: BUNDLE_FORMAT,
    workload: workloadRef(workload),
    trustDomain: mesh.trustDomain,
    trustDomainAliases: mesh.trustDomainAliases,
    pathNormalization: mesh.pathNormalization,
    mtls: modes.workload,
    ...(tried.workload === undefined ? {} : { mtlsDryRun: tried.workload }),
    ports: inboundPorts(intent, workload, { modes, tried }),
    authorization,
    providers: assembleProviders(intent, authorization, rowsOf),
    tokenRules: assembleTokenRules(intent, workload, keySetOf),
    outboundPolicy: mesh.outboundPolicy,
  }
}

function policiesOf(intent: Intent, workload: WorkloadInstance): readonly AuthorizationPolicy[] {
  const { authorizationPolicies, mesh } = intent
  return authorizationPolicies
    .filter(
      ({ targeted, namespace }) => !targeted && inScope(namespace, workload, mesh.rootNamespace),
    )
    .filter(({ selector }) => selects(selector, workload.labels))
    .map(({ policy }) => withMeantProvider(intent, policy))
    .sort((a, b) => (`${a.namespace}/${a.name}` < `${b.namespace}/${b.name}` ? -1 : 1))
}

/** The root namespace's policies apply everywhere, with a selector too (§0.4). */
function inScope(namespace: string, workload: WorkloadInstance, rootNamespace: string): boolean {
  return namespace === workload.namespace || namespace === rootNamespace
}

export function workloadRef({
  namespace,
  name,
  serviceAccount,
  labels,
}: WorkloadInstance): WorkloadRef {
  return { namespace, name, serviceAccount, labels }
}

interface Modes {
  readonly modes: PeerModes
  readonly tried: ReturnType<typeof triedModes>
}

/** The workload's own ports, and those that only a PeerAuthentication names. */
function inboundPorts(
  intent: Intent,
  workload: WorkloadInstance,
  modes: Modes,
): readonly InboundPort[] {
  const services = servicesOf(intent, workload.namespace, workload.labels)
  const open = gatewayPortsOf(intent, workload)
  const isOpen = (port: number): boolean => open.some((one) => one.port === port)
  const own = workload.ports
    .filter(({ port }) => !isOpen(port))
    .map((declared) => inboundPort(declared, services, modes))
  const named = [...new Set([...Object.keys(modes.modes.ports), ...Object.keys(modes.tried.ports)])]
    .map(Number)
    .filter((port) => !isOpen(port) && !workload.ports.some((declared) => declared.port === port))
    .map((port) => inboundPort({ port, name: '', address: '' }, services, modes))
  return [...own, ...open.map((one) => openPort(one, services)), ...named]
}

/** To a gateway come strangers: PeerAuthentication is not about them. */
function openPort({ port, servers }: GatewayPort, services: readonly Service[]): InboundPort {
  const name = servers[0]?.portName ?? ''
  const backed = backedBy({ port, name, address: '' }, services)
  return { port, name, protocol: 'http', mtls: 'DISABLE', ...serviceOf(backed) }
}

function inboundPort(
  declared: InstancePort,
  services: readonly Service[],
  { modes, tried }: Modes,
): InboundPort {
  const { port, name } = declared
  const backed = backedBy(declared, services)
  const own = portProtocol({ name, port })
  return {
    port,
    name,
    // What comes here is TCP, whatever else a Service has declared: it is carried as such, as in Istio.
    protocol: backed ? (proxiedProtocol(backed.port) ?? 'tcp') : own === 'udp' ? 'auto' : own,
    mtls: portMode(modes, port),
    ...triedOn(port, tried),
    ...serviceOf(backed),
  }
}

function serviceOf(backed: ReturnType<typeof backedBy>): Pick<InboundPort, 'service'> {
  if (backed === undefined) return {}
  const { host, name, namespace } = backed.service
  return { service: { host, name, namespace } }
}

function triedOn(
  port: number,
  { workload, ports }: Modes['tried'],
): Pick<InboundPort, 'mtlsDryRun'> {
  const mtlsDryRun = ports[String(port)] ?? workload
  return mtlsDryRun === undefined ? {} : { mtlsDryRun }
}

function backedBy(
  declared: InstancePort,
  services: readonly Service[],
): { readonly service: Service; readonly port: ServicePort } | undefined {
  for (const service of services) {
    const port = service.ports.find((candidate) => targets(candidate, declared))
    if (port) return { service, port }
  }
  return undefined
}

/** Whether a service port leads to a workload port: by number, or by the workload port's name. */
export function targets(
  { targetPort }: ServicePort,
  { port, name }: { readonly port: number; readonly name: string },
): boolean {
  return typeof targetPort === 'number' ? targetPort === port : targetPort === name
}
