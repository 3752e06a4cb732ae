/** What those who follow trust are told: made once, and encoded, for all who have come as far. */
import { denyChangesSince } from '#ca/x509/index.ts'
import { rootsDigest } from '../client/roots-digest.ts'
import { TrustUpdate } from '../proto/gen/trust.ts'
import { denyChangesToProto } from './deny-changes.ts'
import type { Trust } from './trust.ts'

export interface Update {
  /** The deny-list's generation that who takes it has come to. */
  readonly denials: number
  /** A `TrustUpdate`. */
  readonly bytes: Buffer
}

export interface UpdatesDeps {
  readonly trust: Pick<Trust, 'bundle' | 'denials'>
  readonly now: () => Temporal.Instant
}

/** Makes what one is told who holds a given generation of the deny-list. */
export function createUpdates({ trust, now }: UpdatesDeps): (told: number) => Update {
  let last: Made | undefined
  return (told) => {
    const [bundle, list, at] = [trust.bundle.current, trust.denials.current, now()]
    const isLast =
      last?.bundle === bundle && last.list === list && last.told === told && !hasEnded(last, at)
    if (!last || !isLast) last = { bundle, list, told, ...make(bundle, list, told, at) }
    return last.update
  }
}

interface Made {
  readonly bundle: Trust['bundle']['current']
  readonly list: Trust['denials']['current']
  readonly told: number
  readonly update: Update
  /** When the first of its entries ends, from which on it is not told any more. */
  readonly until: Temporal.Instant | undefined
}

function hasEnded({ until }: Made, at: Temporal.Instant): boolean {
  return until !== undefined && Temporal.Instant.compare(until, at) <= 0
}

function make(
  { generation, roots }: Made['bundle'],
  list: Made['list'],
  told: number,
  at: Temporal.Instant,
): Pick<Made, 'update' | 'until'> {
  const changes = denyChangesSince(list, told, at)
  let until: Temporal.Instant | undefined
  for (const entry of changes.entries) {
    if (!until || Temporal.Instant.compare(entry.until, until) < 0) until = entry.until
  }
  const message: TrustUpdate = {
    generation: BigInt(generation),
    rootsSha256: rootsDigest(roots),
    denials: denyChangesToProto(changes),
  }
  const bytes = Buffer.from(TrustUpdate.encode(message).finish())
  return { update: { denials: changes.generation, bytes }, until }
}
