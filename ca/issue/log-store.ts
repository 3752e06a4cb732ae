/** The log's hashes as the database keeps them. */
import { CaError } from '../error.ts'
import type { ReadHashes } from '../log/proof.ts'
import type { SignedHead } from '../log/head.ts'
import type { Database } from './database.ts'

/** Reads kept hashes. @throws {CaError} `CA_LOG_INVALID` if one of them is not there */
export function hashReader(queries: Database): ReadHashes {
  return async (level, from, to) => {
    const hashes =
      level === 0 ? await readLeaves(queries, from, to) : await readNodes(queries, level, from, to)
    if (hashes.length === to - from) return hashes
    throw new CaError(
      'CA_LOG_INVALID',
      `Cannot read the log: it has ${hashes.length} hashes of level ${level} from ${from} on, expected ${to - from}; redoubt ca log verify says what is missing`,
    )
  }
}

async function readLeaves(
  queries: Database,
  from: number,
  to: number,
): Promise<readonly Uint8Array[]> {
  const rows = await queries
    .selectFrom('log_leaves')
    .select('hash')
    .where('log_index', '>=', from)
    .where('log_index', '<', to)
    .orderBy('log_index')
    .execute()
  return rows.map(({ hash }) => hash)
}

async function readNodes(
  queries: Database,
  level: number,
  from: number,
  to: number,
): Promise<readonly Uint8Array[]> {
  const rows = await queries
    .selectFrom('log_nodes')
    .select('hash')
    .where('level', '=', level)
    .where('position', '>=', from)
    .where('position', '<', to)
    .orderBy('position')
    .execute()
  return rows.map(({ hash }) => hash)
}

/** Leaves that there are, by the place of the last. */
export async function countLeaves(queries: Database): Promise<number> {
  const last = await queries
    .selectFrom('log_leaves')
    .select('log_index')
    .orderBy('log_index', 'desc')
    .limit(1)
    .executeTakeFirst()
  return last ? last.log_index + 1 : 0
}

/** The head that was signed with the newest rows; `undefined` before the first. */
export async function readSignedHead(queries: Database): Promise<SignedHead | undefined> {
  const row = await queries.selectFrom('log_head').selectAll().executeTakeFirst()
  if (!row) return undefined
  const { log, size, root, time, key_id: keyId, signature } = row
  return { log, keyId, size, root, time, signature }
}
