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
  /** For each who reads reports, the numbers that have changed since his last one. */
  const readers = new Set<Set<number>>()
  const changed = (number: number): void => {
    for (const numbers of readers) numbers.add(number)
    ticks.set(ticks.live.current + 1)
  }
  let opened = 0
  return {
    open(id) {
      opened += 1
      const number = opened
      return {
        hear(name, { generation, denials }) {
          followers.set(number, { id, name, generation, denials })
          changed(number)
        },
        [Symbol.dispose]() {
          if (followers.delete(number)) changed(number)
        },
      }
    },
    list: () => [...followers.values()],
    async *reports(signal) {
      const told = new Set<number>()
      const numbers = new Set(followers.keys())
      readers.add(numbers)
      try {
        yield takeNews(numbers, told, followers)
        for await (const _ of ticks.live.changes(signal)) {
          const news = takeNews(numbers, told, followers)
          if (news.length > 0) yield news
        }
      } finally {
        readers.delete(numbers)
      }
    },
  }
}

/** What is to be said of `numbers`, which then are none. Who came and went in between was never there. */
function takeNews(
  numbers: Set<number>,
  told: Set<number>,
  followers: ReadonlyMap<number, Follower>,
): readonly FollowerReport[] {
  const news: FollowerReport[] = []
  for (const number of numbers) {
    const follower = followers.get(number)
    if (follower) {
      told.add(number)
      news.push({ number, follower })
    } else if (told.delete(number)) {
      news.push({ number, follower })
    }
  }
  numbers.clear()
  return news
}
