/** Leaves that a step would cut off. */
import type { Database } from '../issue/database.ts'
import { COLUMNS, type ListedCertificate } from './list-certificates.ts'

/** Leaves that have not ended and chain to certain issuers. */
export interface LiveLeaves {
  /** The last to end first: {@link MAX_TOLD} of them. */
  readonly rows: readonly ListedCertificate[]
  readonly count: number
  /** How many of them have a successor from another issuer: their subject shows that one by now. */
  readonly replaced: number
}

/** Leaves that are told one by one. */
const MAX_TOLD = 100

export interface LeafQuery {
  readonly issuerSerials: readonly string[]
  /** Subjects that do not count. */
  readonly except: readonly string[]
  readonly now: Temporal.Instant
  /** Counts those alone that have no successor. @default false */
  readonly bare?: boolean
}

/** Reads them. One's successor is what was issued later, by another, to the same caller for the same subject. */
export async function findLiveLeaves(queries: Database, query: LeafQuery): Promise<LiveLeaves> {
  const { issuerSerials, except, now, bare = false } = query
  if (issuerSerials.length === 0) return { rows: [], count: 0, replaced: 0 }
  const leaves = queries
    .selectFrom('certificates')
    .select(COLUMNS)
    .where('kind', '=', 'leaf')
    .where('not_after', '>', now.epochMilliseconds)
  const live = await leaves
    .where('issuer_serial', 'in', issuerSerials)
    .where('subject', 'not in', except)
    .orderBy('not_after', 'desc')
    .execute()
  if (live.length === 0) return { rows: [], count: 0, replaced: 0 }
  const others = await leaves.where('issuer_serial', 'not in', issuerSerials).execute()
  const newest = newestOf(others)
  const isReplaced = (row: ListedCertificate) => (newest.get(nameOf(row)) ?? -1) > row.log_index
  const told = bare ? live.filter((row) => !isReplaced(row)) : live
  return {
    rows: told.slice(0, MAX_TOLD),
    count: told.length,
    replaced: told.filter(isReplaced).length,
  }
}

/** Where in the log each name has its last: one from before is no successor. */
function newestOf(leaves: readonly ListedCertificate[]): ReadonlyMap<string, number> {
  const newest = new Map<string, number>()
  for (const leaf of leaves) {
    const name = nameOf(leaf)
    newest.set(name, Math.max(newest.get(name) ?? -1, leaf.log_index))
  }
  return newest
}

function nameOf({ subject, requested_by }: ListedCertificate): string {
  return `${subject} ${requested_by}`
}
