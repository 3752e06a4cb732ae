import type { SpiffeId } from '#ca/spiffe/index.ts'
import { backoff } from '#core/backoff.ts'
import { createLive, type LiveSource, type Watched } from '#core/live.ts'
import type { Log } from '#core/log.ts'
import { AgentError } from '../error.ts'
import type { IssuedSvid } from './issued-svid.ts'
import { HURRY_MS, hurryDelayMs, keepFresh } from './keep-fresh.ts'
import type { CivilClock } from './sleep-until.ts'

/** What is known of one identity. An expired SVID is `pending`: it is never served. */
export type SvidState =
  | { readonly kind: 'pending' }
  | { readonly kind: 'ready'; readonly svid: IssuedSvid }
  | { readonly kind: 'refused'; readonly cause: AgentError }

/** A reader's share in one identity; disposing of it gives it back. */
export interface Holding extends Disposable {
  readonly state: Watched<SvidState>
}

/** An identity that somebody waits for in vain, and why. */
export interface WaitingIdentity {
  readonly id: SpiffeId
  readonly reason: string
}

/** One SVID in force, as status and metrics show it. */
export interface HeldSvid {
  readonly svid: IssuedSvid
  readonly renewAt: Temporal.Instant
  readonly holders: number
}

export interface SvidCache {
  /**
   * Holds an identity: it is fetched if nobody has it, and kept fresh while somebody holds it.
   *
   * @throws {AgentError} `AGENT_OVERLOADED` if there are {@link MAX_IDENTITIES} that somebody holds
   */
  readonly hold: (id: SpiffeId) => Holding
  readonly held: () => readonly HeldSvid[]
  /** Identities that are held and have no certificate, once an attempt to get one has failed. */
  readonly waiting: () => readonly WaitingIdentity[]
  /** Stops serving the SVIDs that are bad, at once, and replaces them. */
  readonly replace: (isBad: (svid: IssuedSvid) => boolean) => void
  /** Renews the SVIDs that are superseded, each after a delay of its own; they are served meanwhile. */
  readonly renew: () => void
}

export interface SvidCacheDeps extends CivilClock {
  readonly random: () => number
  readonly log: Log
  readonly issue: (id: SpiffeId) => Promise<IssuedSvid>
  /** Whether what signed it is left by the CA. */
  readonly isSuperseded: (svid: IssuedSvid) => boolean
  readonly rotated: (held: HeldSvid, first: boolean) => void
  readonly failed: (id: SpiffeId, cause: unknown) => void
}

/** Identities at once; a node has fewer workloads. The least recently used that nobody holds goes first. */
export const MAX_IDENTITIES = 2048

interface Entry {
  readonly source: LiveSource<SvidState>
  readonly drop: () => void
  /** Ends its rotation. */
  readonly ended: AbortController
  holders: number
  /** Why there is no certificate. */
  fault?: string | undefined
  renewAt?: Temporal.Instant
  /** Makes renewal due now. */
  hurry?: AbortController
  /** It is going to. */
  isHurried?: boolean
}

/**
 * The SVIDs of this node's workloads: one fetch and one rotation for each identity, however many
 * hold it. One that nobody holds when its renewal is due is dropped rather than renewed, so that a
 * caller's death leaves nothing behind for longer than half a certificate's life.
 *
 * @param signal - Ends all rotation.
 */
export function createSvidCache(deps: SvidCacheDeps, signal: AbortSignal): SvidCache {
  /** By last use, the least recent first. */
  const entries = new Map<SpiffeId, Entry>()

  const start = (id: SpiffeId): Entry => {
    const source = createLive<SvidState>({ kind: 'pending' })
    // Taken out in the turn in which its end is decided, so that nobody can hold a dying entry.
    const drop = (): void => {
      if (entries.get(id) === entry) entries.delete(id)
    }
    const ended = new AbortController()
    const entry: Entry = { source, holders: 0, drop, ended }
    if (signal.aborted) ended.abort(signal.reason)
    rotate(deps, id, entry, ended.signal).catch((cause: unknown) => {
      drop()
      if (!ended.signal.aborted)
        deps.log('error', 'svid-rotation-ended', { id, cause: String(cause) })
    })
    return entry
  }

  const endAll = (): void => {
    for (const { ended } of entries.values()) ended.abort(signal.reason)
  }
  signal.addEventListener('abort', endAll, { once: true })

  return {
    hold(id) {
      const known = entries.get(id)
      if (!known) makeRoom(entries)
      const entry = known ?? start(id)
      entries.delete(id)
      entries.set(id, entry)
      entry.holders += 1
      let given = true
      return {
        state: entry.source.live,
        [Symbol.dispose]() {
          if (given) entry.holders -= 1
          given = false
        },
      }
    },
    held: () => [...entries.values()].flatMap((entry) => heldBy(entry) ?? []),
    waiting: () =>
      [...entries].flatMap(([id, { source, holders, fault: reason }]) =>
        source.live.current.kind !== 'ready' && holders > 0 && reason ? [{ id, reason }] : [],
      ),
    replace(isBad) {
      for (const { source, hurry } of entries.values()) {
        const state = source.live.current
        if (state.kind !== 'ready' || !isBad(state.svid)) continue
        source.set({ kind: 'pending' })
        hurry?.abort()
      }
    },
    renew() {
      for (const entry of entries.values()) renewSuperseded(deps, entry, 0, signal)
    },
  }
}

/** Takes one identity out that nobody holds, if there is no room for another. */
function makeRoom(entries: Map<SpiffeId, Entry>): void {
  if (entries.size < MAX_IDENTITIES) return
  for (const { holders, drop, ended } of entries.values()) {
    if (holders > 0) continue
    drop()
    return ended.abort(new Error('it made room for another identity'))
  }
  throw new AgentError(
    'AGENT_OVERLOADED',
    `Cannot get another SVID: ${entries.size} identities are in use, expected at most ${MAX_IDENTITIES}`,
  )
}

function heldBy({ source, renewAt, holders }: Entry): HeldSvid | undefined {
  const state = source.live.current
  return state.kind === 'ready' && renewAt ? { svid: state.svid, renewAt, holders } : undefined
}

async function rotate(
  deps: SvidCacheDeps,
  id: SpiffeId,
  entry: Entry,
  signal: AbortSignal,
): Promise<void> {
  const { source } = entry
  const first = await fetchFirst(deps, id, entry, signal)
  if (!first) return
  let refusal: AgentError | undefined
  /** Of a refusal nobody is told while there is something to serve. */
  const giveUp = (): void => {
    if (refusal && source.live.current.kind === 'pending') refuse(entry, refusal)
  }
  const fresh = {
    ...deps,
    fetch: () => deps.issue(id),
    failed(cause: unknown) {
      entry.fault = messageOf(cause)
      deps.failed(id, cause)
      refusal = isRefusal(cause) ? cause : undefined
      giveUp()
    },
    wanted: () => isWanted(entry),
    accept(svid: IssuedSvid, renewAt: Temporal.Instant) {
      entry.renewAt = renewAt
      entry.fault = undefined
      refusal = undefined
      source.set({ kind: 'ready', svid })
      entry.hurry = new AbortController()
      entry.isHurried = false
      // Of one that is new already: the CA that signed it has yet to hear that its key was left.
      renewSuperseded(deps, entry, AGAIN_MS, signal)
      deps.rotated({ svid, renewAt, holders: entry.holders }, svid === first)
      return entry.hurry.signal
    },
    expired() {
      deps.log('error', 'svid-expired', { id })
      source.set({ kind: 'pending' })
      giveUp()
    },
  }
  await keepFresh(fresh, first, signal)
}

/** Milliseconds before a new SVID is asked for again because it came from a key that was left. */
const AGAIN_MS = 1000

function renewSuperseded(
  { isSuperseded, clock, now, random }: SvidCacheDeps,
  entry: Entry,
  afterMs: number,
  signal: AbortSignal,
): void {
  const { source, hurry, isHurried } = entry
  const state = source.live.current
  if (state.kind !== 'ready' || !hurry || isHurried || !isSuperseded(state.svid)) return
  const waitMs = afterMs + hurryDelayMs(state.svid.life, random(), HURRY_MS.workload)
  entry.isHurried = true
  entry.renewAt = now().add({ milliseconds: Math.round(waitMs) })
  const settled = AbortSignal.any([signal, hurry.signal])
  clock.sleep(waitMs, settled).then(
    () => hurry.abort(),
    () => undefined, // it was replaced before
  )
}

/** Tries until it succeeds, is refused for good, or nobody waits for it any more. */
async function fetchFirst(
  { clock, random, log, issue, failed }: SvidCacheDeps,
  id: SpiffeId,
  entry: Entry,
  signal: AbortSignal,
): Promise<IssuedSvid | undefined> {
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
function refuse({ drop, source, ended }: Entry, cause: AgentError): void {
  drop()
  source.set({ kind: 'refused', cause })
  ended.abort(cause)
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
