/** Random choices that a seed repeats. */
export interface Draw {
  readonly chance: (probability: number) => boolean
  /** Both ends are possible. */
  readonly int: (from: number, to: number) => number
  readonly pick: <T>(from: readonly T[]) => T
  /** `low` to `high` different ones, in any order. */
  readonly some: <T>(from: readonly T[], low: number, high: number) => T[]
  readonly times: <T>(low: number, high: number, make: () => T) => T[]
}

export function createDraw(seed: number): Draw {
  let state = seed >>> 0
  // SplitMix32: every seed is good, also 0 and neighbours.
  const next = (): number => {
    state = (state + 0x9e3779b9) >>> 0
    let mixed = state
    mixed = Math.imul(mixed ^ (mixed >>> 16), 0x21f0aaad)
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97)
    return ((mixed ^ (mixed >>> 15)) >>> 0) / 2 ** 32
  }
  const int = (from: number, to: number): number => from + Math.floor(next() * (to - from + 1))
  const pick = <T>(from: readonly T[]): T => from[int(0, from.length - 1)] as T
  const times = <T>(low: number, high: number, make: () => T): T[] =>
    Array.from({ length: int(low, high) }, make)
  return {
    chance: (probability) => next() < probability,
    int,
    pick,
    some: (from, low, high) => [...new Set(times(low, high * 2, () => pick(from)))].slice(0, high),
    times,
  }
}
