/** Tokens in the requests of `redoubt authz` (istio-semantics §1.3, §3, §4). */
import { readFileSync } from 'node:fs'
import test from 'ava'
import { compileTokenRules } from '#ca/jwt/request/index.ts'
import {
  type CheckQuery,
  createTokenChecker,
  explainWithTokens,
  judgeCase,
  readCase,
  readManifests,
  type Tokens,
} from '#policy/index.ts'
import { JWKS, makeToken } from '#test/fakes/fake-tokens.ts'

const tokens = (keys?: string): Tokens => ({
  compile: (rules) => compileTokenRules(rules, { now: () => Temporal.Now.instant() }),
  keySetOf: () => keys,
})

const MANIFESTS = `
apiVersion: redoubt.io/v1alpha1
kind: Workload
metadata: { name: web, namespace: app }
spec: { serviceAccount: web, ports: [{ name: http, port: 80 }], run: { command: [x] } }
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: { name: jwt, namespace: app }
spec:
  jwtRules:
    - { issuer: iss, audiences: [web], jwks: '${JWKS}', outputClaimToHeaders: [{ header: X-Sub, claim: sub }] }
    - { issuer: far, jwksUri: "https://keys.example/" }
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: need-token, namespace: app }
spec:
  rules:
    - from: [{ source: { requestPrincipals: [iss/u, far/u] } }]
      when: [{ key: "request.headers[x-sub]", notValues: [root] }, { key: "request.headers[authorization]", notValues: ["*"] }]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: ask, namespace: app }
spec:
  action: CUSTOM
  provider: { name: p }
  rules: [{ to: [{ operation: { paths: [/custom] } }], when: [{ key: "request.headers[authorization]", values: ["*"] }] }]
`

const { intent } = readManifests([{ path: 'a.yaml', text: MANIFESTS }])
const base: CheckQuery = {
  to: { namespace: 'app', name: 'web' },
  from: undefined,
  protocol: 'http1',
}
const claims = { iss: 'iss', sub: 'u', aud: 'web' }
const bearer = (token: string): Partial<CheckQuery> => ({
  headers: { Authorization: [`Bearer ${token}`], 'X-Sub': ['root'] },
})
const ask = (change: Partial<CheckQuery>, keys?: string) =>
  createTokenChecker(intent, tokens(keys))({ ...base, ...change })

test('§3.3 a token in the request is verified with the keys in the manifests', async (t) => {
  t.like(await ask(bearer(makeToken({ claims }))), { decision: 'allow', policy: 'app/need-token' })
  t.like(await ask({}), { decision: 'deny', status: 403, reason: 'no-allow-matched' })
  t.like(await ask(bearer('abc')), {
    decision: 'deny',
    status: 401,
    action: 'none',
    reason: 'token-refused',
    detail: 'Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections',
  })
  t.like(await ask(bearer(makeToken({ claims: { ...claims, aud: 'x' } }))), { status: 403 })
  const token = makeToken({ claims })
  t.like(await ask({ path: `/a?access_token=${token}` }), {
    decision: 'allow',
    normalizedPath: '/a',
  })
})

test('§4 a refused token in gRPC: 200 with 16, or 7 for an audience', async (t) => {
  const grpc = { protocol: 'grpc' } as const
  t.like(await ask({ ...grpc, ...bearer('abc') }), { status: 200, grpcStatus: 16 })
  const misdirected = bearer(makeToken({ claims: { ...claims, aud: 'x' } }))
  t.like(await ask({ ...grpc, ...misdirected }), { status: 200, grpcStatus: 7 })
})

test('§1.3 CUSTOM sees the request before its token is looked at, and answers first', async (t) => {
  const custom = { ...bearer('abc'), path: '/custom' }
  t.like(await ask(custom), { decision: 'error', reason: 'needs-provider' })
  t.like(await ask({ ...custom, providers: { p: 'deny' } }), { reason: 'denied-by-provider' })
  t.like(await ask({ ...custom, providers: { p: 'allow' } }), { status: 401 })
  const good = {
    ...bearer(makeToken({ claims })),
    path: '/custom',
    providers: { p: 'allow' } as const,
  }
  t.like(await ask(good), { decision: 'allow' })
})

test('claims that are given stand for a token, and nobody looks for another', async (t) => {
  t.like(await ask({ ...bearer('abc'), claims }), { decision: 'deny', status: 403 })
  t.like(await ask({ claims, headers: { 'X-Sub': ['root'] } }), { decision: 'allow' })
})

test('§3.4 row 3, §1.7: policies see the headers that claims are put into', async (t) => {
  const given = (values: string) =>
    readManifests([{ path: 'a.yaml', text: MANIFESTS.replace('notValues: [root]', values) }]).intent
  const query = { ...base, ...bearer(makeToken({ claims })) }
  t.like(await createTokenChecker(given('values: [u]'), tokens())(query), { decision: 'allow' })
  t.like(await createTokenChecker(given('notValues: [u]'), tokens())(query), { decision: 'deny' })
})

test('§3.3 row 1: white space around a header is none of it in HTTP/1, and such a header is none in HTTP/2', async (t) => {
  const none = { headers: { Authorization: ['Bearer '] } }
  t.like(await ask(none), { reason: 'no-allow-matched' })
  t.like(await ask({ ...none, protocol: 'http2' }), { reason: 'no-allow-matched' })
  const bad = { headers: { Authorization: [' Bearer abc'] } }
  t.like(await ask(bad), { reason: 'token-refused' })
  t.like(await ask({ ...bad, protocol: 'http2' }), { reason: 'no-allow-matched' })
})

test('§3.5 keys at a URI: without them it cannot be told, with them it can', async (t) => {
  const far = bearer(makeToken({ claims: { iss: 'far', sub: 'u' } }))
  t.like(await ask(far), { decision: 'error', status: null, reason: 'needs-keys' })
  t.like(await ask(far, JWKS), { decision: 'allow' })
})

test('explain says what policies saw of the token', async (t) => {
  const query = { ...base, ...bearer(makeToken({ claims: { ...claims, sub: 'x' } })) }
  const { policies } = await explainWithTokens(intent, query, tokens())
  const own = policies.find(({ policy }) => policy === 'app/need-token')
  t.deepEqual(own?.rules[0]?.miss?.actual, ['iss/x'])
})

/**
 * `tokens.jsonl`: random RequestAuthentications and policies with tokens at their boundaries, and what
 * Istio 1.31 and Envoy 1.40 decided and said. Its first line is the key set that stands for `__JWKS__`.
 */
test('tokens are worth what they are worth to Istio and Envoy', async (t) => {
  const [first = '', ...sets] = readFileSync('test/fixtures/authz/tokens.jsonl', 'utf8')
    .trim()
    .split('\n')
  const { jwks } = JSON.parse(first) as { jwks: string }
  let count = 0
  for (const line of sets) {
    const { manifests, cases } = JSON.parse(line) as { manifests: object[]; cases: object[] }
    const text = manifests.map((one) => JSON.stringify(one)).join('\n---\n')
    const keys = JSON.stringify(jwks).slice(1, -1)
    const read = readManifests([{ path: 'set.yaml', text: text.replaceAll('__JWKS__', keys) }])
    t.deepEqual(
      read.documents.flatMap(({ errors }) => errors),
      [],
    )
    const check = createTokenChecker(read.intent, tokens())
    for (const one of cases) {
      const reading = readCase(JSON.stringify(one), 1)
      if (reading.kind === 'fault') t.fail(reading.message)
      else {
        const result = judgeCase(reading.case, await check(reading.case.query))
        t.like(result, { ok: true }, JSON.stringify({ one, result }))
      }
      count += 1
    }
  }
  t.true(count >= 300, `${count} requests`)
})
