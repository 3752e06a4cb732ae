/** The ledger out of PostgreSQL into a file of SQLite, and back: the same tables, row by row. */
import { DatabaseSync } from 'node:sqlite'
import { Kysely, sql, type Transaction } from 'kysely'

import { CaError } from '../error.ts'
import type { CaDatabase, CopiedFile } from '../issue/database.ts'
import { migrate } from '../issue/migrations.ts'
import { makePrivate } from '../issue/private-file.ts'
import { sqliteDialect } from '../issue/sqlite-dialect.ts'
import { readFiles, sharedFiles } from './files.ts'

/** A table as SQLite has it. */
interface Shape {
  readonly name: string
  /** Columns of its key, in order. */
  readonly key: readonly string[]
}

/** Rows of one statement: each engine counts parameters. */
const ROWS_AT_A_TIME = 1000

/** Queries of tables whose names are data. */
type Any = Kysely<Record<string, Record<string, unknown>>>

/**
 * Copies the ledger, as it is at one instant, to a new file of SQLite that its owner alone may read.
 *
 * @param path - Absolute.
 * @returns the shared files, of the same instant
 * @throws {CaError} `CA_STATE_UNUSABLE` if a file does not open
 */
export async function snapshotTo(
  queries: Kysely<CaDatabase>,
  key: Uint8Array,
  path: string,
): Promise<readonly CopiedFile[]> {
  makePrivate(path)
  const file = new DatabaseSync(path)
  try {
    // A copy that was not finished is thrown away: nothing of it has to last.
    file.exec('PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;')
    migrate(file, path)
    const to = new Kysely<CaDatabase>({ dialect: sqliteDialect(file) })
    return await queries
      .transaction()
      .setIsolationLevel('repeatable read')
      .execute(async (inside) => {
        file.exec('BEGIN')
        for (const shape of shapesOf(file)) await copyTable(inside, to, shape)
        file.exec('COMMIT')
        return readFiles(inside, key)
      })
  } finally {
    file.close()
  }
}

/**
 * Fills an empty ledger from a file of SQLite and with `files`; to be called in a transaction that
 * nobody else appends beside.
 *
 * @throws {CaError} `CA_STATE_UNUSABLE` if the ledger is not empty
 */
export async function fillFrom(
  path: string,
  { inside, key }: { readonly inside: Transaction<CaDatabase>; readonly key: Uint8Array },
  files: readonly CopiedFile[],
): Promise<void> {
  const file = new DatabaseSync(path, { readOnly: true })
  try {
    const from = new Kysely<CaDatabase>({ dialect: sqliteDialect(file) })
    const shapes = shapesOf(file)
    for (const { name } of [...shapes, { name: 'files' }]) await assertEmpty(inside, name)
    for (const shape of shapes) await copyTable(from, inside, shape)
    for (const { name, text } of files) await sharedFiles(inside, key).write(name, text)
  } finally {
    file.close()
  }
}

function shapesOf(file: DatabaseSync): readonly Shape[] {
  const tables = file
    .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    .all() as unknown as readonly { readonly name: string }[]
  return tables.map(({ name }) => {
    const columns = file
      .prepare('SELECT name, pk FROM pragma_table_info(?) WHERE pk > 0 ORDER BY pk')
      .all(name) as unknown as readonly { readonly name: string }[]
    return { name, key: columns.map((column) => column.name) }
  })
}

/** Page by page: a ledger may be larger than memory. */
async function copyTable(
  from: Kysely<CaDatabase>,
  to: Kysely<CaDatabase>,
  { name, key }: Shape,
): Promise<void> {
  const columns = key.map((column) => sql.ref(column))
  for (let last: readonly unknown[] | undefined; ; ) {
    const after = last && sql`WHERE (${sql.join(columns)}) > (${sql.join(last)})`
    const { rows } = await sql<
      Record<string, unknown>
    >`SELECT * FROM ${sql.table(name)} ${after ?? sql``}
      ORDER BY ${sql.join(columns)} LIMIT ${sql.lit(ROWS_AT_A_TIME)}`.execute(from)
    const end = rows.at(-1)
    if (end === undefined) return
    await (to as unknown as Any).insertInto(name).values(rows).execute()
    last = key.map((column) => end[column])
  }
}

async function assertEmpty(inside: Kysely<CaDatabase>, name: string): Promise<void> {
  const { rows } = await sql`SELECT 1 FROM ${sql.table(name)} LIMIT 1`.execute(inside)
  if (rows.length === 0) return
  throw new CaError(
    'CA_STATE_UNUSABLE',
    `Cannot restore a CA in this database: its table ${name} has rows, expected an empty database`,
  )
}
