/** Books in the database: one row for each, so that of two who write the same version one fails. */
import type { CompiledQuery } from 'kysely'

import { CaError } from '../error.ts'
import type { Database } from '../issue/database.ts'
import type { Book } from './book.ts'

/** Books that are kept; only the newest is ever read again. */
const KEPT = 20

/** The newest book; `undefined` before the first. @throws {CaError} `CA_STATE_UNUSABLE` if it cannot be read */
export async function readBook(queries: Database): Promise<Book | undefined> {
  const row = await queries
    .selectFrom('authority_books')
    .selectAll()
    .orderBy('version', 'desc')
    .limit(1)
    .executeTakeFirst()
  if (!row) return undefined
  try {
    return { ...(JSON.parse(row.book) as Book), version: row.version }
  } catch (cause) {
    throw new CaError(
      'CA_STATE_UNUSABLE',
      `Cannot read the CA's authorities: version ${row.version} is not JSON`,
      { cause },
    )
  }
}

/** The version of the newest book; 0 before the first. */
export async function readVersion(queries: Database): Promise<number> {
  const row = await queries
    .selectFrom('authority_books')
    .select(({ fn }) => fn.max('version').as('version'))
    .executeTakeFirst()
  return Number(row?.version ?? 0)
}

/**
 * What writes `book` down. It fails where there is one of its version: somebody else was first, and
 * the commit that it is part of changes nothing.
 */
export function bookChanges(
  queries: Database,
  book: Book,
  now: Temporal.Instant,
): readonly CompiledQuery[] {
  const { version } = book
  const row = { version, at: now.epochMilliseconds, book: JSON.stringify(book) }
  return [
    queries.insertInto('authority_books').values(row).compile(),
    queries
      .deleteFrom('authority_books')
      .where('version', '<=', version - KEPT)
      .compile(),
  ]
}
