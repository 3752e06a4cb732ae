import { createPublicKey } from 'node:crypto'
import { access } from 'node:fs/promises'
import { join } from 'node:path'

import { CaError } from './error.ts'
import { type AuditReport, auditLedger } from './issue/audit.ts'
import { LEDGER_FILE, openDatabase } from './issue/database.ts'
import { LOG_KEY_FILE, parseLogKey } from './issue/transparency.ts'
import { openStateDir } from './keys/state-dir.ts'

/**
 * Audits the ledger of a CA that does not run: reads all of it, and holds it against the last head
 * that was signed.
 *
 * @param stateDir - Absolute.
 * @throws {CaError} `CA_STATE_UNUSABLE` if no CA with a log has run there, or one runs now
 */
export async function auditState(stateDir: string): Promise<AuditReport> {
  const nothing = (cause?: unknown) =>
    new CaError(
      'CA_STATE_UNUSABLE',
      `Cannot audit the ledger in ${stateDir}: there is no log, expected the state of a CA that has run`,
      { cause },
    )
  // Nothing is made here, and no older state migrated: an audit only looks.
  await access(join(stateDir, LOG_KEY_FILE)).catch((cause: unknown) => {
    throw nothing(cause)
  })
  const state = await openStateDir(stateDir)
  const key = await state.read(LOG_KEY_FILE)
  if (key === undefined) throw nothing()
  using database = openDatabase(join(stateDir, LEDGER_FILE))
  const publicKey = createPublicKey(parseLogKey(key))
  return await auditLedger({ queries: database.queries, publicKey }) // before it is closed
}
