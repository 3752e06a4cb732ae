import type { CertificateRow, Database } from './database.ts'

/** The record of every certificate. */
export interface Ledger {
  /**
   * Resolves when every row is on the disk. Rows that arrive while others are being written, or in
   * the same turn, share one commit: under load a commit, the dearest part, is paid once for many.
   */
  readonly record: (rows: readonly CertificateRow[]) => Promise<void>
}

/** Rows a statement; 9 values each, below SQLite's limit of 32,766. */
const MAX_ROWS = 1024

/** A ledger in `database`. Recording rejects with whatever the database says. */
export function createLedger(database: Database): Ledger {
  let pending: CertificateRow[] = []
  let commit: Promise<void> | undefined

  const flush = async (): Promise<void> => {
    const rows = pending
    pending = []
    commit = undefined
    await insert(database, rows)
  }
  return {
    record(rows) {
      pending.push(...rows)
      commit ??= endOfTurn().then(flush)
      return commit
    },
  }
}

/** Rows of one call either all get in or none does. */
async function insert(database: Database, rows: readonly CertificateRow[]): Promise<void> {
  if (rows.length === 0) return
  if (rows.length <= MAX_ROWS) {
    await database.insertInto('certificates').values(rows).execute()
    return
  }
  await database.transaction().execute(async (transaction) => {
    for (let at = 0; at < rows.length; at += MAX_ROWS) {
      await transaction
        .insertInto('certificates')
        .values(rows.slice(at, at + MAX_ROWS))
        .execute()
    }
  })
}

function endOfTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve)
  })
}
