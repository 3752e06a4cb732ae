import { verifyJwtSvid } from '#ca/jwt/index.ts'
import type { SpiffeId } from '#ca/spiffe/index.ts'
import type { TrustBundle } from '#ca/x509/index.ts'
import { AgentError } from '../error.ts'

/** A token that is wanted. */
export interface TokenRequest {
  readonly id: SpiffeId
  readonly audience: readonly string[]
}

/** What the CA answered to one request, not yet judged. */
export interface TokenAnswer {
  readonly token: string
  readonly issuedAt: Temporal.Instant
}

/** A JWT-SVID, judged: it is what was asked for. */
export interface IssuedToken {
  readonly id: SpiffeId
  /** JWS, compact. */
  readonly token: string
  readonly kid: string
  readonly issuedAt: Temporal.Instant
  readonly expiresAt: Temporal.Instant
}

/**
 * Takes the CA's answer to `request`, if it is one: signed by a key of our bundle, in time, for the
 * wanted ID and for every wanted audience and no other.
 *
 * @throws {AgentError} `AGENT_JWT_INVALID`
 */
export function acceptToken(
  { id, audience }: TokenRequest,
  { token, issuedAt }: TokenAnswer,
  { bundle, now }: { readonly bundle: TrustBundle; readonly now: Temporal.Instant },
): IssuedToken {
  const refused = (why: string): AgentError =>
    new AgentError('AGENT_JWT_INVALID', `Cannot take the token for "${id}": ${why}`)
  const verdict = verifyJwtSvid(token, [bundle], audience[0] ?? '', now)
  if (verdict.kind === 'refused') throw refused(`${verdict.reason}: ${verdict.detail}`)
  const { id: named, audience: given, expiresAt, kid } = verdict.svid
  if (named !== id) throw refused(`it names "${named}"`)
  if (given.toSorted().join('\n') !== audience.toSorted().join('\n')) {
    throw refused(`it is for ${JSON.stringify(given)}`)
  }
  return { id, token, kid, issuedAt, expiresAt }
}
