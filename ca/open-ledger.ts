/** The ledger and its log, from where the CA keeps them. */
import { join } from 'node:path'

import { type CaLog, caLogOf } from './ca-log.ts'
import type { CaConfig } from './config.ts'
import { type Database, LEDGER_FILE, openDatabase } from './issue/database.ts'
import { createLedger, type Ledger } from './issue/ledger.ts'
import { openLog, type TransparencyLog } from './issue/transparency.ts'
import type { StateDir } from './keys/state-dir.ts'

/** What remembers. Disposing it notes how far the log has come, and lets go of the database. */
export interface OpenLedger extends AsyncDisposable {
  readonly queries: Database
  readonly ledger: Ledger
  readonly transparency: TransparencyLog
  /** The log for those who ask. */
  readonly caLog: CaLog
}

/**
 * Opens the ledger in `state`, for this process alone.
 *
 * @throws {CaError} `CA_STATE_UNUSABLE`
 */
export async function openLedger(
  { trustDomain }: Pick<CaConfig, 'trustDomain'>,
  state: StateDir,
  now: () => Temporal.Instant,
): Promise<OpenLedger> {
  await using opening = new AsyncDisposableStack()
  const database = opening.use(openDatabase(join(state.path, LEDGER_FILE)))
  const transparency = await openLog({ ...database, state, trustDomain, now })
  const { queries } = database
  const ledger = createLedger(database, transparency)
  opening.defer(() => transparency.keepSeen().catch(() => undefined)) // what was seen before stays
  const opened = opening.move()
  return {
    queries,
    ledger,
    transparency,
    caLog: caLogOf({ queries, ledger, transparency, database, stateDir: state.path, now }),
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  }
}
