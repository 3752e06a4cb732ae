/**
 * Rows of a CasbinPolicy from PostgreSQL, through Casbin's adapter for databases. Loaded with its driver by
 * the first policy that has such a source.
 */
import { PolicyError } from '../error.ts'
import type { PostgresSource } from '../model/intent.ts'
import { MAX_LINES } from '../casbin/operator/index.ts'

/** What a source refers to, found. */
export interface Credentials {
  readonly password: string | undefined
  /** PEM; left out: the system's roots. */
  readonly ca: string | undefined
}

/** A line's definition, then its columns. */
export type Row = readonly string[]

export type ReadRows = (source: PostgresSource, credentials: Credentials) => Promise<readonly Row[]>

const CONNECT_TIMEOUT_MS = 5_000
const QUERY_TIMEOUT_MS = 10_000
const COLUMNS = ['v0', 'v1', 'v2', 'v3', 'v4', 'v5'] as const

/** What the adapter needs of a driver's client, and what we need of the adapter. */
interface RowAdapter {
  readonly loadPolicy: (model: unknown) => Promise<void>
  loadPolicyLine: (row: unknown) => void
}
type RowAdapterClass = new (
  drive: 'pg',
  client: { readonly query: (sql: string) => Promise<{ readonly rows: readonly unknown[] }> },
  table: string,
) => RowAdapter

/** @throws {PolicyError} `POLICY_FETCH_FAILED`; no password is in its message */
export const readRows: ReadRows = async (source, credentials) => {
  const { Client } = (await import('pg')).default
  const { BasicAdapter } = await import('casbin-basic-adapter')
  const client = new Client(optionsOf(source, credentials))
  // What has failed is told by whoever waits; a connection that breaks afterwards is closed anyway.
  client.on('error', () => {})
  try {
    await client.connect()
    const found: unknown[] = []
    // Its own way in makes the table when there is none, which is not ours to make.
    const Adapter = BasicAdapter as unknown as RowAdapterClass
    const limited = { query: (sql: string) => client.query(`${sql} limit ${MAX_LINES + 1}`) }
    const adapter = new Adapter('pg', limited, source.table)
    // It drops empty columns and joins the rest with commas: a row would lose its shape, and a comma would
    // make two columns of one. Rows are taken as they are.
    adapter.loadPolicyLine = (row) => void found.push(row)
    await adapter.loadPolicy(undefined)
    return found.toSorted(byId).map(rowOf)
  } catch (cause) {
    throw failed(source, cause instanceof Error ? cause.message : String(cause))
  } finally {
    await client.end().catch(() => {
      // It is gone already.
    })
  }
}

function optionsOf(source: PostgresSource, { password, ca }: Credentials): object {
  const { host, port, database, user, tls } = source
  const isSocket = host.startsWith('/')
  return {
    host,
    port,
    database,
    user,
    ...(password === undefined ? {} : { password }),
    ssl:
      tls === 'disable' || isSocket
        ? false
        : { rejectUnauthorized: true, host, ...(ca === undefined ? {} : { ca }) },
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: QUERY_TIMEOUT_MS,
    application_name: 'redoubt-policy',
  }
}

/** In the order in which they were added, where the table tells it: `priority(p.eft)` goes by it. */
function byId(one: unknown, other: unknown): number {
  const [a, b] = [one, other].map((row) => Number((row as { readonly id?: unknown }).id ?? 0))
  return (a ?? 0) - (b ?? 0)
}

/** Columns up to the last that has a value; one that has none in between stays empty, and is refused. */
function rowOf(row: unknown): Row {
  const record = row as Readonly<Record<string, unknown>>
  const values = COLUMNS.map((column) => textOf(record[column]))
  const last = values.findLastIndex((value) => value !== '')
  return [textOf(record['ptype']), ...values.slice(0, last + 1)]
}

function textOf(value: unknown): string {
  if (value === null || value === undefined) return ''
  return typeof value === 'string' ? value : JSON.stringify(value)
}

function failed({ host, port, database, table }: PostgresSource, why: string): PolicyError {
  const what = `Cannot read table ${table} of database ${database} at ${host}:${port}`
  return new PolicyError('POLICY_FETCH_FAILED', `${what}: ${why}`)
}
