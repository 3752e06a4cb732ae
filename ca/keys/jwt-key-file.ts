/** The file that says which keys sign JWT-SVIDs; the keys themselves are in a key store. */
import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto'

import { CaError } from '../error.ts'
import type { JwtKey } from '../jwt/jwt-svid-keys.ts'
import type { JwtKeyTimes } from './jwt-key-times.ts'
import type { KeyStore, SigningKey } from './signing-key.ts'

/** A key that is there. */
export interface HeldKey extends JwtKeyTimes {
  readonly key: SigningKey
  readonly jwk: JwtKey
}

/** One that was revoked: kept to be told of until nothing that it signed could be good any more. */
export interface RevokedKey extends JwtKeyTimes {
  readonly id: string
}

/** What the file holds. */
export interface JwtKeys {
  /** The newest last. */
  readonly keys: readonly HeldKey[]
  readonly revoked: readonly RevokedKey[]
}

/** Its name in the state. */
export const JWT_KEYS_FILE = 'jwt-keys.json'

interface StoredKey {
  readonly createdAt: string
  readonly activeAt: string
  readonly notAfter: string
  readonly tainted?: true
  /** By which the store finds it. */
  readonly id?: string
  /** In files of versions before there were key stores: PKCS#8, base64. */
  readonly pkcs8?: string
}

/** Whether keys themselves are in the file still, as older versions wrote it. */
export function holdsKeys(text: string): boolean {
  return text.includes('"pkcs8"')
}

/** The key id is the key's identifier, as certificates have it: it needs no counter and never repeats. */
export function heldKey(key: SigningKey, times: JwtKeyTimes): HeldKey {
  const { publicKeyDer, id: kid } = key
  const spki = createPublicKey({ key: Buffer.from(publicKeyDer), format: 'der', type: 'spki' })
  const { crv, x, y } = spki.export({ format: 'jwk' })
  if (crv !== 'P-256' || !x || !y) throw unusableKeys('a key is not on P-256')
  return { ...times, key, jwk: { kty: 'EC', use: 'jwt-svid', kid, alg: 'ES256', crv, x, y } }
}

/** The file's text; the same keys make the same text. */
export function serializeKeys({ keys, revoked }: JwtKeys): string {
  const stored = {
    keys: keys.map((held) => storedKey(held.key.id, held)),
    ...(revoked.length > 0 && { revoked: revoked.map((each) => storedKey(each.id, each)) }),
  }
  return `${JSON.stringify(stored, null, 2)}\n`
}

function storedKey(id: string, { createdAt, activeAt, notAfter, tainted }: JwtKeyTimes): StoredKey {
  return {
    createdAt: String(createdAt),
    activeAt: String(activeAt),
    notAfter: String(notAfter),
    ...(tainted && { tainted }),
    id,
  }
}

/** Reads the file, and finds its keys. @throws {CaError} `CA_STATE_UNUSABLE` */
export async function loadKeys(text: string | undefined, store: KeyStore): Promise<JwtKeys> {
  if (text === undefined) return { keys: [], revoked: [] }
  const keys: HeldKey[] = []
  const stored = parse(text)
  for (const { key, times } of stored.keys) {
    const held = typeof key === 'string' ? await store.open(key) : await store.take(key)
    if (held) keys.push(heldKey(held, times))
    else if (store.isLasting) throw unusableKeys(`a key is not among the ${store.name}`)
  }
  return { keys, revoked: stored.revoked }
}

interface ParsedKey {
  /** An identifier, or the key itself. */
  readonly key: string | KeyObject
  readonly times: JwtKeyTimes
}

function parse(text: string): {
  readonly keys: readonly ParsedKey[]
  readonly revoked: readonly RevokedKey[]
} {
  try {
    const stored = JSON.parse(text) as { keys: StoredKey[]; revoked?: StoredKey[] }
    return {
      keys: stored.keys.map((each) => ({
        key: each.id ?? keyOf(each.pkcs8 ?? ''),
        times: timesOf(each),
      })),
      revoked: (stored.revoked ?? []).map((each) => ({ id: each.id ?? '', ...timesOf(each) })),
    }
  } catch (cause) {
    throw unusableKeys(`it cannot be read: ${(cause as Error).message}`, cause)
  }
}

function timesOf({ createdAt, activeAt, notAfter, tainted }: StoredKey): JwtKeyTimes {
  return {
    createdAt: Temporal.Instant.from(createdAt),
    activeAt: Temporal.Instant.from(activeAt),
    notAfter: Temporal.Instant.from(notAfter),
    ...(tainted && { tainted }),
  }
}

function keyOf(pkcs8: string): KeyObject {
  return createPrivateKey({ key: Buffer.from(pkcs8, 'base64'), format: 'der', type: 'pkcs8' })
}

/** Why the file is not gone on with. */
export function unusableKeys(why: string, cause?: unknown): CaError {
  return new CaError(
    'CA_STATE_UNUSABLE',
    `Cannot use the stored JWT keys ${JWT_KEYS_FILE}: ${why}`,
    { cause },
  )
}
