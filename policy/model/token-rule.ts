/** One issuer of tokens as a sidecar's bundle carries it: a `JwtRule` with its keys at hand (§3.1, §3.5). */
import { bool, list, object, oneOf, optional, type Reader, tagged, text } from './read-json.ts'
import type { ClaimOutput, TokenHeader } from './request-authentication.ts'

/** A JSON Web Key Set, in text. */
export type TokenKeys =
  | { readonly kind: 'inline'; readonly jwks: string }
  /** From a URI; symmetric keys in it count for nothing. */
  | { readonly kind: 'fetched'; readonly jwks: string }
  /** They could not be had: every token of this rule fails. */
  | { readonly kind: 'missing' }

export interface TokenRule {
  /** What `iss` must be; left out: anything. */
  readonly issuer?: string
  /** Of which `aud` must name one; left out: any. */
  readonly audiences?: readonly string[]
  readonly keys: TokenKeys
  /** Header names in lower case. With all three lists empty: the default places of §3.3. */
  readonly fromHeaders: readonly TokenHeader[]
  readonly fromParams: readonly string[]
  readonly fromCookies: readonly string[]
  readonly forwardOriginalToken: boolean
  /** Lower case. */
  readonly outputPayloadToHeader?: string
  /** Headers in lower case. */
  readonly outputClaimToHeaders: readonly ClaimOutput[]
  /** `permission` and `scope` among them. */
  readonly spaceDelimitedClaims: readonly string[]
}

type Keys<K extends TokenKeys['kind']> = Extract<TokenKeys, { readonly kind: K }>

const tokenKeys: Reader<TokenKeys> = tagged<TokenKeys>({
  inline: object<Keys<'inline'>>({ kind: oneOf(['inline']), jwks: text }),
  fetched: object<Keys<'fetched'>>({ kind: oneOf(['fetched']), jwks: text }),
  missing: object<Keys<'missing'>>({ kind: oneOf(['missing']) }),
})

/** A {@link TokenRule} in a bundle. */
export const tokenRule: Reader<TokenRule> = object<TokenRule>({
  issuer: optional(text),
  audiences: optional(list(text)),
  keys: tokenKeys,
  fromHeaders: list(object<TokenHeader>({ name: text, prefix: text })),
  fromParams: list(text),
  fromCookies: list(text),
  forwardOriginalToken: bool,
  outputPayloadToHeader: optional(text),
  outputClaimToHeaders: list(object<ClaimOutput>({ header: text, claim: text })),
  spaceDelimitedClaims: list(text),
})
