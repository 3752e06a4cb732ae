/**
 * Who follows which CA, in two small tables: a row for each CA, with when it was last there, and one for
 * each agent, written when it has changed. A CA that was killed is there no more after a while, and its
 * agents are then away until they come elsewhere; one that is there again says so, and puts back what
 * is missing.
 */
import { randomUUID } from 'node:crypto'
import { type Kysely, type RawBuilder, sql } from 'kysely'

import type { Clock } from '#core/clock.ts'
import type { Log } from '#core/log.ts'
import type { CaDatabase } from '../issue/database.ts'
import type { BoardMember, BoardRow, ReplicaStatus, SubscriberBoard } from '../serve/board.ts'
import type { Subscriber } from '../serve/subscribers.ts'

/** Milliseconds between two signs of life; a CA without one for so long is not there. */
const BEAT_MS = 4000
const ALIVE_MS = 15_000

/** Milliseconds that one which has gone is shown. */
const SHOWN_MS = 3_600_000

/** Rows of one statement. */
const ROWS_AT_A_TIME = 200

export interface BoardDeps {
  readonly queries: Kysely<CaDatabase>
  readonly clock: Clock
  readonly now: () => Temporal.Instant
  readonly log: Log
}

/** Time by the server's clock, which all of them share; epoch milliseconds. */
const SERVER_MS = sql<number>`CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)`
const ALIVE_SINCE = sql<number>`(${SERVER_MS} - ${sql.lit(ALIVE_MS)})`

/** Joins the CAs on the database. Rejects if it cannot be written. */
export async function openBoard(
  { queries, clock, now, log }: BoardDeps,
  { address, present }: BoardMember,
): Promise<SubscriberBoard> {
  const id = randomUUID()
  const ended = new AbortController()
  const waiting = new Map<string, BoardRow>()
  let writing: Promise<void> | undefined

  const writeAll = async (): Promise<void> => {
    while (waiting.size > 0) {
      const rows = [...waiting.values()].slice(0, ROWS_AT_A_TIME)
      for (const { agent } of rows) waiting.delete(agent)
      try {
        await writeRows(id, rows).execute(queries)
      } catch (cause) {
        for (const row of rows) if (!waiting.has(row.agent)) waiting.set(row.agent, row)
        throw cause
      }
    }
  }
  const flush = (): Promise<void> => {
    writing ??= writeAll().finally(() => {
      writing = undefined
    })
    return writing
  }
  const beat = async (): Promise<void> => {
    await sayHere(id, address).execute(queries)
    const known = await namesOf(queries, id)
    for (const row of present()) {
      if (!known.has(row.agent) && !waiting.has(row.agent)) waiting.set(row.agent, row)
    }
    await flush()
    await forgetEnded(now().epochMilliseconds).execute(queries)
  }
  const beats = async (): Promise<void> => {
    for (;;) {
      await clock.sleep(BEAT_MS, ended.signal)
      await beat().catch((cause: unknown) => notTold(log, cause))
    }
  }
  await takePlace(id, address).execute(queries)
  await beat()
  const beating = beats().catch(() => undefined) // its sleep was interrupted by the end
  return {
    put(row) {
      if (ended.signal.aborted) return
      waiting.set(row.agent, row)
      flush().catch((cause: unknown) => notTold(log, cause)) // the next beat tries again
    },
    async everyone() {
      await flush()
      return readEveryone(queries, now().epochMilliseconds)
    },
    replicas: () => readReplicas(queries, id),
    async [Symbol.asyncDispose]() {
      ended.abort()
      await beating
      await writing?.catch(() => undefined)
      await leave(queries, id).catch((cause: unknown) => notTold(log, cause)) // seen in a while
    },
  }
}

function notTold(log: Log, cause: unknown): void {
  log('warn', 'ca-subscribers-not-told', { detail: String(cause) })
}

function sayHere(id: string, address: string): RawBuilder<unknown> {
  return sql`INSERT INTO replicas (id, address, started_at, seen_at)
    VALUES (${id}, ${address}, ${SERVER_MS}, ${SERVER_MS})
    ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at`
}

/**
 * A row of an agent gives way to its own stream, to a newer one, and where whoever wrote it has no more
 * to say of it: what is late from a CA that an agent has left changes nothing.
 */
function writeRows(replica: string, rows: readonly BoardRow[]): RawBuilder<unknown> {
  const values = rows.map(
    ({ agent, stream, openedAt, connected, until, subscribers }) =>
      sql`(${agent}, ${replica}, ${stream}, CAST(${openedAt} AS BIGINT), CAST(${connected ? 1 : 0} AS BIGINT),
        CAST(${until} AS BIGINT), ${JSON.stringify(subscribers)})`,
  )
  return sql`INSERT INTO subscribers AS old (agent, replica, stream, opened_at, connected, until, report)
    VALUES ${sql.join(values)}
    ON CONFLICT (agent) DO UPDATE SET replica = excluded.replica, stream = excluded.stream,
      opened_at = excluded.opened_at, connected = excluded.connected, until = excluded.until,
      report = excluded.report
    WHERE old.stream = excluded.stream OR old.opened_at <= excluded.opened_at OR old.connected = 0
      OR NOT EXISTS (SELECT 1 FROM replicas WHERE id = old.replica AND seen_at > ${ALIVE_SINCE})`
}

async function namesOf(queries: Kysely<CaDatabase>, replica: string): Promise<ReadonlySet<string>> {
  const { rows } = await sql<{ agent: string }>`SELECT agent FROM subscribers
    WHERE replica = ${replica} AND connected = 1`.execute(queries)
  return new Set(rows.map(({ agent }) => agent))
}

/** Agents whose certificate has ended while they were away, and CAs that have long gone. */
function forgetEnded(nowMs: number): RawBuilder<unknown> {
  return sql`WITH gone AS (DELETE FROM replicas WHERE seen_at < ${SERVER_MS} - ${sql.lit(SHOWN_MS)})
    DELETE FROM subscribers WHERE until <= CAST(${nowMs} AS BIGINT) AND (connected = 0
      OR NOT EXISTS (SELECT 1 FROM replicas WHERE id = replica AND seen_at > ${ALIVE_SINCE}))`
}

/** Whoever had our address is there no more: two processes cannot. Any host may have one that is every address. */
function takePlace(id: string, address: string): RawBuilder<unknown> {
  return sql`DELETE FROM replicas WHERE address = ${address} AND id <> ${id}
    AND address NOT LIKE '0.0.0.0:%' AND address NOT LIKE '[::]:%'`
}

interface StoredRow {
  readonly report: string
  /** Epoch milliseconds. */
  readonly until: number
  readonly here: boolean
}

async function readEveryone(
  queries: Kysely<CaDatabase>,
  nowMs: number,
): Promise<readonly Subscriber[]> {
  const { rows } = await sql<StoredRow>`
    SELECT report, until, connected = 1 AND EXISTS (
        SELECT 1 FROM replicas WHERE id = replica AND seen_at > ${ALIVE_SINCE}) AS here
    FROM subscribers ORDER BY agent`.execute(queries)
  return rows
    .filter((row) => row.here || row.until > nowMs)
    .flatMap(({ report, here: connected }) =>
      (JSON.parse(report) as readonly Subscriber[]).map((one) => ({ ...one, connected })),
    )
}

async function readReplicas(
  queries: Kysely<CaDatabase>,
  self: string,
): Promise<readonly ReplicaStatus[]> {
  const { rows } = await sql<{
    id: string
    address: string
    started_at: number
    seen_at: number
    alive: boolean
  }>`SELECT id, address, started_at, seen_at, seen_at > ${ALIVE_SINCE} AS alive
    FROM replicas ORDER BY started_at, id`.execute(queries)
  return rows.map(({ id, address, alive, ...times }) => ({
    address,
    startedAt: Temporal.Instant.fromEpochMilliseconds(times.started_at),
    seenAt: Temporal.Instant.fromEpochMilliseconds(times.seen_at),
    alive,
    self: id === self,
  }))
}

async function leave(queries: Kysely<CaDatabase>, id: string): Promise<void> {
  await sql`UPDATE subscribers SET connected = 0 WHERE replica = ${id}`.execute(queries)
  await sql`DELETE FROM replicas WHERE id = ${id}`.execute(queries)
}
