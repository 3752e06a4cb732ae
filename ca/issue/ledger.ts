import type { CompiledQuery } from 'kysely'

import type { CallRow, CertificateRow, OpenDatabase } from './database.ts'
import type { LogAddition, LogPlanner } from './transparency.ts'

/** What goes into the ledger, and the log, together or not at all. */
export interface LedgerEntries {
  readonly certificates?: readonly CertificateRow[]
  readonly calls?: readonly CallRow[]
  /** Other changes of the database that the entries speak of. */
  readonly changes?: readonly CompiledQuery[]
}

/** The record of every certificate and every administrative call. */
export interface Ledger {
  /**
   * Resolves when everything is on the disk, and in the tree. What arrives while others are being
   * written, or in the same turn, shares one commit: under load a commit, the dearest part, is paid
   * once for many.
   */
  readonly record: (entries: LedgerEntries) => Promise<void>
  /** The same in a commit that is shared with nobody: for changes that may fail on their own account. */
  readonly recordAlone: (entries: LedgerEntries) => Promise<void>
}

/** A ledger in `database`. Recording rejects with whatever the database says. */
export function createLedger({ write }: Pick<OpenDatabase, 'write'>, log: LogPlanner): Ledger {
  let pending: LedgerEntries[] = []
  let commit: Promise<void> | undefined
  let last: Promise<void> = Promise.resolve()

  const commitAll = async (all: readonly LedgerEntries[]): Promise<void> => {
    const addition = merged(all)
    if (isEmpty(addition)) return
    await write(addition, log)
  }
  const flush = (): Promise<void> => {
    const all = pending
    pending = []
    commit = undefined
    return commitAll(all)
  }
  return {
    record(entries) {
      pending.push(entries)
      if (!commit) {
        commit = Promise.all([last, endOfTurn()]).then(flush)
        last = commit.catch(() => undefined) // told to those who wait for that commit
      }
      return commit
    },
    recordAlone(entries) {
      const own = last.then(() => commitAll([entries]))
      last = own.catch(() => undefined) // told to whoever recorded it
      return own
    },
  }
}

function merged(all: readonly LedgerEntries[]): LogAddition {
  return {
    certificates: all.flatMap(({ certificates = [] }) => certificates),
    calls: all.flatMap(({ calls = [] }) => calls),
    changes: all.flatMap(({ changes = [] }) => changes),
  }
}

function isEmpty({ certificates, calls, changes }: LogAddition): boolean {
  return certificates.length + calls.length + changes.length === 0
}

function endOfTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve)
  })
}
