import type { Action, Connection, HttpAttributes } from '../model/index.ts'
import type { EvaluationInput } from './evaluate.ts'
import { allMisses, firstMiss, type Miss } from './rule.ts'

export interface RuleExplanation {
  /** From 0. */
  readonly rule: number
  readonly matched: boolean
  /** What stopped it: of several alternatives, where the one that got furthest stopped. */
  readonly miss: Miss | null
  /** All that stopped it; of several alternatives, those with the fewest. */
  readonly misses: readonly Miss[]
}

export interface PolicyExplanation {
  /** `namespace/name` */
  readonly policy: string
  readonly action: Action
  readonly dryRun: boolean
  readonly matched: boolean
  readonly rules: readonly RuleExplanation[]
}

/** For every policy, what became of each of its rules; policies in the order given. */
export function explainAuthorization(
  input: EvaluationInput,
  connection: Connection,
  http: HttpAttributes | undefined,
): readonly PolicyExplanation[] {
  const trustDomains = [input.trustDomain, ...input.trustDomainAliases]
  return input.policies.map((policy) => {
    const { namespace, name, action, dryRun } = policy
    const rules = policy.rules.map((rule, index) => {
      const scene = { connection, http, namespace, trustDomains }
      const miss = firstMiss(policy, rule, scene) ?? null
      return { rule: index, matched: miss === null, miss, misses: allMisses(policy, rule, scene) }
    })
    const matched = rules.some((rule) => rule.matched)
    return { policy: `${namespace}/${name}`, action, dryRun, matched, rules }
  })
}
