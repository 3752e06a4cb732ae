/** What an entry of the log says of rows that were pruned: which, and under which checkpoint. */
import { isSignedHead, type SignedHead } from '../log/head.ts'
import { headOf } from '../log/read-document.ts'
import type { Database } from './database.ts'

/** Action of the entry that records a pruning. */
export const PRUNE_ACTION = 'prune'

/** Places from the first to the last of a run. */
export type Span = readonly [first: number, last: number]

/** Argument of the entry: rows of leaves that ended before `before`, of which only hashes are left. */
export interface Pruning {
  /** RFC 3339. */
  readonly before: string
  readonly spans: readonly Span[]
  /** The log as it was, with those rows: signed before they went. */
  readonly checkpoint: SignedHead
}

/** What the log says was pruned. */
export interface Prunings {
  readonly has: (index: number) => boolean
  /** By size; the tree is held against each. */
  readonly checkpoints: ReadonlyMap<number, readonly SignedHead[]>
}

/**
 * Reads every pruning of the log. That the entries are themselves those of the log is for the audit to
 * see; one whose checkpoint the log did not sign counts for nothing.
 */
export async function readPrunings(
  queries: Database,
  isOfLog: (head: SignedHead) => boolean,
): Promise<Prunings> {
  const rows = await queries
    .selectFrom('calls')
    .select(['detail', 'log_index'])
    .where('action', '=', PRUNE_ACTION)
    .where('outcome', '=', 'done')
    .execute()
  const prunings = rows
    .map(({ detail, log_index }) => ({ ...parse(detail), log_index }))
    .filter(({ checkpoint, log_index }) => checkpoint.size <= log_index && isOfLog(checkpoint))
  const spans = merged(
    prunings.flatMap(({ spans: all, checkpoint }) =>
      all.filter(([, last]) => last < checkpoint.size),
    ),
  )
  const checkpoints = Map.groupBy(
    prunings.map(({ checkpoint }) => checkpoint),
    ({ size }) => size,
  )
  return { has: (index) => isWithin(spans, index), checkpoints }
}

/** Whether `head` is one that the log with this key signed. */
export function ofLog(publicKey: Parameters<typeof isSignedHead>[1]) {
  return (head: SignedHead): boolean => isSignedHead(head, publicKey)
}

const NOTHING: Pruning = {
  before: '',
  spans: [],
  checkpoint: { log: '', keyId: '', size: 0, root: '', time: '', signature: '' },
}

/** An entry that cannot be read was not written by a CA, which the audit tells by its hash. */
function parse(detail: string): Pruning {
  try {
    const { before, spans, checkpoint } = JSON.parse(detail) as Pruning
    const isSpans = spans.every((span) => span.length === 2 && span.every(Number.isSafeInteger))
    if (isSpans) return { before, spans, checkpoint: headOf(checkpoint as never, 'a checkpoint') }
  } catch {
    // As if it were not there: then rows that are gone count as deleted.
  }
  return NOTHING
}

function merged(spans: readonly Span[]): readonly Span[] {
  const out: [number, number][] = []
  for (const [first, last] of spans.toSorted(([a], [b]) => a - b)) {
    const top = out.at(-1)
    if (top && first <= top[1] + 1) top[1] = Math.max(top[1], last)
    else out.push([first, last])
  }
  return out
}

function isWithin(spans: readonly Span[], index: number): boolean {
  let [low, high] = [0, spans.length]
  while (low < high) {
    const middle = (low + high) >> 1
    const [first, last] = spans[middle] ?? [0, 0]
    if (index < first) high = middle
    else if (index > last) low = middle + 1
    else return true
  }
  return false
}
