/**
 * The destinations that a sidecar has met. Bounded, because whatever an app asks for is met: the
 * ones that no request has read for a while make room.
 */
import type { Live } from '#core/live.ts'
import type { CompiledDestination } from './compiled.ts'
import { createResource, type Resource } from './resource.ts'

/** What the table tells whoever holds the stream. */
export interface DestinationEvents {
  readonly onSubscribe: (name: string) => void
  readonly onUnsubscribe: (name: string) => void
}

export interface Destinations {
  /** See `PolicySession.destination`. */
  readonly meet: (host: string, port: number) => Live<CompiledDestination | undefined>
  readonly find: (name: string) => Resource<CompiledDestination> | undefined
  readonly all: () => readonly Resource<CompiledDestination>[]
}

interface Entry {
  readonly resource: Resource<CompiledDestination>
  /** Read since the hand last passed. */
  used: boolean
  held: boolean
  readonly live: Live<CompiledDestination | undefined>
}

/** @param max - names held at most, at least 1 */
export function createDestinations(events: DestinationEvents, max = 4096): Destinations {
  const entries = new Map<string, Entry>()

  function meet(host: string, port: number): Entry {
    const name = `destination/${host}:${port}`
    const known = entries.get(name)
    if (known !== undefined) return known
    if (entries.size >= max) makeRoom()
    const made = makeEntry(name, () => meet(host, port))
    entries.set(name, made)
    events.onSubscribe(name)
    return made
  }

  /** Second chance: the oldest goes unless it was read, and then it is the youngest again. */
  function makeRoom(): void {
    for (const [name, entry] of entries) {
      entries.delete(name)
      if (entry.used) {
        entry.used = false
        entries.set(name, entry)
        continue
      }
      entry.held = false
      for (const cluster of entry.resource.live.current?.clusters.values() ?? []) cluster.retire()
      entry.resource.put(undefined, '')
      events.onUnsubscribe(name)
      return
    }
  }

  return {
    meet: (host, port) => meet(host, port).live,
    find: (name) => entries.get(name)?.resource,
    all: () => [...entries.values()].map(({ resource }) => resource),
  }
}

/** @param again - finds or makes the entry that stands for this one after it had to make room */
function makeEntry(name: string, again: () => Entry): Entry {
  const resource = createResource<CompiledDestination>(name)
  const entry: Entry = {
    resource,
    used: true,
    held: true,
    live: {
      get current() {
        entry.used = true
        return entry.held ? resource.live.current : again().live.current
      },
      changes: (signal) => (entry.held ? resource.live : again().live).changes(signal),
    },
  }
  return entry
}
