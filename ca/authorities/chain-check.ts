/** Whether the authorities that sign are in their time. */
import { BACKDATE_SECONDS } from '../issue/template.ts'
import { activePair, type AuthorityEntry, type Book } from './book.ts'

/**
 * Why the chain of what signs is not in order; `undefined` if it is. It is asked for each certificate, so the
 * times of a book are looked up once.
 */
export function createChainCheck(): (book: Book, nowMs: number) => string | undefined {
  let inOrder:
    | { readonly book: Book; readonly fromMs: number; readonly untilMs: number }
    | undefined
  return (book, nowMs) => {
    if (inOrder?.book === book && nowMs >= inOrder.fromMs && nowMs < inOrder.untilMs)
      return undefined
    const fault = faultOf(book, nowMs)
    if (fault === undefined) {
      const { root, issuing } = activePair(book)
      const fromMs = Math.max(beginOf(root), beginOf(issuing))
      inOrder = { book, fromMs, untilMs: Math.min(root.notAfter, issuing.notAfter) }
    }
    return fault
  }
}

function faultOf(book: Book, nowMs: number): string | undefined {
  const { root, issuing } = activePair(book)
  for (const { kind, ...entry } of [root, issuing]) {
    const name = kind === 'root' ? 'root' : 'issuing CA'
    if (entry.notAfter <= nowMs) return `the ${name} ended at ${isoText(entry.notAfter)}`
    const begins = beginOf(entry)
    if (nowMs < begins) return `the ${name} begins at ${isoText(begins)}`
  }
  return undefined
}

function beginOf({ issuedAt }: Pick<AuthorityEntry, 'issuedAt'>): number {
  return issuedAt - BACKDATE_SECONDS * 1000
}

function isoText(epochMs: number): string {
  return String(Temporal.Instant.fromEpochMilliseconds(epochMs))
}
