/** The ledger in PostgreSQL for those who only look: nothing is made or changed, by nobody. */
import { Kysely, PostgresDialect, sql } from 'kysely'

import { CaError } from '../error.ts'
import type { CaDatabase, CopiedFile } from '../issue/database.ts'
import { STEPS } from '../issue/migrations.ts'
import { readSecret } from '../keys/open-keys.ts'
import { derive } from '../keys/sealed.ts'
import type { StateDir } from '../keys/state-dir.ts'
import { snapshotTo } from './copy.ts'
import { sharedFiles } from './files.ts'
import { openPool, type PostgresConfig, READING, unusable } from './pool.ts'

/** A ledger that is read, while CAs run on it or not. */
export interface PostgresReader extends AsyncDisposable {
  readonly queries: Kysely<CaDatabase>
  /** What replicas share besides; it cannot be written. */
  readonly files: StateDir
  readonly isShared: true
  /** See `snapshotTo` of copy.ts. */
  readonly copyTo: (path: string) => Promise<readonly CopiedFile[]>
}

/**
 * Opens it for a user who needs no right but SELECT.
 *
 * @throws {CaError} `CA_STATE_UNUSABLE` if it cannot be reached, no CA has run on it, or it is of another
 *   version; `CA_CONFIG_INVALID` if a secret is not where it is said to be
 */
export async function readPostgres(
  config: PostgresConfig,
  env: Readonly<Record<string, string | undefined>>,
): Promise<PostgresReader> {
  const pool = await openPool(config, env, READING)
  pool.on('error', () => {}) // whoever asks next is told
  const queries = new Kysely<CaDatabase>({ dialect: new PostgresDialect({ pool }) })
  try {
    const passphrase = await readSecret('passphrase', config.passphrase, env)
    const key = await derive(passphrase, await readSalt(queries))
    return {
      queries,
      isShared: true,
      files: sharedFiles(queries, key),
      copyTo: (path) => snapshotTo(queries, key, path),
      [Symbol.asyncDispose]: () => queries.destroy(),
    }
  } catch (cause) {
    await queries.destroy()
    if (cause instanceof CaError && cause.code !== 'CA_STATE_UNUSABLE') throw cause
    throw unusable(config, cause)
  }
}

async function readSalt(queries: Kysely<CaDatabase>): Promise<Uint8Array> {
  const there = await sql<{ there: boolean }>`
    SELECT to_regclass('redoubt_version') IS NOT NULL AS there`.execute(queries)
  const { rows } = there.rows[0]?.there
    ? await sql<{
        steps: number
        salt: Uint8Array
      }>`SELECT steps, salt FROM redoubt_version`.execute(queries)
    : { rows: [] }
  const [version] = rows
  if (!version) throw new Error('there is none, expected the ledger of a CA that has run')
  if (version.steps === STEPS.length) return version.salt
  const update = version.steps < STEPS.length ? '; starting a CA on it brings it up to date' : ''
  throw new Error(`it has version ${version.steps}, expected ${STEPS.length}${update}`)
}
