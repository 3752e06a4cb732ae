/** The ledger in PostgreSQL, shared by replicas of one CA. */
import { readFile } from 'node:fs/promises'
import { Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'

import type { Log } from '#core/log.ts'
import { CaError } from '../error.ts'
import type { CaDatabase, OpenDatabase } from '../issue/database.ts'
import { readSecret, type SecretSource } from '../keys/open-keys.ts'
import { derive } from '../keys/sealed.ts'
import type { StateDir } from '../keys/state-dir.ts'
import { parseAddress, placeOf } from './address.ts'
import { sharedFiles } from './files.ts'
import { listenForChanges } from './listen.ts'
import { makeTables } from './tables.ts'
import { createPostgresWriter } from './write.ts'

/** Where the ledger of several replicas is. */
export interface PostgresConfig {
  readonly kind: 'postgres'
  /** `postgres://user@host:port/database`, without a password; TLS unless `?sslmode=disable`. */
  readonly url: string
  /** Left out: what PGPASSWORD or PGPASSFILE says, or none. */
  readonly password?: SecretSource
  /** PEM file of whoever may vouch for the server, absolute. @default the system's roots */
  readonly caFile?: string
  /** Encrypts what replicas share through the database: keys, and the log's. The same for all. */
  readonly passphrase: SecretSource
}

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
  readonly close: () => Promise<void>
}

/**
 * Milliseconds: a replica that is stopped in the middle of a commit holds the others up for so long,
 * then the server ends its transaction.
 */
const IDLE_MS = 5000
const LOCK_MS = 15_000

/** Milliseconds to get a connection in. */
const CONNECT_MS = 15_000

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
  const pool = await openPool(config, env)
  // Connections that are idle break when the server goes; whoever uses one next is told.
  pool.on('connect', (client) => void client.on('error', () => {})) // as is whoever uses it now
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
    copyTo: () => Promise.reject(notHere()),
    files: (prefix) => sharedFiles(queries, key, prefix),
    alone,
    onChange: (listener) => listenForChanges(pool, listener, ended.signal),
    close,
    [Symbol.dispose]: () => void close(),
  }
}

/** Names of locks; any numbers that nobody else uses. */
const TABLES_LOCK = 7_238_461_902

async function openPool(
  { url, password, caFile }: PostgresConfig,
  env: OpenPostgresDeps['env'],
): Promise<pg.Pool> {
  const address = parseAddress(url)
  if (!address) throw unusable({ url }, new Error('it is no postgres://user@host/database'))
  const { host, port, isTls, ...where } = address
  const secret = password && (await readSecret('password', password, env))
  const ca = caFile === undefined ? undefined : await readFile(caFile, 'utf8')
  return new pg.Pool({
    host,
    port,
    ...where,
    ...(secret !== undefined && { password: secret }),
    ssl: isTls && { rejectUnauthorized: true, ...(ca !== undefined && { ca }) },
    max: 8,
    connectionTimeoutMillis: CONNECT_MS,
    application_name: 'redoubt-ca',
    options: `-c synchronous_commit=on -c lock_timeout=${LOCK_MS} -c idle_in_transaction_session_timeout=${IDLE_MS}`,
    types: { getTypeParser: parserOf },
  })
}

/** 64-bit integers are ours, and far below 2^53. */
const INT8 = 20

function parserOf(oid: number, format?: 'text' | 'binary') {
  return oid === INT8 ? Number : pg.types.getTypeParser(oid, format as 'text')
}

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

function unusable({ url }: Pick<PostgresConfig, 'url'>, cause: unknown): CaError {
  const { message, code } = cause as NodeJS.ErrnoException
  const why = message || code || 'it does not answer'
  return new CaError(
    'CA_STATE_UNUSABLE',
    `Cannot open the ledger in PostgreSQL at ${placeOf(url)}: ${why}`,
    { cause },
  )
}

function notHere(): CaError {
  return new CaError(
    'CA_BACKUP_INVALID',
    'Cannot write a backup: the ledger is in PostgreSQL, which has its own (pg_basebackup); keys are in it, encrypted',
  )
}
