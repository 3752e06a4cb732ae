/**
 * The one path by which certificates and calls get into the ledger: a commit of rows and their leaves
 * under a signed head. Statements are prepared once; put together anew for each commit they would be
 * a third of what writing costs.
 */
import type { DatabaseSync, SQLInputValue } from 'node:sqlite'
import type { CompiledQuery, Kysely } from 'kysely'

import type { TreeNode } from '../log/tree.ts'
import type { CaDatabase, CallRow, CertificateRow, LogHeadRow } from './database.ts'
import type { LogAddition, LogPlanner } from './transparency.ts'

/** A row with the hash of its leaf. Its place is that of the batch, plus its own in it. */
export type BatchEntry =
  | { readonly kind: 'certificate'; readonly row: CertificateRow; readonly leaf: Uint8Array }
  | { readonly kind: 'call'; readonly row: CallRow; readonly leaf: Uint8Array }

/** What is written together or not at all. */
export interface Batch {
  /** Place in the log of the first entry. */
  readonly from: number
  readonly entries: readonly BatchEntry[]
  readonly kept: readonly TreeNode[]
  readonly head: LogHeadRow
  /** Other changes that the entries speak of. */
  readonly changes: readonly CompiledQuery[]
}

/**
 * Writes an addition as `log` plans it. Resolves when it is on the disk; rejects with whatever the
 * database says, and then nothing of it is there.
 */
export type WriteAddition = (addition: LogAddition, log: LogPlanner) => Promise<void>

/** A writer on `database`, which takes turns with `queries` on the same connection. */
export function createBatchWriter(
  database: DatabaseSync,
  queries: Kysely<CaDatabase>,
): WriteAddition {
  const begin = database.prepare('BEGIN IMMEDIATE')
  const commit = database.prepare('COMMIT')
  const rollback = database.prepare('ROLLBACK')
  const certificate = database.prepare(
    `INSERT INTO certificates (log_index, serial, kind, subject, issuer_serial, issued_at,
      not_before, not_after, requested_by, der, life) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  )
  const call = database.prepare(
    'INSERT INTO calls (log_index, at, caller, action, detail, outcome) VALUES (?, ?, ?, ?, ?, ?)',
  )
  const leaf = database.prepare('INSERT INTO log_leaves (log_index, hash) VALUES (?, ?)')
  const node = database.prepare('INSERT INTO log_nodes (level, position, hash) VALUES (?, ?, ?)')
  const head = database.prepare(
    `INSERT OR REPLACE INTO log_head (only, log, size, root, time, key_id, signature)
      VALUES (0, ?, ?, ?, ?, ?, ?)`,
  )

  const insert = ({ from, entries, kept, head: newest, changes }: Batch): void => {
    for (const [at, entry] of entries.entries()) {
      const index = from + at
      if (entry.kind === 'certificate') certificate.run(index, ...certificateValues(entry.row))
      else call.run(index, ...callValues(entry.row))
      leaf.run(index, entry.leaf)
    }
    for (const { level, index, hash } of kept) node.run(level, index, hash)
    head.run(...headValues(newest))
    for (const { sql, parameters } of changes) {
      database.prepare(sql).run(...(parameters as readonly SQLInputValue[]))
    }
  }
  return (addition, { plan }) =>
    // kysely lends its connection to one at a time: no transaction of its own is open meanwhile.
    queries.connection().execute(async () => {
      const { batch, done } = plan(addition)
      begin.run()
      try {
        insert(batch)
        commit.run()
      } catch (cause) {
        if (database.isTransaction) rollback.run() // a full disk may have ended it already
        throw cause
      }
      done()
    })
}

function certificateValues(row: CertificateRow): readonly SQLInputValue[] {
  const { serial, kind, subject, issuer_serial, issued_at } = row
  const { not_before, not_after, requested_by, der, life } = row
  const times = [issued_at, not_before, not_after]
  return [serial, kind, subject, issuer_serial, ...times, requested_by, der, life]
}

function callValues({ at, caller, action, detail, outcome }: CallRow): readonly SQLInputValue[] {
  return [at, caller, action, detail, outcome]
}

function headValues(row: LogHeadRow): readonly SQLInputValue[] {
  const { log, size, root, time, key_id, signature } = row
  return [log, size, root, time, key_id, signature]
}
