/** The CA's keys as they are in force: what signs, what is in the bundle, and the one way to change either. */
import { createLive, type Live } from '#core/live.ts'
import { CaError } from '../error.ts'
import type { CallRow, Database } from '../issue/database.ts'
import type { KeyStore } from '../keys/signing-key.ts'
import { createSvidSigner, type SvidSigner } from '../issue/issue-svid.ts'
import type { Ledger } from '../issue/ledger.ts'
import type { Authority } from '../keys/authority.ts'
import { authorityRow } from '../keys/authority-row.ts'
import {
  activeOf,
  activePair,
  type AuthorityEntry,
  type Book,
  firstBook,
  type Pair,
  replaceLost,
} from './book.ts'
import { createChainCheck } from './chain-check.ts'
import { bookChanges, readBook, readVersion } from './journal.ts'
import { certificateOf, createMaker, type MakeDeps, type Maker } from './make.ts'
import { upkeep } from './upkeep.ts'

/** A step: the next book, with authorities that are made for it; the same or none changes nothing. */
export type Step = (book: Book, make: Maker) => Promise<Book | undefined> | Book | undefined

/** What the CA signs with, and how that changes. */
export interface Authorities {
  readonly book: Live<Book>
  /** What signs leaves now. @throws {CaError} `CA_SIGNER_UNAVAILABLE` if its own chain is not in order */
  readonly signer: () => SvidSigner
  /** Why nothing can be signed now; `undefined` if it can. */
  readonly fault: () => string | undefined
  /** An authority with its key. @throws {CaError} `CA_SIGNER_UNAVAILABLE` if the key is not to be had */
  readonly open: (entry: AuthorityEntry) => Promise<Authority>
  /**
   * Takes a step, in turn with others, and of several CAs on one database exactly one of them. Resolves
   * once it is on the disk, with the call that asked for it, and in force here.
   *
   * @throws {CaError} whatever the step refuses with, judged anew if another CA was faster
   */
  readonly step: (step: Step, calls?: readonly CallRow[]) => Promise<Book>
  /** Takes every step that is due, and those that other CAs have taken. */
  readonly keepUp: () => Promise<void>
}

export interface AuthoritiesDeps extends MakeDeps {
  readonly queries: Database
  readonly ledger: Ledger
  /** Authorities of a version of this program that had no book. */
  readonly before: () => Promise<Book | undefined>
  /** Where what signs is somebody else's; left out: it is made here. */
  readonly plugged?: PluggedSource | undefined
  /** Told of each book that comes into force, in order; the next waits for it. */
  readonly changed: (book: Book) => Promise<void>
}

/** Authorities that are not made here. */
export interface PluggedSource {
  /** By key identifier; `undefined` for one that is not of that kind, or not any more. */
  readonly authority: (keyId: string) => Authority | undefined
  /** Whether what is plugged in now is what signs in a book. */
  readonly covers: (book: Book) => boolean
  /** The book in which it does. */
  readonly plug: (book: Book) => Book
  /** What is due at an instant, epoch milliseconds; `undefined` if nothing is. */
  readonly upkeep: (book: Book, now: number) => Book | undefined
}

/** Tries of one step, each after another CA was faster. */
const MAX_TRIES = 5

/**
 * Opens the book, making the first authorities if there are none.
 *
 * @throws {CaError} `CA_STATE_UNUSABLE` if the state is another trust domain's, or a key is missing
 */
export async function openAuthorities(deps: AuthoritiesDeps): Promise<Authorities> {
  const { queries, ledger, store, now, changed, plugged } = deps
  const source = createLive<Book>({ version: 0, authorities: [] })
  let signer: SvidSigner | undefined
  let last: Promise<unknown> = Promise.resolve()

  const open = (entry: AuthorityEntry) => openEntry(deps, entry)
  const take = async (next: Book): Promise<void> => {
    const issuing = activeOf(next, 'issuing')
    if (issuing && issuing.certificate !== certificateText(signer)) {
      signer = createSvidSigner(await open(issuing))
    }
    source.set(next)
    await changed(next)
  }
  const catchUp = async (): Promise<void> => {
    if ((await readVersion(queries)) === source.live.current.version) return
    const newest = await readBook(queries)
    if (newest) await take(newest)
  }
  const tryStep = async (step: Step, calls: readonly CallRow[]): Promise<Book | undefined> => {
    const make = createMaker(deps, open)
    const book = source.live.current
    try {
      const next = await step(book, make)
      if (!next || next === book) return book
      const certificates = make.made.map(({ authority, kind, issuer }) =>
        authorityRow(authority, kind, issuer),
      )
      const changes = bookChanges(queries, next, now())
      await ledger.recordAlone({ certificates, calls, changes })
      await take(next)
      await forgetRevoked(store, next)
      return next
    } catch (cause) {
      await make.forget()
      if (cause instanceof CaError || (await readVersion(queries)) === source.live.current.version)
        throw cause
      await catchUp() // Another CA was faster: the step is judged anew.
      return undefined
    }
  }
  const stepNow = async (step: Step, calls: readonly CallRow[]): Promise<Book> => {
    for (let tries = 0; tries < MAX_TRIES; tries += 1) {
      const done = await tryStep(step, calls)
      if (done) return done
    }
    throw new CaError('CA_ROTATION_NOT_YET', 'Cannot take the step: other CAs change the keys, too')
  }
  const inTurn = <Result>(run: () => Promise<Result>): Promise<Result> => {
    const done = last.then(run)
    last = done.catch(() => undefined) // told to whoever asked
    return done
  }
  const step: Authorities['step'] = (plan, calls = []) => inTurn(() => stepNow(plan, calls))

  const stored = await readBook(queries)
  if (!stored) {
    const older = await deps.before()
    await stepNow(
      async (from, make) =>
        plugged?.plug(older ?? from) ?? older ?? firstBook(await makePair(make)),
      [],
    )
  } else if (plugged ? plugged.covers(stored) : await hasKeys(deps, stored)) await take(stored)
  else {
    source.set(stored)
    await stepNow(
      async (from, make) => plugged?.plug(from) ?? replaceLost(from, await makePair(make)),
      [],
    )
  }
  const faultAt = createChainCheck()
  const fault = () => faultAt(source.live.current, now().epochMilliseconds)
  return {
    book: source.live,
    fault,
    open,
    step,
    signer() {
      const why = fault()
      if (why === undefined && signer) return signer
      throw new CaError('CA_SIGNER_UNAVAILABLE', `Cannot sign: ${why ?? 'there is no key for it'}`)
    },
    keepUp: () =>
      inTurn(async () => {
        await catchUp()
        for (let version = -1; version !== source.live.current.version; ) {
          version = source.live.current.version
          const at = now().epochMilliseconds
          await stepNow(
            (from, make) => (plugged ? plugged.upkeep(from, at) : upkeep(from, make, at)),
            [],
          )
        }
      }),
  }
}

function certificateText(signer: SvidSigner | undefined): string | undefined {
  return signer && Buffer.from(signer.authority.certificate.der).toString('base64')
}

/** A root and an issuing CA under it. */
export async function makePair(make: Maker): Promise<Pair> {
  const root = await make.root()
  return { root, issuing: await make.issuing(root) }
}

async function openEntry(
  { store, plugged }: Pick<AuthoritiesDeps, 'store' | 'plugged'>,
  entry: AuthorityEntry,
): Promise<Authority> {
  const foreign = plugged?.authority(entry.keyId)
  if (foreign) return foreign
  const key = await store.open(entry.keyId)
  if (key) return { certificate: certificateOf(entry), key }
  throw new CaError(
    'CA_SIGNER_UNAVAILABLE',
    `Cannot sign with the ${entry.kind} CA ${entry.keyId}: its key is not among the ${store.name}`,
  )
}

/**
 * Whether the keys that sign are there. `false` only where keys are not meant to last.
 *
 * @throws {CaError} `CA_STATE_UNUSABLE`
 */
async function hasKeys({ store, trustDomain }: AuthoritiesDeps, book: Book): Promise<boolean> {
  const pair = activePair(book)
  for (const entry of [pair.root, pair.issuing]) {
    const what = `Cannot use the stored ${entry.kind} CA ${entry.keyId}`
    const [uri] = certificateOf(entry).uriSans
    if (uri !== `spiffe://${trustDomain}`) {
      throw new CaError(
        'CA_STATE_UNUSABLE',
        `${what}: it belongs to ${uri}, expected spiffe://${trustDomain}`,
      )
    }
    if (await store.open(entry.keyId)) continue
    if (!store.isLasting) return false
    throw new CaError('CA_STATE_UNUSABLE', `${what}: its key is not among the ${store.name}`)
  }
  return true
}

async function forgetRevoked(store: KeyStore, { authorities }: Book): Promise<void> {
  for (const { state, keyId } of authorities) if (state === 'revoked') await store.remove(keyId)
}
