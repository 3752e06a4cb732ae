import fc from 'fast-check'

import test from 'ava'

import { coversRule, impossiblePart } from '#policy/analyze/covers.ts'
import { evaluateAuthorization } from '#policy/evaluate/index.ts'
import type { AuthorizationPolicy, Connection, HttpAttributes, Rule } from '#policy/model/index.ts'
import { connection, http, policies, trust } from '../random-authorization.ts'

/** A policy as validation leaves it: no value that cannot be read, no empty list. */
const cleaned = (policy: AuthorizationPolicy): AuthorizationPolicy =>
  JSON.parse(JSON.stringify(policy), (_, value: unknown) => {
    if (!Array.isArray(value)) return value
    const kept: readonly unknown[] = value.filter((one) => !UNREADABLE.test(String(one)))
    return kept.length > 0 ? kept : undefined
  }) as AuthorizationPolicy
const UNREADABLE = /nonsense|10\.0\.0\.0\/33|^http$|^65536$/

type Trust = Parameters<typeof matches>[1]

function matches(
  policy: AuthorizationPolicy,
  domains: Pick<Parameters<typeof evaluateAuthorization>[0], 'trustDomain' | 'trustDomainAliases'>,
  to: Connection,
  request: HttpAttributes | undefined,
): boolean {
  const decision = evaluateAuthorization({ ...domains, policies: [policy] })(to)(request)
  return policy.action === 'ALLOW' ? decision.kind === 'allow' : decision.kind === 'deny'
}

const alone = (policy: AuthorizationPolicy, rule: Rule, action: 'ALLOW' | 'DENY') => {
  const { provider: _, ...rest } = policy
  return { ...rest, action, dryRun: false, rules: [rule] }
}

for (const action of ['ALLOW', 'DENY'] as const) {
  test(`what coversRule() says of ${action} rules holds for the plain evaluator`, (t) => {
    let covered = 0
    let matched = 0
    const attempts = fc.array(fc.tuple(connection, fc.option(http, { nil: undefined })), {
      minLength: 12,
      maxLength: 12,
    })
    fc.assert(
      fc.property(policies, trust, attempts, (all, domains: Trust, tries) => {
        const plainTrust =
          domains.trustDomain === 'cluster.local' && domains.trustDomainAliases.length === 0
        const rules = all.map(cleaned).flatMap((policy) =>
          (policy.rules ?? []).flatMap((rule) => [
            { policy, rule, plainTrust },
            // Less of a rule covers it more often than another rule does.
            ...(rule.when ? [{ policy, rule: without(rule), plainTrust }] : []),
            { policy, rule: { ...rule, to: [{ methods: ['GET'] }] }, plainTrust },
          ]),
        )
        for (const wide of rules) {
          for (const narrow of rules) {
            if (wide === narrow || !coversRule(wide, narrow)) continue
            covered += 1
            for (const [to, request] of tries) {
              if (request && /;/.test(request.path)) continue
              if (!matches(alone(narrow.policy, narrow.rule, action), domains, to, request))
                continue
              matched += 1
              if (!matches(alone(wide.policy, wide.rule, action), domains, to, request)) {
                throw new Error(JSON.stringify([wide.rule, narrow.rule, to, request]))
              }
            }
          }
        }
      }),
      { numRuns: 80 },
    )
    t.true(covered > 50 && matched > 20, `${covered} pairs, ${matched} matches`)
  })
}

test('what impossiblePart() finds matches nothing', (t) => {
  let impossible = 0
  fc.assert(
    fc.property(policies, trust, connection, http, (all, domains: Trust, to, request) => {
      for (const policy of all.map(cleaned)) {
        for (const rule of policy.rules ?? []) {
          if (!impossiblePart({ policy, rule, plainTrust: false })) continue
          impossible += 1
          if (matches(alone(policy, rule, 'ALLOW'), domains, to, request)) {
            throw new Error(JSON.stringify([rule, to, request]))
          }
        }
      }
    }),
    { numRuns: 500 },
  )
  t.true(impossible > 20, `${impossible} rules`)
})

function without(rule: Rule): Rule {
  return Object.fromEntries(Object.entries(rule).filter(([part]) => part !== 'when'))
}

test('a service account that is excluded is read in the namespace of its own policy', (t) => {
  const placed = (namespace: string, ...notServiceAccounts: readonly string[]) => {
    const rule: Rule = { from: [{ notServiceAccounts }] }
    const policy = { namespace, name: 'p', action: 'ALLOW', dryRun: false, rules: [rule] } as const
    return { policy, rule, plainTrust: true }
  }
  t.false(coversRule(placed('app', 'app/web'), placed('prod', 'web')))
  t.true(coversRule(placed('app', 'app/web'), placed('prod', 'app/web')))
  t.true(coversRule(placed('app', 'web'), placed('prod', 'app/web', 'db')))
})
