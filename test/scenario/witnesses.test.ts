/**
 * What `authz diff` and `authz prove` show as examples, sent to a sidecar that runs: over real sockets, with
 * certificates and signed tokens, it decides each as was said.
 */

import test from 'ava'
import fc from 'fast-check'

import type { TokenKind } from '#policy/compare/index.ts'
import {
  type CheckQuery,
  compareIntents,
  type Intent,
  proveAssertions,
  readManifests,
} from '#policy/index.ts'
import { JWKS, makeToken } from '#test/fakes/fake-tokens.ts'
import { randomSeed } from '#test/fakes/random-seed.ts'
import { openRunningSidecar, type Seen, type SidecarRequest } from '#test/fakes/running-sidecar.ts'

const PORTS = [8080, 9000, 7000]
const WORKLOAD = `
apiVersion: redoubt.io/v1alpha1
kind: Workload
metadata: { name: web-1, namespace: app, labels: { app: web } }
spec:
  serviceAccount: web
  ports: [{ name: http, port: 8080 }, { name: tcp-raw, port: 9000 }, { name: any, port: 7000 }]
  address: 127.0.0.1
`

const some = (...atoms: readonly string[]): fc.Arbitrary<readonly string[]> =>
  fc.subarray([...atoms], { minLength: 1, maxLength: 2 })
const field = (name: string, values: fc.Arbitrary<readonly string[]>): fc.Arbitrary<object> =>
  fc.tuple(fc.boolean(), values).map(([negated, list]) => ({
    [negated ? `not${name.charAt(0).toUpperCase()}${name.slice(1)}` : name]: list,
  }))
const source = fc.oneof(
  field('principals', some('cluster.local/ns/app/sa/a', 'cluster.local/ns/b/*', '*')),
  field('namespaces', some('app', 'b*')),
  field('requestPrincipals', some('https://iss/*', 'https://iss/u', '*')),
)
const operation = fc.oneof(
  field('paths', some('/a', '/a/*', '/a/{*}/c', '*z')),
  field('methods', some('GET', 'P*')),
  field('ports', some('8080', '7000')),
  field('hosts', some('web.app', '*.test')),
)
const condition = fc.oneof(
  fc.constant({ key: 'request.headers[x-a]', values: ['v*'] }),
  fc.constant({ key: 'request.auth.claims[group]', notValues: ['g'] }),
  fc.constant({ key: 'connection.sni', values: ['*.app'] }),
)
const rule = fc.record(
  {
    from: fc.array(
      source.map((one) => ({ source: one })),
      { minLength: 1, maxLength: 2 },
    ),
    to: fc.array(
      operation.map((one) => ({ operation: one })),
      { minLength: 1, maxLength: 2 },
    ),
    when: fc.array(condition, { minLength: 1, maxLength: 1 }),
  },
  { requiredKeys: [] },
)
const object = (kind: string, name: string, spec: unknown): unknown => ({
  apiVersion: 'security.istio.io/v1',
  kind,
  metadata: { name, namespace: 'app' },
  spec,
})
const policies = fc
  .array(fc.record({ action: fc.constantFrom('ALLOW', 'DENY'), rules: fc.array(rule) }), {
    maxLength: 3,
  })
  .map((list) => list.map((spec, at) => object('AuthorizationPolicy', `p${at}`, spec)))
const mode = fc
  .constantFrom('STRICT', 'PERMISSIVE', 'DISABLE')
  .map((word) => [object('PeerAuthentication', 'mode', { mtls: { mode: word } })])
const jwt = { issuer: 'https://iss', jwks: JWKS }
const tokens = fc
  .constantFrom(undefined, jwt, { ...jwt, audiences: ['a'] }, { ...jwt, fromCookies: ['t'] })
  .map((one) => (one ? [object('RequestAuthentication', 'tokens', { jwtRules: [one] })] : []))
const mesh = fc.tuple(policies, mode, tokens).map((parts): Intent => {
  const text = [WORKLOAD, ...parts.flat().map((one) => JSON.stringify(one))].join('\n---\n')
  return readManifests([{ path: 'mesh.yaml', text }]).intent
})

/** `undefined` for what no client of this test can send. */
function asSent(query: CheckQuery, token: TokenKind | undefined): SidecarRequest | undefined {
  const { from, to, protocol, method = 'GET', path = '/', host, headers = {}, sni, claims } = query
  // At a port that nobody declares no sidecar listens.
  if (method === 'CONNECT' || !PORTS.includes(to.port ?? 0)) return undefined
  const connection = {
    from: from ?? 'none',
    port: to.port ?? 0,
    ...(sni === undefined ? {} : { sni }),
  }
  if (protocol === 'tcp') return { ...connection, protocol: 'tcp' }
  const lines = Object.entries(headers).flatMap(([name, values]) =>
    values.map((value) => [name, value] as const),
  )
  const request = { ...connection, protocol: 'http/1.1', method, path, headers: lines } as const
  const sent = { ...request, ...(host === undefined ? {} : { host }) }
  if (token?.signed === undefined) return sent
  const text = makeToken({ claims: claims ?? {} })
  const { place } = token
  if (place.in === 'parameter') return { ...sent, path: `${path}?${place.name}=${text}` }
  const line =
    place.in === 'header'
      ? ([place.name, place.prefix + text] as const)
      : (['cookie', `${place.name}=${text}`] as const)
  return { ...sent, headers: [...lines, line] }
}

const decisionOf = ({ kind, status = 0 }: Seen): string =>
  kind === 'tcp' || (kind === 'http' && status === 200) ? 'allow' : 'deny'

test('every example of diff and of prove is decided by a running sidecar as it was said', async (t) => {
  await using sidecar = await openRunningSidecar(PORTS)
  const seed = randomSeed()
  const sent = { diff: 0, prove: 0, tokens: 0, tcp: 0 }
  const decide = async (
    intent: Intent,
    query: CheckQuery,
    token: TokenKind | undefined,
  ): Promise<string | undefined> => {
    const request = asSent(query, token)
    if (request === undefined) return undefined
    await sidecar.apply(intent)
    if (token !== undefined) sent.tokens += 1
    if (request.protocol === 'tcp') sent.tcp += 1
    const seen = await sidecar.send(request)
    // On a machine that is busy an answer may be late; a decision is the same the second time.
    return decisionOf(seen.kind === 'closed' ? await sidecar.send(request) : seen)
  }
  const assertion = (kind: 'never' | 'always') =>
    ({
      name: kind,
      workload: 'app/web-1',
      kind,
      rules: [{ from: [{ namespaces: ['app'] }] }],
      line: 1,
    }) as const
  await fc.assert(
    fc.asyncProperty(mesh, mesh, async (before, after) => {
      const [comparison] = compareIntents(before, after, { limit: 4 })
      for (const { witness, token, before: was, after: is } of comparison?.changes ?? []) {
        const seen = [await decide(before, witness, token), await decide(after, witness, token)]
        if (seen.includes(undefined)) continue
        sent.diff += 1
        t.deepEqual(seen, [was, is], JSON.stringify({ witness, token }))
      }
      for (const kind of ['never', 'always'] as const) {
        const [proof] = proveAssertions(after, [assertion(kind)])
        const { witness, token } = proof?.counterexample ?? {}
        const seen = witness && (await decide(after, witness, token))
        if (seen === undefined) continue
        sent.prove += 1
        t.is(seen, kind === 'never' ? 'allow' : 'deny', JSON.stringify({ witness, token }))
      }
    }),
    { numRuns: 20, seed, endOnFailure: true },
  )
  t.log(`seed ${seed}: ${JSON.stringify(sent)}`)
  t.true(sent.diff > 20 && sent.prove > 8 && sent.tokens > 5, JSON.stringify(sent))
})
