/**
 * The keys that sign JWT-SVIDs: prepared, then used, then kept for as long as a token of theirs can
 * be valid. A key is in everybody's bundle before its first token, so no token ever meets a judge who
 * cannot know its key.
 */
import type { AuthorityState } from '../authorities/book.ts'
import { CaError } from '../error.ts'
import type { JwtKey } from '../jwt/jwt-svid-keys.ts'
import type { JwtSigner } from '../jwt/jwt-svid-sign.ts'
import type { Life } from '../x509/index.ts'
import { rawSignature } from './ecdsa.ts'
import {
  type HeldKey,
  heldKey,
  holdsKeys,
  JWT_KEYS_FILE,
  type JwtKeys,
  loadKeys,
  serializeKeys,
  unusableKeys,
} from './jwt-key-file.ts'
import { withoutTainted, withTainted } from './jwt-key-steps.ts'
import {
  activeJwtKey,
  isPastHalf,
  type JwtKeyTimes,
  jwtKeyState,
  planJwtKey,
} from './jwt-key-times.ts'
import type { KeyStore } from './signing-key.ts'
import type { StateDir } from './state-dir.ts'

/** A key as administrators see it. */
export interface JwtKeyStatus extends Omit<JwtKeyTimes, 'tainted'> {
  readonly keyId: string
  readonly state: AuthorityState
}

/** The CA's JWT keys: which there are is a file, the keys themselves are in a key store. */
export interface JwtKeyring {
  /** Public halves of all keys that are prepared, active, old or tainted; the newest last. */
  readonly publicKeys: () => readonly JwtKey[]
  /** Identifiers of those that are tainted. */
  readonly taintedKeys: () => readonly string[]
  /** The newest key's: its successor is due at half of it. */
  readonly life: () => Life
  /** What signs at `now`. */
  readonly signer: (now: Temporal.Instant) => JwtSigner
  /** All of them, those that were revoked first. */
  readonly list: (now: Temporal.Instant) => readonly JwtKeyStatus[]
  /** Takes what another CA on the same files has done; whether that was anything. */
  readonly reload: () => Promise<boolean>
  /** Makes the next key unless another CA has, lets go of those that ended, and puts both on the disk. */
  readonly prepare: (now: Temporal.Instant) => Promise<void>
  /**
   * Has what a key signed replaced. One that signs now is succeeded by the next one: at once if it is
   * prepared, else by a new one that is known for a moment first. One that has signed nothing is revoked.
   *
   * @throws {CaError} `CA_ROTATION_REFUSED` if it is tainted or revoked already, or there is none
   */
  readonly taint: (keyId: string, now: Temporal.Instant) => Promise<void>
  /**
   * Lets go of a tainted key: nothing that it signed is believed.
   *
   * @param force - Even if its successor does not sign yet: that one then does.
   * @throws {CaError} `CA_ROTATION_REFUSED` if it is not tainted, `CA_ROTATION_NOT_YET`
   */
  readonly revoke: (keyId: string, force: boolean, now: Temporal.Instant) => Promise<void>
}

/** What the keyring is kept in. */
export interface KeyringPlaces {
  readonly state: StateDir
  readonly store: KeyStore
}

/** Milliseconds that a revoked key is told of after its end. */
const SHOWN_MS = 86_400_000

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
  const text = await state.read(JWT_KEYS_FILE)
  let held = await loadKeys(text, store)
  const newest = (): HeldKey => {
    const key = held.keys.at(-1)
    if (!key) throw unusableKeys('it has no key')
    return key
  }
  const reload = async (): Promise<boolean> => {
    const stored = await loadKeys(await state.read(JWT_KEYS_FILE), store)
    if (serializeKeys(stored) === serializeKeys(held)) return false
    held = stored
    return true
  }
  /** First the file, then the keys that it names no more: after a crash one too many is there. */
  const keep = async (next: JwtKeys): Promise<void> => {
    await state.write(JWT_KEYS_FILE, serializeKeys(next))
    const gone = held.keys.filter(({ key }) => !next.keys.some((one) => one.key.id === key.id))
    held = next
    for (const { key } of gone) await store.remove(key.id)
  }
  const withNext = async (keys: readonly HeldKey[], at: Temporal.Instant) => [
    ...keys,
    heldKey(await store.create(), planJwtKey(keys.at(-1), at, life)),
  ]
  const prepare = async (at: Temporal.Instant): Promise<void> => {
    const keys = held.keys.filter(({ notAfter }) => Temporal.Instant.compare(at, notAfter) < 0)
    const revoked = held.revoked.filter(
      ({ notAfter }) => at.epochMilliseconds < notAfter.epochMilliseconds + SHOWN_MS,
    )
    await keep({ keys: await withNext(keys, at), revoked })
  }
  if (held.keys.length === 0 || isPastHalf(newest(), now)) await prepare(now)
  else if (text !== undefined && holdsKeys(text)) await keep(held)
  return {
    publicKeys: () => held.keys.map(({ jwk }) => jwk),
    taintedKeys: () => held.keys.flatMap(({ tainted, key }) => (tainted ? [key.id] : [])),
    life: () => ({ issuedAt: newest().createdAt, notAfter: newest().notAfter }),
    signer: (at) => signerOf(activeJwtKey(held.keys, at), at),
    list: (at) => statusesOf(held, at),
    reload,
    prepare: async (at) => {
      const before = newest()
      await reload()
      if (newest().key.id === before.key.id) await prepare(at)
    },
    async taint(keyId, at) {
      await reload()
      const next = withTainted(held, keyId, at)
      const last = next.keys.findLast(({ tainted }) => !tainted)
      const isDue = !last || isPastHalf(last, at)
      await keep(isDue ? { ...next, keys: await withNext(next.keys, at) } : next)
    },
    async revoke(keyId, force, at) {
      await reload()
      await keep(withoutTainted(held, keyId, { force, now: at }))
    },
  }
}

function statusesOf({ keys, revoked }: JwtKeys, now: Temporal.Instant): readonly JwtKeyStatus[] {
  const statusOf = (
    keyId: string,
    state: AuthorityState,
    { createdAt, activeAt, notAfter }: JwtKeyTimes,
  ): JwtKeyStatus => ({ keyId, state, createdAt, activeAt, notAfter })
  return [
    ...revoked.map((each) => statusOf(each.id, 'revoked', each)),
    ...keys.map((each) => statusOf(each.key.id, jwtKeyState(each, keys, now), each)),
  ]
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
