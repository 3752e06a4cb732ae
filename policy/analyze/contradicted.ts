/** Rules that can have no effect: a DENY takes all that they allow, or they exclude what they ask for. */
import { coversRule, impossiblePart } from './covers.ts'
import type { Draft } from './finding.ts'
import { type Scene, sidecarPolicies, subjectOf } from './scene.ts'
import { enforcedRules, ruleName, scopeCovers } from './shadowed.ts'

/** RDB0002: DENY is asked before ALLOW (§1.3). */
export function findContradicted(scene: Scene): readonly Draft[] {
  const rules = enforcedRules(scene)
  const denials = rules.filter(({ policy }) => policy.action === 'DENY')
  return rules
    .filter(({ policy }) => policy.action === 'ALLOW')
    .flatMap((allow) => {
      const by = denials.find(
        (deny) => scopeCovers(scene, deny.intent, allow.intent) && coversRule(deny, allow),
      )
      if (!by) return []
      return [
        {
          code: 'RDB0002',
          subject: subjectOf('AuthorizationPolicy', allow.policy),
          path: ['spec', 'rules', allow.index],
          message: `${ruleName(allow)} allows nothing: ${ruleName(by)} denies all that it matches, and DENY comes first`,
          hint: 'remove the rule, or take its requests out of the DENY rule with notPaths, notMethods or notPrincipals',
        } as const,
      ]
    })
}

/** RDB0003 */
export function findUnreachable(scene: Scene): readonly Draft[] {
  return sidecarPolicies(scene).flatMap(({ policy }) =>
    policy.rules.flatMap((rule, index): readonly Draft[] => {
      const part = impossiblePart({ policy, rule, plainTrust: false })
      if (part === undefined) return []
      return [
        {
          code: 'RDB0003',
          subject: subjectOf('AuthorizationPolicy', policy),
          path: ['spec', 'rules', index, ...part],
          message: `no request matches rule ${index}: its "${part[0]}" excludes every value that it asks for`,
          hint: 'remove the values from one of the two lists',
        },
      ]
    }),
  )
}
