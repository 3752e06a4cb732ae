/** Recomputing the log from the ledger: what was deleted or changed since it was written shows. */
import type { KeyObject } from 'node:crypto'

import { callLeaf, certificateLeaf } from '../log/entry.ts'
import { isSignedHead, type SignedHead } from '../log/head.ts'
import { EMPTY_TREE, grow, rootOf, type TreeNode } from '../log/tree.ts'
import type { Database } from './database.ts'
import { countLeaves, readSignedHead } from './log-store.ts'

/** Something in the ledger that is not as it was when its head was signed. */
export interface AuditFault {
  /** Place in the log; left out for what concerns all of it. */
  readonly index?: number
  /** Of the certificate, if it is one and is there. */
  readonly serial?: string
  readonly what: 'changed' | 'deleted' | 'added' | 'hash' | 'head'
  readonly message: string
}

/** The outcome of an audit. */
export interface AuditReport {
  readonly ok: boolean
  /** The head that the ledger was held against. */
  readonly head: SignedHead | null
  /** Entries that were read, by kind. */
  readonly certificates: number
  readonly calls: number
  /** The first {@link MAX_FAULTS}. */
  readonly faults: readonly AuditFault[]
  /** All of them. */
  readonly faultCount: number
}

/** Faults that are told one by one. */
const MAX_FAULTS = 100

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
  const counts = { certificates: 0, calls: 0 }
  let tree = EMPTY_TREE
  for (let from = 0; from < size; from += PAGE) {
    const to = Math.min(from + PAGE, size)
    // In a transaction: what is pruned meanwhile is all there or all gone.
    const page = await queries.transaction().execute((inside) => readPage(inside, from, to))
    counts.certificates += page.certificates
    counts.calls += page.calls
    const leaves = page.judge(tell)
    const growth = grow(tree, leaves)
    for (const node of growth.kept) await checkNode(queries, node, tell)
    tree = growth.tree
    await nextTurn()
  }
  judgeHead(head, Buffer.from(rootOf(tree)).toString('hex'), publicKey, tell)
  // In a transaction, so that no commit comes between the newest head and the last rows.
  const isComplete = await queries.transaction().execute((inside) => hasNoOther(inside, size))
  if (!isComplete) {
    tell({
      what: 'added',
      message: `there are rows outside of places 0 to ${size - 1} of the head`,
    })
  }
  return { ok: faultCount === 0, head: head ?? null, ...counts, faults: found, faultCount }
}

type Tell = (fault: AuditFault) => void

interface Page {
  /** Rows of each kind. */
  readonly certificates: number
  readonly calls: number
  /** Tells what is wrong, and gives the leaf of each place as rows have it, or else as it was kept. */
  readonly judge: (tell: Tell) => readonly Uint8Array[]
}

async function readPage(queries: Database, from: number, to: number): Promise<Page> {
  const certificateRows = await queries
    .selectFrom('certificates')
    .selectAll()
    .where('log_index', '>=', from)
    .where('log_index', '<', to)
    .execute()
  const callRows = await queries
    .selectFrom('calls')
    .selectAll()
    .where('log_index', '>=', from)
    .where('log_index', '<', to)
    .execute()
  const leafRows = await queries
    .selectFrom('log_leaves')
    .selectAll()
    .where('log_index', '>=', from)
    .where('log_index', '<', to)
    .execute()
  const certificates = new Map(
    certificateRows.map((row) => [
      row.log_index,
      { serial: row.serial, leaf: certificateLeaf(row, row.der) },
    ]),
  )
  const calls = new Map(callRows.map((row) => [row.log_index, { leaf: callLeaf(row) }]))
  const kept = new Map(leafRows.map(({ log_index, hash }) => [log_index, hash]))
  return {
    certificates: certificates.size,
    calls: calls.size,
    judge: (tell) =>
      Array.from({ length: to - from }, (_, at) => {
        const index = from + at
        const certificate = certificates.get(index)
        const row = certificate ?? calls.get(index)
        const leaf = kept.get(index)
        const fault = certificate && calls.has(index) ? TWO_ROWS : faultOf(row?.leaf, leaf)
        if (fault) {
          const serial = certificate ? { serial: certificate.serial } : {}
          tell({ index, ...serial, ...fault })
        }
        return leaf ?? row?.leaf ?? new Uint8Array(0)
      }),
  }
}

const TWO_ROWS = { what: 'added', message: 'there are two rows in this place' } as const

function faultOf(
  row: Uint8Array | undefined,
  kept: Uint8Array | undefined,
): Pick<AuditFault, 'what' | 'message'> | undefined {
  if (!row) return { what: 'deleted', message: 'its row is gone' }
  if (!kept) return { what: 'hash', message: 'its hash is gone' }
  if (Buffer.compare(row, kept) === 0) return undefined
  return { what: 'changed', message: 'its row is not what was logged' }
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

function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve)
  })
}
