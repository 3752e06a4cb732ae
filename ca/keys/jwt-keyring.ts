/**
 * The keys that sign JWT-SVIDs: prepared, then used, then kept for as long as a token of theirs can
 * be valid. A key is in everybody's bundle long before its first token, so no token ever meets a
 * judge who cannot know its key.
 */
import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto'

import { CaError } from '../error.ts'
import { earlier } from '../issue/template.ts'
import type { JwtKey } from '../jwt/jwt-svid-keys.ts'
import type { JwtSigner } from '../jwt/jwt-svid-sign.ts'
import type { Life } from '../x509/index.ts'
import { rawSignature } from './ecdsa.ts'
import type { KeyStore, SigningKey } from './signing-key.ts'
import type { StateDir } from './state-dir.ts'

/** When a key is what. */
export interface JwtKeyTimes {
  readonly createdAt: Temporal.Instant
  /** It signs from here on, until its successor does. */
  readonly activeAt: Temporal.Instant
  /** Its tokens end here at the latest, and so does it. */
  readonly notAfter: Temporal.Instant
}

/** The times of a key that is made at `now`, after `last`. Pure. */
export function planJwtKey(
  last: JwtKeyTimes | undefined,
  now: Temporal.Instant,
  life: Temporal.Duration,
): JwtKeyTimes {
  const notAfter = now.add(life)
  // Nobody has verified anything yet, or nobody can any more: there is nothing to wait for.
  if (!last || Temporal.Instant.compare(now, last.notAfter) >= 0) {
    return { createdAt: now, activeAt: now, notAfter }
  }
  const lastMs = last.notAfter.epochMilliseconds - last.createdAt.epochMilliseconds
  const due = last.createdAt.add({ milliseconds: Math.round((lastMs * 5) / 6) })
  // Prepared late (the CA was off): it still waits for the bundle to spread.
  const spread = now.add({ milliseconds: Math.round(lastMs / SPREAD_SHARE) })
  const activeAt = Temporal.Instant.compare(due, spread) > 0 ? due : spread
  return { createdAt: now, activeAt: earlier(activeAt, last.notAfter), notAfter }
}

/** A key is known for this part of a life before it signs, if it can be. */
const SPREAD_SHARE = 24

/** The key that signs at `now`: the last that is active. Pure. */
export function activeJwtKey<Key extends JwtKeyTimes>(
  keys: readonly Key[],
  now: Temporal.Instant,
): Key | undefined {
  return keys.findLast(({ activeAt }) => Temporal.Instant.compare(activeAt, now) <= 0) ?? keys[0]
}

interface HeldKey extends JwtKeyTimes {
  readonly key: SigningKey
  readonly jwk: JwtKey
}

/** The CA's JWT keys: which there are is a file, the keys themselves are in a key store. */
export interface JwtKeyring {
  /** Public halves of all keys that are prepared, active or old; the newest last. */
  readonly publicKeys: () => readonly JwtKey[]
  /** The newest key's: its successor is due at half of it. */
  readonly life: () => Life
  /** What signs at `now`. */
  readonly signer: (now: Temporal.Instant) => JwtSigner
  /** Takes keys that another CA on the same files has made; whether there were any. */
  readonly reload: () => Promise<boolean>
  /** Makes the next key unless another CA has, lets go of those that ended, and puts both on the disk. */
  readonly prepare: (now: Temporal.Instant) => Promise<void>
}

/** What the keyring is kept in. */
export interface KeyringPlaces {
  readonly state: StateDir
  readonly store: KeyStore
}

/**
 * Opens the keyring in `state`, making a key if there is none or the newest is past half of its life.
 *
 * @param life - Of each key; exact time.
 * @throws {CaError} `CA_STATE_UNUSABLE` if the file cannot be read
 */
export async function openJwtKeyring(
  { state, store }: KeyringPlaces,
  life: Temporal.Duration,
  now: Temporal.Instant,
): Promise<JwtKeyring> {
  const text = await state.read(FILE)
  let keys = await load(text, store)
  const newest = (): HeldKey => {
    const key = keys.at(-1)
    if (!key) throw unusable('it has no key')
    return key
  }
  const reload = async (): Promise<boolean> => {
    const stored = await load(await state.read(FILE), store)
    if (idsOf(stored) === idsOf(keys)) return false
    keys = stored
    return true
  }
  const prepare = async (at: Temporal.Instant): Promise<void> => {
    const alive = keys.filter(({ notAfter }) => Temporal.Instant.compare(at, notAfter) < 0)
    const next = [...alive, heldKey(await store.create(), planJwtKey(alive.at(-1), at, life))]
    await state.write(FILE, serialize(next))
    const ended = keys.filter((key) => !alive.includes(key))
    keys = next
    for (const { key } of ended) await store.remove(key.id)
  }
  if (keys.length === 0 || isPastHalf(newest(), now)) await prepare(now)
  else if (text?.includes(PKCS8)) await state.write(FILE, serialize(keys))
  return {
    publicKeys: () => keys.map(({ jwk }) => jwk),
    life: () => ({ issuedAt: newest().createdAt, notAfter: newest().notAfter }),
    signer: (at) => signerOf(activeJwtKey(keys, at), at),
    reload,
    prepare: async (at) => {
      const before = newest()
      await reload()
      if (newest().key.id === before.key.id) await prepare(at)
    },
  }
}

function idsOf(keys: readonly HeldKey[]): string {
  return keys.map(({ key }) => key.id).join()
}

function isPastHalf({ createdAt, notAfter }: JwtKeyTimes, now: Temporal.Instant): boolean {
  return 2 * now.epochMilliseconds >= createdAt.epochMilliseconds + notAfter.epochMilliseconds
}

function signerOf(held: HeldKey | undefined, now: Temporal.Instant): JwtSigner {
  if (!held || Temporal.Instant.compare(now, held.notAfter) >= 0) {
    throw new CaError('CA_SIGNER_UNAVAILABLE', 'Cannot sign a token: the key for it has ended')
  }
  const { key, jwk, notAfter } = held
  return {
    kid: jwk.kid,
    notAfter,
    sign: async (bytes) => rawSignature(await key.sign(bytes), P256_BYTES),
  }
}

/** Bytes of a number on P-256. */
const P256_BYTES = 32

/** The key id is the key's identifier, as certificates have it: it needs no counter and never repeats. */
function heldKey(key: SigningKey, times: JwtKeyTimes): HeldKey {
  const { publicKeyDer, id: kid } = key
  const spki = createPublicKey({ key: Buffer.from(publicKeyDer), format: 'der', type: 'spki' })
  const { crv, x, y } = spki.export({ format: 'jwk' })
  if (crv !== 'P-256' || !x || !y) throw unusable('a key is not on P-256')
  return { ...times, key, jwk: { kty: 'EC', use: 'jwt-svid', kid, alg: 'ES256', crv, x, y } }
}

const FILE = 'jwt-keys.json'

/** Member of files that still hold keys. */
const PKCS8 = '"pkcs8"'

interface StoredKey {
  readonly createdAt: string
  readonly activeAt: string
  readonly notAfter: string
  /** By which the store finds it. */
  readonly id?: string
  /** In files of versions before there were key stores: PKCS#8, base64. */
  readonly pkcs8?: string
}

function serialize(keys: readonly HeldKey[]): string {
  const stored = keys.map(
    ({ key, createdAt, activeAt, notAfter }): StoredKey => ({
      createdAt: String(createdAt),
      activeAt: String(activeAt),
      notAfter: String(notAfter),
      id: key.id,
    }),
  )
  return `${JSON.stringify({ keys: stored }, null, 2)}\n`
}

async function load(text: string | undefined, store: KeyStore): Promise<readonly HeldKey[]> {
  if (text === undefined) return []
  const keys: HeldKey[] = []
  for (const { key, times } of parse(text)) {
    const held = typeof key === 'string' ? await store.open(key) : await store.take(key)
    if (held) keys.push(heldKey(held, times))
    else if (store.isLasting) throw unusable(`a key is not among the ${store.name}`)
  }
  return keys
}

interface ParsedKey {
  /** An identifier, or the key itself. */
  readonly key: string | KeyObject
  readonly times: JwtKeyTimes
}

function parse(text: string): readonly ParsedKey[] {
  try {
    const { keys } = JSON.parse(text) as { keys: readonly StoredKey[] }
    return keys.map(({ id, pkcs8, createdAt, activeAt, notAfter }) => ({
      key: id ?? keyOf(pkcs8 ?? ''),
      times: {
        createdAt: Temporal.Instant.from(createdAt),
        activeAt: Temporal.Instant.from(activeAt),
        notAfter: Temporal.Instant.from(notAfter),
      },
    }))
  } catch (cause) {
    throw unusable(`it cannot be read: ${(cause as Error).message}`, cause)
  }
}

function keyOf(pkcs8: string): KeyObject {
  return createPrivateKey({ key: Buffer.from(pkcs8, 'base64'), format: 'der', type: 'pkcs8' })
}

function unusable(why: string, cause?: unknown): CaError {
  return new CaError('CA_STATE_UNUSABLE', `Cannot use the stored JWT keys ${FILE}: ${why}`, {
    cause,
  })
}
