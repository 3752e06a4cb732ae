/** What validation lets through, both evaluators can compile: a sidecar never refuses a whole bundle for one odd value. */
import test from 'ava'
import * as fc from 'fast-check'

import { parseSpiffeId, parseTrustDomain } from '#ca/spiffe/index.ts'
import { compileAuthorization } from '#policy/casbin/index.ts'
import { evaluateAuthorization } from '#policy/evaluate/index.ts'
import { type AuthorizationPolicy, readManifests } from '#policy/index.ts'

const trustDomain = parseTrustDomain('cluster.local')

const peer = parseSpiffeId('spiffe://cluster.local/ns/a/sa/b')
const CONNECTION = {
  peer,
  sourceIp: '10.0.0.1',
  destinationIp: '2001:db8::1',
  destinationPort: 8080,
  sni: 'x',
}
const HTTP = {
  method: 'GET',
  path: '/a/b',
  host: 'h',
  remoteIp: '10.0.0.1',
  header: () => ['v'],
  claims: { iss: 'i', sub: 's', groups: ['a'] },
}

const odd = fc.oneof(
  fc.constantFrom(
    '*',
    '**',
    '*a*',
    'a*b',
    '%',
    '(',
    '[',
    '\\',
    '"',
    ',',
    ' ',
    'r.obj == 1',
    '10.0.0.0/8',
    '1.2.3.4',
    '::',
    '::/0',
    '::ffff:1.2.3.4',
    '::ffff:1.2.3.4/100',
    'fe80::1%eth0',
    '0.0.0.0/0',
    '10.1.1.1/8',
    '0',
    '65535',
    '080',
    '/',
    '/{*}',
    '/a/{**}',
    '/a/{*}/b/{**}/',
    'a/b',
    'a.b/ns/c/sa/d',
    'é',
    '🙂',
    '\n',
    '__proto__',
    'constructor',
    ' padded ',
  ),
  fc.string({ minLength: 1, maxLength: 10 }),
)
const list = fc.array(odd, { minLength: 1, maxLength: 3 })
const SOURCE = [
  'principals',
  'requestPrincipals',
  'namespaces',
  'serviceAccounts',
  'ipBlocks',
  'remoteIpBlocks',
  'trustDomains',
]
const OPERATION = ['hosts', 'ports', 'methods', 'paths']
const KEYS = [
  'source.ip',
  'remote.ip',
  'source.namespace',
  'source.serviceAccount',
  'source.principal',
  'source.trustDomain',
  'request.auth.principal',
  'request.auth.audiences',
  'request.auth.presenter',
  'request.auth.claims[groups]',
  'request.auth.claims[a][b]',
  'request.auth.claims[a][]',
  'request.headers[x-a]',
  'request.headers[:authority]',
  'destination.ip',
  'destination.port',
  'connection.sni',
  'experimental.envoy.filters.network.mysql[key]',
]

/** One list of one field, `not` or not. */
const oneField = (names: readonly string[]): fc.Arbitrary<object> =>
  fc.tuple(fc.constantFrom(...names), fc.boolean(), list).map(([name, not, values]) => ({
    [not ? `not${name.charAt(0).toUpperCase()}${name.slice(1)}` : name]: values,
  }))
const rule = fc.oneof(
  oneField(SOURCE).map((source) => ({ from: [{ source }] })),
  oneField(OPERATION).map((operation) => ({ to: [{ operation }] })),
  fc
    .tuple(fc.constantFrom(...KEYS), fc.constantFrom('values', 'notValues'), list)
    .map(([key, field, values]) => ({ when: [{ key, [field]: values }] })),
)

function policyFrom(action: string, one: object): AuthorizationPolicy | undefined {
  const manifest = {
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name: 'odd', namespace: 'a' },
    spec: { action, rules: [one] },
  }
  return readManifests([{ path: 'x', text: JSON.stringify(manifest) }]).intent
    .authorizationPolicies[0]?.policy
}

for (const [name, compile] of [
  ['policy/casbin', compileAuthorization],
  ['policy/evaluate', evaluateAuthorization],
] as const) {
  test(`${name} compiles and decides on whatever validation accepts`, (t) => {
    let accepted = 0
    t.notThrows(() =>
      fc.assert(
        fc.property(fc.constantFrom('ALLOW', 'DENY', 'AUDIT'), rule, (action, one) => {
          const policy = policyFrom(action, one)
          if (!policy) return
          accepted += 1
          const engine = compile({ policies: [policy], trustDomain, trustDomainAliases: [] })
          for (const connection of [CONNECTION, { ...CONNECTION, peer: undefined }]) {
            engine(connection)(HTTP)
            engine(connection)(undefined)
          }
        }),
        { numRuns: 1200 },
      ),
    )
    t.true(accepted > 330, `${accepted} were accepted`)
  })
}
