/** Which DestinationRule a client uses for a host, and what it says (istio-semantics §6.2, §6.3). */
import type { Intent, Labels, WorkloadInstance } from '../model/intent.ts'
import type { DestinationRule, PortTrafficPolicy, Subset, TrafficPolicy } from '../model/traffic.ts'
import { lookupOf } from './lookup.ts'
import { byAge, bySpecificity, hostMatches, isExportedTo, selects } from './select.ts'

/** Rules of one host in one namespace, merged. */
interface MergedRule {
  readonly exportTo: readonly string[]
  readonly selector?: Labels
  readonly trafficPolicy?: TrafficPolicy
  readonly subsets: readonly Subset[]
}

export interface ServicePlace {
  readonly host: string
  /** Of the service. */
  readonly namespace: string
}

/** The rule that holds for `client`: its own namespace's, else the service's, else the root's. Never merged across. */
export function findDestinationRule(
  intent: Intent,
  client: WorkloadInstance,
  { host, namespace }: ServicePlace,
): MergedRule | undefined {
  const { rootNamespace } = intent.mesh
  const inScope = (of: string): readonly DestinationRule[] =>
    (lookupOf(intent).destinationRules.get(of) ?? []).filter((rule) => hostMatches(rule.host, host))
  const shared = (of: string): readonly DestinationRule[] =>
    inScope(of).filter(
      (rule) => !rule.workloadSelector && isExportedTo(rule.exportTo, client.namespace),
    )

  const own = inScope(client.namespace)
    .filter((rule) => selects(rule.workloadSelector, client.labels))
    // Mesh-wide rules must not hide those of a service's owner from what runs in the root namespace.
    .filter((rule) => client.namespace !== rootNamespace || isPrivate(rule))
  return pick(own) ?? pick(shared(namespace)) ?? pick(shared(rootNamespace))
}

function isPrivate({ exportTo, namespace }: DestinationRule): boolean {
  return exportTo.length === 1 && exportTo[0] === namespace
}

/** Of the rules for the most specific host: one for selected clients first, else the newest that stayed apart. */
function pick(rules: readonly DestinationRule[]): MergedRule | undefined {
  const host = rules.map((rule) => rule.host).sort(bySpecificity)[0]
  const merged = merge(rules.filter((rule) => rule.host === host))
  return merged.find(({ selector }) => selector) ?? merged.at(-1)
}

function merge(rules: readonly DestinationRule[]): readonly MergedRule[] {
  const sorted = rules.toSorted(
    (a, b) => Number(!a.workloadSelector) - Number(!b.workloadSelector) || byAge(a, b),
  )
  const merged: MergedRule[] = []
  for (const rule of sorted) {
    let apart = true
    merged.forEach((existing, index) => {
      const relation = relationOf(rule, existing)
      if (relation === 'apart') return
      merged[index] = absorb(existing, rule)
      if (relation === 'same') apart = false
    })
    if (apart) {
      const { exportTo, workloadSelector: selector, trafficPolicy, subsets } = rule
      merged.push({
        exportTo,
        ...(selector ? { selector } : {}),
        ...(trafficPolicy ? { trafficPolicy } : {}),
        subsets,
      })
    }
  }
  return merged
}

function relationOf(rule: DestinationRule, existing: MergedRule): 'same' | 'wider' | 'apart' {
  const { workloadSelector, exportTo } = rule
  const { selector } = existing
  if (
    workloadSelector &&
    selector &&
    !(selects(selector, workloadSelector) && selects(workloadSelector, selector))
  ) {
    return 'apart'
  }
  const covers =
    exportTo.includes('*') || existing.exportTo.every((namespace) => exportTo.includes(namespace))
  const equal =
    exportTo.length === existing.exportTo.length &&
    existing.exportTo.every((one) => exportTo.includes(one))
  if (equal && Boolean(workloadSelector) === Boolean(selector)) return 'same'
  return covers ? 'wider' : 'apart'
}

function absorb(existing: MergedRule, rule: DestinationRule): MergedRule {
  const known = new Set(existing.subsets.map(({ name }) => name))
  const trafficPolicy = existing.trafficPolicy ?? rule.trafficPolicy
  return {
    ...existing,
    ...(trafficPolicy ? { trafficPolicy } : {}),
    subsets: [...existing.subsets, ...rule.subsets.filter(({ name }) => !known.has(name))],
  }
}

/**
 * What holds for one service port and subset. Blocks replace each other whole; an entry for the
 * port replaces all four, by absence too.
 */
export function trafficPolicyFor(
  rule: MergedRule | undefined,
  subset: Subset | undefined,
  port: number,
): PortTrafficPolicy {
  const base = blocksFor(rule?.trafficPolicy, port)
  const own = subset?.trafficPolicy
  if (!own) return base
  return Object.hasOwn(own.ports, port)
    ? blocksFor(own, port)
    : { ...base, ...blocksFor(own, port) }
}

function blocksFor(policy: TrafficPolicy | undefined, port: number): PortTrafficPolicy {
  if (!policy) return {}
  const { ports, ...blocks } = policy
  return Object.hasOwn(ports, port) ? (ports[port] ?? {}) : blocks
}
