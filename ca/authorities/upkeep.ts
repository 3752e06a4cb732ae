/** What is due without anybody asking for it: the next issuing CA, and its turn. */
import {
  activateIssuing,
  activeOf,
  type AuthorityEntry,
  type Book,
  nextIssuing,
  prepareIssuing,
  pruned,
} from './book.ts'
import type { Maker } from './make.ts'

/** The next issuing CA is made at this part of a life, and used from the second on. */
const PREPARE_AT = 1 / 2
const ACTIVATE_AT = 5 / 6

/** The book with what is due at `now`; `undefined` if nothing is. */
export async function upkeep(book: Book, make: Maker, now: number): Promise<Book | undefined> {
  const root = activeOf(book, 'root')
  const issuing = activeOf(book, 'issuing')
  if (!root || !issuing) return undefined
  const prepared = nextIssuing(book)
  if (prepared) return isDue(prepared, issuing, now) ? activateIssuing(book) : pruned(book, now)
  if (now < at(issuing, PREPARE_AT) || now >= root.notAfter) return pruned(book, now)
  // A CA that ends with its root has no successor that would live longer: it takes another root.
  if (issuing.notAfter >= root.notAfter) return pruned(book, now)
  return prepareIssuing(book, await make.issuing(root), Math.max(now, at(issuing, ACTIVATE_AT)))
}

function isDue(prepared: AuthorityEntry, active: AuthorityEntry, now: number): boolean {
  return now >= (prepared.activeAt ?? 0) || now >= active.notAfter
}

function at({ issuedAt, notAfter }: AuthorityEntry, part: number): number {
  return issuedAt + Math.round((notAfter - issuedAt) * part)
}
