/** Tokens that callers may carry, and who vouches for them (istio-semantics §3). */
import type { Labels, ObjectRef } from './intent.ts'

/** Rules of all objects that apply to a workload are concatenated (§3.1). */
export interface RequestAuthentication extends ObjectRef {
  /** Left out, or without labels: the namespace or, in the root namespace, the mesh. */
  readonly selector?: Labels
  /** Attached to gateways and services by reference: never applies to a sidecar (§0.4). */
  readonly targeted: boolean
  readonly jwtRules: readonly JwtRule[]
}

/** One issuer: where its tokens are found, what proves them and what is done with them (§3.1). */
export interface JwtRule {
  /** What `iss` must equal; left out: any, and then `jwksUri` is set. */
  readonly issuer?: string
  /** One of them must be in the token's `aud`; empty: any audience. */
  readonly audiences: readonly string[]
  /** http or https, parsable; at most 2048 characters. */
  readonly jwksUri?: string
  /** Text of a JSON Web Key Set, or of a single key; wins over `jwksUri`. */
  readonly jwks?: string
  /** Where tokens are looked for. With all three lists empty: the default places of §3.3. */
  readonly fromHeaders: readonly TokenHeader[]
  readonly fromParams: readonly string[]
  readonly fromCookies: readonly string[]
  /** Request header that gets the verified payload in base64url. */
  readonly outputPayloadToHeader?: string
  /** `false`: the token is taken out of the request. */
  readonly forwardOriginalToken: boolean
  readonly outputClaimToHeaders: readonly ClaimOutput[]
  /** For fetching the keys; 5000 unless written. */
  readonly timeoutMs: number
  /** Claims that are split at spaces, beside `permission` and `scope`, which always are. */
  readonly spaceDelimitedClaims: readonly string[]
}

export interface TokenHeader {
  /** As written; headers are compared without case. */
  readonly name: string
  /** What stands before the token; empty: nothing. */
  readonly prefix: string
}

export interface ClaimOutput {
  readonly header: string
  /** Path of a claim, nested ones with dots. */
  readonly claim: string
}
