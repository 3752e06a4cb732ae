/** The CA's database: what it holds, and opening it so that exactly one process has it. */
import { backup, DatabaseSync } from 'node:sqlite'
import { Kysely } from 'kysely'

import { CaError } from '../error.ts'
import type { LifeReason } from '../log/entry.ts'
import type { DenyKind } from '../x509/index.ts'
import { createBatchWriter, type WriteAddition } from './batch-writer.ts'
import { assertVersion, migrate } from './migrations.ts'
import { keepPrivate, makePrivate } from './private-file.ts'
import { sqliteDialect } from './sqlite-dialect.ts'

/** One row for each certificate that was ever made, written before the certificate is handed out. */
export interface CertificateRow {
  /** Lower-case hex without leading zero bytes. */
  readonly serial: string
  readonly kind: 'root' | 'issuing' | 'leaf'
  /** SPIFFE ID. */
  readonly subject: string
  /** Serial of the issuing certificate; a root's own. */
  readonly issuer_serial: string
  /** Epoch milliseconds. */
  readonly issued_at: number
  readonly not_before: number
  readonly not_after: number
  /** SPIFFE ID of the caller, who an administrator is, or `self`. */
  readonly requested_by: string
  /** See `CertificateEntry` of ca/log. */
  readonly life: LifeReason | null
  readonly der: Uint8Array
}

/** Where in the log a row is: places are counted from 0, over certificates and calls together. */
export interface Logged {
  readonly log_index: number
}

/** One row for each administrative call; see `CallEntry` of ca/log. */
export interface CallRow {
  /** Epoch milliseconds. */
  readonly at: number
  readonly caller: string
  readonly action: string
  readonly detail: string
  readonly outcome: string
}

/** The hash of one leaf of the log. It stays when the row that it is of is no longer there. */
export interface LogLeafRow {
  readonly log_index: number
  readonly hash: Uint8Array
}

/** A node of the log's tree at a level worth keeping; see `TreeNode` of ca/log. */
export interface LogNodeRow {
  readonly level: number
  readonly position: number
  readonly hash: Uint8Array
}

/** The newest tree head, as it was signed with the rows that it covers. */
export interface LogHeadRow {
  /** 0: there is one row. */
  readonly only?: number
  /** Whose log: the trust domain. */
  readonly log: string
  readonly size: number
  readonly root: string
  readonly time: string
  readonly key_id: string
  readonly signature: string
}

/** A token that is consumed has `used_at`; the row stays, so that a second use is told apart in logs. */
export interface JoinTokenRow {
  readonly token_sha256: string
  readonly agent_id: string
  /** JSON array of text. */
  readonly scope: string
  readonly expires_at: number
  readonly used_at: number | null
}

/** An agent that has proved its node, with what it may ask for. */
export interface AgentRow {
  readonly agent_id: string
  readonly scope: string
  readonly attested_at: number
}

export interface BundleRow {
  readonly generation: number
  /** Hex SHA-256 over the roots, in order. */
  readonly digest: string
}

/** One thing that is not trusted; see `DenyRecord` of ca/x509. */
export interface DenialRow {
  readonly kind: DenyKind
  readonly value: string
  /** Epoch milliseconds. */
  readonly until: number
  readonly generation: number
  /** 1: taken off the list before its end. */
  readonly lifted: number
}

/** The CA's keys with their states after one step; see ca/authorities. */
export interface AuthorityBookRow {
  readonly version: number
  /** Epoch milliseconds. */
  readonly at: number
  /** JSON. */
  readonly book: string
}

export interface CaDatabase {
  readonly certificates: CertificateRow & Logged
  readonly calls: CallRow & Logged
  readonly log_leaves: LogLeafRow
  readonly log_nodes: LogNodeRow
  readonly log_head: LogHeadRow
  readonly join_tokens: JoinTokenRow
  readonly agents: AgentRow
  readonly bundles: BundleRow
  readonly authority_books: AuthorityBookRow
  readonly denials: DenialRow
}

/** File of the database below a state directory. */
export const LEDGER_FILE = 'ledger.db'

/** What queries are written against. */
export type Database = Kysely<CaDatabase>

/** A small file that CAs share through their database. */
export interface CopiedFile {
  /** Relative, with `/` between folders. */
  readonly name: string
  readonly text: string
}

/** An open database. Disposing it closes the file and lets go of its lock. */
export interface OpenDatabase extends Disposable {
  readonly queries: Database
  /** Writes one commit of the ledger. */
  readonly write: WriteAddition
  /**
   * Copies it, as it is at one instant, to a new file of SQLite.
   *
   * @returns the files of the same instant where they are in the database; `undefined` where they are not
   * @throws {CaError} `CA_STATE_UNUSABLE`
   */
  readonly copyTo: (path: string) => Promise<readonly CopiedFile[] | undefined>
  /** Whether others may write to it, too. */
  readonly isShared: boolean
}

/**
 * Opens the database at `path` for this process alone, bringing its tables up to date.
 *
 * The lock is SQLite's on the file, so it ends with the process however that ends. The file, and those
 * that SQLite keeps beside it, have mode 0600, whatever mode they had.
 *
 * @throws {CaError} `CA_STATE_UNUSABLE` if it cannot be opened or written, another process has it,
 *   or a newer version of this program made it
 */
export function openDatabase(path: string): OpenDatabase {
  return told(path, () => {
    makePrivate(path)
    const database = opened(path, {}, (fresh) => {
      fresh.exec(LOCK)
      migrate(fresh, path)
      keepPrivate(path)
      fresh.exec(DURABLE)
    })
    const queries = new Kysely<CaDatabase>({ dialect: sqliteDialect(database) })
    return {
      queries,
      write: createBatchWriter(database, queries),
      isShared: false,
      copyTo: copierOf(database),
      [Symbol.dispose]: () => database.close(),
    }
  })
}

/**
 * Opens the database at `path` only to read it, along with others who do. No CA can have it meanwhile.
 *
 * @throws {CaError} `CA_STATE_UNUSABLE` as {@link openDatabase} does, and if its tables are of another
 *   version: they are not brought up to date
 */
export function readDatabase(
  path: string,
): Pick<OpenDatabase, 'queries' | 'copyTo' | 'isShared'> & Disposable {
  return told(path, () => {
    const database = opened(path, { readOnly: true }, (old) => assertVersion(old, path))
    const queries = new Kysely<CaDatabase>({ dialect: sqliteDialect(database) })
    const copyTo = copierOf(database)
    return { queries, copyTo, isShared: false, [Symbol.dispose]: () => database.close() }
  })
}

function copierOf(database: DatabaseSync): OpenDatabase['copyTo'] {
  return async (to) => {
    makePrivate(to)
    await backup(database, to)
    return undefined
  }
}

function opened(
  path: string,
  options: { readOnly?: boolean },
  prepare: (database: DatabaseSync) => void,
): DatabaseSync {
  const database = new DatabaseSync(path, options)
  try {
    prepare(database)
    return database
  } catch (cause) {
    database.close()
    throw cause
  }
}

function told<T>(path: string, open: () => T): T {
  try {
    return open()
  } catch (cause) {
    if (cause instanceof CaError) throw cause
    const { errcode, message } = cause as { errcode?: number; message: string }
    const why =
      errcode === SQLITE_BUSY
        ? 'another CA has it open; stop that one, or choose another state directory'
        : `${message}; it must be a database that this user can read and write`
    throw new CaError('CA_STATE_UNUSABLE', `Cannot open the ledger ${path}: ${why}`, { cause })
  }
}

const SQLITE_BUSY = 5

/** Only this process, from the first look on: the lock comes before anything is read or made. */
const LOCK = `
  PRAGMA locking_mode = EXCLUSIVE;
  BEGIN IMMEDIATE; COMMIT;`

/**
 * FULL: a commit has reached the disk when it returns, so a power cut forgets no certificate. The
 * longer log before a checkpoint, and rows in order of arrival (certificates keep their rowid: their
 * keys are random), halve what a row costs.
 */
const DURABLE = `
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = FULL;
  PRAGMA wal_autocheckpoint = 4000;
  PRAGMA foreign_keys = ON;`
