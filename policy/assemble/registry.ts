/** Services and ServiceEntries as one list of hosts with endpoints (istio-semantics §8.3). */
import type { PortProtocol } from '../model/bundle.ts'
import type { Intent, Labels, Service, ServiceEntry, ServicePort } from '../model/intent.ts'
import { lookupOf } from './lookup.ts'
import { bySpecificity, hostMatches, isExportedTo, selects } from './select.ts'

/** A host that clients may address. */
export interface RegistryHost {
  /** FQDN or wildcard, lower case. */
  readonly host: string
  readonly name: string
  readonly namespace: string
  readonly ports: readonly ServicePort[]
  readonly origin:
    | { readonly kind: 'service'; readonly service: Service }
    /** Those of one host, oldest first; the first decides the attributes. */
    | { readonly kind: 'entries'; readonly entries: readonly ServiceEntry[] }
}

/** The host as `client` namespace sees it, or `undefined`. A Service wins over ServiceEntries. */
export function findHost(
  intent: Intent,
  host: string,
  clientNamespace: string,
): RegistryHost | undefined {
  const service = lookupOf(intent).services.get(host)
  if (service && isExportedTo(service.exportTo, clientNamespace)) {
    const { name, namespace, ports } = service
    return { host, name, namespace, ports, origin: { kind: 'service', service } }
  }
  return findEntries(intent, host, clientNamespace)
}

function findEntries(
  intent: Intent,
  host: string,
  clientNamespace: string,
): RegistryHost | undefined {
  const { entries: byHost, entryAddresses, entryWildcards } = lookupOf(intent)
  const visible = (entries: readonly ServiceEntry[] = []): readonly ServiceEntry[] =>
    entries.filter((entry) => isExportedTo(entry.exportTo, clientNamespace))
  const patterns = [
    ...visible(entryAddresses.get(host)).flatMap(({ hosts }) => hosts.slice(0, 1)),
    host,
    ...entryWildcards.filter((known) => hostMatches(known, host)).toSorted(bySpecificity),
  ]
  const pattern = patterns.find((known) => visible(byHost.get(known)).length > 0)
  if (pattern === undefined) return undefined

  const entries = visible(byHost.get(pattern))
  const [first] = entries
  if (!first) return undefined
  return {
    // A wildcard stands for the name that was asked for.
    host: pattern.startsWith('*') ? host : pattern,
    name: first.name,
    namespace: first.namespace,
    ports: mergePorts(entries),
    origin: { kind: 'entries', entries },
  }
}

function mergePorts(entries: readonly ServiceEntry[]): readonly ServicePort[] {
  const ports = new Map<number, ServicePort>()
  for (const port of entries.flatMap((entry) => entry.ports)) {
    if (!ports.has(port.port)) ports.set(port.port, port)
  }
  return [...ports.values()]
}

/** The port's protocol for a sidecar; UDP is none of its business. */
export function proxiedProtocol({ protocol }: ServicePort): PortProtocol | undefined {
  return protocol === 'udp' ? undefined : protocol
}

/** Services whose selector takes in a workload, oldest first. */
export function servicesOf(intent: Intent, namespace: string, labels: Labels): readonly Service[] {
  const selecting = lookupOf(intent).selectingServices.get(namespace) ?? []
  return selecting.filter(({ selector }) => selects(selector, labels))
}

/**
 * The FQDN that `written` means for a client in `namespace` (§5.2): the domains of a virtual host,
 * the other way round. A trailing dot, and the brackets of an IPv6 address, are dropped.
 */
export function resolveName(intent: Intent, written: string, namespace: string): string {
  const host = written
    .toLowerCase()
    .replace(/\.$/, '')
    .replace(/^\[(.*)\]$/, '$1')
  const [first = '', second, ...rest] = host.split('.')
  const { services, virtualServices } = lookupOf(intent)
  const known = (candidate: string): boolean =>
    services.has(candidate) || virtualServices.has(candidate)
  if (second === undefined) {
    const own = `${first}.${namespace}.svc.cluster.local`
    return known(own) ? own : host
  }
  const short = rest.length === 0 || (rest.length === 1 && rest[0] === 'svc')
  const other = `${first}.${second}.svc.cluster.local`
  return short && known(other) ? other : host
}
