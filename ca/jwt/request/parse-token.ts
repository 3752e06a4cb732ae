import { parseStrictObject } from './strict-json.ts'
import type { TokenRefusal } from './refusal.ts'
import type { TokenClaims } from './token-rule.ts'

/** Signature algorithms that are known (§3.3). `none` is not among them. */
export const TOKEN_ALGORITHMS = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'HS256',
  'HS384',
  'HS512',
] as const

export type TokenAlgorithm = (typeof TOKEN_ALGORITHMS)[number]

/** A token that has been read and not yet believed. */
export interface UnverifiedToken {
  readonly text: string
  readonly algorithm: TokenAlgorithm
  /** Empty: it names no key. */
  readonly keyId: string
  /** Whether its header demands extensions (`crit`), of which we know none. */
  readonly isCritical: boolean
  /** Whether it is three parts of base64url: white space and empty parts are told late, as Envoy does. */
  readonly isExact: boolean
  /** Empty: it names no issuer. */
  readonly issuer: string
  readonly audiences: readonly string[]
  /** Seconds since 1970; 0: unbounded. */
  readonly notBefore: number
  readonly expiresAt: number
  readonly claims: TokenClaims
}

export type TokenReading =
  | { readonly kind: 'token'; readonly token: UnverifiedToken }
  | { readonly kind: 'refused'; readonly reason: TokenRefusal }

const BASE64URL = /^[A-Za-z0-9_-]+$/
const SPACE = /[ \t]/

/**
 * Reads a token in compact form (RFC 7515 §7.1), in the order in which Envoy finds faults. Stricter
 * than Envoy: padding is no base64url, and no token with white space or empty parts in it verifies.
 */
export function parseToken(text: string): TokenReading {
  // Envoy's way to count: two dots in a row are one.
  const parts = text.split('.').filter((part) => part !== '')
  const [header = '', payload = '', signature = ''] = parts
  if (parts.length !== 3) return refused('bad-form')
  const headerText = decode(header)
  if (headerText === undefined) return refused('header-not-base64')
  const fields = parseStrictObject(headerText)
  if (fields === undefined) return refused('header-not-json')
  const { alg, kid = '', crit } = fields
  if (typeof alg !== 'string') return refused('alg-not-string')
  const algorithm = TOKEN_ALGORITHMS.find((known) => known === alg)
  if (algorithm === undefined) return refused('alg-unsupported')
  if (typeof kid !== 'string') return refused('kid-not-string')
  const payloadText = decode(payload)
  if (payloadText === undefined) return refused('payload-not-base64')
  const claims = parseStrictObject(payloadText)
  if (claims === undefined) return refused('payload-not-json')
  const fault = faultOf(claims)
  if (fault !== undefined) return refused(fault)
  if (decode(signature) === undefined) return refused('signature-not-base64')
  return {
    kind: 'token',
    token: {
      text,
      algorithm,
      keyId: kid,
      isCritical: crit !== undefined,
      isExact: !SPACE.test(text) && text === `${header}.${payload}.${signature}`,
      issuer: textOf(claims['iss']),
      audiences: audiencesOf(claims['aud']),
      notBefore: secondsOf(claims['nbf']),
      expiresAt: secondsOf(claims['exp']),
      claims,
    },
  }
}

function refused(reason: TokenRefusal): TokenReading {
  return { kind: 'refused', reason }
}

/** UTF-8 that is not valid becomes U+FFFD, which no member name of ours has. */
function decode(part: string): string | undefined {
  const packed = part.replace(/[ \t]/g, '')
  if (!BASE64URL.test(packed) || packed.length % 4 === 1) return undefined
  return Buffer.from(packed, 'base64url').toString('utf8')
}

/** In the order in which Envoy finds fault with them. */
const TYPED = ['iss', 'sub', 'iat', 'nbf', 'exp', 'jti'] as const
const TIMES = new Set(['iat', 'nbf', 'exp'])
const MAX_SECONDS = 2 ** 64

function faultOf(claims: TokenClaims): TokenRefusal | undefined {
  for (const name of TYPED) {
    const value = claims[name]
    const fault =
      value === undefined
        ? undefined
        : isTime(name)
          ? timeFault(name, value)
          : textFault(name, value)
    if (fault !== undefined) return fault
  }
  const { aud } = claims
  const isAudience =
    aud === undefined ||
    typeof aud === 'string' ||
    (Array.isArray(aud) && aud.every((one) => typeof one === 'string'))
  return isAudience ? undefined : 'aud-not-string'
}

type TimeName = 'iat' | 'nbf' | 'exp'
type TextName = Exclude<(typeof TYPED)[number], TimeName>

function isTime(name: TimeName | TextName): name is TimeName {
  return TIMES.has(name)
}

function textFault(name: TextName, value: unknown): TokenRefusal | undefined {
  return typeof value === 'string' ? undefined : `${name}-not-string`
}

function timeFault(name: TimeName, value: unknown): TokenRefusal | undefined {
  if (typeof value !== 'number') return `${name}-not-integer`
  return value < 0 || value >= MAX_SECONDS ? `${name}-out-of-range` : undefined
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

function audiencesOf(value: unknown): readonly string[] {
  if (typeof value === 'string') return [value]
  return Array.isArray(value) ? value.filter((one) => typeof one === 'string') : []
}

function secondsOf(value: unknown): number {
  return typeof value === 'number' ? Math.trunc(value) : 0
}
