/** A comparison says of every request what the plain evaluator says of it under the one set and the other. */
import { randomInt } from 'node:crypto'

import test from 'ava'
import fc from 'fast-check'

import { serviceAccountOf, trustDomainOf } from '#ca/spiffe/index.ts'
import { compareIntents, createConfirm, plainVerdict } from '#policy/compare/index.ts'
import type { CheckQuery, Intent } from '#policy/index.ts'
import { connection, http, policies, trust } from '../random-authorization.ts'
import { changeOf, meshWith } from './mesh.ts'

const FIXED_SEED = 20_261_121
const mode = fc.constantFrom('STRICT', 'PERMISSIVE', 'DISABLE', undefined)
const change = fc.record({ policies, trust, mtls: mode, portMtls: mode })

/** Both answers, as a comparison tells them. */
function changeByHand(before: Intent, after: Intent): (query: CheckQuery) => string | undefined {
  const confirms = [before, after].map(createConfirm)
  return (query) => {
    const [was, is] = confirms.map((confirm) => plainVerdict(confirm(query).verdict))
    return was === is ? undefined : `${was} → ${is}`
  }
}

const request: fc.Arbitrary<CheckQuery> = fc
  .record({
    connection,
    http,
    port: fc.constantFrom(8080, 9000, 7000, 10_000),
    speaks: fc.constantFrom('http1' as const, 'http1' as const, 'tcp' as const),
  })
  .map(({ connection: socket, http: asked, port, speaks }) => {
    const address = (text: string): string => (text === '' ? '192.0.2.9' : text)
    const { method, path, host, remoteIp, claims, header } = asked
    const lines = header('x-a').filter((line) => line.trim() === line)
    const to = { namespace: 'app', name: 'web', port }
    return {
      to,
      from: socket.peer,
      sourceIp: address(socket.sourceIp),
      destinationIp: address(socket.destinationIp),
      sni: socket.peer === undefined ? '' : (socket.sni ?? ''),
      ...(speaks === 'tcp' && port !== 8080
        ? { protocol: 'tcp' as const }
        : {
            protocol: 'http1' as const,
            method,
            path,
            ...(host === undefined ? {} : { host }),
            remoteIp: address(remoteIp),
            headers: { 'x-a': lines },
            ...(claims === undefined ? {} : { claims }),
          }),
    }
  })

for (const [which, seed] of Object.entries({ fixed: FIXED_SEED, fresh: randomInt(2 ** 31) })) {
  test(`a comparison of random policies agrees with the plain evaluator, ${which} seed`, (t) => {
    const kinds: Record<string, number> = {}
    const requests = fc.array(request, { minLength: 12, maxLength: 12 })
    fc.assert(
      fc.property(change, change, requests, (one, other, asked) => {
        const [before, after] = [meshWith(one), meshWith({ ...other, trust: one.trust })]
        const [comparison] = compareIntents(before, after)
        if (comparison === undefined) return false
        const byHand = changeByHand(before, after)
        const trusted = [one.trust.trustDomain, ...one.trust.trustDomainAliases]
        return asked.every((query) => {
          const { from } = query
          const isIssued =
            from === undefined ||
            (trusted.includes(trustDomainOf(from)) &&
              /^[^/]*\/\/[^/]+\/ns\/[^/]+\/sa\/[^/]+$/.test(from))
          if (!isIssued || (from && serviceAccountOf(from) === undefined)) return true
          const expected = byHand(query)
          kinds[`${expected}`] = (kinds[`${expected}`] ?? 0) + 1
          const told = changeOf(comparison, query)
          return told === expected
        })
      }),
      { numRuns: 120, seed, endOnFailure: true },
    )
    t.log(`seed ${seed}: ${JSON.stringify(kinds)}`)
    t.true(Object.keys(kinds).length >= 5, JSON.stringify(kinds))
  })
}
