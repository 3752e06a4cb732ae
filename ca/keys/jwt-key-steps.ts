/** What becomes of a key for JWT-SVIDs that an administrator takes trust from. Pure. */
import { CaError } from '../error.ts'
import type { HeldKey, JwtKeys } from './jwt-key-file.ts'
import { activeJwtKey, type JwtKeyTimes, jwtKeyState } from './jwt-key-times.ts'

/**
 * The keys without trust in what `keyId` signed. One that signs now is succeeded at once by the one
 * that is prepared, if there is one; one that has signed nothing is revoked.
 *
 * @throws {CaError} `CA_ROTATION_REFUSED` if it is tainted or revoked already
 */
export function withTainted(held: JwtKeys, keyId: string, now: Temporal.Instant): JwtKeys {
  const entry = mustHave(held, keyId, 'taint')
  const state = jwtKeyState(entry, held.keys, now)
  if (state === 'tainted') throw refused(`taint ${keyId}`, 'it is tainted already')
  if (state === 'prepared') return without(held, entry)
  const keys = held.keys.map((each) =>
    each === entry ? { ...each, tainted: true as const } : each,
  )
  return { ...held, keys: state === 'active' ? hastened(keys, now) : keys }
}

/**
 * The keys without `keyId`.
 *
 * @param force - Whether its successor is to sign from now on, known to all or not.
 * @throws {CaError} `CA_ROTATION_REFUSED` if it is not tainted; `CA_ROTATION_NOT_YET` while no other signs
 */
export function withoutTainted(
  held: JwtKeys,
  keyId: string,
  { force, now }: { readonly force: boolean; readonly now: Temporal.Instant },
): JwtKeys {
  const entry = mustHave(held, keyId, 'revoke')
  const state = jwtKeyState(entry, held.keys, now)
  if (state !== 'tainted') {
    throw refused(`revoke ${keyId}`, `it is ${state}, expected tainted (redoubt ca taint)`)
  }
  if (activeJwtKey(held.keys, now)?.tainted && !force) throw notYet(held, keyId, now)
  const left = without(held, entry)
  return { ...left, keys: force ? hastened(left.keys, now) : left.keys }
}

function notYet({ keys }: JwtKeys, keyId: string, now: Temporal.Instant): CaError {
  const next = keys.find(({ tainted }) => !tainted)
  const leftMs = (next?.activeAt.epochMilliseconds ?? 0) - now.epochMilliseconds
  return new CaError(
    'CA_ROTATION_NOT_YET',
    `Cannot revoke ${keyId}: its successor signs from ${next?.activeAt.round('second')} on`,
    { retryAfterMs: Math.max(1000, leftMs) },
  )
}

/** The first that is to be used next signs from `now` on, unless one does already. */
function hastened(keys: readonly HeldKey[], now: Temporal.Instant): readonly HeldKey[] {
  const isTrusted = ({ tainted }: JwtKeyTimes) => !tainted
  const isActive = ({ activeAt }: JwtKeyTimes) => Temporal.Instant.compare(activeAt, now) <= 0
  if (keys.some((each) => isTrusted(each) && isActive(each))) return keys
  const next = keys.find(isTrusted)
  return keys.map((each) => (each === next ? { ...each, activeAt: now } : each))
}

function without({ keys, revoked }: JwtKeys, entry: HeldKey): JwtKeys {
  const { createdAt, activeAt, notAfter, key } = entry
  return {
    keys: keys.filter((each) => each !== entry),
    revoked: [...revoked, { id: key.id, createdAt, activeAt, notAfter }],
  }
}

function mustHave({ keys, revoked }: JwtKeys, keyId: string, what: string): HeldKey {
  const entry = keys.find(({ key }) => key.id === keyId)
  if (entry) return entry
  const isRevoked = revoked.some(({ id }) => id === keyId)
  throw refused(`${what} ${keyId}`, isRevoked ? 'it is revoked already' : 'the CA has no such key')
}

function refused(what: string, why: string): CaError {
  return new CaError('CA_ROTATION_REFUSED', `Cannot ${what}: ${why}`)
}
