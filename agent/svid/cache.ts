import type { SpiffeId } from '#ca/spiffe/index.ts'
import { createLive, type Watched } from '#core/live.ts'
import { AgentError } from '../error.ts'
import type { IssuedSvid } from './issued-svid.ts'
import {
  createRotation,
  type Entry,
  type HeldSvid,
  readyOf,
  type RotationDeps,
  type SvidState,
} from './rotation.ts'

/** A reader's share in one identity; disposing of it gives it back. */
export interface Holding extends Disposable {
  readonly state: Watched<SvidState>
}

/** An identity that somebody waits for in vain, and why. */
export interface WaitingIdentity {
  readonly id: SpiffeId
  readonly reason: string
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

/** Identities at once; a node has fewer workloads. The least recently used that nobody holds goes first. */
export const MAX_IDENTITIES = 2048

/**
 * The SVIDs of this node's workloads: one fetch and one rotation for each identity, however many
 * hold it. One that nobody holds when its renewal is due is dropped rather than renewed, so that a
 * caller's death leaves nothing behind for longer than half a certificate's life.
 *
 * @param signal - Ends all rotation.
 */
export function createSvidCache(deps: RotationDeps, signal: AbortSignal): SvidCache {
  /** By last use, the least recent first. */
  const entries = new Map<SpiffeId, Entry>()
  const rotation = createRotation(deps, signal)

  const start = (id: SpiffeId): Entry => {
    const source = createLive<SvidState>({ kind: 'pending' })
    const drop = (): void => {
      if (entries.get(id) === entry) entries.delete(id)
    }
    const entry: Entry = { id, source, drop, holders: 0, phase: 'getting', end: () => {} }
    rotation.start(entry)
    return entry
  }

  const endAll = (): void => {
    for (const { end } of entries.values()) end(signal.reason)
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
      for (const entry of entries.values()) {
        const ready = readyOf(entry)
        if (ready && isBad(ready.svid)) rotation.replace(entry)
      }
    },
    renew() {
      for (const entry of entries.values()) rotation.renewSuperseded(entry)
    },
  }
}

/** Takes one identity out that nobody holds, if there is no room for another. */
function makeRoom(entries: Map<SpiffeId, Entry>): void {
  if (entries.size < MAX_IDENTITIES) return
  for (const { holders, drop, end } of entries.values()) {
    if (holders > 0) continue
    drop()
    return end(new Error('it made room for another identity'))
  }
  throw new AgentError(
    'AGENT_OVERLOADED',
    `Cannot get another SVID: ${entries.size} identities are in use, expected at most ${MAX_IDENTITIES}`,
  )
}

function heldBy(entry: Entry): HeldSvid | undefined {
  const { renewAt, holders } = entry
  const ready = readyOf(entry)
  return ready && renewAt ? { svid: ready.svid, renewAt, holders } : undefined
}
