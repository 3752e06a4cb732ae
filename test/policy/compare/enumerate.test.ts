/** On small universes: every request there is, one by one; and the one difference that was planted. */
import test from 'ava'
import fc from 'fast-check'

import { parseSpiffeId, parseTrustDomain } from '#ca/spiffe/index.ts'
import { compareIntents, createConfirm, plainVerdict } from '#policy/compare/index.ts'
import { type CheckQuery, createChecker } from '#policy/index.ts'
import {
  type AuthorizationPolicy,
  isAmbiguousPath,
  type Operation,
  type Rule,
  type Source,
} from '#policy/model/index.ts'
import { changeOf, meshWith } from './mesh.ts'

const SEED = 20_261_122
/** Six atoms a field. */
const ATOMS = {
  principals: [
    '*',
    'cluster.local/ns/app/sa/a',
    'cluster.local/ns/app/*',
    '*/sa/a',
    '*b',
    'cluster.local/ns/b*',
  ],
  paths: ['/', '/a', '/a/*', '*b', '/{*}/b', '/a/{**}'],
  methods: ['GET', 'P*', '*T', '*', 'DELETE', 'POST'],
  values: ['v', 'w', 'v*', '*w', '*', 'vw'],
}
/** What a request can have there: something of each kind that six atoms make, and what none of them takes. */
const POOL = {
  from: [undefined, 'app/sa/a', 'app/sa/b', 'b/sa/a', 'c/sa/ab', 'c/sa/x'].map((id) =>
    id === undefined ? id : parseSpiffeId(`spiffe://cluster.local/ns/${id}`),
  ),
  path: ['/', '/a', '/a/', '/a/b', '/c/b', '/b', '/a;x', '/a/;/b', '/a/..;/b', '/x'],
  method: ['GET', 'POST', 'DELETE', 'HEAD'],
  lines: [[], ['v'], ['w'], ['v', 'w'], ['vw'], ['x', 'v'], ['x']],
}

const some = (atoms: readonly string[]): fc.Arbitrary<string[]> =>
  fc.subarray([...atoms], { minLength: 1, maxLength: 2 })
const field = <T>(name: string, atoms: readonly string[]): fc.Arbitrary<T> => {
  const not = `not${name.charAt(0).toUpperCase()}${name.slice(1)}`
  return fc
    .tuple(fc.constantFrom(name, name, not), some(atoms))
    .map(([key, values]) => ({ [key]: values }) as T)
}
const rule: fc.Arbitrary<Rule> = fc.record(
  {
    from: fc.array(field<Source>('principals', ATOMS.principals), { minLength: 1, maxLength: 2 }),
    to: fc
      .tuple(field<Operation>('paths', ATOMS.paths), field<Operation>('methods', ATOMS.methods))
      .map(([path, method]) => [{ ...path, ...method }]),
    when: field<{ values?: string[]; notValues?: string[] }>('values', ATOMS.values).map(
      (values) => [{ key: 'request.headers[x-a]', ...values }],
    ),
  },
  { requiredKeys: [] },
)
const policyNamed = (name: string): fc.Arbitrary<AuthorizationPolicy> =>
  fc.record({
    namespace: fc.constant('app'),
    name: fc.constant(name),
    action: fc.constantFrom('ALLOW' as const, 'DENY' as const),
    dryRun: fc.constant(false),
    rules: fc.array(rule, { minLength: 1, maxLength: 2 }),
  })
const set = fc
  .tuple(fc.nat(3), policyNamed('p0'), policyNamed('p1'), policyNamed('p2'))
  .map(([count, ...all]) => all.slice(0, count))

function everyRequest(): readonly CheckQuery[] {
  const { from, path, method, lines } = POOL
  return from.flatMap((peer) =>
    path.flatMap((target) =>
      method.flatMap((verb) =>
        lines.map((values): CheckQuery => {
          const to = { namespace: 'app', name: 'web', port: 8080 }
          const headers = { 'x-a': values }
          return { to, from: peer, protocol: 'http1', method: verb, path: target, headers }
        }),
      ),
    ),
  )
}

test('on universes of six atoms a field a comparison is what enumeration finds', (t) => {
  const requests = everyRequest()
  let changed = 0
  fc.assert(
    fc.property(set, set, (one, other) => {
      const [before, after] = [meshWith({ policies: one }), meshWith({ policies: other })]
      const [comparison] = compareIntents(before, after)
      const confirms = [before, after].map(createConfirm)
      return requests.every((query) => {
        const [was, is] = confirms.map((confirm) => plainVerdict(confirm(query, 'none').verdict))
        const expected = was === is ? undefined : `${was} → ${is}`
        if (expected !== undefined) changed += 1
        return comparison !== undefined && changeOf(comparison, query) === expected
      })
    }),
    { numRuns: 4, seed: SEED, endOnFailure: true },
  )
  t.log(`${requests.length} requests each, ${changed} changed`)
  t.true(changed > 1000)
})

/** Something that no random rule says, for a policy to lose. */
const PLANTED: Rule = {
  from: [{ namespaces: ['planted'] }],
  to: [{ paths: ['/planted/{*}'], methods: ['PATCH'] }],
}

test('on 500 random sets of policies a comparison names the one planted difference, and nothing else', (t) => {
  let named = 0
  fc.assert(
    fc.property(set, fc.constantFrom('ALLOW' as const, 'DENY' as const), (policies, action) => {
      const planted = { namespace: 'app', name: 'planted', action, dryRun: false, rules: [] }
      const before = meshWith({ policies: [...policies, planted] })
      const after = meshWith({ policies: [...policies, { ...planted, rules: [PLANTED] }] })
      const checks = [before, after].map(createChecker)
      const [comparison] = compareIntents(before, after)
      const changes = comparison?.changes ?? []
      for (const { witness, before: was, after: is } of changes) {
        // With the first path rule, paths that servers read differently are refused, whoever asks.
        if (isAmbiguousPath(witness.path ?? '')) continue
        named += 1
        if (!witness.from?.includes('/ns/planted/')) return false
        // A DENY rule loses what TCP does not have (§1.8), and denies there all that is left.
        if (witness.protocol === 'tcp' && action === 'DENY') continue
        if (witness.method !== 'PATCH') return false
        // A path with parameters is judged as it is and without them.
        const paths = [witness.path ?? '', (witness.path ?? '').replace(/;[^/]*/g, '')]
        if (!paths.some((path) => /^\/planted\/[^/]+$/.test(path))) return false
        const answers = checks.map((check) => check(witness).decision)
        if (answers[0] !== was || answers[1] !== is) return false
      }
      const probe: CheckQuery = {
        to: { namespace: 'app', name: 'web', port: 8080 },
        from: parseSpiffeId('spiffe://cluster.local/ns/planted/sa/any'),
        method: 'PATCH',
        path: '/planted/thing',
        headers: { 'x-a': ['x'] },
      }
      const [was, is] = checks.map((check) => check(probe).decision)
      return was === is || changes.length > 0
    }),
    { numRuns: 500, seed: SEED, endOnFailure: true },
  )
  t.log(`${named} classes named`)
  t.true(named > 250)
})

/** Policies of every kind, no two alike. */
function varied(index: number): AuthorizationPolicy {
  const caller = { principals: [`cluster.local/ns/n${index % 25}/sa/c${index}`] }
  const shapes: readonly Rule[] = [
    { from: [caller], to: [{ methods: ['GET'], paths: [`/v1/things/${index}`] }] },
    { from: [{ namespaces: [`n${index % 25}`] }], to: [{ paths: [`/area-${index}/*`] }] },
    { from: [caller], when: [{ key: 'request.headers[x-a]', values: [`t${index % 10}`] }] },
    { from: [{ notPrincipals: ['*/sa/x'] }], to: [{ methods: ['PUT'], paths: [`*.${index}`] }] },
    { from: [caller], to: [{ paths: [`/t/{*}/${index}`], hosts: [`h${index % 9}.example`] }] },
  ]
  const action = index % 7 === 0 ? 'DENY' : 'ALLOW'
  const rules = [shapes[index % shapes.length] ?? {}]
  return { namespace: 'app', name: `p${index}`, action, dryRun: false, rules }
}

test('among 500 policies a comparison names the one planted difference, whichever policy has it', (t) => {
  const all = Array.from({ length: 500 }, (_, index) => varied(index))
  for (const at of [1, 134, 298, 499]) {
    const planted = all.map((one, index) =>
      index === at ? { ...one, rules: [...one.rules, PLANTED] } : one,
    )
    const sides = [meshWith({ policies: all }), meshWith({ policies: planted })] as const
    const [comparison] = compareIntents(...sides)
    const { changes = [], notes = [] } = comparison ?? {}
    t.true(changes.length > 0 && notes.length === 0, `policy ${at}`)
    for (const { witness, before, after } of changes) {
      t.deepEqual([before, after], ['deny', 'allow'])
      t.true(witness.from?.includes('/ns/planted/'), JSON.stringify(witness))
      t.is(witness.method, 'PATCH')
      t.regex((witness.path ?? '').replace(/;[^/]*/g, ''), /^\/planted\/[^/]+$/)
    }
  }
  t.deepEqual(
    compareIntents(meshWith({ policies: all }), meshWith({ policies: all.toReversed() }))[0]
      ?.changes,
    [],
  )
})

test('of several trust domains each has its callers: one whose alias goes is named', (t) => {
  const [home, old] = [parseTrustDomain('cluster.local'), parseTrustDomain('old-td')]
  const before = meshWith({ trust: { trustDomain: home, trustDomainAliases: [old] } })
  const after = meshWith({ trust: { trustDomain: home, trustDomainAliases: [] } })
  const [comparison] = compareIntents(before, after)
  t.deepEqual(
    comparison?.changes.map((one) => `${one.before} → ${one.after}`),
    ['allow → deny'],
  )
  t.is(comparison?.changes[0]?.witness.from?.startsWith('spiffe://old-td/'), true)
})
