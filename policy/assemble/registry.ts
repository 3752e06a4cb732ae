/** Services and ServiceEntries as one list of hosts with endpoints (istio-semantics §8.3). */
import type { PortProtocol } from '../model/bundle.ts'
import type { Intent, Labels, Service, ServiceEntry, ServicePort } from '../model/intent.ts'
import { byAge, bySpecificity, hostMatches, isExportedTo } from './select.ts'

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
  const service = intent.services.find(
    (known) => known.host === host && isExportedTo(known.exportTo, clientNamespace),
  )
  if (service) {
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
  const visible = intent.serviceEntries.filter((entry) =>
    isExportedTo(entry.exportTo, clientNamespace),
  )
  const byAddress = visible.find((entry) => entry.addresses.includes(host))
  const pattern = byAddress
    ? byAddress.hosts[0]
    : visible
        .flatMap((entry) => entry.hosts)
        .filter((known) => hostMatches(known, host))
        .sort(bySpecificity)[0]
  if (pattern === undefined) return undefined

  const entries = visible.filter((entry) => entry.hosts.includes(pattern)).sort(byAge)
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

/** Services whose selector takes in a workload. */
export function servicesOf(intent: Intent, namespace: string, labels: Labels): readonly Service[] {
  return intent.services
    .filter((service) => service.namespace === namespace && service.selector !== undefined)
    .filter(({ selector = {} }) =>
      Object.entries(selector).every(([name, value]) => labels[name] === value),
    )
    .toSorted(byAge)
}

/**
 * The FQDN that `written` means for a client in `namespace` (§5.2): the domains of a virtual host,
 * the other way round. A trailing dot is dropped.
 */
export function resolveName(intent: Intent, written: string, namespace: string): string {
  const host = written.toLowerCase().replace(/\.$/, '')
  const [first = '', second, ...rest] = host.split('.')
  const known = (candidate: string): boolean =>
    intent.services.some((service) => service.host === candidate) ||
    intent.virtualServices.some(({ hosts }) => hosts.includes(candidate))
  if (second === undefined) {
    const own = `${first}.${namespace}.svc.cluster.local`
    return known(own) ? own : host
  }
  const short = rest.length === 0 || (rest.length === 1 && rest[0] === 'svc')
  const other = `${first}.${second}.svc.cluster.local`
  return short && known(other) ? other : host
}
