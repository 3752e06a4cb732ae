/** A stretch of the ledger beside the hashes that the log keeps of it. */
import { callLeaf, certificateLeaf } from '../log/entry.ts'
import type { Database } from './database.ts'

/** Something in the ledger that is not as it was when its head was signed. */
export interface AuditFault {
  /** Place in the log; left out for what concerns all of it. */
  readonly index?: number
  /** Of the certificate, if it is one and is there. */
  readonly serial?: string
  readonly what: 'changed' | 'deleted' | 'added' | 'hash' | 'head'
  readonly message: string
}

/** What is in one place. */
export interface Place {
  readonly index: number
  /** The row, if there is one. */
  readonly row?: { readonly leaf: Uint8Array; readonly serial?: string }
  /** Whether there are two. */
  readonly isDouble: boolean
  /** The hash that the log keeps of it. */
  readonly kept?: Uint8Array
}

/** A stretch of places. */
export interface Page {
  readonly places: readonly Place[]
  /** Rows of each kind. */
  readonly certificates: number
  readonly calls: number
  /** Places without a row. */
  readonly gaps: readonly number[]
}

/** Reads the places from `from` to before `to`. */
export async function readPage(queries: Database, from: number, to: number): Promise<Page> {
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
    certificateRows.map((row) => {
      const { log_index, serial, der } = row
      return [log_index, { serial, leaf: certificateLeaf(row, der) }]
    }),
  )
  const calls = new Map(callRows.map((row) => [row.log_index, { leaf: callLeaf(row) }]))
  const hashes = new Map(leafRows.map(({ log_index, hash }) => [log_index, hash]))
  const places = Array.from({ length: to - from }, (_, at): Place => {
    const index = from + at
    const row = certificates.get(index) ?? calls.get(index)
    const kept = hashes.get(index)
    const isDouble = certificates.has(index) && calls.has(index)
    return { index, isDouble, ...(row && { row }), ...(kept && { kept }) }
  })
  const gaps = places.flatMap(({ index, row }) => (row ? [] : [index]))
  return { places, certificates: certificates.size, calls: calls.size, gaps }
}

/** What is wrong with a page. Its gaps are no faults where `isPruned`. */
export function pageFaults(
  { places }: Page,
  isPruned: (index: number) => boolean,
): readonly AuditFault[] {
  return places.flatMap((place) => {
    const { index, row } = place
    const fault = faultOf(place, isPruned)
    return fault ? [{ index, ...(row?.serial && { serial: row.serial }), ...fault }] : []
  })
}

function faultOf(
  { index, row, kept, isDouble }: Place,
  isPruned: (index: number) => boolean,
): Pick<AuditFault, 'what' | 'message'> | undefined {
  if (isDouble) return { what: 'added', message: 'there are two rows in this place' }
  if (!row && !isPruned(index)) return { what: 'deleted', message: 'its row is gone' }
  if (!kept) return { what: 'hash', message: 'its hash is gone' }
  if (!row || Buffer.compare(row.leaf, kept) === 0) return undefined
  return { what: 'changed', message: 'its row is not what was logged' }
}
