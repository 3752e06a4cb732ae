/**
 * Which boxes can matter to a comparison: those that one side alone has, and those that have a request in
 * common with one of them. A request in none of the first is in the same boxes on both sides, and decided alike.
 */
import { readBlock } from '../model/index.ts'
import type { Atom, Literal } from './literal.ts'
import type { Pattern } from './pattern.ts'
import type { Box, Entry } from './side.ts'

/** Pairs beyond which looking for what is disjoint costs more than it saves. */
const MAX_PAIRS = 500_000

/** Of the boxes of two sides those that can matter. */
export function relevantBoxes(
  sides: readonly (readonly Box[])[],
  entries: readonly Entry[],
): readonly (readonly Box[])[] {
  const keyOf = createKeys(entries)
  const keys = sides.map((boxes) => boxes.map(keyOf))
  const others = keys.map((_, side) => new Set(keys.flatMap((own, at) => (at === side ? [] : own))))
  const isOwn = (side: number, at: number): boolean =>
    others[side]?.has(keys[side]?.[at] ?? '') !== true
  const changed = sides.flatMap((boxes, side) => boxes.filter((_, at) => isOwn(side, at)))
  const all = sides.reduce((sum, { length }) => sum + length, 0)
  if (changed.length * all > MAX_PAIRS) return sides
  return sides.map((boxes, side) =>
    boxes.filter((box, at) => isOwn(side, at) || changed.some((one) => mayMeet(one, box, entries))),
  )
}

/** Whether some request may be in both; `true` where it is not plain that none is. */
export function mayMeet(one: Box, other: Box, entries: readonly Entry[]): boolean {
  return one.literals.every((left) =>
    other.literals.every(
      (right) => left.attribute !== right.attribute || agree(left, right, entries),
    ),
  )
}

function agree(left: Literal, right: Literal, entries: readonly Entry[]): boolean {
  const { attribute } = left
  if (attribute === 'entry') {
    const meets = ({ atoms, negated }: Literal, entry: Entry): boolean =>
      atoms.some((atom) => atom.meets(entry)) !== negated
    return entries.some((entry) => meets(left, entry) && meets(right, entry))
  }
  // One value of several may meet the one, and another the other.
  if (/^(?:claim|header):/.test(attribute) || left.negated || right.negated) return true
  return left.atoms.some((a) => right.atoms.some((b) => atomsAgree(a, b)))
}

function atomsAgree(a: Atom, b: Atom): boolean {
  if (a.pattern !== undefined && b.pattern !== undefined) {
    const isStripped = a.strippedOf !== undefined || b.strippedOf !== undefined
    const isAlike = (a.strippedOf === undefined) === (b.strippedOf === undefined)
    return patternsAgree(a.pattern, b.pattern, { isStripped, isAlike })
  }
  return a.name === undefined || b.name === undefined || blocksAgree(a.name, b.name)
}

/** What the texts of a pattern all begin or end with. */
interface Ends {
  readonly head: string
  readonly tail: string
  readonly isWhole: boolean
}

const ENDS = new WeakMap<Pattern, Ends>()

function endsOf(pattern: Pattern): Ends {
  const known = ENDS.get(pattern)
  if (known !== undefined) return known
  const chars = pattern.pieces.map((piece) => (piece.is === 'char' ? piece.char : undefined))
  const first = chars.indexOf(undefined)
  const isWhole = first === -1
  const found = {
    isWhole,
    head: chars.slice(0, isWhole ? chars.length : first).join(''),
    tail: chars.slice(chars.lastIndexOf(undefined) + 1).join(''),
  }
  ENDS.set(pattern, found)
  return found
}

/** Without its parameters a path begins as it did, up to them, and may end otherwise. */
function patternsAgree(
  a: Pattern,
  b: Pattern,
  { isStripped, isAlike }: { readonly isStripped: boolean; readonly isAlike: boolean },
): boolean {
  if (a.folds !== b.folds) return true
  const [left, right] = [endsOf(a), endsOf(b)]
  const [head = '', other = ''] = [left.head, right.head].map((text) =>
    isStripped && !isAlike ? (text.split(';')[0] ?? '') : text,
  )
  if (!head.startsWith(other) && !other.startsWith(head)) return false
  if (!isAlike) return true
  if (left.isWhole && right.isWhole) return left.head === right.head
  return left.tail.endsWith(right.tail) || right.tail.endsWith(left.tail)
}

/** IPv4 alone: an address has two forms within IPv6. */
function blocksAgree(a: string, b: string): boolean {
  const [one, other] = [readBlock(a), readBlock(b)]
  if (one?.bytes.length !== 4 || other?.bytes.length !== 4) return true
  const shift = 32 - Math.min(one.bits, other.bits)
  const networkOf = (bytes: readonly number[]): number =>
    Math.floor(bytes.reduce((sum, byte) => sum * 256 + byte, 0) / 2 ** shift)
  return networkOf(one.bytes) === networkOf(other.bytes)
}

/** Equal for two boxes exactly when both ask for the same. */
function createKeys(entries: readonly Entry[]): (box: Box) => string {
  const known = new WeakMap<Literal, string>()
  const atomKey = (
    attribute: string,
    { pattern, strippedOf, name, phrase, meets }: Atom,
  ): string => {
    if (attribute === 'entry') return entries.map((entry) => Number(meets(entry))).join('')
    return `${strippedOf === undefined ? '' : ';'}${pattern?.key ?? name ?? phrase}`
  }
  const literalKey = (literal: Literal): string => {
    const { attribute, negated, atoms } = literal
    const found =
      known.get(literal) ??
      JSON.stringify([attribute, negated, atoms.map((atom) => atomKey(attribute, atom)).sort()])
    known.set(literal, found)
    return found
  }
  return ({ purpose, literals }) => JSON.stringify([purpose, literals.map(literalKey).sort()])
}
