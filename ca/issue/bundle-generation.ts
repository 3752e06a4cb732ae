import { createHash } from 'node:crypto'

import type { Database } from './database.ts'

/**
 * The generation of the trust bundle with these roots: the last one if they are the same, the next
 * otherwise. It is kept so that it only grows, over restarts too.
 *
 * @param roots - DER, in the order in which they are handed out.
 */
export async function bundleGeneration(
  database: Database,
  roots: readonly Uint8Array[],
): Promise<number> {
  const hash = createHash('sha256')
  for (const root of roots) hash.update(createHash('sha256').update(root).digest())
  const digest = hash.digest('hex')
  for (;;) {
    const last = await database
      .selectFrom('bundles')
      .selectAll()
      .orderBy('generation', 'desc')
      .limit(1)
      .executeTakeFirst()
    if (last?.digest === digest) return last.generation
    // Another CA on this database may take that number first: then it is looked at again.
    await database
      .insertInto('bundles')
      .values({ generation: (last?.generation ?? 0) + 1, digest })
      .onConflict((conflict) => conflict.doNothing())
      .execute()
  }
}
