import { join } from 'node:path'

import { CaError } from '../error.ts'
import { LEDGER_FILE, readDatabase } from '../issue/database.ts'
import { readSignedHead } from '../issue/log-store.ts'
import { writeBackup } from './backup.ts'

/**
 * Writes the backup of a CA that does not run. Nothing is changed in its state: this backup is no
 * entry of the log.
 *
 * @param stateDir - Absolute, as is `to`.
 * @throws {CaError} `CA_STATE_UNUSABLE` if a CA runs there or never did, `CA_BACKUP_INVALID`
 */
export async function backupState(stateDir: string, to: string, passphrase: string): Promise<void> {
  using database = readDatabase(join(stateDir, LEDGER_FILE))
  if (!(await readSignedHead(database.queries))) {
    throw new CaError('CA_STATE_UNUSABLE', `Cannot back up ${stateDir}: no CA has run there`)
  }
  await writeBackup({ stateDir, database, to, passphrase })
}
