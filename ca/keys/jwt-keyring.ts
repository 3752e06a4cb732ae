/**
 * The keys that sign JWT-SVIDs: prepared, then used, then kept for as long as a token of theirs can
 * be valid. A key is in everybody's bundle long before its first token, so no token ever meets a
 * judge who cannot know its key.
 */
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
} from 'node:crypto'

import { CaError } from '../error.ts'
import { earlier } from '../issue/template.ts'
import type { JwtKey } from '../jwt/jwt-svid-keys.ts'
import type { JwtSigner } from '../jwt/jwt-svid-sign.ts'
import { keyIdentifier, type Life } from '../x509/index.ts'
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
  readonly key: KeyObject
  readonly jwk: JwtKey
}

/** The CA's JWT keys, in memory and on disk. */
export interface JwtKeyring {
  /** Public halves of all keys that are prepared, active or old; the newest last. */
  readonly publicKeys: () => readonly JwtKey[]
  /** The newest key's: its successor is due at half of it. */
  readonly life: () => Life
  /** What signs at `now`. */
  readonly signer: (now: Temporal.Instant) => JwtSigner
  /** Makes the next key, lets go of those that ended, and puts both on the disk. */
  readonly prepare: (now: Temporal.Instant) => Promise<void>
}

/**
 * Opens the keyring in `state`, making a key if there is none or the newest is past half of its life.
 *
 * @param life - Of each key; exact time.
 * @throws {CaError} `CA_STATE_UNUSABLE` if the file cannot be read
 */
export async function openJwtKeyring(
  state: StateDir,
  life: Temporal.Duration,
  now: Temporal.Instant,
): Promise<JwtKeyring> {
  let keys = parse(await state.read(FILE))
  const newest = (): HeldKey => {
    const key = keys.at(-1)
    if (!key) throw unusable('it has no key')
    return key
  }
  const prepare = async (at: Temporal.Instant): Promise<void> => {
    const alive = keys.filter(({ notAfter }) => Temporal.Instant.compare(at, notAfter) < 0)
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const next = [...alive, heldKey(privateKey, planJwtKey(alive.at(-1), at, life))]
    await state.write(FILE, serialize(next))
    keys = next
  }
  if (keys.length === 0 || isPastHalf(newest(), now)) await prepare(now)
  return {
    publicKeys: () => keys.map(({ jwk }) => jwk),
    life: () => ({ issuedAt: newest().createdAt, notAfter: newest().notAfter }),
    signer: (at) => signerOf(activeJwtKey(keys, at), at),
    prepare,
  }
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
    sign: (bytes) => sign('sha256', bytes, { key, dsaEncoding: 'ieee-p1363' }),
  }
}

/** The key id is the key's identifier, as certificates have it: it needs no counter and never repeats. */
function heldKey(key: KeyObject, times: JwtKeyTimes): HeldKey {
  const spki = createPublicKey(key)
  const { crv, x, y } = spki.export({ format: 'jwk' })
  if (crv !== 'P-256' || !x || !y) throw unusable('a key is not on P-256')
  const kid = Buffer.from(keyIdentifier(spki.export({ type: 'spki', format: 'der' }))).toString(
    'hex',
  )
  return { ...times, key, jwk: { kty: 'EC', use: 'jwt-svid', kid, alg: 'ES256', crv, x, y } }
}

const FILE = 'jwt-keys.json'

interface StoredKey {
  readonly createdAt: string
  readonly activeAt: string
  readonly notAfter: string
  /** PKCS#8, base64. */
  readonly pkcs8: string
}

function serialize(keys: readonly HeldKey[]): string {
  const stored = keys.map(
    ({ key, createdAt, activeAt, notAfter }): StoredKey => ({
      createdAt: String(createdAt),
      activeAt: String(activeAt),
      notAfter: String(notAfter),
      pkcs8: key.export({ type: 'pkcs8', format: 'der' }).toString('base64'),
    }),
  )
  return `${JSON.stringify({ keys: stored }, null, 2)}\n`
}

function parse(text: string | undefined): readonly HeldKey[] {
  if (text === undefined) return []
  try {
    const { keys } = JSON.parse(text) as { keys: readonly StoredKey[] }
    return keys.map(({ pkcs8, createdAt, activeAt, notAfter }) =>
      heldKey(
        createPrivateKey({ key: Buffer.from(pkcs8, 'base64'), format: 'der', type: 'pkcs8' }),
        {
          createdAt: Temporal.Instant.from(createdAt),
          activeAt: Temporal.Instant.from(activeAt),
          notAfter: Temporal.Instant.from(notAfter),
        },
      ),
    )
  } catch (cause) {
    if (cause instanceof CaError) throw cause
    throw unusable(`it cannot be read: ${(cause as Error).message}`, cause)
  }
}

function unusable(why: string, cause?: unknown): CaError {
  return new CaError('CA_STATE_UNUSABLE', `Cannot use the stored JWT keys ${FILE}: ${why}`, {
    cause,
  })
}
