/** Tokens in comparisons and proofs: every example is confirmed with real tokens, by what verifies them in a sidecar. */
import test from 'ava'

import { compileTokenRules } from '#ca/jwt/request/index.ts'
import { compareIntents, type TokenKind } from '#policy/compare/index.ts'
import {
  type CheckQuery,
  createTokenChecker,
  type Intent,
  proveAssertions,
  readManifests,
  type Tokens,
} from '#policy/index.ts'
import type { Rule } from '#policy/model/index.ts'
import { JWKS, makeToken } from '#test/fakes/fake-tokens.ts'

const WORKLOAD = `
apiVersion: redoubt.io/v1alpha1
kind: Workload
metadata: { name: web, namespace: app, labels: { app: web } }
spec: { serviceAccount: web, ports: [{ name: http, port: 8080 }] }
`
const rule = (more: string): string =>
  `{ issuer: https://iss, jwks: '${JWKS}'${more === '' ? '' : `, ${more}`} }`
const authentication = (...rules: readonly string[]): string => `---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: { name: tokens, namespace: app }
spec: { jwtRules: [${rules.join(', ')}] }
`
const policy = (rules: string, action = 'ALLOW'): string => `---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: ${action.toLowerCase()}, namespace: app }
spec: { action: ${action}, rules: ${rules} }
`
const OF_ISSUER = '[{ from: [{ source: { requestPrincipals: ["https://iss/*"] } }] }]'
const OF_SUBJECT = '[{ from: [{ source: { requestPrincipals: ["https://iss/x"] } }] }]'
const OF_OTHER_SUBJECT = '[{ from: [{ source: { requestPrincipals: ["https://iss/u"] } }] }]'
const WITHOUT_TOKEN = '[{ from: [{ source: { notRequestPrincipals: ["*"] } }] }]'
const NOT_V = '[{ when: [{ key: "request.headers[x-sub]", notValues: ["v"] }] }]'
const BY_HEADER = '[{ when: [{ key: "request.headers[x-sub]", values: ["*"] }] }]'

/** A provider that there is, so that others are none. */
const PROVIDERS = `---
apiVersion: redoubt.io/v1alpha1
kind: Mesh
metadata: { name: mesh }
spec: { extensionProviders: [{ name: there, envoyExtAuthzHttp: { service: a.example, port: 80 } }] }
`
const ASK_NOBODY = policy(NOT_V, 'CUSTOM').replace('spec: {', 'spec: { provider: { name: gone },')

const mesh = (...manifests: readonly string[]): Intent => {
  const { intent, documents } = readManifests([
    { path: 'mesh.yaml', text: [WORKLOAD, ...manifests].join('') },
  ])
  const faults = documents.flatMap(({ errors }) => errors)
  if (faults.length > 0) throw new Error(JSON.stringify(faults))
  return intent
}

const TOKENS: Tokens = {
  compile: (rules) => compileTokenRules(rules, { now: () => Temporal.Now.instant() }),
  keySetOf: () => undefined,
}

/** The example as a client would send it: its claims signed, where its token stands. */
function asSent({ claims, ...query }: CheckQuery, token: TokenKind | undefined): CheckQuery {
  if (token?.signed === undefined) return query
  const text = makeToken({ claims: claims ?? {} })
  const { place } = token
  if (place.in === 'parameter') return { ...query, path: `${query.path}?${place.name}=${text}` }
  const [name, line] =
    place.in === 'header' ? [place.name, place.prefix + text] : ['cookie', `${place.name}=${text}`]
  return { ...query, headers: { ...query.headers, [name]: [line] } }
}

const decide = async (intent: Intent, query: CheckQuery): Promise<string> =>
  (await createTokenChecker(intent, TOKENS)(query)).decision

const FILLS = 'outputClaimToHeaders: [{ header: x-sub, claim: nobody-has-it }]'

const CASES: readonly (readonly [string, Intent, Intent, readonly string[]])[] = [
  [
    '§3.3 with the first rule invalid tokens are refused, and those of the issuer are who they say',
    mesh(policy(WITHOUT_TOKEN)),
    mesh(authentication(rule('')), policy(WITHOUT_TOKEN)),
    ['allow → deny'],
  ],
  [
    '§1.5 a policy that asks for a token lets nobody through where none is taken',
    mesh(policy(OF_ISSUER)),
    mesh(authentication(rule('')), policy(OF_ISSUER)),
    ['deny → allow'],
  ],
  [
    '§3.1 an audience that is asked for refuses tokens for others',
    mesh(authentication(rule(''))),
    mesh(authentication(rule('audiences: ["https://a/"]'))),
    ['allow → deny'],
  ],
  [
    '§3.3 a token elsewhere is none',
    mesh(authentication(rule('')), policy(OF_ISSUER)),
    mesh(authentication(rule('fromCookies: [t]')), policy(OF_ISSUER)),
    ['allow → deny', 'deny → allow'],
  ],
  [
    '§3.4 a header that claims are put into is the client’s to nobody',
    mesh(authentication(rule('')), policy(BY_HEADER)),
    mesh(authentication(rule(FILLS)), policy(BY_HEADER)),
    ['allow → deny'],
  ],
  [
    '§3.4 what nobody is there to be asked about is refused, with the header as it came and as tokens leave it',
    mesh(PROVIDERS, authentication(rule(FILLS)), ASK_NOBODY),
    mesh(PROVIDERS, authentication(rule(FILLS)), policy('[]')),
    [],
  ],
  [
    '§1.3 DENY of who has no token does not see refused ones',
    mesh(authentication(rule(''))),
    mesh(authentication(rule('')), policy(WITHOUT_TOKEN, 'DENY')),
    ['allow → deny'],
  ],
  [
    '§3.3 a token has one subject: a list of them is refused, so nobody is two',
    mesh(authentication(rule('')), policy(OF_SUBJECT)),
    mesh(authentication(rule('')), policy(OF_SUBJECT), policy(OF_OTHER_SUBJECT, 'DENY')),
    [],
  ],
]

const FILLED =
  'policies read the header x-sub, which tokens fill: requests with a token are compared as if it were absent'

for (const [title, before, after, expected] of CASES) {
  test(`${title}: diff, confirmed with real tokens`, async (t) => {
    const [comparison] = compareIntents(before, after)
    const { changes = [], notes = [] } = comparison ?? {}
    const seen = new Set(changes.map((one) => `${one.before} → ${one.after}`))
    t.deepEqual([...seen].sort(), [...expected].sort())
    t.deepEqual(notes, title.startsWith('§3.4') ? [FILLED] : [])
    for (const { witness, token, before: was, after: is, when } of changes) {
      const sent = asSent(witness, token)
      t.deepEqual(
        [await decide(before, sent), await decide(after, sent)],
        [was, is],
        `${when.join(', and ')}: ${JSON.stringify({ witness, token })}`,
      )
    }
  })
}

test('diff cannot tell whether other keys of an issuer are the same, and says so', (t) => {
  const other = authentication('{ issuer: https://iss, jwksUri: "https://keys.example/other" }')
  const [comparison] = compareIntents(mesh(authentication(rule(''))), mesh(other))
  t.deepEqual(comparison?.notes, [
    'the keys of https://iss change: a token of it is taken as signed by keys of both',
  ])
})

test('a sentence says of which issuer a token is, and where it stands', (t) => {
  const [comparison] = compareIntents(
    mesh(policy(OF_ISSUER)),
    mesh(authentication(rule('')), policy(OF_ISSUER)),
  )
  const [change] = comparison?.changes ?? []
  t.true(
    change?.when.includes('the request carries a token of https://iss (header authorization)'),
    change?.when.join('; '),
  )
})

test('§3.3 prove: nobody without a verified token gets in, and without RequestAuthentication nobody has one', async (t) => {
  const nobody = {
    name: 'only with a token',
    workload: 'app/web',
    kind: 'never',
    rules: [{ from: [{ notRequestPrincipals: ['*'] }] }],
    line: 1,
  } as const
  const guarded = mesh(authentication(rule('')), policy(OF_ISSUER))
  const open = mesh(authentication(rule('')))
  t.is(proveAssertions(guarded, [nobody])[0]?.verdict, 'true')
  t.is(proveAssertions(mesh(policy(OF_ISSUER)), [nobody])[0]?.verdict, 'true')
  const [failed] = proveAssertions(open, [nobody])
  t.is(failed?.verdict, 'false')
  const { witness, token } = failed?.counterexample ?? {}
  t.is(witness && (await decide(open, asSent(witness, token))), 'allow')

  const anybody = { ...nobody, kind: 'always', rules: [{}] } as const
  const [refused] = proveAssertions(open, [anybody])
  t.is(refused?.verdict, 'false')
  const example = refused?.counterexample
  t.is(example?.result.reason, 'token-refused')
  t.is(example && (await decide(open, asSent(example.witness, example.token))), 'deny')
})

test('§3.4 prove: where policies read a header that tokens fill, nothing is proved of requests with one', (t) => {
  const filled = mesh(
    authentication(rule('outputClaimToHeaders: [{ header: x-sub, claim: sub }]')),
    policy(BY_HEADER),
  )
  const told = (kind: 'never' | 'only' | 'always', rules: readonly Rule[]) => {
    const assertion = { name: kind, workload: 'app/web', kind, line: 1, rules } as const
    const [proof] = proveAssertions(filled, [assertion])
    return [proof?.verdict, proof?.reason]
  }
  const reason = 'at app/web policies read the header x-sub, which tokens fill'
  t.deepEqual(told('never', [{}]), ['unknown', reason])
  // Who has no token has no such header either.
  t.deepEqual(told('always', [{}]), ['false', undefined])
})
