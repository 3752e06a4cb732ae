/** Who would be refused if what is only tried out were in force. */
import { assembleInbound } from '../assemble/inbound.ts'
import type { Intent, MtlsMode } from '../model/index.ts'
import type { Observation } from './read-log.ts'

/** Requests of one caller that one cause would refuse. */
export interface WouldRefuse {
  /** `namespace/name` */
  readonly workload: string
  /** SPIFFE ID; `null` for plaintext. */
  readonly caller: string | null
  /** `STRICT`: mTLS would be required. Else the dry-run policies, `namespace/name`. */
  readonly cause: 'STRICT' | 'DENY' | 'ALLOW'
  readonly policies: readonly string[]
  readonly requests: number
  /** ISO 8601. */
  readonly lastSeen: string
  /** Up to five requests, the most frequent first. */
  readonly examples: readonly {
    readonly method: string
    readonly target: string
    readonly requests: number
  }[]
}

export interface Rollout {
  readonly refused: readonly WouldRefuse[]
  /** Requests that were let through and looked at. */
  readonly requests: number
  /** Dry-run policies that some request was held against. */
  readonly tried: readonly string[]
  /** Those of the manifests that none was: nothing is known of them. */
  readonly untried: readonly string[]
}

/**
 * Holds what was let through against what is dry-run, as if all of it were enforced at once: a request is
 * refused when a DENY matches, or when ALLOW policies apply and none matches, in force or dry (§1.3, §1.10);
 * one in plaintext is refused by STRICT.
 *
 * @param intent - for modes and for policies that nothing was held against; left out: plaintext that was
 *   let in counts as PERMISSIVE
 */
export function rollout(observations: readonly Observation[], intent?: Intent): Rollout {
  const passed = observations.filter(({ decision }) => decision === 'allow')
  const causes = passed.flatMap((one) => causesOf(one, intent))
  const groups = Map.groupBy(causes, ({ observation, cause, policies }) =>
    JSON.stringify([observation.workload, observation.caller ?? null, cause, policies]),
  )
  const tried = new Set(observations.flatMap(({ dryRun }) => dryRun.map(({ policy }) => policy)))
  const dry = (intent?.authorizationPolicies ?? []).filter(({ policy }) => policy.dryRun)
  return {
    refused: [...groups.values()].map(summarise).sort((a, b) => b.requests - a.requests),
    requests: passed.reduce((total, { requests }) => total + requests, 0),
    tried: [...tried].sort(),
    untried: dry
      .map(({ namespace, name }) => `${namespace}/${name}`)
      .filter((name) => !tried.has(name)),
  }
}

interface Cause {
  readonly observation: Observation
  readonly cause: WouldRefuse['cause']
  readonly policies: readonly string[]
}

function causesOf(observation: Observation, intent: Intent | undefined): readonly Cause[] {
  const { caller, dryRun, allowedByPolicy } = observation
  const of = (action: string) => dryRun.filter((one) => one.action === action)
  const denials = of('DENY').filter(({ result }) => result === 'denied')
  const allows = of('ALLOW')
  const closed =
    !allowedByPolicy && allows.length > 0 && allows.every(({ result }) => result === 'denied')
  const names = (list: typeof dryRun): readonly string[] => list.map(({ policy }) => policy)
  const isPlain = caller === undefined && modeOf(observation, intent) === 'PERMISSIVE'
  return [
    ...(isPlain ? [{ observation, cause: 'STRICT', policies: [] } as const] : []),
    ...(denials.length > 0
      ? [{ observation, cause: 'DENY', policies: names(denials) } as const]
      : []),
    ...(closed ? [{ observation, cause: 'ALLOW', policies: names(allows) } as const] : []),
  ]
}

/** DISABLE is somebody's decision, and STRICT lets no plaintext in: what was let in, was so before. */
function modeOf({ workload, port }: Observation, intent: Intent | undefined): MtlsMode {
  const found = intent?.workloads.find((one) => `${one.namespace}/${one.name}` === workload)
  if (!intent || !found) return 'PERMISSIVE'
  const ports = found.ports.map((one) => ({ ...one, address: '' }))
  const bundle = assembleInbound(intent, { ...found, ports })
  return bundle.ports.find((one) => one.port === port)?.mtls ?? bundle.mtls
}

function summarise(causes: readonly Cause[]): WouldRefuse {
  const observations = causes.map(({ observation }) => observation)
  const [{ cause = 'ALLOW', policies = [], observation } = {}] = causes as readonly Partial<Cause>[]
  const byRequest = Map.groupBy(observations, ({ method, target }) => `${method} ${target}`)
  const examples = [...byRequest.values()].map((own) => ({
    method: own[0]?.method ?? '',
    target: own[0]?.target ?? '',
    requests: own.reduce((total, { requests }) => total + requests, 0),
  }))
  return {
    workload: observation?.workload ?? '',
    caller: observation?.caller ?? null,
    cause,
    policies,
    requests: observations.reduce((total, { requests }) => total + requests, 0),
    lastSeen: observations.reduce((last, one) => (one.lastSeen > last ? one.lastSeen : last), ''),
    examples: examples.sort((a, b) => b.requests - a.requests).slice(0, 5),
  }
}
