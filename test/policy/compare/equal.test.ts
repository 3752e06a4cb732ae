/** A comparison says of every request what the plain evaluator says of it under the one set and the other. */

import test from 'ava'
import fc from 'fast-check'

import { serviceAccountOf, trustDomainOf } from '#ca/spiffe/index.ts'
import {
  type CarriedToken,
  compareIntents,
  createConfirm,
  plainVerdict,
  tokenKinds,
} from '#policy/compare/index.ts'
import { assembleInbound } from '#policy/index.ts'
import type { AuthorizationPolicy, JwtRule, Rule } from '#policy/model/index.ts'
import { randomSeed } from '#test/fakes/random-seed.ts'
import { keyNameOf } from '../../../policy/compare/tokens.ts'
import type { CheckQuery, Intent } from '#policy/index.ts'
import { connection, http, policies, trust } from '../random-authorization.ts'
import { changeOf, meshWith } from './mesh.ts'

const FIXED_SEED = 20_261_121
const mode = fc.constantFrom('STRICT', 'PERMISSIVE', 'DISABLE', undefined)
const ISSUER = 'https://iss'
/** Whose tokens a side may take: anybody's with one key set, an issuer's, for an audience, from elsewhere, into a header. */
const jwtRules = fc.subarray<Partial<JwtRule>>(
  [
    { jwksUri: 'https://keys' },
    { issuer: ISSUER },
    { issuer: ISSUER, audiences: ['http://a/'], fromHeaders: [{ name: 'x-jwt', prefix: '' }] },
    {
      issuer: 'other',
      fromCookies: ['t'],
      outputClaimToHeaders: [{ header: 'x-a', claim: 'sub' }],
    },
  ],
  { maxLength: 2 },
)
const change = fc.record({ policies, trust, mtls: mode, portMtls: mode, jwtRules })

/** Both answers, as a comparison tells them. */
function changeByHand(
  before: Intent,
  after: Intent,
): (query: CheckQuery, token: CarriedToken) => string | undefined {
  const confirms = [before, after].map(createConfirm)
  return (query, token) => {
    const [was, is] = confirms.map((confirm) => plainVerdict(confirm(query, token).verdict))
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

/** The workload's bundle, with names for keys. */
function bundleIn(intent: Intent) {
  const [workload] = intent.workloads
  if (workload === undefined) throw new Error('the mesh has a workload')
  const ports = workload.ports.map((port) => ({ ...port, address: '' }))
  return assembleInbound(intent, { ...workload, ports }, keyNameOf)
}

/** Claims are those of the token: it names its issuer, is refused where RFC 7519 wants a text and there is none, and without one there are none. */
function withTokenOf({ claims, ...query }: CheckQuery, token: CarriedToken): CheckQuery {
  if (token === 'none' || token.signed === undefined) return query
  const { issuer } = token.signed
  const readable = Object.entries({ ...claims }).filter(
    ([name, value]) => !['iss', 'sub', 'jti'].includes(name) || typeof value === 'string',
  )
  const named = issuer === undefined ? {} : { iss: issuer }
  return { ...query, claims: { ...Object.fromEntries(readable), ...named } }
}

test('§1.3 whom parameters or a token would spare a provider is told as it is decided', (t) => {
  const asking = (rules: readonly Rule[]): AuthorizationPolicy => ({
    ...{ namespace: 'app', name: 'ask', action: 'CUSTOM', provider: 'b', dryRun: false, rules },
  })
  const admin: AuthorizationPolicy = {
    ...{ namespace: 'app', name: 'deny', action: 'DENY', dryRun: false },
    rules: [{ to: [{ paths: ['/admin'] }] }],
  }
  // A token's claim stands in x-a, so that only the client's own line is asked about.
  const fills: Partial<JwtRule> = {
    ...{ issuer: 'other', fromCookies: ['t'] },
    outputClaimToHeaders: [{ header: 'x-a', claim: 'sub' }],
  }
  const byLine = [
    { when: [{ key: 'request.headers[x-a]', values: ['v'] }] },
    { to: [{ notPaths: ['*b'] }] },
  ]
  for (const [path, expected, policies, jwtRules] of [
    ['/admin;x', 'deny → allow', [admin, asking([{}])], []],
    ['/public;x', 'ask b → allow', [admin, asking([{}])], []],
    ['/b;x', 'ask b → allow', [asking([{ to: [{ paths: ['/b*'] }] }])], []],
    ['/;b', 'ask b → allow', [asking(byLine)], []],
    ['/a/b', 'ask b → allow', [asking(byLine)], [fills]],
    ['/;b', 'deny → allow', [asking(byLine)], [fills]],
  ] as const) {
    const [before, after] = [meshWith({ policies, jwtRules }), meshWith({ jwtRules })]
    const [comparison] = compareIntents(before, after)
    const query: CheckQuery = {
      ...{ to: { namespace: 'app', name: 'web', port: 8080 }, from: undefined },
      ...{ protocol: 'http1', method: 'GET', path, headers: { 'x-a': ['v'] } },
    }
    t.is(changeByHand(before, after)(query, 'none'), expected, path)
    t.is(comparison && changeOf(comparison, query), expected, path)
  }
})

for (const [which, seed] of Object.entries({ fixed: FIXED_SEED, fresh: randomSeed() })) {
  test(`a comparison of random policies agrees with the plain evaluator, ${which} seed`, (t) => {
    const kinds: Record<string, number> = {}
    const requests = fc.array(fc.tuple(request, fc.nat(20)), { minLength: 12, maxLength: 12 })
    fc.assert(
      fc.property(change, change, requests, (one, other, asked) => {
        const [before, after] = [meshWith(one), meshWith({ ...other, trust: one.trust })]
        const [comparison] = compareIntents(before, after)
        if (comparison === undefined) return false
        const byHand = changeByHand(before, after)
        const trusted = [one.trust.trustDomain, ...one.trust.trustDomainAliases]
        const tokens: readonly CarriedToken[] = [
          'none',
          ...tokenKinds([before, after].map(bundleIn)),
        ]
        return asked.every(([plain, pick]) => {
          const isTcp = plain.protocol === 'tcp' || plain.to.port === 9000
          const token = isTcp ? 'none' : (tokens[pick % tokens.length] ?? 'none')
          const query = withTokenOf(plain, token)
          const { from } = query
          const isIssued =
            from === undefined ||
            (trusted.includes(trustDomainOf(from)) &&
              /^[^/]*\/\/[^/]+\/ns\/[^/]+\/sa\/[^/]+$/.test(from))
          if (!isIssued || (from && serviceAccountOf(from) === undefined)) return true
          const expected = byHand(query, token)
          kinds[`${expected}`] = (kinds[`${expected}`] ?? 0) + 1
          const told = changeOf(comparison, query, token)
          if (told !== expected) t.log(JSON.stringify({ query, token, told, expected }))
          return told === expected
        })
      }),
      { numRuns: 60, seed, endOnFailure: true },
    )
    t.log(`seed ${seed}: ${JSON.stringify(kinds)}`)
    // Providers are rarely asked on one side alone: that is looked for where the draw is known.
    t.true(Object.keys(kinds).length >= (which === 'fixed' ? 5 : 3), JSON.stringify(kinds))
  })
}
