/** Recomputing the log from the ledger: what was deleted or changed since it was written shows. */
import type { KeyObject } from 'node:crypto'

import { isSignedHead, type SignedHead } from '../log/head.ts'
import { readSuccession, RESTORE_ACTION, type Succession } from '../log/succession.ts'
import { EMPTY_TREE, type Frontier, grow, rootOf, type TreeNode } from '../log/tree.ts'
import { type AuditFault, pageFaults, readPage } from './audit-page.ts'
import type { Database } from './database.ts'
import { countLeaves, readSignedHead } from './log-store.ts'
import { ofLog, readPrunings } from './prunings.ts'

/** The outcome of an audit. */
export interface AuditReport {
  readonly ok: boolean
  /** The head that the ledger was held against. */
  readonly head: SignedHead | null
  /** Entries that were read, by kind. */
  readonly certificates: number
  readonly calls: number
  /** Places whose rows were let go of, as an entry of the log says. */
  readonly pruned: number
  /** Times that the CA was restored from a backup, and the logs that this one goes on. */
  readonly successions: readonly Succession[]
  /** The first {@link MAX_FAULTS}. */
  readonly faults: readonly AuditFault[]
  /** All of them. */
  readonly faultCount: number
}

/** Faults that are told one by one. */
const MAX_FAULTS = 100

const NO_HASH = new Uint8Array()

/** Places that are read at a time; between two reads others have their turn. */
const PAGE = 1000

export interface AuditDeps {
  readonly queries: Database
  /** Of the log. */
  readonly publicKey: KeyObject
}

/** Reads the whole ledger and holds it against the head that was signed with its newest row. */
export async function auditLedger({ queries, publicKey }: AuditDeps): Promise<AuditReport> {
  const found: AuditFault[] = []
  let faultCount = 0
  const tell = (fault: AuditFault): void => {
    faultCount += 1
    if (found.length < MAX_FAULTS) found.push(fault)
  }
  const head = await readSignedHead(queries)
  // Rows that are committed from here on are under a head of their own.
  const size = head?.size ?? (await countLeaves(queries))
  const counts = { certificates: 0, calls: 0, pruned: 0 }
  let prunings = await readPrunings(queries, ofLog(publicKey))
  const ends = pageEnds(size, [...prunings.checkpoints.keys()])
  let tree = EMPTY_TREE
  for (const to of ends) {
    const from = tree.size
    // In a transaction: what is pruned meanwhile is all there, or all gone and said to be.
    const page = await snapshot(queries).execute(async (inside) => {
      const read = await readPage(inside, from, to)
      const isGap = read.gaps.some((index) => !prunings.has(index))
      if (isGap) prunings = await readPrunings(inside, ofLog(publicKey))
      return read
    })
    counts.certificates += page.certificates
    counts.calls += page.calls
    counts.pruned += page.gaps.filter(prunings.has).length
    for (const fault of pageFaults(page, prunings.has)) tell(fault)
    const leaves = page.places.map(({ kept, row }) => kept ?? row?.leaf ?? NO_HASH)
    const growth = grow(tree, leaves)
    for (const node of growth.kept) await checkNode(queries, node, tell)
    tree = growth.tree
    judgeCheckpoints(prunings.checkpoints.get(to), rootHex(tree), tell)
    await nextTurn()
  }
  judgeHead(head, rootHex(tree), publicKey, tell)
  // In a transaction, so that no commit comes between the newest head and the last rows.
  const isComplete = await snapshot(queries).execute((inside) => hasNoOther(inside, size))
  if (!isComplete) {
    tell({
      what: 'added',
      message: `there are rows outside of places 0 to ${size - 1} of the head`,
    })
  }
  const successions = await readSuccessions(queries)
  const ok = faultCount === 0
  return { ok, head: head ?? null, ...counts, successions, faults: found, faultCount }
}

/** What is read in it is of one instant, whoever else writes. */
function snapshot(queries: Database) {
  return queries.transaction().setIsolationLevel('repeatable read')
}

type Tell = (fault: AuditFault) => void

/** Where pages end: each so many places, at each checkpoint, and at the end. */
function pageEnds(size: number, checkpoints: readonly number[]): readonly number[] {
  const regular = Array.from({ length: Math.ceil(size / PAGE) }, (_, at) => (at + 1) * PAGE)
  const ends = new Set([...regular, ...checkpoints, size])
  return [...ends].filter((end) => end > 0 && end <= size).toSorted((a, b) => a - b)
}

function judgeCheckpoints(
  heads: readonly SignedHead[] | undefined,
  root: string,
  tell: Tell,
): void {
  for (const head of heads ?? []) {
    if (head.root === root) continue
    const message = `the checkpoint of a pruning, of ${head.size} entries, is of other entries`
    tell({ what: 'head', message })
  }
}

function rootHex(tree: Frontier): string {
  return Buffer.from(rootOf(tree)).toString('hex')
}

async function checkNode(
  queries: Database,
  { level, index, hash }: TreeNode,
  tell: Tell,
): Promise<void> {
  const stored = await queries
    .selectFrom('log_nodes')
    .select('hash')
    .where('level', '=', level)
    .where('position', '=', index)
    .executeTakeFirst()
  if (stored && Buffer.compare(stored.hash, hash) === 0) return
  tell({ what: 'hash', message: `the kept hash of level ${level}, place ${index}, is another` })
}

function judgeHead(
  head: SignedHead | undefined,
  root: string,
  publicKey: KeyObject,
  tell: Tell,
): void {
  if (!head) tell({ what: 'head', message: 'there is no signed head' })
  else if (!isSignedHead(head, publicKey)) {
    tell({ what: 'head', message: "the head is not signed by the log's key" })
  } else if (head.root !== root) {
    tell({ what: 'head', message: `the root of what is kept is ${root}, signed was ${head.root}` })
  }
}

/** Whether no row is outside of the places below `size`, or that of a newer head that came meanwhile. */
async function hasNoOther(queries: Database, size: number): Promise<boolean> {
  const newest = await readSignedHead(queries)
  const end = newest?.size ?? size
  for (const table of ['certificates', 'calls', 'log_leaves'] as const) {
    const other = await queries
      .selectFrom(table)
      .select('log_index')
      .where((row) => row.or([row('log_index', '<', 0), row('log_index', '>=', end)]))
      .limit(1)
      .executeTakeFirst()
    if (other) return false
  }
  return true
}

/** Successions that the log which was left agreed to; that they are entries of this one, its audit tells. */
async function readSuccessions(queries: Database): Promise<readonly Succession[]> {
  const rows = await queries
    .selectFrom('calls')
    .select('detail')
    .where('action', '=', RESTORE_ACTION)
    .where('outcome', '=', 'done')
    .orderBy('log_index')
    .execute()
  return rows.flatMap(({ detail }) => {
    const succession = readSuccession(detail)
    return succession ? [succession] : []
  })
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve)
  })
}
