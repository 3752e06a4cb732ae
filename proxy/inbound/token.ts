/** Tokens of a request, between what `ca/jwt/request` says of them and what the request path does. */
import type { Authentication, TokenRequest } from '#ca/jwt/request/index.ts'
import { type Denied, headerValues } from '#policy/model/index.ts'
import type { RequestHead } from '../http/request-head.ts'
import { type Rescue, rescue } from '../http/rescue.ts'

/** A request whose tokens are good, or that has none. */
export type TokenPassed = Extract<Authentication, { readonly kind: 'passed' }>
type Refused = Extract<Authentication, { readonly kind: 'refused' }>

/** The request as the verifier sees it: a view, for as long as `head` holds it. */
export function tokenRequestOf(head: RequestHead): TokenRequest {
  return {
    method: head.method,
    target: head.target,
    header: (name) => headerValues(name, head.fields.values(name)),
  }
}

/** Takes out of `head` what neither policies nor the app may see. */
export function dropSpent(head: RequestHead, { dropped }: TokenPassed): void {
  for (const name of dropped) head.fields.dropNamed(name)
}

/** What the app gets to know, as whole lines. */
export function addedLines({ added }: TokenPassed): string {
  return added.map(({ name, value }) => `${name}: ${value}\r\n`).join('')
}

/** A refused token as a decision, for the log and `redoubt authz explain --decision`. */
export function denialOf({ message }: Refused): Denied {
  return {
    kind: 'deny',
    action: 'DENY',
    reason: 'token-refused',
    detail: message,
    policy: null,
    rule: null,
    considered: [],
    dryRun: [],
    audit: [],
  }
}

/** Characters of the address that a challenge names, as in Envoy. */
const MAX_REALM = 256

/**
 * What the caller is told (istio-semantics §3.3), with the line that challenges it. The query is left
 * out: it may hold the token (§0.8.25).
 */
export function answerOf(
  { status, message }: Refused,
  place: { readonly isSecure: boolean; readonly authority: string; readonly path: string },
): { readonly answer: Rescue; readonly challenge: string } {
  const code = status === 403 ? 'PROXY_TOKEN_MISDIRECTED' : 'PROXY_TOKEN_REFUSED'
  const uri = `${place.isSecure ? 'https' : 'http'}://${place.authority}${place.path}`
  const realm = uri.replace(/["\\]/g, (char) => encodeURIComponent(char)).slice(0, MAX_REALM)
  return {
    answer: { ...rescue(code), body: message },
    challenge: `www-authenticate: Bearer realm="${realm}", error="invalid_token"\r\n`,
  }
}
