/** What a CA does by itself while it is open: its own certificate, its keys, their successors. */
import { backoff } from '#core/backoff.ts'
import type { Clock } from '#core/clock.ts'
import type { Log } from '#core/log.ts'
import { activeOf, type Book, nextIssuing } from './authorities/book.ts'
import { keepRenewed } from './keys/keep-renewed.ts'
import type { OpenAuthority } from './open-authority.ts'
import type { Renewals } from './renewals.ts'
import type { OwnSvid } from './serve/own-svid.ts'
import type { Life } from './x509/index.ts'

export interface KeepUpDeps {
  readonly clock: Clock
  readonly now: () => Temporal.Instant
  readonly log: Log
  /** Numbers in [0, 1). @default Math.random */
  readonly random?: () => number
}

/** What is kept up. */
export interface KeptUp {
  readonly authority: OpenAuthority
  /** The certificate that the CA shows; `undefined` while it cannot sign one. */
  readonly own: () => OwnSvid | undefined
  readonly renewOwn: () => Promise<void>
  readonly renewals: Renewals
  /** Tells when everything ends, and what health has to say of it. */
  readonly report: () => void
}

/** Milliseconds between two looks at what is due, and at what other CAs on the database did. */
const LOOK_MS = 5000

/** Keeps it up until disposed; disposing waits for what is under way. */
export function keepCaUp(kept: KeptUp, world: KeepUpDeps): AsyncDisposable {
  const deps = { random: Math.random, ...world }
  const { authority, own, renewOwn, renewals, report } = kept
  const ended = new AbortController()
  const { signal } = ended
  const renewJwt = renewals.counted('jwt', async () => {
    await authority.renewJwt()
    report()
    deps.log('info', 'ca-jwt-key-prepared')
  })
  const running = [
    keepRenewed(deps, () => own()?.life ?? lifeAt(deps.now()), renewOwn, signal),
    keepRenewed(deps, authority.jwtLife, renewJwt, signal),
    lookAgain(kept, deps, signal),
    followBook(kept, deps, signal),
  ]
  const settled = Promise.allSettled(running) // at once, so that no rejection is ever unhandled
  return {
    async [Symbol.asyncDispose]() {
      ended.abort()
      await settled
    },
  }
}

/** Of what is not there: it is due. */
function lifeAt(now: Temporal.Instant): Life {
  return { issuedAt: now, notAfter: now }
}

async function lookAgain(
  { authority, renewals, report }: KeptUp,
  { clock, log }: KeepUpDeps,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    try {
      await authority.keepUp()
      renewals.works('issuing')
    } catch (cause) {
      renewals.failed('issuing', cause)
      log('error', 'ca-authorities-not-kept-up', { detail: String(cause) })
    }
    report()
    await clock.sleep(LOOK_MS, signal)
  }
}

/** The CA's own certificate follows its keys like all others, and first. */
async function followBook(
  { authority, own, renewOwn, renewals, report }: KeptUp,
  { clock, random, log }: Required<KeepUpDeps>,
  signal: AbortSignal,
): Promise<void> {
  let before = authority.authorities.book.current
  for await (const book of authority.authorities.book.changes(signal)) {
    tellChanges(before, book, log, renewals)
    before = book
    report()
    if (!isSuperseded(book, own())) continue
    for (const waitMs of backoff({ random, baseMs: 250 })) {
      try {
        await renewOwn()
        break
      } catch (cause) {
        log('error', 'ca-renewal-failed', { waitMs, detail: String(cause) })
        await clock.sleep(waitMs, signal)
      }
    }
  }
}

function tellChanges(before: Book, now: Book, log: Log, { taken }: Renewals): void {
  const serials = (book: Book) => [activeOf(book, 'issuing')?.serial, nextIssuing(book)?.serial]
  const [active, prepared] = serials(now)
  const [activeBefore, preparedBefore] = serials(before)
  if (activeOf(before, 'root')?.serial !== activeOf(now, 'root')?.serial) taken('root')
  if (active !== activeBefore) {
    taken('issuing')
    log('info', 'ca-issuing-renewed', { serial: active })
  }
  if (prepared !== undefined && prepared !== preparedBefore) {
    log('info', 'ca-issuing-prepared', { serial: prepared })
  }
}

function isSuperseded({ authorities }: Book, own: OwnSvid | undefined): boolean {
  return authorities.some(
    ({ serial, renew, state }) =>
      serial === own?.issuerSerial && (renew === true || state === 'revoked'),
  )
}
