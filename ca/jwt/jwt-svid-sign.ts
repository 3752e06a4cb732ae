/** What a JWT-SVID of ours says, and its form on the wire. */
import type { SpiffeId } from '../spiffe/index.ts'

/** Who asks for what, once admitted. */
export interface JwtSvidRequest {
  readonly spiffeId: SpiffeId
  readonly audience: readonly string[]
}

/** Signs with one key of ours, by ES256. */
export interface JwtSigner {
  readonly kid: string
  /** The key's end; no token outlives it. */
  readonly notAfter: Temporal.Instant
  /** r and s of 32 bytes each (RFC 7518 §3.4). */
  readonly sign: (bytes: Uint8Array) => Promise<Uint8Array>
}

export interface IssuedJwtSvid {
  readonly spiffeId: SpiffeId
  /** JWS, compact. */
  readonly token: string
  /** Both in whole seconds, as the token has them. */
  readonly issuedAt: Temporal.Instant
  readonly expiresAt: Temporal.Instant
}

/**
 * Signs one token. One audience is written as text, as the standard's schema has it; several as an array.
 *
 * @param ttl - Exact time; cut at the end of the key.
 */
export async function signJwtSvid(
  { spiffeId, audience }: JwtSvidRequest,
  { kid, notAfter, sign }: JwtSigner,
  now: Temporal.Instant,
  ttl: Temporal.Duration,
): Promise<IssuedJwtSvid> {
  const iat = Math.floor(now.epochMilliseconds / 1000)
  const wanted = now.add(ttl).epochMilliseconds
  const exp = Math.floor(Math.min(wanted, notAfter.epochMilliseconds) / 1000)
  const aud = audience.length === 1 ? audience[0] : audience
  const signed = `${part({ alg: 'ES256', kid, typ: 'JWT' })}.${part({ sub: spiffeId, aud, exp, iat })}`
  const signature = Buffer.from(await sign(Buffer.from(signed))).toString('base64url')
  return {
    spiffeId,
    token: `${signed}.${signature}`,
    issuedAt: Temporal.Instant.fromEpochMilliseconds(iat * 1000),
    expiresAt: Temporal.Instant.fromEpochMilliseconds(exp * 1000),
  }
}

function part(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}
