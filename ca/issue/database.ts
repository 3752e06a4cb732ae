/** The CA's database: what it holds, and opening it so that exactly one process has it. */
import { DatabaseSync } from 'node:sqlite'
import { Kysely } from 'kysely'

import { CaError } from '../error.ts'
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
  /** SPIFFE ID of the caller, or `self`. */
  readonly requested_by: string
  readonly der: Uint8Array
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

export interface CaDatabase {
  readonly certificates: CertificateRow
  readonly join_tokens: JoinTokenRow
  readonly agents: AgentRow
  readonly bundles: BundleRow
}

/** What queries are written against. */
export type Database = Kysely<CaDatabase>

/** An open database. Disposing it closes the file and lets go of its lock. */
export interface OpenDatabase extends Disposable {
  readonly queries: Database
}

/**
 * Opens the database at `path` for this process alone, bringing its tables up to date.
 *
 * The lock is SQLite's on the file, so it ends with the process however that ends.
 *
 * @throws {CaError} `CA_STATE_UNUSABLE` if it cannot be opened or written, another process has it,
 *   or a newer version of this program made it
 */
export function openDatabase(path: string): OpenDatabase {
  try {
    const database = new DatabaseSync(path)
    try {
      database.exec(EXCLUSIVE)
      migrate(database, path)
    } catch (cause) {
      database.close()
      throw cause
    }
    return {
      queries: new Kysely<CaDatabase>({ dialect: sqliteDialect(database) }),
      [Symbol.dispose]: () => database.close(),
    }
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

/**
 * FULL: a commit has reached the disk when it returns, so a power cut forgets no certificate. The
 * longer log before a checkpoint, and rows in order of arrival (certificates keep their rowid: their
 * keys are random), halve what a row costs.
 */
const EXCLUSIVE = `
  PRAGMA locking_mode = EXCLUSIVE;
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = FULL;
  PRAGMA wal_autocheckpoint = 4000;
  PRAGMA foreign_keys = ON;
  BEGIN IMMEDIATE; COMMIT;`

/** Each entry brings the tables from the version of its index to the next. Entries are never edited. */
const MIGRATIONS = [
  `CREATE TABLE certificates (
     serial TEXT PRIMARY KEY, kind TEXT NOT NULL, subject TEXT NOT NULL, issuer_serial TEXT NOT NULL,
     issued_at INTEGER NOT NULL, not_before INTEGER NOT NULL, not_after INTEGER NOT NULL,
     requested_by TEXT NOT NULL, der BLOB NOT NULL
   ) STRICT;
   CREATE TABLE join_tokens (
     token_sha256 TEXT PRIMARY KEY, agent_id TEXT NOT NULL, scope TEXT NOT NULL,
     expires_at INTEGER NOT NULL, used_at INTEGER
   ) STRICT, WITHOUT ROWID;
   CREATE TABLE agents (
     agent_id TEXT PRIMARY KEY, scope TEXT NOT NULL, attested_at INTEGER NOT NULL
   ) STRICT, WITHOUT ROWID;
   CREATE TABLE bundles (generation INTEGER PRIMARY KEY, digest TEXT NOT NULL) STRICT;`,
]

function migrate(database: DatabaseSync, path: string): void {
  const [version = 0] = Object.values(database.prepare('PRAGMA user_version').get() ?? {}).map(
    Number,
  )
  if (version > MIGRATIONS.length) {
    throw new CaError(
      'CA_STATE_UNUSABLE',
      `Cannot open the ledger ${path}: it has version ${version}, expected at most ${MIGRATIONS.length}`,
    )
  }
  for (const [index, migration] of MIGRATIONS.entries()) {
    if (index < version) continue
    database.exec(`BEGIN; ${migration} PRAGMA user_version = ${index + 1}; COMMIT;`)
  }
}
