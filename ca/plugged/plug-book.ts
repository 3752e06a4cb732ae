/** A plugged-in CA in the book of authorities: pure steps from one book to the next. */
import type { AuthorityEntry, AuthorityState, Book } from '../authorities/book.ts'
import { entryOf } from '../authorities/make.ts'
import { CaError } from '../error.ts'
import { BACKDATE_SECONDS } from '../issue/template.ts'
import { sameBytes } from '../x509/certificate.ts'
import { readCertificate } from '../x509/index.ts'
import type { PluggedCa } from './judge.ts'

/**
 * The book in which `ca` signs. What signed before is old: trusted until nothing lives under it.
 *
 * @throws {CaError} `CA_CONFIG_INVALID` if a key of it was revoked: nobody would believe what it signs
 */
export function plugBook(book: Book, ca: PluggedCa, now: number): Book {
  const entries = entriesOf(ca)
  assertNotRevoked(book, entries)
  return { version: book.version + 1, authorities: [...outlived(book, entries, now), ...entries] }
}

/** The book in which the roots of `ca` are in every bundle, before it signs; `undefined` if they are. */
export function announceRoots(book: Book, ca: PluggedCa): Book | undefined {
  const added = entriesOf(ca).filter((entry) => entry.kind === 'root' && !isBundled(book, entry))
  if (added.length === 0) return undefined
  const prepared = added.map((entry): AuthorityEntry => ({ ...entry, state: 'prepared' }))
  return { ...book, version: book.version + 1, authorities: [...book.authorities, ...prepared] }
}

/** Whether everybody may know the root under which `ca` signs. */
export function knowsAnchor(book: Book, ca: PluggedCa): boolean {
  return entriesOf(ca).some((entry) => isAnchor(ca, entry) && isBundled(book, entry))
}

/** Whether `ca` is what signs in `book`, with the same roots. */
export function isPlugged(book: Book, ca: PluggedCa): boolean {
  return entriesOf(ca).every(({ certificate, state }) =>
    book.authorities.some((one) => one.certificate === certificate && one.state === state),
  )
}

/**
 * The book without authorities that were replaced longer ago than `lifeMs`, the longest that a leaf
 * lives; `undefined` if there are none.
 */
export function dropOutlived(book: Book, now: number, lifeMs: number): Book | undefined {
  const kept = book.authorities.filter(
    ({ oldSince, notAfter }) =>
      oldSince === undefined || now < Math.min(oldSince + lifeMs, notAfter),
  )
  if (kept.length === book.authorities.length) return undefined
  return { ...book, version: book.version + 1, authorities: kept }
}

function entriesOf(ca: PluggedCa): readonly AuthorityEntry[] {
  const roots = ca.roots.map((der): AuthorityEntry => {
    const entry = entryFor(readCertificate(der), 'root', 'prepared')
    return isAnchor(ca, entry) ? { ...entry, state: 'active' } : entry
  })
  const anchor = roots.find(({ state }) => state === 'active')
  const issuing = entryFor(ca.authority.certificate, 'issuing', 'active')
  // What stands between it and the root may end before it does; then peers refuse what it signs.
  const notAfter = ca.endsAt.epochMilliseconds
  return [...roots, { ...issuing, notAfter, issuerKeyId: anchor?.keyId ?? issuing.keyId }]
}

function entryFor(
  certificate: PluggedCa['authority']['certificate'],
  kind: 'root' | 'issuing',
  state: AuthorityState,
): AuthorityEntry {
  // Ours are signed a while after they begin; of others' nobody says when they were signed.
  const issuedAt = certificate.notBefore.add({ seconds: BACKDATE_SECONDS })
  return { ...entryOf({ certificate }, kind, issuedAt), state }
}

function assertNotRevoked({ authorities }: Book, entries: readonly AuthorityEntry[]): void {
  for (const { keyId } of entries) {
    if (!authorities.some((one) => one.keyId === keyId && one.state === 'revoked')) continue
    throw new CaError('CA_CONFIG_INVALID', `Cannot plug in the CA: its key ${keyId} was revoked`)
  }
}

function isAnchor({ anchor }: PluggedCa, { certificate }: AuthorityEntry): boolean {
  return sameBytes(Buffer.from(certificate, 'base64'), anchor)
}

function isBundled({ authorities }: Book, { certificate }: AuthorityEntry): boolean {
  return authorities.some(
    (one) => one.kind === 'root' && one.state !== 'revoked' && one.certificate === certificate,
  )
}

function outlived(
  { authorities }: Book,
  entries: readonly AuthorityEntry[],
  now: number,
): readonly AuthorityEntry[] {
  return authorities.flatMap((one): readonly AuthorityEntry[] => {
    const { activeAt: _, ...entry } = one
    if (
      entries.some(({ certificate, kind }) => certificate === one.certificate && kind === one.kind)
    ) {
      return []
    }
    if (one.kind === 'issuing' && one.state === 'prepared') return []
    if (one.state !== 'active' && one.state !== 'prepared') return [{ oldSince: now, ...entry }]
    return [{ ...entry, state: 'old', oldSince: now }]
  })
}
