/** The ledger in PostgreSQL, shared by replicas of one CA. */
import { Kysely, PostgresDialect } from 'kysely'
import type pg from 'pg'

import type { Log } from '#core/log.ts'
import { CaError } from '../error.ts'
import type { CaDatabase, CopiedFile, OpenDatabase } from '../issue/database.ts'
import { readSecret } from '../keys/open-keys.ts'
import { derive } from '../keys/sealed.ts'
import type { StateDir } from '../keys/state-dir.ts'
import { fillFrom, snapshotTo } from './copy.ts'
import { sharedFiles } from './files.ts'
import { listenForChanges } from './listen.ts'
import { openPool, type PostgresConfig, unusable, WRITING } from './pool.ts'
import { makeTables } from './tables.ts'
import { createPostgresWriter, lockAppend } from './write.ts'

export interface OpenPostgresDeps {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly log: Log
}

/** A database that others write to, too. */
export interface SharedDatabase extends OpenDatabase {
  /** Files that all replicas see. */
  readonly files: (prefix?: string) => StateDir
  /** Runs `work` while no other replica runs any of that name. */
  readonly alone: <Result>(name: number, work: () => Promise<Result>) => Promise<Result>
  /** Calls `listener` when another replica, or this one, has changed something. */
  readonly onChange: (listener: () => void) => void
  /** Fills it from a file of SQLite, in one commit. @throws {CaError} `CA_STATE_UNUSABLE` if it is not empty */
  readonly fill: (path: string, files: readonly CopiedFile[]) => Promise<void>
  readonly close: () => Promise<void>
}

/**
 * Opens it, making its tables if there are none. A commit is on the disk when it returns, whatever
 * the server's default is.
 *
 * @throws {CaError} `CA_STATE_UNUSABLE` if it cannot be reached or used, `CA_CONFIG_INVALID` if a secret
 *   is not where it is said to be
 */
export async function openPostgres(
  config: PostgresConfig,
  { env, log }: OpenPostgresDeps,
): Promise<SharedDatabase> {
  const pool = await openPool(config, env, WRITING)
  pool.on('error', (cause) => log('warn', 'ca-ledger-connection-lost', { detail: cause.message }))
  const queries = new Kysely<CaDatabase>({ dialect: new PostgresDialect({ pool }) })
  const passphrase = await readSecret('passphrase', config.passphrase, env)
  const ended = new AbortController()
  const alone: SharedDatabase['alone'] = (name, work) => runAlone(pool, name, work)
  let key: Uint8Array
  try {
    key = await derive(passphrase, await alone(TABLES_LOCK, () => makeTables(queries)))
  } catch (cause) {
    await pool.end()
    if (cause instanceof CaError) throw cause
    throw unusable(config, cause)
  }
  const close = async (): Promise<void> => {
    ended.abort()
    await queries.destroy()
  }
  return {
    queries,
    isShared: true,
    write: createPostgresWriter(queries),
    copyTo: (path) => snapshotTo(queries, key, path),
    files: (prefix) => sharedFiles(queries, key, prefix),
    alone,
    onChange: (listener) => listenForChanges(pool, listener, ended.signal),
    fill: (path, files) =>
      queries.transaction().execute(async (inside) => {
        await lockAppend(inside)
        await fillFrom(path, { inside, key }, files)
      }),
    close,
    [Symbol.dispose]: () => void close(),
  }
}

/** Names of locks; any numbers that nobody else uses. */
const TABLES_LOCK = 7_238_461_902

async function runAlone<Result>(
  pool: pg.Pool,
  name: number,
  work: () => Promise<Result>,
): Promise<Result> {
  const connection = await pool.connect()
  let isBroken = false
  try {
    await connection.query('SELECT pg_advisory_lock($1)', [name])
    return await work()
  } finally {
    // With the connection goes the lock, if it cannot be let go of otherwise.
    await connection.query('SELECT pg_advisory_unlock($1)', [name]).catch(() => {
      isBroken = true
    })
    connection.release(isBroken)
  }
}
