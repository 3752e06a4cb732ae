/** When a key that signs JWT-SVIDs is what. Pure. */
import type { AuthorityState } from '../authorities/book.ts'
import { earlier } from '../issue/template.ts'

/** When a key is what. */
export interface JwtKeyTimes {
  readonly createdAt: Temporal.Instant
  /** It signs from here on, until its successor does. */
  readonly activeAt: Temporal.Instant
  /** Its tokens end here at the latest, and so does it. */
  readonly notAfter: Temporal.Instant
  /** What it signed is to be replaced, and it signs no more as soon as another can. */
  readonly tainted?: true
}

/** The times of a key that is made at `now`, after `last`. */
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
  // In haste: what the other signs is worth nothing.
  if (last.tainted) return { createdAt: now, activeAt: now.add(HASTE), notAfter }
  const lastMs = last.notAfter.epochMilliseconds - last.createdAt.epochMilliseconds
  const due = last.createdAt.add({ milliseconds: Math.round((lastMs * 5) / 6) })
  // Prepared late (the CA was off): it still waits for the bundle to spread.
  const spread = now.add({ milliseconds: Math.round(lastMs / SPREAD_SHARE) })
  const activeAt = Temporal.Instant.compare(due, spread) > 0 ? due : spread
  return { createdAt: now, activeAt: earlier(activeAt, last.notAfter), notAfter }
}

/** A key is known for this part of a life before it signs, if it can be. */
const SPREAD_SHARE = 24

/** A bundle is at every agent and sidecar that is connected by then, as a revocation is. */
const HASTE = Temporal.Duration.from({ seconds: 2 })

/** The key that signs at `now`: the last that is active, a tainted one only while there is no other. */
export function activeJwtKey<Key extends JwtKeyTimes>(
  keys: readonly Key[],
  now: Temporal.Instant,
): Key | undefined {
  const active = keys.filter((key) => isActiveBy(key, now))
  return active.findLast(({ tainted }) => !tainted) ?? active.at(-1) ?? keys[0]
}

/** What a key is at `now` among all of them, in the words that issuing CAs have. */
export function jwtKeyState<Key extends JwtKeyTimes>(
  key: Key,
  keys: readonly Key[],
  now: Temporal.Instant,
): AuthorityState {
  if (key.tainted) return 'tainted'
  if (key === activeJwtKey(keys, now)) return 'active'
  return isActiveBy(key, now) ? 'old' : 'prepared'
}

function isActiveBy({ activeAt }: JwtKeyTimes, now: Temporal.Instant): boolean {
  return Temporal.Instant.compare(activeAt, now) <= 0
}

/** Whether its successor is due. */
export function isPastHalf({ createdAt, notAfter }: JwtKeyTimes, now: Temporal.Instant): boolean {
  return 2 * now.epochMilliseconds >= createdAt.epochMilliseconds + notAfter.epochMilliseconds
}
