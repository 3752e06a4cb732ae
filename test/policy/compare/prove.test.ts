/** Assertions hold exactly when no request speaks against them. */
import test from 'ava'
import fc from 'fast-check'

import { parseSpiffeId } from '#ca/spiffe/index.ts'
import { createConfirm } from '#policy/compare/index.ts'
import { type CheckQuery, proveAssertions } from '#policy/index.ts'
import type { AuthorizationPolicy, Rule } from '#policy/model/index.ts'
import { meshWith } from './mesh.ts'

const SEED = 20_261_123
const some = (...atoms: readonly string[]): fc.Arbitrary<string[]> =>
  fc.subarray([...atoms], { minLength: 1, maxLength: 2 })
const rule: fc.Arbitrary<Rule> = fc
  .tuple(
    fc.constantFrom('principals', 'notPrincipals'),
    some('cluster.local/ns/app/sa/a', 'cluster.local/ns/app/*', '*b', '*'),
    fc.constantFrom('paths', 'notPaths'),
    some('/', '/a', '/a/*', '*b'),
    some('GET', 'P*', 'DELETE'),
    fc.nat(3),
  )
  .map(([who, principals, what, paths, methods, parts]) => ({
    ...(parts & 1 ? { from: [{ [who]: principals }] } : {}),
    ...(parts & 2 ? { to: [{ [what]: paths, methods }] } : {}),
  }))
const policies = fc
  .array(
    fc.tuple(
      fc.constantFrom('ALLOW' as const, 'DENY' as const),
      fc.array(rule, { minLength: 1, maxLength: 2 }),
    ),
    {
      maxLength: 3,
    },
  )
  .map((list) =>
    list.map(([action, rules], at): AuthorizationPolicy => {
      return { namespace: 'app', name: `p${at}`, action, dryRun: false, rules }
    }),
  )

const REQUESTS: readonly CheckQuery[] = [
  undefined,
  'app/sa/a',
  'app/sa/c',
  'x/sa/b',
  'x/sa/y',
].flatMap((id) =>
  ['/', '/a', '/a/', '/a/b', '/b', '/x'].flatMap((path) =>
    ['GET', 'POST', 'DELETE', 'HEAD'].map((method): CheckQuery => {
      const from = id === undefined ? id : parseSpiffeId(`spiffe://cluster.local/ns/${id}`)
      return {
        to: { namespace: 'app', name: 'web', port: 8080 },
        from,
        protocol: 'http1',
        method,
        path,
      }
    }),
  ),
)

test('what is proved, no request of an enumeration contradicts; what it contradicts, is not proved', (t) => {
  const seen: Record<string, number> = {}
  const kinds = fc.constantFrom('never' as const, 'always' as const, 'only' as const)
  fc.assert(
    fc.property(
      policies,
      kinds,
      fc.array(rule, { minLength: 1, maxLength: 2 }),
      (list, kind, rules) => {
        const intent = meshWith({ policies: list })
        const [proof] = proveAssertions(intent, [
          { name: 'it', workload: 'app/*', kind, rules, line: 1 },
        ])
        const confirm = createConfirm(intent)
        const region = createConfirm(
          meshWith({
            policies: [{ namespace: 'app', name: 'region', action: 'ALLOW', dryRun: false, rules }],
          }),
        )
        const contradicts = (query: CheckQuery): boolean => {
          const isIn = region(query, 'none').verdict === 'allow'
          const isAllowed = confirm(query, 'none').verdict === 'allow'
          if (kind === 'always') return isIn && !isAllowed
          return isAllowed && isIn === (kind === 'never')
        }
        const found = REQUESTS.some(contradicts)
        const { verdict = 'none', counterexample } = proof ?? {}
        seen[`${kind} ${verdict}`] = (seen[`${kind} ${verdict}`] ?? 0) + 1
        if (found) return verdict === 'false'
        // What no request of the few contradicts, another one may: it is shown.
        const witness = counterexample?.witness
        return (
          verdict === 'true' ||
          (witness !== undefined &&
            (witness.path?.includes(';') || contradicts(witness) || witness.protocol === 'tcp'))
        )
      },
    ),
    { numRuns: 300, seed: SEED, endOnFailure: true },
  )
  t.log(JSON.stringify(seen))
  for (const kind of ['never', 'always', 'only']) {
    for (const verdict of ['true', 'false'])
      t.true((seen[`${kind} ${verdict}`] ?? 0) > 10, `${kind} ${verdict}`)
  }
})
