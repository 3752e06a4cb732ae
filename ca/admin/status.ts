import {
  type AuthorityEntry,
  type AuthorityKind,
  type AuthorityState,
  type Book,
  isBelow,
  type Rotation,
} from '../authorities/book.ts'
import { certificateOf } from '../authorities/make.ts'
import type { Authorities } from '../authorities/open-authorities.ts'
import type { Database } from '../issue/database.ts'
import type { JwtKeyStatus } from '../keys/jwt-keyring.ts'
import type { ReplicaStatus } from '../serve/board.ts'
import type { Subscriber, Subscribers } from '../serve/subscribers.ts'
import type { TrustDomain } from '../spiffe/index.ts'
import { type DenyEntry, type DenyList, denialsInForce, type TrustBundle } from '../x509/index.ts'
import { countLiveLeaves } from './list-certificates.ts'

/** A root or an issuing CA, as administrators see it. */
export interface AuthorityStatus {
  readonly kind: AuthorityKind
  readonly state: AuthorityState
  /** Lower-case hex of the subject key identifier. */
  readonly keyId: string
  /** Lower-case hex. */
  readonly serial: string
  /** A root's own. */
  readonly issuerKeyId: string
  readonly notBefore: Temporal.Instant
  readonly notAfter: Temporal.Instant
  /** When a prepared one is to be used. */
  readonly activeAt: Temporal.Instant | undefined
  /** Leaves that have not ended and chain to it. */
  readonly liveLeaves: number
}

/** The CA, as administrators see it. */
export interface CaStatus {
  readonly trustDomain: TrustDomain
  /** Of the trust bundle. */
  readonly generation: number
  readonly ready: boolean
  readonly reasons: readonly string[]
  readonly authorities: readonly AuthorityStatus[]
  /** Those that sign JWT-SVIDs, the newest last. */
  readonly jwtKeys: readonly JwtKeyStatus[]
  /** Who judges peers by the trust bundle, at whichever CA. */
  readonly subscribers: readonly Subscriber[]
  /** The CAs on the database; empty where there is one alone. */
  readonly replicas: readonly ReplicaStatus[]
  /** What is on the deny-list now, in the order in which it came there. */
  readonly denials: readonly DenyEntry[]
  /** The change of the root that is under way. */
  readonly rotation?: Omit<Rotation, 'startedAt'> & { readonly startedAt: Temporal.Instant }
}

export interface StatusDeps {
  readonly queries: Database
  readonly now: () => Temporal.Instant
  readonly bundle: { readonly current: TrustBundle }
  readonly authorities: Authorities
  readonly jwtKeys: { readonly list: (now: Temporal.Instant) => readonly JwtKeyStatus[] }
  readonly subscribers: Pick<Subscribers, 'everyone' | 'replicas'>
  readonly denials: { readonly list: { readonly current: DenyList } }
  readonly health: () => { readonly ready: boolean; readonly reasons: readonly string[] }
}

/** Reads the state of the CA. */
export async function readStatus(deps: StatusDeps): Promise<CaStatus> {
  const { queries, now, bundle, authorities, health } = deps
  const book = authorities.book.current
  const serials = book.authorities.map(({ serial }) => serial)
  const counts = await countLiveLeaves(queries, serials, now())
  const { trustDomain, generation } = bundle.current
  return {
    trustDomain,
    generation,
    ...health(),
    jwtKeys: deps.jwtKeys.list(now()),
    subscribers: await deps.subscribers.everyone(),
    replicas: await deps.subscribers.replicas(),
    denials: denialsInForce(deps.denials.list.current, now()),
    authorities: book.authorities.map((entry) => ({
      ...entry,
      notBefore: certificateOf(entry).notBefore,
      notAfter: instant(entry.notAfter),
      activeAt: entry.activeAt === undefined ? undefined : instant(entry.activeAt),
      // What a revoked one signed is trusted no longer, whatever its certificates say.
      liveLeaves: entry.state === 'revoked' ? 0 : liveBelow(book, entry, counts),
    })),
    ...(book.rotation && {
      rotation: { ...book.rotation, startedAt: instant(book.rotation.startedAt) },
    }),
  }
}

function liveBelow(
  { authorities }: Book,
  entry: AuthorityEntry,
  counts: ReadonlyMap<string, number>,
): number {
  const below = authorities.filter((each) => isBelow(each, entry))
  return below.reduce((sum, { serial }) => sum + (counts.get(serial) ?? 0), 0)
}

function instant(epochMs: number): Temporal.Instant {
  return Temporal.Instant.fromEpochMilliseconds(epochMs)
}
