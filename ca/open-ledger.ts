/** The ledger and its log, from where the CA keeps them. */
import { join } from 'node:path'

import type { Clock } from '#core/clock.ts'
import type { Log } from '#core/log.ts'
import { type CaLog, caLogOf } from './ca-log.ts'
import type { CaConfig } from './config.ts'
import { type Database, LEDGER_FILE, type OpenDatabase, openDatabase } from './issue/database.ts'
import { createLedger, type Ledger } from './issue/ledger.ts'
import { openLog, type TransparencyLog } from './issue/transparency.ts'
import { keysIn } from './keys/file-keys.ts'
import { readSecret } from './keys/open-keys.ts'
import type { KeyStore } from './keys/signing-key.ts'
import type { StateDir } from './keys/state-dir.ts'
import type { BoardMember, SubscriberBoard } from './serve/board.ts'

/** What remembers. Disposing it notes how far the log has come, and lets go of the database. */
export interface OpenLedger extends AsyncDisposable {
  readonly queries: Database
  readonly ledger: Ledger
  readonly transparency: TransparencyLog
  /** The log for those who ask. */
  readonly caLog: CaLog
}

/** What several CAs on one database share besides. */
export interface Sharing {
  /** Small files: those of the state directory, or of the database. */
  readonly files: StateDir
  /** Keys of the database; `undefined` where each CA has a store of its own. */
  readonly keys: KeyStore | undefined
  /** Runs `work` while no other CA runs any. */
  readonly alone: <Result>(work: () => Promise<Result>) => Promise<Result>
  /** Calls `listener` when another CA has changed something; never where there is none. */
  readonly onChange: (listener: () => void) => void
  /** Tells other CAs who follows this one, and hears of theirs; `undefined` where there is none. */
  readonly openBoard: ((member: BoardMember, clock: Clock) => Promise<SubscriberBoard>) | undefined
}

/** What opening needs of the world. */
export interface OpenLedgerDeps {
  readonly now: () => Temporal.Instant
  readonly env: Readonly<Record<string, string | undefined>>
  readonly log: Log
}

/**
 * Opens the ledger: the one in `local`, the state directory, for this process alone, or that of the
 * configuration.
 *
 * @throws {CaError} `CA_STATE_UNUSABLE`, `CA_CONFIG_INVALID`
 */
export async function openLedger(
  config: Pick<CaConfig, 'trustDomain' | 'ledger' | 'keys'>,
  local: StateDir,
  deps: OpenLedgerDeps,
): Promise<OpenLedger & Sharing> {
  const { trustDomain } = config
  const { now } = deps
  await using opening = new AsyncDisposableStack()
  const { database, sharing } = await openStore(config, local, deps, opening)
  const places = { state: sharing.files, seen: local }
  const passphrase = await passphraseOf(config, deps)
  const open = () => openLog({ ...database, ...places, passphrase, trustDomain, now })
  const transparency = await sharing.alone(open)
  const { queries } = database
  const ledger = createLedger(database, transparency)
  opening.defer(() => transparency.keepSeen().catch(() => undefined)) // what was seen before stays
  const opened = opening.move()
  return {
    ...sharing,
    queries,
    ledger,
    transparency,
    caLog: caLogOf({ queries, ledger, transparency, database, stateDir: local.path, now }),
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  }
}

/** What the log's key is encrypted by: as the CA's other keys; in a database everything is. */
async function passphraseOf(
  { ledger, keys }: Pick<CaConfig, 'ledger' | 'keys'>,
  { env }: OpenLedgerDeps,
): Promise<string | undefined> {
  if (ledger || keys?.kind !== 'files' || !keys.passphrase) return undefined
  return readSecret('passphrase', keys.passphrase, env)
}

/** Names the lock of what one CA does at a time; any number that nobody else uses. */
const ALONE_LOCK = 7_238_461_903

async function openStore(
  { ledger, keys }: Pick<CaConfig, 'ledger' | 'keys'>,
  local: StateDir,
  deps: OpenLedgerDeps,
  opening: AsyncDisposableStack,
): Promise<{ readonly database: OpenDatabase; readonly sharing: Sharing }> {
  if (!ledger) {
    const database = opening.use(openDatabase(join(local.path, LEDGER_FILE)))
    const sharing: Sharing = {
      files: local,
      keys: undefined,
      alone: (work) => work(),
      onChange: () => {},
      openBoard: undefined,
    }
    return { database, sharing }
  }
  // Loaded by whoever has one, and by nobody else.
  const { openPostgres } = await import('./postgres/open-postgres.ts')
  const { openBoard } = await import('./postgres/board.ts')
  const database = await openPostgres(ledger, deps)
  opening.defer(database.close)
  const isHere = keys === undefined || keys.kind === 'files'
  const sharing: Sharing = {
    files: database.files(),
    keys: isHere ? keysIn(database.files('keys/'), undefined) : undefined,
    alone: (work) => database.alone(ALONE_LOCK, work),
    onChange: database.onChange,
    openBoard: (member, clock) =>
      openBoard({ queries: database.queries, clock, now: deps.now, log: deps.log }, member),
  }
  return { database, sharing }
}
