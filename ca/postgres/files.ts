/** Small files that replicas share: rows of the database, each encrypted by the key of the ledger. */
import { type Kysely, sql } from 'kysely'

import { CaError } from '../error.ts'
import type { CaDatabase, CopiedFile } from '../issue/database.ts'
import { openSealed, sealBy } from '../keys/sealed.ts'
import type { StateDir } from '../keys/state-dir.ts'

/** All files, opened. @throws {CaError} `CA_STATE_UNUSABLE` */
export async function readFiles(
  queries: Kysely<CaDatabase>,
  key: Uint8Array,
): Promise<readonly CopiedFile[]> {
  const { rows } = await sql<{ name: string; sealed: Uint8Array }>`
    SELECT name, sealed FROM files ORDER BY name`.execute(queries)
  return rows.map(({ name, sealed }) => ({ name, text: opened(sealed, key, name) }))
}

/** The files whose names begin with `prefix`. */
export function sharedFiles(queries: Kysely<CaDatabase>, key: Uint8Array, prefix = ''): StateDir {
  return {
    path: `the ledger's files/${prefix}`,
    async read(name) {
      const path = prefix + name
      const { rows } = await sql<{
        sealed: Uint8Array
      }>`SELECT sealed FROM files WHERE name = ${path}`.execute(queries)
      const [row] = rows
      return row && opened(row.sealed, key, path)
    },
    async write(name, text) {
      const path = prefix + name
      const sealed = sealBy(Buffer.from(text), key, path)
      await sql`INSERT INTO files (name, sealed) VALUES (${path}, ${sealed})
        ON CONFLICT (name) DO UPDATE SET sealed = excluded.sealed`.execute(queries)
    },
    async remove(name) {
      await sql`DELETE FROM files WHERE name = ${prefix + name}`.execute(queries)
    },
  }
}

function opened(sealed: Uint8Array, key: Uint8Array, path: string): string {
  const text = openSealed(sealed, key, path)
  if (text) return Buffer.from(text).toString()
  throw new CaError(
    'CA_STATE_UNUSABLE',
    `Cannot use ${path} of the ledger: its passphrase does not open it, or it was changed`,
  )
}
