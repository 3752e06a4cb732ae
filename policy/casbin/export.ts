/**
 * What decides at one workload, for any Casbin: models, lines, and in which order they are asked. What the
 * matchers' functions must do is `policy/casbin/MATCHERS.md`.
 */
import type { TrustDomain } from '#ca/spiffe/index.ts'
import type { Action, AuthorizationPolicy } from '../model/index.ts'
import { admitPolicy } from './admit-policy.ts'
import { groupPolicies } from './groups.ts'
import { type Chain, lineToColumns } from './lines.ts'
import { MODELS } from './models.ts'

/** Raised when the contract of lines or matcher functions changes. */
export const EXPORT_FORMAT = 1

/** Lines of one enforcer. */
export interface ExportedGroup {
  /** The key of `models`. */
  readonly action: Action
  /** `enforce` decides; `report` is evidence beside a decision: AUDIT and dry run. */
  readonly use: 'enforce' | 'report'
  /** Of CUSTOM: who is asked when a line matches. */
  readonly provider?: string
  /** `namespace/name` of each policy; empty where no ALLOW policy applies and one line lets all pass. */
  readonly policies: readonly string[]
  /** Rows of `p`: policy, rule, from, to, when. */
  readonly lines: readonly (readonly string[])[]
}

/** Groups in the order in which they are asked, for requests (`http`) and for connections (`tcp`). */
export interface AuthorizationExport {
  readonly format: number
  readonly models: Readonly<Record<Action, string>>
  readonly chains: Readonly<Record<Chain, readonly ExportedGroup[]>>
}

/**
 * Exports the policies of a workload.
 *
 * @throws {PolicyError} `POLICY_RULE_INVALID`, as `compileAuthorization` does
 */
export function exportAuthorization(input: {
  readonly policies: readonly AuthorizationPolicy[]
  readonly trustDomain: TrustDomain
  readonly trustDomainAliases: readonly TrustDomain[]
}): AuthorizationExport {
  for (const policy of input.policies) admitPolicy(policy)
  const trustDomains = [input.trustDomain, ...input.trustDomainAliases]
  const groupsOf = (chain: Chain): readonly ExportedGroup[] =>
    groupPolicies(input.policies, { chain, trustDomains }).map(
      ({ action, use, provider, policies, lines }) => ({
        action,
        use,
        ...(action === 'CUSTOM' ? { provider } : {}),
        policies,
        lines: lines.map(lineToColumns),
      }),
    )
  const chains = { http: groupsOf('http'), tcp: groupsOf('tcp') }
  return { format: EXPORT_FORMAT, models: MODELS, chains }
}
