/** Letting go of rows of leaves that ended long ago. Their hashes stay, so the log proves what it proved. */
import type { CompiledQuery } from 'kysely'

import type { Database } from './database.ts'
import type { Ledger } from './ledger.ts'
import { PRUNE_ACTION, type Pruning, type Span } from './prunings.ts'
import type { TransparencyLog } from './transparency.ts'

/** How long rows of leaves stay after their end. */
export const DEFAULT_RETENTION: Temporal.Duration = Temporal.Duration.from({ hours: 90 * 24 })

/** Rows that are looked at, and let go of, in one commit. */
const ROWS_A_COMMIT = 5000

export interface PruneDeps {
  readonly queries: Database
  readonly ledger: Ledger
  readonly transparency: Pick<TransparencyLog, 'head'>
  readonly now: () => Temporal.Instant
}

/**
 * Prunes leaves that ended before `before`, commit by commit; each is an entry of the log that names
 * the rows, under a checkpoint that was signed while they were there.
 *
 * @param by - Who, for the log.
 * @returns how many rows
 */
export async function pruneLedger(
  deps: PruneDeps,
  by: string,
  before: Temporal.Instant,
): Promise<number> {
  let pruned = 0
  for (let from = 0; ; ) {
    const rows = await readRows(deps.queries, from)
    const last = rows.at(-1)
    if (!last) return pruned
    const limit = before.epochMilliseconds
    const ended = rows.filter(({ not_after }) => not_after < limit)
    if (ended.length > 0) await pruneRows(deps, by, before, ended)
    pruned += ended.length
    // Rows are in the order in which they were issued: later ones have not ended either.
    if (rows.every(({ issued_at }) => issued_at >= limit)) return pruned
    from = last.log_index + 1
  }
}

interface Row {
  readonly log_index: number
  readonly issued_at: number
  readonly not_after: number
}

function readRows(queries: Database, from: number): Promise<readonly Row[]> {
  return queries
    .selectFrom('certificates')
    .select(['log_index', 'issued_at', 'not_after'])
    .where('kind', '=', 'leaf')
    .where('log_index', '>=', from)
    .orderBy('log_index')
    .limit(ROWS_A_COMMIT)
    .execute()
}

async function pruneRows(
  { queries, ledger, transparency, now }: PruneDeps,
  caller: string,
  before: Temporal.Instant,
  rows: readonly Row[],
): Promise<void> {
  const spans = spansOf(rows.map(({ log_index }) => log_index))
  const checkpoint = await transparency.head()
  const pruning: Pruning = { before: String(before), spans, checkpoint }
  const detail = JSON.stringify(pruning)
  const at = now().epochMilliseconds
  const call = { at, caller, action: PRUNE_ACTION, detail, outcome: 'done' }
  await ledger.record({
    calls: [call],
    changes: spans.map((span) => deletion(queries, span)),
  })
}

function deletion(queries: Database, [first, last]: Span): CompiledQuery {
  return queries
    .deleteFrom('certificates')
    .where('log_index', '>=', first)
    .where('log_index', '<=', last)
    .compile()
}

/** Runs of places, which are in order. */
function spansOf(places: readonly number[]): readonly Span[] {
  const spans: [number, number][] = []
  for (const place of places) {
    const top = spans.at(-1)
    if (top && place === top[1] + 1) top[1] = place
    else spans.push([place, place])
  }
  return spans
}
