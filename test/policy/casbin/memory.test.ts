/** What an edit does not touch is not compiled anew, and decides as if it were. */
import test from 'ava'
import fc from 'fast-check'

import {
  type CompileMemory,
  compileAuthorization,
  createCompileMemory,
} from '#policy/casbin/index.ts'
import type { AuthorizationPolicy } from '#policy/model/index.ts'
import { connection, http, policies, trust } from '../random-authorization.ts'

const policy = (index: number, path = '/a'): AuthorizationPolicy => ({
  namespace: 'app',
  name: `p${index}`,
  action: 'ALLOW',
  dryRun: false,
  rules: [{ from: [{ namespaces: [`n${index}`] }], to: [{ paths: [`${path}/${index}`] }] }],
})

test('an edit of one policy of 1,000 compiles its own line and columns, and nothing else', (t) => {
  const memory = createCompileMemory()
  const made: string[] = []
  const counting: CompileMemory = {
    begin(...what) {
      const { recall, end } = memory.begin(...what)
      return {
        end,
        recall: (kind, key, make) =>
          recall(kind, key, () => {
            made.push(kind)
            return make()
          }),
      }
    },
  }
  const compile = (list: readonly AuthorizationPolicy[], trustDomain = 'td') => {
    made.length = 0
    const input = { policies: list, trustDomain: trustDomain as never, trustDomainAliases: [] }
    return compileAuthorization(input, { memory: counting })
  }
  // As each generation comes: equal, and of other objects.
  const generation = (edited?: number) =>
    Array.from({ length: 1000 }, (_, index) => policy(index, index === edited ? '/b' : '/a'))
  compile(generation())
  t.is(made.length, 3001)
  compile(generation())
  t.deepEqual(made, [])
  compile(generation(500))
  t.deepEqual(made, ['lines', 'to'])
  compile(generation())
  t.deepEqual(made, ['lines', 'to'], 'what a generation did without is forgotten')
  compile(generation(), 'elsewhere')
  t.is(made.length, 3001, 'what a principal means depends on the trust domain')
})

test('what is compiled from memory decides as what is compiled anew', (t) => {
  const memory = createCompileMemory()
  const decisions: string[] = []
  fc.assert(
    fc.property(policies, trust, connection, http, (list, domains, peer, request) => {
      const input = { policies: list, ...domains }
      const warm = compileAuthorization(input, { memory })(peer)(request)
      const cold = compileAuthorization(input)(peer)(request)
      decisions.push(cold.kind)
      return JSON.stringify(warm) === JSON.stringify(cold)
    }),
    { numRuns: 300 },
  )
  t.true(decisions.includes('allow') && decisions.includes('deny'))
})
