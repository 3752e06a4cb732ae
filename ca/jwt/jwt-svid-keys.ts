/** The public keys of JWT-SVIDs, as a SPIFFE bundle carries them (JWT-SVID §4, RFC 7517). */
import { CaError } from '../error.ts'
import { parseStrictObject } from './request/strict-json.ts'

/** One JWK: its public members and nothing else. */
export interface JwtKey {
  readonly kty: 'EC' | 'RSA'
  readonly use: 'jwt-svid'
  /** Unique in its set. */
  readonly kid: string
  /** The one algorithm that the key is for; absent: any that fits it. */
  readonly alg?: string
  readonly crv?: string
  readonly x?: string
  readonly y?: string
  readonly n?: string
  readonly e?: string
}

/** Characters of one set: 64 keys of RSA-4096. */
const MAX_SET_LENGTH = 65_536
const MAX_KEYS = 64
const MAX_MEMBER_LENGTH = 2048

/**
 * The keys of JWT-SVIDs in a JWK Set. As the standard wants it, elements of another use or an
 * unknown type are passed over, and so are those without a `kid` and the second of one `kid`.
 *
 * @throws {CaError} `CA_JWT_INVALID` if the text is no JWK Set, is above 64 KiB or has above 64 keys
 */
export function readJwtKeys(text: string): readonly JwtKey[] {
  if (text.length > MAX_SET_LENGTH) throw refusedSet(`it has ${text.length} characters`)
  const keys = parseStrictObject(text)?.['keys']
  if (!Array.isArray(keys))
    throw refusedSet('it is no JSON object with each name once and an array "keys"')
  if (keys.length > MAX_KEYS) throw refusedSet(`it has ${keys.length} keys`)
  const byId = new Map<string, JwtKey>()
  for (const element of keys) {
    const key = readKey(element)
    if (key && !byId.has(key.kid)) byId.set(key.kid, key)
  }
  return [...byId.values()]
}

/** A JWK Set of `keys`; the same keys make the same text. */
export function jwtKeysText(keys: readonly JwtKey[]): string {
  return JSON.stringify({ keys })
}

const REQUIRED = { EC: ['crv', 'x', 'y'], RSA: ['n', 'e'] } as const

function readKey(element: unknown): JwtKey | undefined {
  const members = membersOf(element)
  const kty = members?.['kty']
  if (members?.['use'] !== 'jwt-svid' || (kty !== 'EC' && kty !== 'RSA')) return undefined
  const kid = textOf(members['kid'])
  const required = REQUIRED[kty].map((name) => [name, textOf(members[name])] as const)
  if (kid === undefined || required.some(([, value]) => value === undefined)) return undefined
  const alg = textOf(members['alg'])
  return {
    kty,
    use: 'jwt-svid',
    kid,
    ...(alg === undefined ? {} : { alg }),
    ...Object.fromEntries(required),
  }
}

function textOf(value: unknown): string | undefined {
  if (typeof value !== 'string' || value === '' || value.length > MAX_MEMBER_LENGTH)
    return undefined
  return value
}

function membersOf(value: unknown): Readonly<Record<string, unknown>> | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  return value as Readonly<Record<string, unknown>>
}

function refusedSet(why: string): CaError {
  return new CaError('CA_JWT_INVALID', `Cannot read a JWK Set: ${why}`)
}
