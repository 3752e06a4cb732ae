/** One issuer that a workload accepts tokens of, as a sidecar's bundle carries it (istio-semantics §3.1). */
export interface TokenRule {
  /** What `iss` must be; left out: anything. */
  readonly issuer?: string
  /** Of which `aud` must name one; left out: any. An empty list accepts nobody. */
  readonly audiences?: readonly string[]
  readonly keys: TokenKeys
  /** In what order tokens are looked for is Envoy's affair: headers, parameters, cookies, each by name. */
  readonly fromHeaders: readonly TokenHeader[]
  readonly fromParams: readonly string[]
  readonly fromCookies: readonly string[]
  /** Whether the token goes on to the app. From a cookie it always does (§0.8.23). */
  readonly forwardOriginalToken: boolean
  /** Header in lower case that carries the payload, base64url; left out: none. */
  readonly outputPayloadToHeader?: string
  readonly outputClaimToHeaders: readonly ClaimHeader[]
  /** Claims that become lists at their spaces. */
  readonly spaceDelimitedClaims: readonly string[]
}

export interface TokenHeader {
  /** Lower case. */
  readonly name: string
  /** Searched anywhere in the value; empty: the value is the token. */
  readonly prefix: string
}

export interface ClaimHeader {
  /** Lower case. */
  readonly header: string
  /** A claim, or one inside objects with `.` between names. */
  readonly claim: string
}

/** A JSON Web Key Set (RFC 7517), in text. */
export type TokenKeys =
  | { readonly kind: 'inline'; readonly jwks: string }
  /** From a URI. Symmetric keys in it count for nothing: what anyone may fetch is no secret. */
  | { readonly kind: 'fetched'; readonly jwks: string }
  /** They could not be had: every token fails. */
  | { readonly kind: 'missing' }

/** A token's payload, verified. */
export type TokenClaims = Readonly<Record<string, unknown>>
