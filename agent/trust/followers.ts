/** The processes of this node that judge peers by the mesh's trust, and how far each has come. */
import type { SpiffeId } from '#ca/spiffe/index.ts'
import { createLive } from '#core/live.ts'

/** Generations that are in force somewhere. */
export interface Standing {
  readonly generation: number
  readonly denials: number
}

/** One process on one stream. */
export interface Follower extends Standing {
  readonly id: SpiffeId
  /** What it calls itself, for people. */
  readonly name: string
}

export type FollowerReport =
  | { readonly number: number; readonly follower: Follower }
  | { readonly number: number; readonly follower: undefined }

export interface Followers {
  /** Begins to count a process in; what it returns ends that. */
  readonly open: (id: SpiffeId) => FollowerSession
  /** All, be it none, at once, and then those that have changed or gone; what changes meanwhile comes together. */
  readonly reports: (signal: AbortSignal) => AsyncGenerator<readonly FollowerReport[], void>
  readonly list: () => readonly Follower[]
}

export interface FollowerSession extends Disposable {
  readonly hear: (name: string, standing: Standing) => void
}

export function createFollowers(): Followers {
  const followers = new Map<number, Follower>()
  const ticks = createLive(0)
  const changed = (): void => ticks.set(ticks.live.current + 1)
  let opened = 0
  return {
    open(id) {
      opened += 1
      const number = opened
      return {
        hear(name, { generation, denials }) {
          followers.set(number, { id, name, generation, denials })
          changed()
        },
        [Symbol.dispose]() {
          if (followers.delete(number)) changed()
        },
      }
    },
    list: () => [...followers.values()],
    async *reports(signal) {
      const told = new Map<number, Follower>()
      yield newsSince(told, followers)
      for await (const _ of ticks.live.changes(signal)) {
        const news = newsSince(told, followers)
        if (news.length > 0) yield news
      }
    },
  }
}

/** What differs from `told`, which then does not any more. */
function newsSince(
  told: Map<number, Follower>,
  followers: ReadonlyMap<number, Follower>,
): readonly FollowerReport[] {
  const news: FollowerReport[] = []
  for (const [number, follower] of followers) {
    if (told.get(number) === follower) continue
    told.set(number, follower)
    news.push({ number, follower })
  }
  for (const number of told.keys()) {
    if (followers.has(number)) continue
    told.delete(number)
    news.push({ number, follower: undefined })
  }
  return news
}
