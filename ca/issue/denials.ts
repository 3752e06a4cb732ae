/** The CA's deny-list: kept in the database, changed only together with the call that asked for it. */
import type { CompiledQuery } from 'kysely'

import { createLive, type Watched } from '#core/live.ts'
import { CaError } from '../error.ts'
import { serverIdOf } from '../server-id.ts'
import type { SpiffeId, TrustDomain } from '../spiffe/index.ts'
import {
  applyDenyChanges,
  compileDenyList,
  type DenyEntry,
  type Denies,
  type DenyList,
  type DenyRecord,
  parseDenyEntry,
} from '../x509/index.ts'
import type { CallRow, Database, DenialRow } from './database.ts'
import type { Ledger } from './ledger.ts'

/** What names an entry. */
export type DenialName = Pick<DenyEntry, 'kind' | 'value'>

/** The deny-list, and the one way to change it. */
export interface Denials {
  readonly list: Watched<DenyList>
  /** What the list says, compiled; `undefined` while nothing was ever denied. */
  readonly denies: () => Denies | undefined
  /**
   * Puts entries on the list, or gives those that are there another end. Resolves with the list's
   * generation once it is on the disk, with the call that asked for it, and in force here.
   *
   * @throws {CaError} `CA_DENIAL_INVALID` if an entry is malformed, has ended, or would shut out the CA
   */
  readonly deny: (entries: readonly DenyEntry[], call: CallRow) => Promise<number>
  /**
   * Takes entries off the list before their end; resolves like `deny`.
   *
   * @throws {CaError} `CA_DENIAL_INVALID` if one is not on it
   */
  readonly lift: (names: readonly DenialName[], call: CallRow) => Promise<number>
  /** Takes what another CA on the database has changed. */
  readonly reload: () => Promise<void>
}

export interface DenialsDeps {
  readonly queries: Database
  readonly ledger: Ledger
  readonly trustDomain: TrustDomain
  readonly now: () => Temporal.Instant
  /** Runs `work` while no other CA on the database does. @default at once: there is no other */
  readonly alone?: (work: () => Promise<number>) => Promise<number>
}

/** Opens the list as it was left. */
export async function openDenials(deps: DenialsDeps): Promise<Denials> {
  const { queries, ledger, trustDomain, now, alone = (work) => work() } = deps
  const serverId = serverIdOf(trustDomain)
  const source = createLive(await readList(queries))
  let denies = compileDenyList(source.live.current)
  let last: Promise<unknown> = Promise.resolve()

  const reload = async (): Promise<void> => {
    const stored = await readList(queries)
    if (stored.generation <= source.live.current.generation) return
    denies = compileDenyList(stored)
    source.set(stored)
  }
  const change = (
    plan: (list: DenyList) => readonly Omit<DenyRecord, 'generation'>[],
    call: CallRow,
  ): Promise<number> => {
    const changeNow = async (): Promise<number> => {
      await reload()
      const list = source.live.current
      const generation = list.generation + 1
      const entries = plan(list).map((entry) => ({ ...entry, generation }))
      const changed = applyDenyChanges(list, { base: list.generation, generation, entries }, now())
      const changes = [
        ...entries.map((entry) => put(queries, entry)),
        prune(queries, entries, now()),
      ]
      await ledger.record({ calls: [call], changes })
      denies = compileDenyList(changed)
      source.set(changed)
      return generation
    }
    const next = last.then(() => alone(changeNow))
    last = next.catch(() => undefined) // told to whoever asked for that change
    return next
  }

  return {
    list: source.live,
    denies: () => denies,
    reload,
    deny: (entries, call) =>
      change(
        () => entries.map((entry) => ({ ...mayDeny(entry, serverId, now()), lifted: false })),
        call,
      ),
    lift: (names, call) =>
      change((list) => names.map((name) => ({ ...held(list, name), lifted: true })), call),
  }
}

function mayDeny(entry: DenyEntry, serverId: SpiffeId, now: Temporal.Instant): DenyEntry {
  const { kind, value, until } = parseDenyEntry(entry)
  if (kind === 'spiffe-id' && value === serverId) {
    throw invalid('deny', `"${value}" is the CA itself, which everybody hears of denials from`)
  }
  if (Temporal.Instant.compare(until, now) <= 0) {
    throw invalid(
      'deny',
      `the ${kind} ${value} ended at ${until}, expected one that is valid still`,
    )
  }
  return { kind, value, until }
}

function held({ entries }: DenyList, { kind, value }: DenialName): DenyRecord {
  const found = entries.find((each) => each.kind === kind && each.value === value && !each.lifted)
  if (found) return found
  throw invalid('take off the deny-list', `the ${kind} ${value} is not on it`)
}

function invalid(what: string, why: string): CaError {
  return new CaError('CA_DENIAL_INVALID', `Cannot ${what}: ${why}`)
}

async function readList(queries: Database): Promise<DenyList> {
  const rows = await queries.selectFrom('denials').selectAll().orderBy('generation').execute()
  return { generation: rows.at(-1)?.generation ?? 0, entries: rows.map(recordOf) }
}

function recordOf({ kind, value, until, generation, lifted }: DenialRow): DenyRecord {
  return {
    kind,
    value,
    until: Temporal.Instant.fromEpochMilliseconds(until),
    generation,
    lifted: lifted === 1,
  }
}

function put(queries: Database, record: DenyRecord): CompiledQuery {
  const { kind, value, until: end, generation, lifted: isLifted } = record
  const [until, lifted] = [end.epochMilliseconds, isLifted ? 1 : 0]
  return queries
    .insertInto('denials')
    .values({ kind, value, until, generation, lifted })
    .onConflict((conflict) =>
      conflict.columns(['kind', 'value']).doUpdateSet({ until, generation, lifted }),
    )
    .compile()
}

/** Drops what has ended, but not the newest change: the generation is to be read from it again. */
function prune(
  queries: Database,
  newest: readonly DenyRecord[],
  now: Temporal.Instant,
): CompiledQuery {
  return queries
    .deleteFrom('denials')
    .where('until', '<=', now.epochMilliseconds)
    .where('generation', '<', newest[0]?.generation ?? 0)
    .compile()
}
