/**
 * The order of actions: CUSTOM, then DENY, then ALLOW, AUDIT beside (§1.3). Whether some line of an
 * action matches is Casbin's answer and nobody else's; nothing passes without a match of ALLOW.
 */
import {
  type Action,
  type Decision,
  type Denied,
  type DryRunResult,
  mintPermit,
} from '../model/index.ts'
import type { FindMatch } from './enforcer.ts'
import type { Group } from './groups.ts'
import type { PolicyLine } from './lines.ts'
import type { Attempt } from './constraint.ts'

/** Enforcers that answer for the attempts of some connections, in the order of {@link Group}s. */
export interface Answers {
  readonly groups: readonly { readonly group: Group; readonly find: FindMatch }[]
  readonly isKnown: (provider: string) => boolean
}

/** A matcher that cannot answer is no permission. */
export const FAULT: Denied = {
  kind: 'deny',
  action: 'DENY',
  reason: 'evaluation-failed',
  policy: null,
  rule: null,
  considered: [],
  dryRun: [],
  audit: [],
}

/** A path that servers read differently, where a path rule applies. */
export const AMBIGUOUS: Denied = { ...FAULT, reason: 'ambiguous-path' }

/** Decides. Throws what a matcher function throws. */
export function decide(answers: Answers, attempt: Attempt): Decision {
  const evidence = gatherEvidence(answers, attempt)
  const asks: { readonly provider: string; readonly policy: string; readonly rule: number }[] = []
  let bad: Omit<Denied, keyof Evidence> | undefined
  for (const { group, find } of answers.groups) {
    if (group.action !== 'CUSTOM' || group.use !== 'enforce') continue
    const match = find(attempt)
    if (match === undefined) continue
    if (!answers.isKnown(group.provider)) {
      bad = denied('CUSTOM', 'custom-provider-unavailable', match)
      break
    }
    asks.push({ provider: group.provider, policy: match.policy, rule: match.rule })
  }
  const last = { ...(bad ?? denyOrAllow(answers, attempt)), ...evidence }
  return asks.reduceRight<Decision>(
    (next, ask) => ({ kind: 'ask', ...ask, ...evidence, proceed: () => next }),
    last,
  )
}

type Evidence = Pick<Decision, 'dryRun' | 'audit'>
type Verdict =
  | Omit<Denied, keyof Evidence>
  | { readonly kind: 'allow'; readonly permit: ReturnType<typeof mintPermit> }

function denyOrAllow({ groups }: Answers, attempt: Attempt): Verdict {
  for (const { group, find } of groups) {
    if (group.use !== 'enforce' || group.action === 'CUSTOM') continue
    const match = find(attempt)
    if (group.action === 'DENY' && match !== undefined) {
      return denied('DENY', 'denied-by-policy', match)
    }
    if (group.action !== 'ALLOW') continue
    if (match === undefined) {
      return { ...denied('ALLOW', 'no-allow-matched', undefined), considered: group.policies }
    }
    return group.policies.length === 0
      ? { kind: 'allow', permit: mintPermit(null, null) }
      : { kind: 'allow', permit: mintPermit(match.policy, match.rule) }
  }
  return FAULT
}

function denied(
  action: Action,
  reason: Denied['reason'],
  match: PolicyLine | undefined,
): Omit<Denied, keyof Evidence> {
  const { policy = null, rule = null } = match ?? {}
  return { kind: 'deny', action, reason, policy, rule, considered: [] }
}

/** What reports and never decides: so a fault here is silence, not a denial (§1.3: AUDIT never changes the result). */
function gatherEvidence({ groups }: Answers, attempt: Attempt): Evidence {
  const dryRun: DryRunResult[] = []
  const audit: string[] = []
  for (const { group, find } of groups) {
    const [policy] = group.policies
    if (group.use !== 'report' || policy === undefined) continue
    const match = quietly(() => find(attempt))
    if (match.kind === 'fault') continue
    const rule = match.found?.rule ?? null
    if (group.action === 'AUDIT') {
      if (rule !== null) audit.push(policy)
    } else if (group.action === 'ALLOW' || group.action === 'DENY') {
      const passes = (group.action === 'ALLOW') === (rule !== null)
      dryRun.push({ policy, action: group.action, result: passes ? 'allowed' : 'denied', rule })
    }
  }
  return { dryRun, audit }
}

function quietly(
  find: () => PolicyLine | undefined,
):
  | { readonly kind: 'answer'; readonly found: PolicyLine | undefined }
  | { readonly kind: 'fault' } {
  try {
    return { kind: 'answer', found: find() }
  } catch {
    // Reported by the enforced groups, which read the same attempt.
    return { kind: 'fault' }
  }
}
