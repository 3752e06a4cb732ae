/** Cases and answers of the oracle, as its programs write them, and what they are in our words. */
import { type Intent, readManifests } from '#policy/index.ts'
import { JWKS, makeToken, strangerKey } from '#test/fakes/fake-tokens.ts'

export interface OracleToken {
  readonly claims: Readonly<Record<string, unknown>>
  readonly sig?: 'corrupt' | 'strip'
  readonly key?: 'evil'
  /** Seconds from now. */
  readonly expIn?: number
}

export interface OracleRequest {
  readonly id: string
  /** A SPIFFE ID, `none`, `nocert`, or `badca:` and a SPIFFE ID. */
  readonly from: string
  readonly protocol: 'http/1.1' | 'h2' | 'grpc' | 'tcp'
  readonly port: number
  readonly method?: string
  readonly path?: string
  readonly host?: string
  readonly headers?: readonly (readonly [name: string, value: string])[]
  readonly jwt?: string | OracleToken
  /** `inline`: instead of `{{jwt}}` in path and headers. @default in Authorization */
  readonly jwtPlace?: 'inline'
  readonly srcIp?: string
  readonly sni?: string
  readonly alpn?: readonly string[]
  readonly body?: string
}

export type Manifest = Readonly<Record<string, unknown>>

export interface OracleCase {
  readonly id: string
  readonly manifests: readonly Manifest[]
  readonly mesh?: Manifest
  readonly target?: Manifest
  readonly requests: readonly OracleRequest[]
  readonly ports: readonly number[]
  /** Headers that the app is to get alike, lower case. */
  readonly watched?: readonly string[]
}

export interface OracleAnswer {
  readonly set: string
  readonly id: string
  readonly decision: 'allow' | 'deny' | 'reset' | 'other' | 'error'
  readonly status?: number
  readonly forwardedPath?: string
  readonly forwardedHead?: string
  /** Of the answer; some of them. */
  readonly headers?: readonly (readonly [name: string, value: string])[]
  /** Of a refusal, its first 300 bytes. */
  readonly body?: string
  /** Envoy's response details. */
  readonly details?: string
  readonly transportFailure?: string
  /** What kind of filter chain took the connection. */
  readonly chain?: 'http' | 'tcp'
  readonly error?: string
}

/** A line about a whole set: what Istio's validation left out, and what went wrong. */
export interface OracleSetNote {
  readonly set: string
  readonly skipped?: readonly { readonly kind?: string; readonly name?: string }[] | null
  readonly setError?: string
}

/** What the case is in our manifests, and the documents that we refuse, as `kind/name`. */
export function readCase({ manifests, mesh, ports }: OracleCase): {
  readonly intent: Intent
  readonly refused: readonly string[]
} {
  const ours = [
    { apiVersion: 'redoubt.io/v1alpha1', kind: 'Mesh', metadata: { name: 'mesh' }, spec: mesh },
    {
      apiVersion: 'redoubt.io/v1alpha1',
      kind: 'Workload',
      metadata: { name: 'web-1', namespace: 'app', labels: { app: 'web', ver: 'v1' } },
      spec: {
        serviceAccount: 'web',
        ports: ports.map((port) => ({ name: `x${port}`, port })),
        run: { command: ['x'] },
      },
    },
  ]
  const text = [...ours, ...manifests]
    .map((one) => JSON.stringify(one).replaceAll('__JWKS__', JSON.stringify(JWKS).slice(1, -1)))
    .join('\n---\n')
  const { intent, documents } = readManifests([{ path: 'case.yaml', text }])
  const refused = documents.filter(({ valid }) => !valid)
  return { intent, refused: refused.map(({ kind, name }) => `${kind}/${name}`) }
}

/** The request with its token made and put where it goes. */
export function withToken(
  request: OracleRequest,
): Required<Pick<OracleRequest, 'path' | 'headers'>> {
  const { path = '/', headers = [], jwt, jwtPlace } = request
  if (jwt === undefined) return { path, headers }
  const token = typeof jwt === 'string' ? jwt : signed(jwt)
  if (jwtPlace !== 'inline') {
    return { path, headers: [...headers, ['Authorization', `Bearer ${token}`]] }
  }
  return {
    path: path.replaceAll('{{jwt}}', token),
    headers: headers.map(([name, value]) => [name, value.replaceAll('{{jwt}}', token)]),
  }
}

function signed({ claims, sig, key, expIn = 3600 }: OracleToken): string {
  const exp = Math.floor(Date.now() / 1000) + expIn
  const made = makeToken({
    claims: { exp, ...claims },
    header: { typ: 'JWT' },
    ...(key === 'evil' ? { key: strangerKey } : {}),
  })
  const signatureAt = made.lastIndexOf('.') + 1
  if (sig === 'strip') return made.slice(0, signatureAt)
  if (sig !== 'corrupt') return made
  const signature = Buffer.from(made.slice(signatureAt), 'base64url')
  signature[3] = (signature[3] ?? 0) ^ 0xff
  return made.slice(0, signatureAt) + signature.toString('base64url')
}
