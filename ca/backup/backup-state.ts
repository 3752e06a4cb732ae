import { dirname, join } from 'node:path'

import { CaError } from '../error.ts'
import { type Database, LEDGER_FILE, readDatabase } from '../issue/database.ts'
import { readSignedHead } from '../issue/log-store.ts'
import type { SharedLedger } from '../postgres/pool.ts'
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
  await assertHasRun(database.queries, stateDir)
  await writeBackup({ stateDir, database, to, passphrase })
}

/**
 * Writes the backup of the CAs on a database, whether any runs or not; it is no entry of the log.
 *
 * @param to - Absolute. The copy of the ledger is beside it meanwhile.
 * @throws {CaError} `CA_STATE_UNUSABLE` if no CA ever ran there, `CA_CONFIG_INVALID`, `CA_BACKUP_INVALID`
 */
export async function backupLedger(
  { ledger, env }: SharedLedger,
  to: string,
  passphrase: string,
): Promise<void> {
  const { readPostgres } = await import('../postgres/read-postgres.ts')
  await using database = await readPostgres(ledger, env)
  await assertHasRun(database.queries, 'the database')
  await writeBackup({ stateDir: dirname(to), database, to, passphrase })
}

async function assertHasRun(queries: Database, where: string): Promise<void> {
  if (await readSignedHead(queries)) return
  throw new CaError('CA_STATE_UNUSABLE', `Cannot back up ${where}: no CA has run there`)
}
