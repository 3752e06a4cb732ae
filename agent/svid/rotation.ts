import type { SpiffeId } from '#ca/spiffe/index.ts'
import { rotateAt } from '#ca/x509/index.ts'
import { backoff } from '#core/backoff.ts'
import type { LiveSource } from '#core/live.ts'
import type { Log } from '#core/log.ts'
import { AgentError } from '../error.ts'
import { type Alarms, createAlarms } from './alarms.ts'
import type { IssuedSvid } from './issued-svid.ts'
import { HURRY_MS, hurryDelayMs, renew } from './keep-fresh.ts'
import type { CivilClock } from './sleep-until.ts'

/** What is known of one identity. An expired SVID is `pending`: it is never served. */
export type SvidState =
  | { readonly kind: 'pending' }
  | { readonly kind: 'ready'; readonly svid: IssuedSvid }
  | { readonly kind: 'refused'; readonly cause: AgentError }

/** One SVID in force, as status and metrics show it. */
export interface HeldSvid {
  readonly svid: IssuedSvid
  readonly renewAt: Temporal.Instant
  readonly holders: number
}

export interface RotationDeps extends CivilClock {
  readonly random: () => number
  readonly log: Log
  readonly issue: (id: SpiffeId) => Promise<IssuedSvid>
  /** Whether what signed it is left by the CA. */
  readonly isSuperseded: (svid: IssuedSvid) => boolean
  readonly rotated: (held: HeldSvid, first: boolean) => void
  readonly failed: (id: SpiffeId, cause: unknown) => void
}

/** One identity that is kept. */
export interface Entry {
  readonly id: SpiffeId
  readonly source: LiveSource<SvidState>
  /** Takes it out, so that nobody can hold a dying one. */
  readonly drop: () => void
  holders: number
  /** Why there is no certificate. */
  fault?: string | undefined
  renewAt?: Temporal.Instant
  /** It is getting a certificate, waits until the next is due, or does so since it was hurried. */
  phase: 'getting' | 'waiting' | 'hurried'
  /** Ends whichever of these it is. */
  end: (reason: unknown) => void
}

/** Gets certificates for entries and keeps them fresh. One that waits costs an alarm. */
export interface Rotation {
  readonly start: (entry: Entry) => void
  /** Stops serving what it has, at once, and replaces it. */
  readonly replace: (entry: Entry) => void
  /** Renews what it has after a delay of its own, if the CA has left what signed it. */
  readonly renewSuperseded: (entry: Entry) => void
}

/** Milliseconds before a new SVID is asked for again because it came from a key that was left. */
const AGAIN_MS = 1000

/** @param signal - Ends all that waits; what is getting a certificate ends with its entry. */
export function createRotation(deps: RotationDeps, signal: AbortSignal): Rotation {
  const alarms = createAlarms(deps, signal)

  const get = (
    entry: Entry,
    isFirst: boolean,
    attempt: (signal: AbortSignal) => Promise<IssuedSvid | undefined>,
  ): void => {
    const running = new AbortController()
    entry.phase = 'getting'
    entry.end = (reason) => running.abort(reason)
    if (signal.aborted) running.abort(signal.reason)
    attempt(running.signal)
      .then((svid) => {
        running.signal.throwIfAborted()
        if (svid) take(entry, svid, isFirst)
      })
      .catch((cause: unknown) => {
        entry.drop()
        if (running.signal.aborted) return
        deps.log('error', 'svid-rotation-ended', { id: entry.id, cause: String(cause) })
      })
  }

  const take = (entry: Entry, svid: IssuedSvid, isFirst: boolean): void => {
    const renewAt = rotateAt(svid.life, deps.random())
    entry.fault = undefined
    entry.source.set({ kind: 'ready', svid })
    wait(entry, svid, renewAt, 'waiting')
    // Of one that is new already: the CA that signed it has yet to hear that its key was left.
    renewSuperseded(entry, AGAIN_MS)
    deps.rotated({ svid, renewAt, holders: entry.holders }, isFirst)
  }

  const wait = (
    entry: Entry,
    svid: IssuedSvid,
    renewAt: Temporal.Instant,
    phase: 'waiting' | 'hurried',
  ): void => {
    entry.phase = phase
    entry.renewAt = renewAt
    entry.end = alarms.set(renewAt, () => due(entry, svid))
  }

  const due = (entry: Entry, svid: IssuedSvid): void => {
    if (isWanted(entry))
      get(entry, false, (ending) => renew(renewal({ ...deps, alarms }, entry), svid, ending))
  }

  const renewSuperseded = (entry: Entry, afterMs: number): void => {
    const { svid } = readyOf(entry) ?? {}
    if (!svid || entry.phase !== 'waiting' || !deps.isSuperseded(svid)) return
    const waitMs = afterMs + hurryDelayMs(svid.life, deps.random(), HURRY_MS.workload)
    entry.end(undefined)
    wait(entry, svid, deps.now().add({ milliseconds: Math.round(waitMs) }), 'hurried')
  }

  return {
    start: (entry) => get(entry, true, (ending) => fetchFirst(deps, entry, ending)),
    replace(entry) {
      const { svid } = readyOf(entry) ?? {}
      if (!svid) return
      entry.source.set({ kind: 'pending' })
      if (entry.phase === 'getting') return
      entry.end(undefined)
      due(entry, svid)
    },
    renewSuperseded: (entry) => renewSuperseded(entry, 0),
  }
}

/** What an entry serves. */
export function readyOf({ source }: Entry): { readonly svid: IssuedSvid } | undefined {
  const { current } = source.live
  return current.kind === 'ready' ? current : undefined
}

/** What `renew` needs for an entry. Of a refusal nobody is told while there is something to serve. */
function renewal(
  deps: RotationDeps & { readonly alarms: Alarms },
  entry: Entry,
): Parameters<typeof renew<IssuedSvid>>[0] {
  const { id, source } = entry
  let refusal: AgentError | undefined
  const giveUp = (): void => {
    if (refusal && source.live.current.kind === 'pending') refuse(entry, refusal)
  }
  return {
    ...deps,
    fetch: () => deps.issue(id),
    failed(cause) {
      entry.fault = messageOf(cause)
      deps.failed(id, cause)
      refusal = isRefusal(cause) ? cause : undefined
      giveUp()
    },
    expired() {
      deps.log('error', 'svid-expired', { id })
      source.set({ kind: 'pending' })
      giveUp()
    },
  }
}

/** Tries until it succeeds, is refused for good, or nobody waits for it any more. */
async function fetchFirst(
  { clock, random, log, issue, failed }: RotationDeps,
  entry: Entry,
  signal: AbortSignal,
): Promise<IssuedSvid | undefined> {
  const { id } = entry
  const waits = backoff({ baseMs: 50, maxMs: 1000, random })
  do {
    try {
      return await issue(id)
    } catch (cause) {
      signal.throwIfAborted()
      entry.fault = messageOf(cause)
      failed(id, cause)
      const waitMs = waits.next().value
      log('warn', 'svid-fetch-failed', { id, waitMs, cause: String(cause) })
      if (isRefusal(cause)) {
        refuse(entry, cause)
        return undefined
      }
      await clock.sleep(waitMs, signal)
    }
  } while (isWanted(entry))
  return undefined
}

/** Tells those who hold it, who may come again, and ends it. */
function refuse({ drop, source, end }: Entry, cause: AgentError): void {
  drop()
  source.set({ kind: 'refused', cause })
  end(cause)
}

function isRefusal(cause: unknown): cause is AgentError {
  return cause instanceof AgentError && cause.code === 'AGENT_ISSUE_REFUSED'
}

function isWanted({ holders, drop }: Entry): boolean {
  if (holders === 0) drop()
  return holders > 0
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause)
}
