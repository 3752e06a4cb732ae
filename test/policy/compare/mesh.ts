/** A mesh of one workload for comparisons, and requests as both sides know them. */
import { type Intent, readManifests } from '#policy/index.ts'
import { type Known, verdictsOf } from '#policy/compare/index.ts'
import type { CarriedToken, Comparison } from '#policy/compare/index.ts'
import { claimId, claimShape } from '../../../policy/compare/literal.ts'
import type { CheckQuery } from '#policy/index.ts'
import {
  type AuthorizationPolicy,
  headerValues,
  type JwtRule,
  normalizePath,
} from '#policy/model/index.ts'
import type { TrustDomain } from '#ca/spiffe/index.ts'

const MANIFESTS = `
apiVersion: redoubt.io/v1alpha1
kind: Workload
metadata: { name: web, namespace: app, labels: { app: web } }
spec:
  serviceAccount: web
  ports: [{ name: http, port: 8080 }, { name: tcp-raw, port: 9000 }, { name: any, port: 7000 }]
`

export const BASE: Intent = readManifests([{ path: 'mesh.yaml', text: MANIFESTS }]).intent

const PLAIN_RULE: JwtRule = {
  audiences: [],
  fromHeaders: [],
  fromParams: [],
  fromCookies: [],
  forwardOriginalToken: false,
  outputClaimToHeaders: [],
  spaceDelimitedClaims: [],
  timeoutMs: 5000,
}

export interface MeshChange {
  readonly policies?: readonly AuthorizationPolicy[]
  readonly trust?: {
    readonly trustDomain: TrustDomain
    readonly trustDomainAliases: readonly TrustDomain[]
  }
  readonly mtls?: 'STRICT' | 'PERMISSIVE' | 'DISABLE' | undefined
  readonly portMtls?: 'STRICT' | 'PERMISSIVE' | 'DISABLE' | undefined
  /** Whose tokens are taken. */
  readonly jwtRules?: readonly Partial<JwtRule>[]
}

/** The mesh with these policies. */
export function meshWith({
  policies = [],
  trust,
  mtls,
  portMtls,
  jwtRules = [],
}: MeshChange): Intent {
  const { mesh } = BASE
  return {
    ...BASE,
    mesh: { ...mesh, ...trust },
    authorizationPolicies: policies.map((policy) => {
      const { namespace, name } = policy
      return { namespace, name, targeted: false, policy }
    }),
    peerAuthentications: [
      {
        namespace: 'app',
        name: 'mode',
        selector: { app: 'web' },
        ...(mtls === undefined ? {} : { mode: mtls }),
        ports: portMtls === undefined ? {} : { '8080': portMtls },
        dryRun: false,
      },
    ],
    requestAuthentications: [
      {
        namespace: 'app',
        name: 'tokens',
        targeted: false,
        jwtRules: jwtRules.map((rule) => ({ ...PLAIN_RULE, ...rule })),
      },
    ],
  }
}

/** The change that a comparison tells for a request, `undefined` for none; a request that it takes for impossible fails. */
export function changeOf(
  comparison: Comparison,
  query: CheckQuery,
  token: CarriedToken = 'none',
): string | undefined {
  const { diagram } = comparison
  if (diagram === undefined) throw new Error('it was not compared')
  const verdicts = verdictsOf(diagram.space, diagram.root, knownOf(query, token))
  const [only, ...others] = verdicts
  if (verdicts.size !== 1) {
    throw new Error(
      `${JSON.stringify(query)} is ${verdicts.size} things: ${[only, ...others].join()}`,
    )
  }
  return only
}

/** Every attribute of a query. */
export function knownOf(query: CheckQuery, token: CarriedToken): Known {
  const { protocol, to, from, sourceIp = '127.0.0.1', destinationIp = '127.0.0.1' } = query
  const isTcp = protocol === 'tcp' || to.port === 9000
  const path = normalizePath(query.path ?? '/', 'BASE')
  const known = new Map<string, string | undefined | readonly string[]>([
    ['entry', `${to.port}/${isTcp ? 'tcp' : 'http'}`],
    ['peer', from],
    ['sni', query.sni || undefined],
    ['sourceIp', sourceIp],
    ['destinationIp', destinationIp],
    ['method', query.method ?? 'GET'],
    ['path', path.kind === 'ok' ? path.path : '/'],
    ['host', query.host],
    ['remoteIp', query.remoteIp ?? sourceIp],
    ['token', token === 'none' ? undefined : token.id],
  ])
  for (const name of ['x-a', 'x-user', 'accept']) {
    const values = headerValues(name, query.headers?.[name] ?? [])
    known.set(`header:${name}`, name === 'accept' ? values[0] : values)
  }
  const isSigned = token !== 'none' && token.signed !== undefined
  const claims = isSigned ? (query.claims ?? {}) : {}
  for (const path of CLAIMS) {
    const id = claimId(path)
    const texts = textsAt(claims, path)
    known.set(id, claimShape(id) === 'list' ? texts : texts[0])
  }
  return known
}

const CLAIMS = ['iss', 'sub', 'aud', 'azp', 'group', 'a', 'toString'].map((name) => [name])
CLAIMS.push(['a', 'b'], ['a', ''])

function textsAt(claims: unknown, path: readonly string[]): readonly string[] {
  let at: unknown = claims
  for (const name of path) {
    const isObject = typeof at === 'object' && at !== null && !Array.isArray(at)
    at =
      isObject && Object.hasOwn(at as object, name)
        ? (at as Record<string, unknown>)[name]
        : undefined
  }
  const texts: readonly unknown[] = Array.isArray(at) ? at : [at]
  return texts.filter((text) => typeof text === 'string')
}
