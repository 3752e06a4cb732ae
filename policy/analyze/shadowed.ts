/** Rules that change nothing because another matches all that they do. */
import { isDeepStrictEqual } from 'node:util'

import type { AuthorizationIntent, Rule } from '../model/index.ts'
import { coversRule, type Placed } from './covers.ts'
import type { Draft } from './finding.ts'
import { type Scene, sidecarPolicies, subjectOf } from './scene.ts'

/** A rule, with where it stands. */
export interface RuleAt extends Placed {
  readonly intent: AuthorizationIntent
  readonly index: number
}

/** RDB0001: of two rules that match the same, the later is the shadowed one. */
export function findShadowed(scene: Scene): readonly Draft[] {
  const rules = enforcedRules(scene)
  const order = new Map(rules.map((one, at) => [one, at]))
  const shadows = (other: RuleAt, one: RuleAt): boolean =>
    other !== one &&
    other.policy.action === one.policy.action &&
    other.policy.provider === one.policy.provider &&
    scopeCovers(scene, other.intent, one.intent) &&
    coversRule(other, one) &&
    // Of two that match the same, one is kept: the first.
    ((order.get(other) ?? 0) < (order.get(one) ?? 0) ||
      !coversRule(one, other) ||
      !scopeCovers(scene, one.intent, other.intent))
  const byPolicy = Map.groupBy(rules, ({ intent }) => intent)
  return rules.flatMap((one) => {
    const beside = byPolicy.get(one.intent) ?? []
    const by =
      beside.find((other) => shadows(other, one)) ?? rules.find((other) => shadows(other, one))
    return by ? [shadowed(one, by)] : []
  })
}

/** The rules of policies that are enforced, in the order of policies and rules. */
export function enforcedRules(scene: Scene): readonly RuleAt[] {
  const { trustDomain, trustDomainAliases } = scene.intent.mesh
  const plainTrust = trustDomain === 'cluster.local' && trustDomainAliases.length === 0
  return sidecarPolicies(scene)
    .filter(({ policy }) => !policy.dryRun)
    .flatMap((intent) =>
      intent.policy.rules.map((rule: Rule, index) => {
        return { intent, policy: intent.policy, rule, index, plainTrust }
      }),
    )
}

/** Whether every workload that `narrow` can ever select, `wide` selects too. */
export function scopeCovers(
  { intent: { mesh } }: Scene,
  wide: AuthorizationIntent,
  narrow: AuthorizationIntent,
): boolean {
  if (wide.namespace !== mesh.rootNamespace && wide.namespace !== narrow.namespace) return false
  return Object.entries(wide.selector ?? {}).every(
    ([name, value]) => narrow.selector?.[name] === value,
  )
}

/** `rule 2 of payments/allow-checkout`. */
export function ruleName({ policy, index }: RuleAt): string {
  return `rule ${index} of ${policy.namespace}/${policy.name}`
}

function shadowed(one: RuleAt, by: RuleAt): Draft {
  const path = ['spec', 'rules', one.index]
  const isBeside = one.intent === by.intent
  const same = isBeside && isDeepStrictEqual(one.rule, by.rule)
  return {
    code: 'RDB0001',
    subject: subjectOf('AuthorizationPolicy', one.policy),
    path,
    message: same
      ? `rule ${one.index} repeats rule ${by.index}`
      : `${ruleName(one)} changes nothing: ${ruleName(by)} (${by.policy.action}) matches all that it does`,
    hint: same ? 'remove it' : 'remove it, or narrow the other rule',
    // What another policy has may go with that policy; its own is here to stay.
    ...(isBeside && (namesPaths(by.rule) || !namesPaths(one.rule))
      ? { fix: { kind: 'remove', path } as const }
      : {}),
  }
}

/** Where some rule does, a path that can be read in two ways is refused: a mesh must not lose its only such rule. */
function namesPaths({ to = [] }: Rule): boolean {
  return to.some(({ paths, notPaths }) => paths ?? notPaths)
}
