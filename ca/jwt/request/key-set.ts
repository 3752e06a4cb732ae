import { type CryptoKey, importJWK, type JWK } from 'jose'
import type { TokenAlgorithm } from './parse-token.ts'
import type { TokenKeys } from './token-rule.ts'

/** A public key, or a secret that both sides share. */
export interface VerificationKey {
  /** Empty: it stands for any. */
  readonly keyId: string
  /** The one it is for; left out: each that its type can do. */
  readonly algorithm?: string
  /** What its type can do. A key is never used for another, whatever a token says of itself. */
  readonly fits: readonly TokenAlgorithm[]
  /** For one of `fits`. Rejects when the key is no key, for example RSA below 2048 bits. */
  readonly load: (algorithm: TokenAlgorithm) => Promise<CryptoKey | Uint8Array>
}

/** Keys beyond these are not read. */
const MAX_KEYS = 100

const CURVES: Readonly<Record<string, readonly TokenAlgorithm[]>> = {
  'P-256': ['ES256'],
  'P-384': ['ES384'],
  'P-521': ['ES512'],
  Ed25519: ['EdDSA'],
}
const RSA: readonly TokenAlgorithm[] = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512']
const HMAC: readonly TokenAlgorithm[] = ['HS256', 'HS384', 'HS512']
/** The public members of a key by its type (RFC 7518 §6); `k` is all there is of a secret. */
const MEMBERS: Readonly<Record<string, readonly string[]>> = {
  RSA: ['kty', 'n', 'e'],
  EC: ['kty', 'crv', 'x', 'y'],
  OKP: ['kty', 'crv', 'x'],
  oct: ['kty', 'k'],
}

/**
 * The keys of a set that can verify something. Others are passed over, as are private members: they
 * never reach the crypto library.
 *
 * @returns empty for keys that are missing and for text that is no key set: then every token fails
 */
export function readKeySet(keys: TokenKeys): readonly VerificationKey[] {
  if (keys.kind === 'missing') return []
  const listed = keysOf(keys.jwks).slice(0, MAX_KEYS)
  return listed.flatMap((jwk) => {
    const key = readKey(jwk)
    return key === undefined || (jwk['kty'] === 'oct' && keys.kind === 'fetched') ? [] : [key]
  })
}

type Members = Readonly<Record<string, unknown>>

function keysOf(jwks: string): readonly Members[] {
  try {
    const value: unknown = JSON.parse(jwks)
    const { keys } = value as { readonly keys?: unknown }
    return Array.isArray(keys) ? keys.filter(isMembers) : []
  } catch {
    return [] // no JSON, or no object: no keys
  }
}

function isMembers(value: unknown): value is Members {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function readKey(jwk: Members): VerificationKey | undefined {
  const { kty, kid, alg, use } = jwk
  if (typeof kty !== 'string' || (use !== undefined && use !== 'sig')) return undefined
  const fits = fitsOf(kty, jwk['crv'])
  const members = Object.hasOwn(MEMBERS, kty) ? MEMBERS[kty] : undefined
  if (fits.length === 0 || members?.every((name) => typeof jwk[name] === 'string') !== true) {
    return undefined
  }
  const own = Object.fromEntries(members.map((name) => [name, jwk[name]])) as JWK
  const loaded = new Map<TokenAlgorithm, Promise<CryptoKey | Uint8Array>>()
  return {
    keyId: typeof kid === 'string' ? kid : '',
    ...(typeof alg === 'string' ? { algorithm: alg } : {}),
    fits,
    load(algorithm) {
      const known = loaded.get(algorithm) ?? importJWK(own, algorithm)
      loaded.set(algorithm, known)
      return known
    },
  }
}

function fitsOf(kty: string, crv: unknown): readonly TokenAlgorithm[] {
  if (kty === 'RSA') return RSA
  if (kty === 'oct') return HMAC
  const isCurve = typeof crv === 'string' && Object.hasOwn(CURVES, crv)
  if (!isCurve || (kty === 'OKP') !== (crv === 'Ed25519')) return []
  return CURVES[crv] ?? []
}
