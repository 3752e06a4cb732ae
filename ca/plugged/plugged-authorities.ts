/** What signs when the CA is somebody else's: its files, in the book that all authorities are kept in. */
import type { Clock } from '#core/clock.ts'
import type { Log } from '#core/log.ts'
import type { AuthorityState, Book } from '../authorities/book.ts'
import type { Maker } from '../authorities/make.ts'
import type { Authorities, PluggedSource } from '../authorities/open-authorities.ts'
import { CaError } from '../error.ts'
import type { CallRow } from '../issue/database.ts'
import type { Authority } from '../keys/authority.ts'
import { sameBytes } from '../x509/certificate.ts'
import { keyIdOf } from '../x509/index.ts'
import type { PluggedCa } from './judge.ts'
import type { Plugged } from './keep-plugged.ts'
import { announceRoots, dropOutlived, isPlugged, knowsAnchor, plugBook } from './plug-book.ts'

export interface PluggedDeps {
  readonly clock: Clock
  readonly now: () => Temporal.Instant
  readonly log: Log
  /** The longest that a leaf lives; so long what was replaced is trusted still. */
  readonly maxLeafTtl: Temporal.Duration
}

/** How the book begins and is kept up when its authorities are plugged in. */
export function pluggedSource(
  { live }: Pick<Plugged, 'live'>,
  { now, maxLeafTtl }: Pick<PluggedDeps, 'now' | 'maxLeafTtl'>,
): PluggedSource {
  /** Those that may still sign until their successor's root is known. */
  const seen = new Map<string, Authority>()
  const remember = (ca: PluggedCa): void => {
    seen.set(keyIdOf(ca.authority.certificate), authorityOf(ca))
  }
  return {
    authority(keyId) {
      remember(live.current)
      return seen.get(keyId)
    },
    covers: (book) => isPlugged(book, live.current),
    plug: (book) => plugBook(book, live.current, now().epochMilliseconds),
    upkeep: (book, at) => dropOutlived(book, at, maxLeafTtl.total('milliseconds')),
  }
}

/** With each leaf goes what leads to the root, and never the root itself. */
function authorityOf({ authority, intermediates, roots, endsAt }: PluggedCa): Authority {
  const { der } = authority.certificate
  const isRoot = roots.some((root) => sameBytes(root, der))
  return { ...authority, endsAt, presented: isRoot ? [] : [der, ...intermediates] }
}

/**
 * Milliseconds that a root which nobody knew is in every bundle before anything is signed under it:
 * bundles are pushed, and take a fraction of this.
 */
const SPREAD_MS = 15_000

/** Puts each set of files in force that is in order, until `signal` aborts. */
export async function followPlugged(
  authorities: Authorities,
  plugged: Plugged,
  { clock, now, log }: PluggedDeps,
  signal: AbortSignal,
): Promise<void> {
  const step = (change: (book: Book) => Book | undefined, action: string, ca: PluggedCa) =>
    authorities.step((book) => change(book), [callOf(action, ca, now())])
  for await (const ca of plugged.live.changes(signal)) {
    try {
      if (isPlugged(authorities.book.current, ca)) continue
      if (!knowsAnchor(authorities.book.current, ca)) {
        await step((book) => announceRoots(book, ca), 'announce-ca', ca)
        log('info', 'plugged-ca-announced', { spreadMs: SPREAD_MS })
        await clock.sleep(SPREAD_MS, signal)
        if (plugged.live.current !== ca) continue // replaced by now
      }
      await step((book) => plugBook(book, ca, now().epochMilliseconds), 'plug-ca', ca)
    } catch (cause) {
      if (signal.aborted) return
      log('error', 'plugged-ca-not-taken', { detail: String(cause) })
    }
  }
}

/** For the log: who signs from now on is the most administrative of changes. */
export function callOf(action: string, { authority }: PluggedCa, now: Temporal.Instant): CallRow {
  const { serial, notAfter } = authority.certificate
  const keyId = keyIdOf(authority.certificate)
  const detail = JSON.stringify({ serial, keyId, notAfter: String(notAfter) })
  return { at: now.epochMilliseconds, caller: 'files', action, detail, outcome: 'done' }
}

/** Authorities, and what follows the files that they may come from. */
export interface MaybePlugged {
  /** Roots and issuing CAs, and how they change. */
  readonly authorities: Authorities
  /** The files that the CA signs with, if they are somebody else's. */
  readonly plugged: Plugged | undefined
  /** Puts each set of them in force, until the signal aborts. */
  readonly followPlugged: (deps: PluggedDeps, signal: AbortSignal) => Promise<void>
}

/** No administrator changes what signs: that is somebody else's. What was replaced may be tainted, then revoked. */
export function withPlugged(authorities: Authorities, plugged: Plugged | undefined): MaybePlugged {
  if (!plugged) return { authorities, plugged, followPlugged: async () => {} }
  const refuse = (): never => {
    throw new CaError(
      'CA_ROTATION_REFUSED',
      `Cannot change the CA's keys: they are those in ${plugged.dir}; put the next ones there`,
    )
  }
  const nothing: Maker = { made: [], root: refuse, issuing: refuse, forget: async () => {} }
  const step: Authorities['step'] = (plan, calls) =>
    authorities.step(async (book) => {
      const next = await plan(book, nothing)
      return next && signsAlike(book, next) ? next : refuse()
    }, calls)
  return {
    authorities: { ...authorities, step },
    plugged,
    followPlugged: (deps, signal) => followPlugged(authorities, plugged, deps, signal),
  }
}

/** Whether the same authorities sign in both, now and next. */
function signsAlike(book: Book, next: Book): boolean {
  const signers = ({ authorities, rotation }: Book) =>
    JSON.stringify([rotation, authorities.filter(({ state }) => SIGNS.has(state))])
  return signers(book) === signers(next)
}

const SIGNS: ReadonlySet<AuthorityState> = new Set(['active', 'prepared'])
