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
}

/** Reads them. One's successor is what was issued to the same caller for the same subject. */
export async function findLiveLeaves(queries: Database, query: LeafQuery): Promise<LiveLeaves> {
  const { issuerSerials, except, now } = query
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
  const successors = new Set(others.map(nameOf))
  const replaced = live.filter((row) => successors.has(nameOf(row))).length
  return { rows: live.slice(0, MAX_TOLD), count: live.length, replaced }
}

function nameOf({ subject, requested_by }: ListedCertificate): string {
  return `${subject} ${requested_by}`
}
