import test from 'ava'
import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { compileAuthorization } from '#policy/casbin/index.ts'
import { evaluateAuthorization } from '#policy/evaluate/index.ts'
import { randomSeed } from '#test/fakes/random-seed.ts'
import {
  connection,
  deepPath,
  http,
  manyPathRules,
  policies,
  trust,
  unfold,
} from '../random-authorization.ts'

const FIXED_SEED = 20_261_121
const attempts = fc.array(fc.tuple(connection, fc.option(http, { nil: undefined, freq: 5 })), {
  minLength: 4,
  maxLength: 4,
})
const kind = fc.constantFrom('http' as const, 'grpc' as const)
const providers = fc.option(fc.dictionary(fc.constantFrom('a', 'b'), fc.record({ kind })), {
  nil: undefined,
})
const sets = fc.tuple(policies, trust, providers, attempts)

/** 2,500 sets of policies a run, 10,000 attempts: half of them the same in every run, half never the same. */
for (const [which, seed] of Object.entries({ fixed: FIXED_SEED, fresh: randomSeed() })) {
  test(`compileAuthorization() decides as evaluateAuthorization() does, ${which} seed`, (t) => {
    const kinds: Record<string, number> = {}
    fc.assert(
      fc.property(sets, ([list, domains, known, tries]) => {
        const input = { policies: list, ...domains, ...(known && { providers: known }) }
        const casbin = compileAuthorization(input)
        const plain = evaluateAuthorization(input)
        return tries.every(([peer, request]) => {
          const decision = casbin(peer)(request)
          const label = decision.kind === 'deny' ? decision.reason : decision.kind
          kinds[label] = (kinds[label] ?? 0) + 1
          return isDeepStrictEqual(unfold(decision), unfold(plain(peer)(request)))
        })
      }),
      { numRuns: 1250, seed },
    )
    t.log(`seed ${seed}: ${JSON.stringify(kinds)}`)
    for (const kind of ['allow', 'ask', 'denied-by-policy', 'no-allow-matched']) {
      t.true((kinds[kind] ?? 0) > 100, `${kind} must occur: ${JSON.stringify(kinds)}`)
    }
  })
}

test('so many lines that they are divided by path decide as evaluateAuthorization() does', (t) => {
  const kinds: Record<string, number> = {}
  const tries = fc.array(fc.tuple(connection, http, deepPath), { minLength: 8, maxLength: 8 })
  fc.assert(
    fc.property(manyPathRules, trust, tries, (many, domains, asked) => {
      const input = { policies: [many], ...domains }
      const casbin = compileAuthorization(input)
      const plain = evaluateAuthorization(input)
      return asked.every(([peer, some, path]) => {
        const request = { ...some, path }
        const decision = casbin(peer)(request)
        kinds[decision.kind] = (kinds[decision.kind] ?? 0) + 1
        return isDeepStrictEqual(unfold(decision), unfold(plain(peer)(request)))
      })
    }),
    { numRuns: 200, seed: FIXED_SEED },
  )
  t.true((kinds['allow'] ?? 0) > 100 && (kinds['deny'] ?? 0) > 100, JSON.stringify(kinds))
})
