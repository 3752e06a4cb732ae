/** What becomes of the ledger while the CA runs: how far the log has come is noted, old rows go. */
import type { Clock } from '#core/clock.ts'
import type { Log } from '#core/log.ts'
import { DEFAULT_RETENTION } from './issue/prune.ts'
import type { OpenLedger } from './open-ledger.ts'

/** Milliseconds between two notes, outside the database, of how far the log has come. */
const NOTE_HEAD_MS = 60_000

/** Rows go once in so long, by civil time: a machine sleeps, too. */
const PRUNE_EVERY = Temporal.Duration.from({ hours: 24 })

export interface KeepLedgerDeps {
  readonly clock: Clock
  readonly now: () => Temporal.Instant
  readonly log: Log
}

/** Keeps it until disposed, which waits for what is under way. */
export function keepLedger(
  { clock, now, log }: KeepLedgerDeps,
  { transparency: { keepSeen }, caLog: { prune } }: Pick<OpenLedger, 'transparency' | 'caLog'>,
  retention: Temporal.Duration = DEFAULT_RETENTION,
): AsyncDisposable {
  const ended = new AbortController()
  const attempt = async (what: string, work: () => Promise<unknown>): Promise<void> => {
    await work().catch((cause: unknown) => log('error', what, { detail: String(cause) }))
  }
  const loop = async (): Promise<void> => {
    let due = now()
    while (!ended.signal.aborted) {
      await clock.sleep(NOTE_HEAD_MS, ended.signal)
      await attempt('ca-log-head-not-kept', keepSeen)
      if (Temporal.Instant.compare(now(), due) < 0) continue
      due = now().add(PRUNE_EVERY)
      await attempt('ca-ledger-not-pruned', async () => {
        const rows = await prune('self', retention)
        if (rows > 0) log('info', 'ca-ledger-pruned', { rows, retention: String(retention) })
      })
    }
  }
  const done = loop().catch(() => undefined) // its sleep was interrupted by the end
  return {
    async [Symbol.asyncDispose]() {
      ended.abort()
      await done
    },
  }
}
