/**
 * Intent and instances by the keys that assembly asks for. Built once for each value and kept as
 * long as that value: a mesh of ten thousand services is assembled some thousand times per change.
 */
import type {
  Intent,
  PeerAuthentication,
  Service,
  ServiceEntry,
  WorkloadInstance,
} from '../model/intent.ts'
import type { Gateway } from '../model/gateway.ts'
import type { DestinationRule, VirtualService } from '../model/traffic.ts'
import { byAge } from './select.ts'

export interface IntentLookup {
  /** By FQDN. */
  readonly services: ReadonlyMap<string, Service>
  /** With a selector, oldest first, by namespace. */
  readonly selectingServices: ReadonlyMap<string, readonly Service[]>
  /** Oldest first, by each host they name, wildcards included. */
  readonly entries: ReadonlyMap<string, readonly ServiceEntry[]>
  /** By each single address they name. */
  readonly entryAddresses: ReadonlyMap<string, readonly ServiceEntry[]>
  /** Wildcard hosts of entries. */
  readonly entryWildcards: readonly string[]
  /** Those for sidecars, oldest first, by each host they name, wildcards included. */
  readonly virtualServices: ReadonlyMap<string, readonly VirtualService[]>
  /** Those for gateways, oldest first, by `namespace/name` of each gateway. */
  readonly gatewayServices: ReadonlyMap<string, readonly VirtualService[]>
  /** Oldest first. */
  readonly gateways: readonly Gateway[]
  /** Wildcard hosts of {@link virtualServices}. */
  readonly virtualWildcards: readonly string[]
  /** By namespace. */
  readonly destinationRules: ReadonlyMap<string, readonly DestinationRule[]>
  /** Those in force, oldest first, by namespace. */
  readonly peerAuthentications: ReadonlyMap<string, readonly PeerAuthentication[]>
  /** All, those that are tried out before those in force; `undefined` when none is tried out. */
  readonly triedPeerAuthentications: ReadonlyMap<string, readonly PeerAuthentication[]> | undefined
  /** Whether what a client gets depends on its labels, and not on its namespace alone. */
  readonly clientLabelsMatter: boolean
}

const intents = new WeakMap<Intent, IntentLookup>()
const instanceLists = new WeakMap<
  readonly WorkloadInstance[],
  ReadonlyMap<string, readonly WorkloadInstance[]>
>()

/** The lookup of `intent`, which must not change afterwards. */
export function lookupOf(intent: Intent): IntentLookup {
  const known = intents.get(intent)
  if (known) return known
  const built = buildLookup(intent)
  intents.set(intent, built)
  return built
}

/** `instances` by namespace; the list must not change afterwards. */
export function instancesIn(
  instances: readonly WorkloadInstance[],
  namespace: string,
): readonly WorkloadInstance[] {
  const known = instanceLists.get(instances) ?? groupBy(instances, (one) => [one.namespace])
  instanceLists.set(instances, known)
  return known.get(namespace) ?? []
}

function buildLookup(intent: Intent): IntentLookup {
  const entries = intent.serviceEntries.toSorted(byAge)
  const routed = intent.virtualServices.toSorted(byAge)
  const virtual = routed.filter(({ gateways }) => gateways.includes('mesh'))
  const selecting = intent.services.filter(({ selector }) => selector).sort(byAge)
  const peers = intent.peerAuthentications.toSorted(byAge)
  const [tried, enforced] = [peers.filter(({ dryRun }) => dryRun), peers.filter(isEnforced)]
  const byNamespace = (list: readonly PeerAuthentication[]) =>
    groupBy(list, ({ namespace }) => [namespace])
  return {
    services: new Map(intent.services.map((service) => [service.host, service])),
    selectingServices: groupBy(selecting, ({ namespace }) => [namespace]),
    entries: groupBy(entries, ({ hosts }) => hosts),
    entryAddresses: groupBy(entries, ({ addresses }) => addresses),
    entryWildcards: wildcardsOf(entries),
    virtualServices: groupBy(virtual, ({ hosts }) => hosts),
    gatewayServices: groupBy(routed, ({ gateways }) => gateways),
    gateways: intent.gateways.toSorted(byAge),
    virtualWildcards: wildcardsOf(virtual),
    destinationRules: groupBy(intent.destinationRules, ({ namespace }) => [namespace]),
    peerAuthentications: byNamespace(enforced),
    triedPeerAuthentications: tried.length === 0 ? undefined : byNamespace([...tried, ...enforced]),
    clientLabelsMatter:
      intent.destinationRules.some(({ workloadSelector }) => workloadSelector) ||
      virtual.some(({ http }) =>
        http.some(({ match }) => match?.some(({ sourceLabels }) => sourceLabels)),
      ),
  }
}

function isEnforced({ dryRun }: PeerAuthentication): boolean {
  return !dryRun
}

function wildcardsOf(objects: readonly { readonly hosts: readonly string[] }[]): readonly string[] {
  const hosts = objects.flatMap((object) => object.hosts).filter((host) => host.startsWith('*'))
  return [...new Set(hosts)]
}

function groupBy<T>(
  values: readonly T[],
  keysOf: (value: T) => readonly string[],
): ReadonlyMap<string, readonly T[]> {
  const groups = new Map<string, T[]>()
  for (const value of values) {
    for (const key of new Set(keysOf(value))) {
      const group = groups.get(key)
      if (group) group.push(value)
      else groups.set(key, [value])
    }
  }
  return groups
}
