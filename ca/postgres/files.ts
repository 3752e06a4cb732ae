/** Small files that replicas share: rows of the database, each encrypted by the key of the ledger. */
import { type Kysely, sql } from 'kysely'

import { CaError } from '../error.ts'
import type { CaDatabase } from '../issue/database.ts'
import { openSealed, sealBy } from '../keys/sealed.ts'
import type { StateDir } from '../keys/state-dir.ts'

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
      if (!row) return undefined
      const text = openSealed(row.sealed, key, path)
      if (text) return Buffer.from(text).toString()
      throw new CaError(
        'CA_STATE_UNUSABLE',
        `Cannot use ${path} of the ledger: its passphrase does not open it, or it was changed`,
      )
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
