/** One commit of the ledger at a time, of however many replicas. */
import { type Kysely, sql, type Transaction } from 'kysely'

import type { Batch, WriteAddition } from '../issue/batch-writer.ts'
import type { CaDatabase } from '../issue/database.ts'

/** Names the lock that whoever appends to the log has; any number that nobody else uses. */
const APPEND_LOCK = 7_238_461_901

/** Told to other replicas with a commit that they should look at. */
export const CHANNEL = 'redoubt_ca'

/** Rows of one INSERT: PostgreSQL counts parameters in 16 bits. */
const ROWS_AT_A_TIME = 1000

/**
 * A writer on PostgreSQL. The lock is taken before the log is looked at and let go of by the commit:
 * whoever comes next has seen it.
 */
export function createPostgresWriter(queries: Kysely<CaDatabase>): WriteAddition {
  return async (addition, log) => {
    const done = await queries.transaction().execute(async (inside) => {
      await lockAppend(inside)
      await log.catchUp(inside)
      const planned = log.plan(addition)
      await insert(inside, planned.batch)
      if (addition.changes.length > 0) await sql.raw(`NOTIFY ${CHANNEL}`).execute(inside)
      return planned.done
    })
    done()
  }
}

/** Until the commit nobody else appends. */
export async function lockAppend(inside: Transaction<CaDatabase>): Promise<void> {
  await sql`SELECT pg_advisory_xact_lock(${APPEND_LOCK})`.execute(inside)
}

async function insert(inside: Transaction<CaDatabase>, batch: Batch): Promise<void> {
  const { from, entries, kept, head, changes } = batch
  const placed = entries.map((entry, at) => ({ ...entry, log_index: from + at }))
  const certificates = placed.flatMap((entry) =>
    entry.kind === 'certificate' ? [{ ...entry.row, log_index: entry.log_index }] : [],
  )
  const calls = placed.flatMap((entry) =>
    entry.kind === 'call' ? [{ ...entry.row, log_index: entry.log_index }] : [],
  )
  for (const rows of pages(certificates)) {
    await inside.insertInto('certificates').values(rows).execute()
  }
  for (const rows of pages(calls)) await inside.insertInto('calls').values(rows).execute()
  for (const rows of pages(placed.map(({ log_index, leaf: hash }) => ({ log_index, hash })))) {
    await inside.insertInto('log_leaves').values(rows).execute()
  }
  const nodes = kept.map(({ level, index: position, hash }) => ({ level, position, hash }))
  for (const rows of pages(nodes)) await inside.insertInto('log_nodes').values(rows).execute()
  await inside
    .insertInto('log_head')
    .values({ ...head, only: 0 })
    .onConflict((conflict) => conflict.column('only').doUpdateSet(head))
    .execute()
  for (const change of changes) await inside.executeQuery(change)
}

function pages<Row>(rows: readonly Row[]): readonly (readonly Row[])[] {
  const count = Math.ceil(rows.length / ROWS_AT_A_TIME)
  return Array.from({ length: count }, (_, at) =>
    rows.slice(at * ROWS_AT_A_TIME, (at + 1) * ROWS_AT_A_TIME),
  )
}
