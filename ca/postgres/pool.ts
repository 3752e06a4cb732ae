/** Connections to the server: what it is told of each, and what may be said when there is none. */
import { readFile } from 'node:fs/promises'
import pg from 'pg'

import { CaError } from '../error.ts'
import { readSecret, type SecretSource } from '../keys/open-keys.ts'
import { parseAddress, placeOf } from './address.ts'

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

/** A ledger in PostgreSQL, with the variables in which its secrets may be. */
export interface SharedLedger {
  readonly ledger: PostgresConfig
  readonly env: Readonly<Record<string, string | undefined>>
}

/**
 * Milliseconds: a replica that is stopped in the middle of a commit holds the others up for so long,
 * then the server ends its transaction.
 */
const IDLE_MS = 5000
const LOCK_MS = 15_000

/** Milliseconds to get a connection in. */
const CONNECT_MS = 15_000

/** Settings of a connection that changes things. */
export const WRITING: string = `-c synchronous_commit=on -c lock_timeout=${LOCK_MS} -c idle_in_transaction_session_timeout=${IDLE_MS}`

/** Settings of one that cannot. */
export const READING = '-c default_transaction_read_only=on'

/** Connections as they are wanted. @throws {CaError} `CA_STATE_UNUSABLE`, `CA_CONFIG_INVALID` if a secret is not there */
export async function openPool(
  { url, password, caFile }: PostgresConfig,
  env: Readonly<Record<string, string | undefined>>,
  options: string,
): Promise<pg.Pool> {
  const address = parseAddress(url)
  if (!address) throw unusable({ url }, new Error('it is no postgres://user@host/database'))
  const { host, port, isTls, ...where } = address
  const secret = password && (await readSecret('password', password, env))
  const ca = caFile === undefined ? undefined : await readFile(caFile, 'utf8')
  const pool = new pg.Pool({
    host,
    port,
    ...where,
    ...(secret !== undefined && { password: secret }),
    ssl: isTls && { rejectUnauthorized: true, ...(ca !== undefined && { ca }) },
    max: 8,
    connectionTimeoutMillis: CONNECT_MS,
    application_name: 'redoubt-ca',
    options,
    types: { getTypeParser: parserOf },
  })
  // Connections that are idle break when the server goes; whoever uses one next is told,
  pool.on('connect', (client) => void client.on('error', () => {})) // as is whoever uses it now.
  return pool
}

/** 64-bit integers are ours, and far below 2^53. */
const INT8 = 20

function parserOf(oid: number, format?: 'text' | 'binary') {
  return oid === INT8 ? Number : pg.types.getTypeParser(oid, format as 'text')
}

/** Why it cannot be used; no user and no password is told. */
export function unusable({ url }: Pick<PostgresConfig, 'url'>, cause: unknown): CaError {
  const { message, code } = cause as NodeJS.ErrnoException
  const why = message || code || 'it does not answer'
  return new CaError(
    'CA_STATE_UNUSABLE',
    `Cannot open the ledger in PostgreSQL at ${placeOf(url)}: ${why}`,
    { cause },
  )
}
