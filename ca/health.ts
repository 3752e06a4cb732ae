import type { Log } from '#core/log.ts'
import { activePair, type Book } from './authorities/book.ts'
import type { Authorities } from './authorities/open-authorities.ts'
import type { Renewals } from './renewals.ts'
import type { Certificate, Life } from './x509/index.ts'

/** Whether the CA can sign, and what it would be well to know. */
export interface CaHealth {
  readonly ready: boolean
  /** Why it is not ready, or will not be for ever. */
  readonly reasons: readonly string[]
}

/** Days before its end at which a root, or a CA of somebody else's, that lives long is told of: time to plan, to act, to hurry. */
const WARN_DAYS = [7, 30, 60] as const

/** Ready while the chain of what signs is in order; what will break is told in time. */
export function healthOf(
  { book, fault }: Pick<Authorities, 'book' | 'fault'>,
  caTtl: Temporal.Duration,
  now: Temporal.Instant,
): CaHealth {
  const why = fault()
  const reasons = [
    why === undefined
      ? undefined
      : `nothing is signed: ${why} (redoubt ca rotate ${nextStep(book.current)} --force)`,
    why === undefined ? rootReason(book.current, caTtl, now) : undefined,
    rotationReason(book.current),
  ]
  return {
    ready: why === undefined,
    reasons: reasons.filter((reason) => reason !== undefined),
  }
}

function rootReason(
  book: Book,
  caTtl: Temporal.Duration,
  now: Temporal.Instant,
): string | undefined {
  if (book.rotation) return undefined
  const { root } = activePair(book)
  const end = Temporal.Instant.fromEpochMilliseconds(root.notAfter)
  if (Temporal.Instant.compare(now.add(caTtl), end) > 0) {
    return `the root ends at ${end}, before a new issuing CA would`
  }
  const notBefore = Temporal.Instant.fromEpochMilliseconds(root.issuedAt)
  const within = warnedDays({ notBefore, notAfter: end }, now)
  if (within === undefined) return undefined
  return `the root ends at ${end}, within ${within} days (redoubt ca rotate start)`
}

/** Health with what the CA shows itself by, and what it cannot replace now. */
export function withOwn(
  { ready, reasons }: CaHealth,
  { reasons: failing }: Pick<Renewals, 'reasons'>,
  own: { readonly life: Pick<Life, 'notAfter'> } | undefined,
  now: Temporal.Instant,
): CaHealth {
  if (!ready) return { ready, reasons } // All else that fails comes of that.
  const isOver = own !== undefined && Temporal.Instant.compare(own.life.notAfter, now) <= 0
  const over = `nobody is answered: the CA's own certificate ended at ${own?.life.notAfter}`
  return { ready: !isOver, reasons: [...(isOver ? [over] : []), ...reasons, ...failing()] }
}

/** Logs health whenever it has something else to say. */
export function createHealthLog(log: Log): (health: CaHealth) => void {
  let told = ''
  return ({ ready, reasons }) => {
    const says = reasons.join('; ')
    if (says === told) return
    told = says
    log(reasons.length === 0 ? 'info' : ready ? 'warn' : 'error', 'ca-health', {
      ready,
      reasons: says,
    })
  }
}

/** The longest and the least part of a life at whose end a CA that nobody here can replace is told of. */
const SOON_DAYS = 60
const SOON_PART = 1 / 6

/** Whether somebody has to act by now for what lives so long. */
export function endsSoon(
  life: Pick<Certificate, 'notBefore' | 'notAfter'>,
  now: Temporal.Instant,
): boolean {
  const lifeDays = daysBetween(life.notBefore, life.notAfter)
  const soon = Math.min(SOON_DAYS, lifeDays * SOON_PART)
  return daysBetween(now, life.notAfter) <= soon || warnedDays(life, now) !== undefined
}

/** The least number of days within which a certificate ends whose end it is time to speak of; none before. */
function warnedDays(
  { notBefore, notAfter }: Pick<Certificate, 'notBefore' | 'notAfter'>,
  now: Temporal.Instant,
): number | undefined {
  const days = daysBetween(now, notAfter)
  const lifeDays = daysBetween(notBefore, notAfter)
  return WARN_DAYS.find((each) => days <= each && each < lifeDays / 3)
}

function daysBetween(from: Temporal.Instant, to: Temporal.Instant): number {
  return (to.epochMilliseconds - from.epochMilliseconds) / DAY_MS
}

const DAY_MS = 86_400_000

function nextStep({ rotation }: Book): 'start' | 'promote' | 'finish' {
  if (!rotation) return 'start'
  return rotation.phase === 'started' ? 'promote' : 'finish'
}

function rotationReason(book: Book): string | undefined {
  if (!book.rotation) return undefined
  const since = Temporal.Instant.fromEpochMilliseconds(book.rotation.startedAt)
  return `the root is being rotated since ${since} (redoubt ca rotate ${nextStep(book)} is next)`
}
