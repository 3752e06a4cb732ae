/** How the tables of the ledger came to be: each step brings them from one version to the next. */
import type { DatabaseSync } from 'node:sqlite'

import { CaError } from '../error.ts'
import { type CertificateEntry, certificateLeaf } from '../log/entry.ts'
import { EMPTY_TREE, grow } from '../log/tree.ts'

/** The log: certificates get their place in it as their row number, in the order of being recorded. */
const ADD_LOG = `
    ALTER TABLE certificates RENAME TO certificates_before;
    CREATE TABLE certificates (
      log_index INTEGER PRIMARY KEY,
      serial TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, subject TEXT NOT NULL, issuer_serial TEXT NOT NULL,
      issued_at INTEGER NOT NULL, not_before INTEGER NOT NULL, not_after INTEGER NOT NULL,
      requested_by TEXT NOT NULL, der BLOB NOT NULL
    ) STRICT;
    INSERT INTO certificates
      SELECT row_number() OVER (ORDER BY rowid) - 1, serial, kind, subject, issuer_serial,
        issued_at, not_before, not_after, requested_by, der
      FROM certificates_before ORDER BY rowid;
    DROP TABLE certificates_before;
    CREATE TABLE calls (
      log_index INTEGER PRIMARY KEY, at INTEGER NOT NULL, caller TEXT NOT NULL,
      action TEXT NOT NULL, detail TEXT NOT NULL, outcome TEXT NOT NULL
    ) STRICT;
    CREATE TABLE log_leaves (log_index INTEGER PRIMARY KEY, hash BLOB NOT NULL) STRICT;
    CREATE TABLE log_nodes (
      level INTEGER NOT NULL, position INTEGER NOT NULL, hash BLOB NOT NULL,
      PRIMARY KEY (level, position)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE log_head (
      only INTEGER PRIMARY KEY CHECK (only = 0), log TEXT NOT NULL, size INTEGER NOT NULL,
      root TEXT NOT NULL, time TEXT NOT NULL, key_id TEXT NOT NULL, signature TEXT NOT NULL
    ) STRICT;`

/** Each brings the tables from the version of its place to the next. None is ever edited. */
export const STEPS: readonly (
  | string
  | { readonly sql: string; readonly after: (database: DatabaseSync) => void }
)[] = [
  `
      CREATE TABLE certificates (
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
  { sql: ADD_LOG, after: logCertificates },
  `
      CREATE TABLE denials (
        kind TEXT NOT NULL, value TEXT NOT NULL, until INTEGER NOT NULL,
        generation INTEGER NOT NULL, lifted INTEGER NOT NULL, PRIMARY KEY (kind, value)
      ) STRICT, WITHOUT ROWID;`,
  `
      CREATE TABLE authority_books (
        version INTEGER PRIMARY KEY, at INTEGER NOT NULL, book TEXT NOT NULL
      ) STRICT;
      CREATE INDEX certificates_by_issuer ON certificates (issuer_serial, not_after);`,
  'ALTER TABLE certificates ADD COLUMN life TEXT;',
]

/** Works out leaves and nodes of the log. The head is signed by whoever has the key. */
function logCertificates(database: DatabaseSync): void {
  const addLeaf = database.prepare('INSERT INTO log_leaves (log_index, hash) VALUES (?, ?)')
  const addNode = database.prepare('INSERT INTO log_nodes (level, position, hash) VALUES (?, ?, ?)')
  const rows = database.prepare('SELECT * FROM certificates ORDER BY log_index').iterate()
  let tree = EMPTY_TREE
  for (const row of rows) {
    const entry = row as unknown as CertificateEntry & { readonly der: Uint8Array }
    const leaf = certificateLeaf(entry, entry.der)
    addLeaf.run(tree.size, leaf)
    const growth = grow(tree, [leaf])
    for (const { level, index, hash } of growth.kept) addNode.run(level, index, hash)
    tree = growth.tree
  }
}

/**
 * Brings the tables up to date, all of it or nothing.
 *
 * @throws {CaError} `CA_STATE_UNUSABLE` if a newer version of this program made them, or another program
 */
export function migrate(database: DatabaseSync, path: string): void {
  const version = versionOf(database)
  if (version > STEPS.length) {
    throw refused(
      path,
      `it has version ${version}, expected at most ${STEPS.length}: a newer Redoubt made it; start that one`,
    )
  }
  if (version === 0 && hasTables(database)) {
    throw refused(path, 'it is the database of another program; choose another state directory')
  }
  if (version === STEPS.length) return
  database.exec('BEGIN IMMEDIATE')
  try {
    for (const step of STEPS.slice(version)) {
      database.exec(typeof step === 'string' ? step : step.sql)
      if (typeof step !== 'string') step.after(database)
    }
    database.exec(`PRAGMA user_version = ${STEPS.length}; COMMIT`)
  } catch (cause) {
    database.exec('ROLLBACK')
    throw cause
  }
}

/** @throws {CaError} `CA_STATE_UNUSABLE` if the tables are not of this version */
export function assertVersion(database: DatabaseSync, path: string): void {
  const version = versionOf(database)
  if (version === STEPS.length) return
  const update = version < STEPS.length ? '; starting a CA on it brings it up to date' : ''
  throw refused(path, `it has version ${version}, expected ${STEPS.length}${update}`)
}

function versionOf(database: DatabaseSync): number {
  return Number(Object.values(database.prepare('PRAGMA user_version').get() ?? {})[0] ?? 0)
}

function hasTables(database: DatabaseSync): boolean {
  return database.prepare('SELECT name FROM sqlite_master LIMIT 1').get() !== undefined
}

function refused(path: string, why: string): CaError {
  return new CaError('CA_STATE_UNUSABLE', `Cannot open the ledger ${path}: ${why}`)
}
