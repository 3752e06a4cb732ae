/**
 * The second evaluator: plain, slow, and written from the reference. It is the oracle of the property
 * tests and what explains a decision; `policy/casbin` decides.
 */
import type { TrustDomain } from '#ca/spiffe/index.ts'
import {
  type AuthorizationPolicy,
  type Connection,
  type Decision,
  decisionWithParameters,
  type Denied,
  type DryRunResult,
  type Engine,
  type ExtensionProvider,
  type HttpAttributes,
  isAmbiguousPath,
  mintPermit,
  withoutPathParameters,
} from '../model/index.ts'
import { firstMiss } from './rule.ts'

/** As of `compileAuthorization`. */
export interface EvaluationInput {
  readonly policies: readonly AuthorizationPolicy[]
  readonly trustDomain: TrustDomain
  readonly trustDomainAliases: readonly TrustDomain[]
  readonly providers?: Readonly<Record<string, Pick<ExtensionProvider, 'kind'>>>
}

/** Decides by going through all policies each time. */
export function evaluateAuthorization(input: EvaluationInput): Engine {
  const policies = input.policies.toSorted((a, b) => (idOf(a, 0) < idOf(b, 0) ? -1 : 1))
  const sorted = { ...input, policies }
  return (connection) => (http) => {
    try {
      return evaluate(sorted, connection, http)
    } catch {
      // Whatever cannot be answered is refused, and who would have refused it is unknown.
      return refuse('evaluation-failed')
    }
  }
}

/** `input` has its policies in order. */
function evaluate(
  input: EvaluationInput,
  connection: Connection,
  http: HttpAttributes | undefined,
): Decision {
  const decision = decide(input, connection, http)
  if (http === undefined || !namesPaths(input.policies)) return decision
  if (isAmbiguousPath(http.path)) return refuse('ambiguous-path')
  if (!http.path.includes(';')) return decision
  const { method, host, remoteIp, claims } = http
  const path = withoutPathParameters(http.path)
  const header = (name: string) => http.header(name)
  const other = decide(input, connection, { method, host, remoteIp, claims, path, header })
  return decisionWithParameters(decision, other, refuse('ambiguous-path'))
}

/** Whether a path rule applies: one that is enforced and has `paths` or `notPaths`. */
function namesPaths(policies: readonly AuthorizationPolicy[]): boolean {
  return policies.some(
    ({ dryRun, action, rules }) =>
      !dryRun &&
      action !== 'AUDIT' &&
      rules.some(({ to = [] }) => to.some(({ paths, notPaths }) => paths ?? notPaths)),
  )
}

function decide(
  input: EvaluationInput,
  connection: Connection,
  http: HttpAttributes | undefined,
): Decision {
  const trustDomains = [input.trustDomain, ...input.trustDomainAliases]
  const matching = (policy: AuthorizationPolicy): number | null =>
    firstRule(policy, (rule) => {
      const scene = { connection, http, namespace: policy.namespace, trustDomains }
      return firstMiss(policy, rule, scene) === undefined
    })

  const applies = ({ provider }: AuthorizationPolicy): boolean =>
    http !== undefined || provider === undefined || input.providers?.[provider]?.kind !== 'http'
  const policies = input.policies.filter(applies)
  const hits = policies.map((policy) => ({ policy, name: nameOf(policy), rule: matching(policy) }))
  const enforced = hits.filter(({ policy }) => !policy.dryRun)
  const matched = enforced.filter(({ rule }) => rule !== null)
  const of = (action: string) => matched.filter(({ policy }) => policy.action === action)

  const evidence = {
    dryRun: hits.filter(({ policy }) => policy.dryRun).flatMap(dryRunResult),
    audit: of('AUDIT').map(({ name }) => name),
  }
  const verdict = (): Decision => {
    const [denial] = of('DENY')
    if (denial) {
      const { name, rule } = denial
      return { ...refuse('denied-by-policy'), policy: name, rule, ...evidence }
    }
    const allows = enforced.filter(({ policy }) => policy.action === 'ALLOW')
    const [allow] = of('ALLOW')
    if (allow) return { kind: 'allow', permit: mintPermit(allow.name, allow.rule), ...evidence }
    if (allows.length === 0) return { kind: 'allow', permit: mintPermit(null, null), ...evidence }
    const considered = allows.map(({ name }) => name)
    return { ...refuse('no-allow-matched'), action: 'ALLOW', considered, ...evidence }
  }

  const custom = of('CUSTOM').map(({ policy, name, rule }) => {
    return { provider: policy.provider ?? '', policy: name, rule: rule ?? 0 }
  })
  const providers = [...new Set(custom.map(({ provider }) => provider))].sort()
  const { providers: existing } = input
  const unknown = providers.findIndex((name) => existing && !Object.hasOwn(existing, name))
  const first = (provider: string | undefined) => custom.find((one) => one.provider === provider)
  const bad = first(providers[unknown])
  const refusal = bad && {
    ...refuse('custom-provider-unavailable'),
    action: 'CUSTOM' as const,
    policy: bad.policy,
    rule: bad.rule,
    ...evidence,
  }
  // Those before it in order are asked first, as in a chain of filters.
  const asked = bad === undefined ? providers : providers.slice(0, unknown)
  return asked.reduceRight((next: Decision, provider): Decision => {
    const { policy = '', rule = 0 } = first(provider) ?? {}
    return { kind: 'ask', provider, policy, rule, proceed: () => next, ...evidence }
  }, refusal ?? verdict())
}

/** The first rule that matches, in the order of their ids: `rule[10]` stands before `rule[2]`. */
function firstRule(
  policy: AuthorizationPolicy,
  matches: (rule: AuthorizationPolicy['rules'][number]) => boolean,
): number | null {
  const numbered = policy.rules.map((rule, index) => ({ rule, index, id: idOf(policy, index) }))
  const hits = numbered.filter(({ rule }) => matches(rule)).sort((a, b) => (a.id < b.id ? -1 : 1))
  return hits[0]?.index ?? null
}

/** §1.13 */
function idOf({ namespace, name }: AuthorizationPolicy, rule: number): string {
  return `ns[${namespace}]-policy[${name}]-rule[${rule}]`
}

function nameOf({ namespace, name }: AuthorizationPolicy): string {
  return `${namespace}/${name}`
}

function dryRunResult({
  policy,
  name,
  rule,
}: {
  policy: AuthorizationPolicy
  name: string
  rule: number | null
}): readonly DryRunResult[] {
  const { action } = policy
  if (action === 'ALLOW') {
    return [{ policy: name, action, result: rule === null ? 'denied' : 'allowed', rule }]
  }
  if (action === 'DENY') {
    return [{ policy: name, action, result: rule === null ? 'allowed' : 'denied', rule }]
  }
  return []
}

function refuse(reason: Denied['reason']): Denied {
  return {
    kind: 'deny',
    action: 'DENY',
    reason,
    policy: null,
    rule: null,
    considered: [],
    dryRun: [],
    audit: [],
  }
}
