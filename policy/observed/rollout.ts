/** Who would be refused if what is only tried out were in force. */
import { assembleInbound } from '../assemble/inbound.ts'
import type { InboundBundle, InboundPort, Intent } from '../model/index.ts'
import type { Observation } from './read-log.ts'

/** Requests of one caller that one cause would refuse. */
export interface WouldRefuse {
  /** `namespace/name` */
  readonly workload: string
  /** SPIFFE ID; `null` for plaintext. */
  readonly caller: string | null
  /** `STRICT`: mTLS would be required; `DISABLE`: it would not be spoken. Else by AuthorizationPolicies. */
  readonly cause: 'STRICT' | 'DISABLE' | 'DENY' | 'ALLOW'
  /** The dry-run objects, `namespace/name`; empty for STRICT that no manifest asks for yet. */
  readonly policies: readonly string[]
  /** Of a caller without an identity: up to five addresses that it came from. */
  readonly addresses: readonly string[]
  readonly requests: number
  /** ISO 8601. */
  readonly lastSeen: string
  /** Up to five requests, the most frequent first. */
  readonly examples: readonly {
    /** `GET /orders`, or `connection to port 5432`. */
    readonly request: string
    readonly requests: number
  }[]
}

export interface Rollout {
  readonly refused: readonly WouldRefuse[]
  /** Requests that were let through and looked at. */
  readonly requests: number
  /** Dry-run objects that some request was held against. */
  readonly tried: readonly string[]
  /** Those of the manifests that none was: nothing is known of them. */
  readonly untried: readonly string[]
}

/**
 * Holds what was let through against what is dry-run, as if all of it were enforced at once: a request is
 * refused when a DENY matches, or when ALLOW policies apply and none matches, in force or dry (§1.3, §1.10);
 * one in plaintext by a dry-run PeerAuthentication that is STRICT. Where no PeerAuthentication is tried out
 * at all, the question is what STRICT everywhere would refuse.
 *
 * @param intent - for modes and for objects that nothing was held against; left out: plaintext that was
 *   let in counts as PERMISSIVE, and what is tried out is what the log tells
 */
export function rollout(observations: readonly Observation[], intent?: Intent): Rollout {
  const passed = observations.filter(({ decision }) => decision === 'allow')
  const results = observations.flatMap(({ dryRun }) => dryRun)
  const refusedByMtls = createMtlsCauses(results, intent)
  const causes = passed.flatMap((one) => [...refusedByMtls(one), ...policyCauses(one)])
  const groups = Map.groupBy(causes, ({ observation, cause, policies }) =>
    JSON.stringify([observation.workload, observation.caller ?? null, cause, policies]),
  )
  const tried = new Set(results.map(({ policy }) => policy))
  return {
    refused: [...groups.values()].map(summarise).sort((a, b) => b.requests - a.requests),
    requests: passed.reduce((total, { requests }) => total + requests, 0),
    tried: [...tried].sort(),
    untried: dryNames(intent).filter((name) => !tried.has(name)),
  }
}

function dryNames(intent: Intent | undefined): readonly string[] {
  const policies = intent?.authorizationPolicies.filter(({ policy }) => policy.dryRun) ?? []
  const modes = intent?.peerAuthentications.filter(({ dryRun }) => dryRun) ?? []
  return [...policies, ...modes].map(({ namespace, name }) => `${namespace}/${name}`)
}

interface Cause {
  readonly observation: Observation
  readonly cause: WouldRefuse['cause']
  readonly policies: readonly string[]
}

const named = (list: Observation['dryRun']): readonly string[] => list.map(({ policy }) => policy)

function policyCauses(observation: Observation): readonly Cause[] {
  const { dryRun, allowedByPolicy } = observation
  const of = (action: string) => dryRun.filter((one) => one.action === action)
  const denials = of('DENY').filter(({ result }) => result === 'denied')
  const allows = of('ALLOW')
  const closed =
    !allowedByPolicy && allows.length > 0 && allows.every(({ result }) => result === 'denied')
  return [
    ...(denials.length > 0
      ? [{ observation, cause: 'DENY', policies: named(denials) } as const]
      : []),
    ...(closed ? [{ observation, cause: 'ALLOW', policies: named(allows) } as const] : []),
  ]
}

const MODES = ['STRICT', 'PERMISSIVE', 'DISABLE']

/** What PeerAuthentication would refuse: as manifests say, or the lines themselves. */
function createMtlsCauses(
  results: Observation['dryRun'],
  intent: Intent | undefined,
): (observation: Observation) => readonly Cause[] {
  const isTried =
    intent === undefined
      ? results.some(({ action }) => MODES.includes(action))
      : intent.peerAuthentications.some(({ dryRun }) => dryRun)
  const cause = (observation: Observation, mode: string, policies: readonly string[]) => {
    const isPlain = observation.caller === undefined
    if (mode !== (isPlain ? 'STRICT' : 'DISABLE')) return []
    return [{ observation, cause: isPlain ? 'STRICT' : 'DISABLE', policies } as const]
  }
  const modesOf = intent && createModes(intent)
  if (!isTried) {
    // DISABLE is somebody's decision, and STRICT lets no plaintext in: what was let in, was so before.
    return (one) => (modesOf && modesOf(one).mtls !== 'PERMISSIVE' ? [] : cause(one, 'STRICT', []))
  }
  if (modesOf === undefined) {
    return (one) => {
      const denied = one.dryRun.filter((two) => two.result === 'denied')
      const found = denied.find(({ action }) => MODES.includes(action))
      return found === undefined ? [] : cause(one, found.action, [found.policy])
    }
  }
  return (one) => {
    const { mtls, mtlsDryRun } = modesOf(one)
    if (mtlsDryRun === undefined || mtlsDryRun.mode === mtls) return []
    return cause(one, mtlsDryRun.mode, [mtlsDryRun.policy])
  }
}

type Modes = Pick<InboundPort, 'mtls' | 'mtlsDryRun'>

/** The modes of a request's port; of a workload that the manifests do not have, PERMISSIVE. */
function createModes(intent: Intent): (observation: Observation) => Modes {
  const bundles = new Map<string, InboundBundle | undefined>()
  const bundleOf = (name: string): InboundBundle | undefined => {
    const found = intent.workloads.find((one) => `${one.namespace}/${one.name}` === name)
    const ports = found?.ports.map((one) => ({ ...one, address: '' })) ?? []
    return found && assembleInbound(intent, { ...found, ports })
  }
  return ({ workload, port }) => {
    if (!bundles.has(workload)) bundles.set(workload, bundleOf(workload))
    const bundle = bundles.get(workload)
    return bundle?.ports.find((one) => one.port === port) ?? bundle ?? { mtls: 'PERMISSIVE' }
  }
}

function exampleOf({ protocol, method, target, port }: Observation): string {
  return protocol === 'tcp' ? `connection to port ${port ?? 'unknown'}` : `${method} ${target}`
}

function summarise(causes: readonly Cause[]): WouldRefuse {
  const observations = causes.map(({ observation }) => observation)
  const [{ cause = 'ALLOW', policies = [], observation } = {}] = causes as readonly Partial<Cause>[]
  const byRequest = Map.groupBy(observations, exampleOf)
  const examples = [...byRequest].map(([request, own]) => ({
    request,
    requests: own.reduce((total, { requests }) => total + requests, 0),
  }))
  return {
    workload: observation?.workload ?? '',
    caller: observation?.caller ?? null,
    cause,
    policies,
    addresses: observation?.caller === undefined ? addressesOf(observations) : [],
    requests: observations.reduce((total, { requests }) => total + requests, 0),
    lastSeen: observations.reduce((last, one) => (one.lastSeen > last ? one.lastSeen : last), ''),
    examples: examples.sort((a, b) => b.requests - a.requests).slice(0, 5),
  }
}

function addressesOf(observations: readonly Observation[]): readonly string[] {
  return [...new Set(observations.flatMap(({ sourceIp }) => sourceIp ?? []))].sort().slice(0, 5)
}
