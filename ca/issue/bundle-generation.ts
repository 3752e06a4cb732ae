import { createHash } from 'node:crypto'
import { sql } from 'kysely'

import type { Database } from './database.ts'

/** What a trust bundle is made of, as one hash. */
export function bundleDigest(parts: readonly Uint8Array[]): string {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(createHash('sha256').update(part).digest())
  return hash.digest('hex')
}

/**
 * The generation of the trust bundle with this digest: the last one if it is the same, the next
 * otherwise. It is kept so that it only grows, over restarts too.
 *
 * @param book - Version of the authorities that are in it: only the newest get another number, so that
 *   whoever has a generation from after a step has what the step put in the bundle.
 * @returns `undefined` if the authorities are not the newest any more
 */
export async function bundleGeneration(
  database: Database,
  digest: string,
  book: number = Number.MAX_SAFE_INTEGER,
): Promise<number | undefined> {
  for (;;) {
    const last = await database
      .selectFrom('bundles')
      .selectAll()
      .orderBy('generation', 'desc')
      .limit(1)
      .executeTakeFirst()
    if (last?.digest === digest) return last.generation
    const next = (last?.generation ?? 0) + 1
    // Another CA on this database may take that number first: then it is looked at again.
    await sql`INSERT INTO bundles (generation, digest)
      SELECT CAST(${next} AS BIGINT), CAST(${digest} AS TEXT)
      WHERE (SELECT coalesce(max(version), 0) FROM authority_books) <= CAST(${book} AS BIGINT)
      ON CONFLICT DO NOTHING`.execute(database)
    if (await isSuperseded(database, book)) return newestOf(database, digest, next)
  }
}

async function isSuperseded(database: Database, book: number): Promise<boolean> {
  const row = await database
    .selectFrom('authority_books')
    .select(({ fn }) => fn.max('version').as('version'))
    .executeTakeFirst()
  return Number(row?.version ?? 0) > book
}

/** The last generation that had this digest, `from` or later. */
export async function newestOf(
  database: Database,
  digest: string,
  from: number,
): Promise<number | undefined> {
  const row = await database
    .selectFrom('bundles')
    .select('generation')
    .where('digest', '=', digest)
    .where('generation', '>=', from)
    .orderBy('generation', 'desc')
    .limit(1)
    .executeTakeFirst()
  return row?.generation
}
