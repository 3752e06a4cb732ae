/**
 * The CA's keys and what becomes of each: prepared, active, old, perhaps tainted, revoked. Every step
 * is a pure function from one book to the next, or a refusal; whoever keeps books writes the next
 * one down only where nobody else has, so that a step is neither lost nor done twice.
 */
import { CaError } from '../error.ts'

export type AuthorityState = 'prepared' | 'active' | 'old' | 'tainted' | 'revoked'
export type AuthorityKind = 'root' | 'issuing'

/** A root or an issuing CA. */
export interface AuthorityEntry {
  readonly kind: AuthorityKind
  readonly state: AuthorityState
  /** Lower-case hex of the subject key identifier. */
  readonly keyId: string
  /** A root's own. */
  readonly issuerKeyId: string
  /** Lower-case hex. */
  readonly serial: string
  /** DER, base64. */
  readonly certificate: string
  /** Epoch milliseconds, as are the next two: when it was signed, and NotAfter. */
  readonly issuedAt: number
  readonly notAfter: number
  /** When a prepared issuing CA is to be used; left out for one that waits for its root. */
  readonly activeAt?: number
  /** What it signed is to be renewed at once. */
  readonly renew?: true
  /** When one that was plugged in, or signed before one was, was replaced. */
  readonly oldSince?: number
}

/** The change from one root to the next, while it is under way. */
export interface Rotation {
  /** `started`: the next root is in every bundle. `promoted`: it signs. */
  readonly phase: 'started' | 'promoted'
  /** Key of the root that is left. */
  readonly from: string
  /** Key of the root that is gone to. */
  readonly to: string
  /** Epoch milliseconds. */
  readonly startedAt: number
}

/** All of it. */
export interface Book {
  /** One more with each step. */
  readonly version: number
  readonly authorities: readonly AuthorityEntry[]
  readonly rotation?: Rotation
}

/** A root and an issuing CA under it, both new. */
export interface Pair {
  readonly root: AuthorityEntry
  readonly issuing: AuthorityEntry
}

/** The first book of a CA. */
export function firstBook({ root, issuing }: Pair): Book {
  return { version: 1, authorities: [inState(root, 'active'), inState(issuing, 'active')] }
}

/** The root and the issuing CA that sign. @throws {CaError} `CA_ROTATION_REFUSED` if there is none */
export function activePair(book: Book): Pair {
  const root = activeOf(book, 'root')
  const issuing = activeOf(book, 'issuing')
  if (root && issuing) return { root, issuing }
  throw refused('sign', 'no root and issuing CA are active')
}

/** The one of a kind that is active. */
export function activeOf(book: Book, kind: AuthorityKind): AuthorityEntry | undefined {
  return book.authorities.find((each) => each.kind === kind && each.state === 'active')
}

/** The next issuing CA under the active root, if it is prepared. */
export function nextIssuing(book: Book): AuthorityEntry | undefined {
  const root = activeOf(book, 'root')
  return book.authorities.find(
    (each) =>
      each.kind === 'issuing' && each.state === 'prepared' && each.issuerKeyId === root?.keyId,
  )
}

/** Certificates of the roots in the trust bundle, the one that signs first. */
export function bundledRoots(book: Book): readonly AuthorityEntry[] {
  const roots = book.authorities.filter(({ kind, state }) => kind === 'root' && state !== 'revoked')
  return roots.toSorted((a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state))
}

const ORDER: readonly AuthorityState[] = ['active', 'prepared', 'old', 'tainted', 'revoked']

/** Keys whose leaves are to be renewed at once. */
export function renewedKeys(book: Book): readonly string[] {
  return book.authorities.flatMap(({ renew, keyId }) => (renew ? [keyId] : []))
}

/** Milliseconds that an authority is shown after its end. */
const SHOWN_MS = 86_400_000

/** Adds the issuing CA that is used next, from `activeAt` on. */
export function prepareIssuing(book: Book, issuing: AuthorityEntry, activeAt: number): Book {
  if (nextIssuing(book)) throw refused('prepare an issuing CA', 'there is one already')
  const { root } = activePair(book)
  if (issuing.issuerKeyId !== root.keyId) throw refused('prepare it', 'its root is not active')
  return next(book, [...book.authorities, { ...inState(issuing, 'prepared'), activeAt }])
}

/** Signs with the prepared issuing CA from now on. */
export function activateIssuing(book: Book): Book {
  const prepared = nextIssuing(book)
  if (!prepared) throw refused('use the next issuing CA', 'none is prepared')
  return next(
    book,
    book.authorities.map((each) => {
      if (each === prepared) return inState(each, 'active')
      return each.kind === 'issuing' && each.state === 'active' ? inState(each, 'old') : each
    }),
  )
}

/** New authorities where the keys of those that signed are gone; what they signed stays good. */
export function replaceLost(book: Book, { root, issuing }: Pair): Book {
  const old = book.authorities.map((each) =>
    each.state === 'active' || each.state === 'prepared' ? inState(each, 'old') : each,
  )
  const added = [inState(root, 'active'), inState(issuing, 'active')]
  return withoutRotation(next(book, [...old, ...added]))
}

/** First phase: the next root and its issuing CA are prepared, and the root is in every bundle. */
export function startRotation(book: Book, { root, issuing }: Pair, now: number): Book {
  const from = activeOf(book, 'root')
  if (book.rotation || !from) throw refused('start a rotation', phaseText(book))
  const added = [inState(root, 'prepared'), inState(issuing, 'prepared')]
  const rotation: Rotation = { phase: 'started', from: from.keyId, to: root.keyId, startedAt: now }
  return { ...next(book, [...book.authorities, ...added]), rotation }
}

/** Second phase: the next root signs, and what the other signed is renewed. */
export function promoteRotation(book: Book): Book {
  const { rotation } = book
  if (rotation?.phase !== 'started') throw refused('promote the next root', phaseText(book))
  return { ...turned(book, rotation), rotation: { ...rotation, phase: 'promoted' } }
}

/** Third phase: the other root leaves every bundle. */
export function finishRotation(book: Book): Book {
  const { rotation } = book
  if (rotation?.phase !== 'promoted') throw refused('finish the rotation', phaseText(book))
  return withoutRotation(next(book, dropped(book, rotation.from)))
}

/** Back to the root that signed before: at once, or as a rotation of its own if it has been left. */
export function cancelRotation(book: Book): Book {
  const { rotation } = book
  if (!rotation) throw refused('cancel a rotation', phaseText(book))
  if (rotation.phase === 'started') return withoutRotation(next(book, dropped(book, rotation.to)))
  const back: Rotation = { ...rotation, from: rotation.to, to: rotation.from }
  if (entryOf(book, back.to)?.state !== 'old') {
    throw refused('go back', 'the root that signed before is tainted; finish the rotation')
  }
  return { ...turned(book, back), rotation: back }
}

/**
 * Trusts a key no longer with what it signed: all of it is renewed. One that signs now is replaced
 * by `next` in the same step.
 *
 * @param replacement - Made under the active root; needed for an issuing CA that is active.
 */
export function taintKey(book: Book, keyId: string, replacement?: AuthorityEntry): Book {
  const entry = mustHave(book, keyId, 'taint')
  if (entry.state === 'tainted' || entry.state === 'revoked') {
    throw refused(`taint ${keyId}`, `it is ${entry.state} already`)
  }
  if (entry.kind === 'root' && entry.state !== 'old') {
    throw refused(
      `taint ${keyId}`,
      entry.state === 'active'
        ? 'it is the active root; rotate to another first (rotate start, rotate promote)'
        : 'it signs nothing yet; rotate cancel takes it back',
    )
  }
  const isUsed = entry.state === 'active'
  if (isUsed && !replacement) throw refused(`taint ${keyId}`, 'it is active, and has no successor')
  // One that has signed nothing has nothing to renew.
  const state = entry.state === 'prepared' ? 'revoked' : 'tainted'
  const tainted = book.authorities.map((each) =>
    isBelow(each, entry) && each.state !== 'revoked' ? markedFor(each, state) : each,
  )
  const added = isUsed && replacement ? [inState(replacement, 'active')] : []
  return next(book, [...tainted, ...added])
}

/** Forgets a tainted key: nothing that it signed is trusted. */
export function revokeKey(book: Book, keyId: string): Book {
  const entry = mustHave(book, keyId, 'revoke')
  if (entry.state !== 'tainted') {
    throw refused(`revoke ${keyId}`, `it is ${entry.state}, expected tainted (redoubt ca taint)`)
  }
  const revoked = next(book, dropped(book, keyId))
  return book.rotation?.from === keyId ? withoutRotation(revoked) : revoked
}

/** Without what ended a day ago, and no rotation needs; `undefined` if there is nothing of that kind. */
export function pruned(book: Book, now: number): Book | undefined {
  const { from, to } = book.rotation ?? {}
  const kept = book.authorities.filter(
    ({ notAfter, state, keyId }) =>
      state === 'active' || now < notAfter + SHOWN_MS || keyId === from || keyId === to,
  )
  return kept.length < book.authorities.length ? next(book, kept) : undefined
}

/** The entry of a key and everything that it signed. */
export function isBelow(each: AuthorityEntry, entry: AuthorityEntry): boolean {
  return each.keyId === entry.keyId || (entry.kind === 'root' && each.issuerKeyId === entry.keyId)
}

/** @throws {CaError} `CA_ROTATION_REFUSED` */
export function mustHave(book: Book, keyId: string, what: string): AuthorityEntry {
  const entry = entryOf(book, keyId)
  if (entry) return entry
  throw refused(`${what} ${keyId}`, 'the CA has no such key; redoubt ca status lists them')
}

function entryOf(book: Book, keyId: string): AuthorityEntry | undefined {
  return book.authorities.find((each) => each.keyId === keyId)
}

/** `to` signs in place of `from`, whose leaves are renewed. */
function turned(book: Book, { from, to }: Rotation): Book {
  const authorities = book.authorities.flatMap((each): AuthorityEntry[] => {
    if (each.state === 'revoked' || each.state === 'tainted') return [each]
    if (each.keyId === to) return [inState(each, 'active')]
    if (each.keyId === from) return [inState(each, 'old')]
    if (each.issuerKeyId === from) {
      return each.state === 'prepared' ? [] : [markedFor(each, 'old')]
    }
    return [each]
  })
  const successor = lastIssuing(authorities, to)
  if (!successor) throw refused('turn to the other root', 'it has no issuing CA')
  return next(
    book,
    authorities.map((each) => (each === successor ? inState(each, 'active') : each)),
  )
}

function lastIssuing(
  authorities: readonly AuthorityEntry[],
  root: string,
): AuthorityEntry | undefined {
  return authorities.findLast(
    ({ kind, state, issuerKeyId }) =>
      kind === 'issuing' && issuerKeyId === root && (state === 'prepared' || state === 'old'),
  )
}

function dropped(book: Book, keyId: string): readonly AuthorityEntry[] {
  const entry = mustHave(book, keyId, 'drop')
  return book.authorities.map((each) => (isBelow(each, entry) ? inState(each, 'revoked') : each))
}

function next(book: Book, authorities: readonly AuthorityEntry[]): Book {
  return { ...book, version: book.version + 1, authorities }
}

function withoutRotation({ rotation: _, ...book }: Book): Book {
  return book
}

function inState(entry: AuthorityEntry, state: AuthorityState): AuthorityEntry {
  const { activeAt: _, renew: __, ...rest } = entry
  return { ...rest, state }
}

function markedFor(entry: AuthorityEntry, state: AuthorityState): AuthorityEntry {
  const moved = inState(entry, state)
  return entry.kind === 'issuing' && state !== 'revoked' ? { ...moved, renew: true } : moved
}

function phaseText({ rotation }: Book): string {
  if (!rotation) return 'none is under way'
  return rotation.phase === 'started'
    ? 'one is started; rotate promote goes on with it, rotate cancel takes it back'
    : 'one is promoted; rotate finish ends it, rotate cancel goes back'
}

function refused(what: string, why: string): CaError {
  return new CaError('CA_ROTATION_REFUSED', `Cannot ${what}: ${why}`)
}
