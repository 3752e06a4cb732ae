/**
 * Judging a JWT-SVID: the one function for it, as `verifySvid` is for certificates.
 *
 * The order is the standard's: form and header before anything is believed, the trust domain of
 * `sub` to choose the keys, the signature, and only then what the token says.
 *
 * @see SPIFFE JWT-SVID §2–§4
 */
import { constants, createPublicKey, type KeyObject, verify } from 'node:crypto'

import { CaError } from '../error.ts'
import { parseSpiffeId, type SpiffeId, type TrustDomain, trustDomainOf } from '../spiffe/index.ts'
import type { JwtKey } from './jwt-svid-keys.ts'
import { parseStrictObject } from './request/strict-json.ts'

/** The keys that may vouch for one trust domain, and for no other. */
export interface JwtBundle {
  readonly trustDomain: TrustDomain
  readonly jwtKeys?: readonly JwtKey[]
}

/** A token that was judged. */
export interface JwtSvid {
  readonly id: SpiffeId
  readonly audience: readonly string[]
  readonly expiresAt: Temporal.Instant
  /** Every claim, as it was signed. */
  readonly claims: Readonly<Record<string, unknown>>
  /** The key that signed it. */
  readonly kid: string
}

/** Stable reasons against a token. */
export type JwtRefusal =
  | 'malformed'
  | 'header'
  | 'algorithm'
  | 'subject'
  | 'no-bundle'
  | 'unknown-key'
  | 'signature'
  | 'expired'
  | 'not-yet-valid'
  | 'audience'

export type JwtVerdict =
  | { readonly kind: 'ok'; readonly svid: JwtSvid }
  | { readonly kind: 'refused'; readonly reason: JwtRefusal; readonly detail: string }

/** Characters of a token; ours have 350. */
export const MAX_JWT_LENGTH = 16_384

/** Seconds by which a peer's clock may be ahead of ours; its end gets no such grace. */
const SKEW_SECONDS = 60

/**
 * Whether `token` is a JWT-SVID for `audience`, by the keys of its own trust domain. Never throws.
 *
 * @param audience - The judge's own name; one of the token's audiences must be it, to the letter.
 */
export function verifyJwtSvid(
  token: string,
  bundles: readonly JwtBundle[],
  audience: string,
  now: Temporal.Instant,
): JwtVerdict {
  try {
    return { kind: 'ok', svid: judge(token, bundles, audience, now) }
  } catch (cause) {
    if (!(cause instanceof Refused))
      return { kind: 'refused', reason: 'malformed', detail: 'it cannot be read' }
    return { kind: 'refused', reason: cause.reason, detail: cause.message }
  }
}

class Refused extends Error {
  readonly reason: JwtRefusal

  constructor(reason: JwtRefusal, message: string) {
    super(message)
    this.reason = reason
  }
}

function judge(
  token: string,
  bundles: readonly JwtBundle[],
  audience: string,
  now: Temporal.Instant,
): JwtSvid {
  const { header, claims, signed, signature } = decode(token)
  const { alg, kid } = readHeader(header)
  const id = readSubject(claims['sub'])
  const keys = keysFor(id, kid, bundles).filter((key) => fits(key, alg))
  const key = keys.find((candidate) => isSigned(candidate, alg, signed, signature))
  if (!key) throw new Refused('signature', 'its signature is not by a key of its trust domain')
  const expiresAt = judgeTimes(claims, now)
  return { id, audience: judgeAudience(claims['aud'], audience), expiresAt, claims, kid: key.kid }
}

function decode(token: string) {
  if (token.length > MAX_JWT_LENGTH) {
    throw new Refused(
      'malformed',
      `it has ${token.length} characters, expected at most ${MAX_JWT_LENGTH}`,
    )
  }
  const [head, body, end, ...rest] = token.split('.')
  if (head === undefined || body === undefined || end === undefined || rest.length > 0) {
    throw new Refused(
      'malformed',
      'it is not three parts with dots between: only the compact form is taken',
    )
  }
  return {
    header: readPart(head, 'header'),
    claims: readPart(body, 'payload'),
    signed: Buffer.from(`${head}.${body}`, 'latin1'),
    signature: bytesOf(end, 'signature'),
  }
}

function bytesOf(text: string, what: string): Buffer {
  const bytes = Buffer.from(text, 'base64url')
  // What the decoder forgives (padding, other alphabets, loose bits) would be a second spelling.
  if (text === '' || bytes.toString('base64url') !== text) {
    throw new Refused('malformed', `its ${what} is not base64url`)
  }
  return bytes
}

function readPart(text: string, what: string): Readonly<Record<string, unknown>> {
  // UTF-8 that is broken becomes U+FFFD, which no name or ID of ours may have.
  const members = parseStrictObject(bytesOf(text, what).toString('utf8'))
  if (!members)
    throw new Refused('malformed', `its ${what} is not a JSON object with each name once`)
  return members
}

const HEADERS: readonly string[] = ['alg', 'kid', 'typ']

function readHeader(header: Readonly<Record<string, unknown>>): {
  alg: Algorithm
  kid: string | undefined
} {
  const { alg, kid, typ } = header as { alg?: unknown; kid?: unknown; typ?: unknown }
  // The algorithm first: nothing is processed by one that is not on the list (JWT-SVID §2.1).
  if (typeof alg !== 'string' || !Object.hasOwn(ALGORITHMS, alg)) {
    throw new Refused(
      'algorithm',
      `its algorithm is ${JSON.stringify(alg)}, expected one of ${Object.keys(ALGORITHMS).join(' ')}`,
    )
  }
  const stranger = Object.keys(header).find((name) => !HEADERS.includes(name))
  if (stranger !== undefined)
    throw new Refused('header', `its header has ${JSON.stringify(stranger)}`)
  if (typ !== undefined && typ !== 'JWT' && typ !== 'JOSE') {
    throw new Refused('header', `its type is ${JSON.stringify(typ)}, expected "JWT" or "JOSE"`)
  }
  if (kid !== undefined && (typeof kid !== 'string' || kid === '')) {
    throw new Refused('header', 'its key id is not text')
  }
  return { alg: alg as Algorithm, kid }
}

function readSubject(sub: unknown): SpiffeId {
  try {
    return parseSpiffeId(typeof sub === 'string' ? sub : '')
  } catch (cause) {
    if (!(cause instanceof CaError)) throw cause
    throw new Refused('subject', `its subject is no SPIFFE ID: ${cause.message}`)
  }
}

function keysFor(
  id: SpiffeId,
  kid: string | undefined,
  bundles: readonly JwtBundle[],
): readonly JwtKey[] {
  const domain = trustDomainOf(id)
  const bundle = bundles.find(({ trustDomain }) => trustDomain === domain)
  if (!bundle) throw new Refused('no-bundle', `there is no bundle for its trust domain "${domain}"`)
  const keys = bundle.jwtKeys ?? []
  const wanted = kid === undefined ? keys : keys.filter((key) => key.kid === kid)
  if (wanted.length === 0) {
    throw new Refused('unknown-key', `"${domain}" has no key ${JSON.stringify(kid ?? 'at all')}`)
  }
  return wanted
}

interface Verification {
  readonly kty: JwtKey['kty']
  readonly crv?: string
  readonly hash: string
  readonly options: { dsaEncoding?: 'ieee-p1363'; padding?: number; saltLength?: number }
}

const ecdsa = (crv: string, hash: string): Verification => ({
  kty: 'EC',
  crv,
  hash,
  options: { dsaEncoding: 'ieee-p1363' },
})
const pkcs1 = (hash: string): Verification => ({
  kty: 'RSA',
  hash,
  options: { padding: constants.RSA_PKCS1_PADDING },
})
const pss = (hash: string): Verification => ({
  kty: 'RSA',
  hash,
  options: {
    padding: constants.RSA_PKCS1_PSS_PADDING,
    saltLength: constants.RSA_PSS_SALTLEN_DIGEST,
  },
})

/** The nine that the standard allows (JWT-SVID §2.1); all others do not exist here. */
const ALGORITHMS = {
  RS256: pkcs1('sha256'),
  RS384: pkcs1('sha384'),
  RS512: pkcs1('sha512'),
  ES256: ecdsa('P-256', 'sha256'),
  ES384: ecdsa('P-384', 'sha384'),
  ES512: ecdsa('P-521', 'sha512'),
  PS256: pss('sha256'),
  PS384: pss('sha384'),
  PS512: pss('sha512'),
} as const

type Algorithm = keyof typeof ALGORITHMS

function fits(key: JwtKey, alg: Algorithm): boolean {
  const { kty, crv } = ALGORITHMS[alg]
  return key.kty === kty && key.crv === crv && (key.alg === undefined || key.alg === alg)
}

function isSigned(key: JwtKey, alg: Algorithm, signed: Uint8Array, signature: Uint8Array): boolean {
  const publicKey = keyObjectOf(key)
  const { hash, options } = ALGORITHMS[alg]
  return publicKey !== undefined && verify(hash, signed, { key: publicKey, ...options }, signature)
}

const KEY_OBJECTS = new WeakMap<JwtKey, KeyObject>()
const MIN_RSA_BITS = 2048

function keyObjectOf(key: JwtKey): KeyObject | undefined {
  const known = KEY_OBJECTS.get(key)
  if (known) return known
  try {
    const made = createPublicKey({ key: { ...key }, format: 'jwk' })
    if ((made.asymmetricKeyDetails?.modulusLength ?? MIN_RSA_BITS) < MIN_RSA_BITS) return undefined
    KEY_OBJECTS.set(key, made)
    return made
  } catch {
    return undefined // a point off its curve, for one
  }
}

/** The end, which must be there and ahead; `nbf` and `iat` only if they are there. */
function judgeTimes(
  claims: Readonly<Record<string, unknown>>,
  now: Temporal.Instant,
): Temporal.Instant {
  const seconds = now.epochMilliseconds / 1000
  const exp = claims['exp']
  if (!isTime(exp)) throw new Refused('expired', 'it has no end ("exp")')
  if (exp <= seconds) throw new Refused('expired', `it ended at ${instantOf(exp)}`)
  for (const name of ['nbf', 'iat']) {
    const start = claims[name]
    if (start === undefined) continue
    if (!isTime(start) || start > seconds + SKEW_SECONDS) {
      throw new Refused('not-yet-valid', `its ${name} is ${JSON.stringify(start)}, after now`)
    }
  }
  return instantOf(exp)
}

function isTime(value: unknown): value is number {
  return typeof value === 'number' && value >= 0 && value <= 8_640_000_000_000
}

function instantOf(seconds: number): Temporal.Instant {
  return Temporal.Instant.fromEpochMilliseconds(Math.floor(seconds * 1000))
}

function judgeAudience(aud: unknown, wanted: string): readonly string[] {
  const all: unknown = typeof aud === 'string' ? [aud] : aud
  if (!Array.isArray(all) || all.length === 0 || !all.every((one) => typeof one === 'string')) {
    throw new Refused('audience', 'it has no audience ("aud")')
  }
  const audience: readonly string[] = all
  if (!audience.includes(wanted)) {
    throw new Refused(
      'audience',
      `it is for ${JSON.stringify(audience)}, expected ${JSON.stringify(wanted)}`,
    )
  }
  return audience
}
