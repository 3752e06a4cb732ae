/** The tables of the ledger in PostgreSQL: the steps that SQLite takes, in its words, and a few of its own. */
import { randomBytes } from 'node:crypto'
import { type Kysely, sql } from 'kysely'

import { CaError } from '../error.ts'
import type { CaDatabase } from '../issue/database.ts'
import { STEPS } from '../issue/migrations.ts'

/** What SQLite has no need of: files that replicas share, who follows which of them, and the version of all of it. */
const OWN = `
  CREATE TABLE IF NOT EXISTS redoubt_version (steps BIGINT NOT NULL, salt BYTEA NOT NULL);
  CREATE TABLE IF NOT EXISTS files (name TEXT PRIMARY KEY, sealed BYTEA NOT NULL);
  CREATE TABLE IF NOT EXISTS replicas (
    id TEXT PRIMARY KEY, address TEXT NOT NULL, started_at BIGINT NOT NULL, seen_at BIGINT NOT NULL
  );
  CREATE TABLE IF NOT EXISTS subscribers (
    agent TEXT PRIMARY KEY, replica TEXT NOT NULL, stream TEXT NOT NULL, opened_at BIGINT NOT NULL,
    connected BIGINT NOT NULL, until BIGINT NOT NULL, report TEXT NOT NULL
  );`

const SALT_BYTES = 16

/**
 * Brings the tables up to date, all of it or nothing. To be called by one at a time.
 *
 * @returns the salt that goes with the passphrase of this ledger
 * @throws {CaError} `CA_STATE_UNUSABLE` if a newer version of this program made them
 */
export async function makeTables(queries: Kysely<CaDatabase>): Promise<Uint8Array> {
  return queries.transaction().execute(async (inside) => {
    await sql.raw(OWN).execute(inside)
    const { rows } = await sql<{
      steps: number
      salt: Uint8Array
    }>`SELECT steps, salt FROM redoubt_version`.execute(inside)
    const { steps: version, salt } = rows[0] ?? { steps: 0, salt: randomBytes(SALT_BYTES) }
    if (version > STEPS.length) {
      throw new CaError(
        'CA_STATE_UNUSABLE',
        `Cannot open the ledger in PostgreSQL: it has version ${version}, expected at most ${STEPS.length}`,
      )
    }
    for (const step of STEPS.slice(version)) {
      // Rows from before there was a log are in no PostgreSQL: their part of a step is left out.
      const text = typeof step === 'string' ? step : step.sql
      await sql.raw(inPostgres(text)).execute(inside)
    }
    await sql.raw('DELETE FROM redoubt_version').execute(inside)
    await sql`INSERT INTO redoubt_version VALUES (${STEPS.length}, ${salt})`.execute(inside)
    return salt
  })
}

/** A step of SQLite in the words of PostgreSQL. */
export function inPostgres(step: string): string {
  return (
    step
      .replaceAll(/\) STRICT(, WITHOUT ROWID)?;/g, ');')
      .replaceAll(/\bINTEGER\b/g, 'BIGINT')
      .replaceAll(/\bBLOB\b/g, 'BYTEA')
      .replaceAll(/\bonly\b/g, '"only"')
      .replaceAll(/\s*ORDER BY rowid/g, '')
      // Constraints keep their names when their table gets another.
      .replaceAll(
        /ALTER TABLE (\w+) RENAME TO (\w+);/g,
        'ALTER TABLE $1 RENAME TO $2; ALTER INDEX $1_pkey RENAME TO $2_pkey;',
      )
  )
}
