/**
 * All patterns of one attribute as one automaton. Beginnings that patterns share are one row of places, so a
 * character costs what is still open there, however many patterns there are.
 */
import { ANYTHING, type Covers, type Pattern, type Piece } from './pattern.ts'

/** Where the patterns have come to; one object for equal states. */
export interface State {
  readonly id: number
  /** Patterns, by index, that match a text which ends here; in order. */
  readonly matched: readonly number[]
  /** Characters that some pattern goes on with here; any other is like any other of its kind. */
  readonly chars: ReadonlySet<string>
}

/** Follows all patterns at once. */
export interface Automaton {
  readonly start: State
  readonly step: (state: State, char: string) => State
}

/** A place in the patterns' pieces. */
interface Place {
  readonly id: number
  readonly folds: boolean
  /** Of a place that any number of characters may stay at. */
  readonly loop: Covers | undefined
  readonly chars: Map<string, Place>
  readonly ones: Map<Covers, Place>
  /** Places that are reached without a character. */
  readonly stars: Map<Covers, Place>
  /** Patterns that end here. */
  readonly ends: number[]
  /** Patterns that end here or further on. */
  readonly reach: number[]
}

interface OwnState extends State {
  readonly places: readonly Place[]
  readonly next: Map<string, OwnState>
}

/** Builds the automaton of `patterns`; states are made as they are reached. */
export function createAutomaton(patterns: readonly Pattern[]): Automaton {
  const roots = placesOf(patterns)
  const known = new Map<string, OwnState>()
  const intern = (places: ReadonlySet<Place>): OwnState => {
    const open = withoutCertain([...places]).toSorted((a, b) => a.id - b.id)
    const key = open.map(({ id }) => id).join()
    const found = known.get(key) ?? stateOf(known.size, open)
    known.set(key, found)
    return found
  }
  const step = (state: OwnState, char: string): OwnState => {
    const before = state.next.get(char)
    if (before !== undefined) return before
    const found = intern(placesAfter(state.places, char))
    state.next.set(char, found)
    return found
  }
  const start = new Set<Place>()
  for (const root of roots) addClosed(start, root)
  return { start: intern(start), step: (state, char) => step(state as OwnState, char) }
}

/** The places of all patterns, as trees: one of patterns that regard case and one of those that do not. */
function placesOf(patterns: readonly Pattern[]): readonly Place[] {
  let count = 0
  const place = (folds: boolean, loop: Covers | undefined): Place => {
    count += 1
    const maps = { chars: new Map(), ones: new Map(), stars: new Map() }
    return { id: count, folds, loop, ...maps, ends: [], reach: [] }
  }
  const roots = [place(false, undefined), place(true, undefined)]
  for (const [index, { pieces, folds }] of patterns.entries()) {
    let at = roots[folds ? 1 : 0]
    at?.reach.push(index)
    for (const piece of pieces) {
      at = at && after(at, piece, place)
      at?.reach.push(index)
    }
    at?.ends.push(index)
  }
  return roots
}

function after(
  from: Place,
  piece: Piece,
  place: (folds: boolean, loop: Covers | undefined) => Place,
): Place {
  const into = <K>(map: Map<K, Place>, key: K, loop?: Covers): Place => {
    const found = map.get(key) ?? place(from.folds, loop)
    map.set(key, found)
    return found
  }
  if (piece.is === 'char') return into(from.chars, piece.char)
  if (piece.is === 'one') return into(from.ones, piece.covers)
  return into(from.stars, piece.covers, piece.covers)
}

function addClosed(places: Set<Place>, place: Place): void {
  if (places.has(place)) return
  places.add(place)
  for (const star of place.stars.values()) addClosed(places, star)
}

function placesAfter(places: readonly Place[], char: string): ReadonlySet<Place> {
  const next = new Set<Place>()
  for (const place of places) {
    const own = place.folds ? char.toLowerCase() : char
    if (place.loop?.(own) === true) addClosed(next, place)
    const child = place.chars.get(own)
    if (child !== undefined) addClosed(next, child)
    for (const [covers, one] of place.ones) if (covers(own)) addClosed(next, one)
  }
  return next
}

/** Where all that could still match does so already, whatever follows, nothing is left to follow. */
function withoutCertain(places: readonly Place[]): readonly Place[] {
  const certain = places.filter(({ loop, ends }) => loop === ANYTHING && ends.length > 0)
  if (certain.length === 0) return places
  const matched = new Set(certain.flatMap(({ ends }) => ends))
  return places.filter(
    (place) =>
      certain.includes(place) ||
      place.reach.length > matched.size ||
      place.reach.some((index) => !matched.has(index)),
  )
}

function stateOf(id: number, places: readonly Place[]): OwnState {
  const matched = [...new Set(places.flatMap(({ ends }) => ends))].sort((a, b) => a - b)
  const chars = new Set<string>()
  for (const place of places) {
    for (const char of place.chars.keys()) {
      chars.add(char)
      if (place.folds) chars.add(char.toUpperCase())
    }
  }
  return { id, matched, chars, places, next: new Map() }
}
