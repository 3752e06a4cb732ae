import type { Action, AuthorizationPolicy } from '../model/index.ts'
import {
  comparePolicies,
  type LineContext,
  linesOf,
  NOTHING_APPLIES,
  type PolicyLine,
} from './lines.ts'

/** Lines that one enforcer answers for, and what the answer is for. */
export interface Group {
  readonly action: Action
  /** `enforce`: the decision. `report`: the evidence that goes with it, one group for each policy. */
  readonly use: 'enforce' | 'report'
  /** Of a CUSTOM group. */
  readonly provider: string
  /** `namespace/name` of each policy in it, in order; empty for {@link NOTHING_APPLIES}. */
  readonly policies: readonly string[]
  readonly lines: readonly PolicyLine[]
}

/** Sorts policies into groups: CUSTOM by provider's name, DENY, ALLOW; then those that only report. */
export function groupPolicies(
  policies: readonly AuthorizationPolicy[],
  context: LineContext,
  lines: typeof linesOf = linesOf,
): readonly Group[] {
  const sorted = policies.toSorted(comparePolicies)
  const enforced = sorted.filter(({ dryRun }) => !dryRun)
  const group = (
    members: readonly AuthorizationPolicy[],
    rest: Pick<Group, 'action' | 'use'>,
  ): Group => ({
    ...rest,
    provider: members[0]?.provider ?? '',
    policies: members.map(({ namespace, name }) => `${namespace}/${name}`),
    lines: members.flatMap((policy) => lines(policy, context)),
  })
  const of = (action: Action) => enforced.filter((policy) => policy.action === action)
  const allow = group(of('ALLOW'), { action: 'ALLOW', use: 'enforce' })
  const custom = Map.groupBy(of('CUSTOM'), ({ provider = '' }) => provider)
  return [
    ...[...custom.keys()]
      .sort()
      .map((provider) => group(custom.get(provider) ?? [], { action: 'CUSTOM', use: 'enforce' })),
    group(of('DENY'), { action: 'DENY', use: 'enforce' }),
    allow.policies.length > 0 ? allow : { ...allow, lines: [NOTHING_APPLIES] },
    ...of('AUDIT').map((policy) => group([policy], { action: 'AUDIT', use: 'report' })),
    ...sorted
      .filter(({ dryRun, action }) => dryRun && (action === 'ALLOW' || action === 'DENY'))
      .map((policy) => group([policy], { action: policy.action, use: 'report' })),
  ]
}
