/** What is left of a box when some of its attributes are known. */
import type { Box } from './side.ts'
import type { Dimension } from './space.ts'

/** One constraint that is left of a box. */
export interface Constraint {
  readonly dimension: number
  readonly negated: boolean
  readonly members: ReadonlySet<number>
  readonly id: number
}

/** What is left of a box: constraints in the order of the dimensions. */
export interface Rest {
  readonly id: number
  readonly constraints: readonly Constraint[]
}

/** Makes rests. */
export interface Rests {
  readonly ofBox: (box: Box) => Rest | undefined
  readonly of: (constraints: readonly Constraint[]) => Rest
  readonly without: (constraint: Constraint, member: number) => Constraint | undefined
}

/** Boxes as rests: one object for equal ones, so that equal remainders are known as such. */
export function createRests(space: readonly Dimension[]): Rests {
  const dimensionOf = new Map(space.map(({ attribute }, at) => [attribute, at]))
  const constraints = new Map<string, Constraint>()
  const rests = new Map<string, Rest>()
  const constraintOf = (
    dimension: number,
    negated: boolean,
    members: ReadonlySet<number>,
  ): Constraint => {
    const key = `${dimension}${negated ? '!' : ':'}${[...members].join()}`
    const found = constraints.get(key) ?? { dimension, negated, members, id: constraints.size }
    constraints.set(key, found)
    return found
  }
  const of = (list: readonly Constraint[]): Rest => {
    const key = list.map(({ id }) => id).join()
    const found = rests.get(key) ?? { id: rests.size, constraints: list }
    rests.set(key, found)
    return found
  }
  return {
    of,
    without: ({ dimension, negated, members }, member) => {
      const left = new Set([...members].filter((one) => one > member))
      return left.size === 0 ? undefined : constraintOf(dimension, negated, left)
    },
    ofBox: ({ literals }) => {
      const merged = new Map<number, Set<number>>()
      const list: Constraint[] = []
      for (const { attribute, atoms, negated } of literals) {
        const at = dimensionOf.get(attribute) ?? -1
        const dimension = space[at]
        const { many = false, values = [] } = dimension ?? {}
        const members = new Set<number>()
        for (const atom of atoms) for (const n of dimension?.members(atom) ?? []) members.add(n)
        if (many) {
          if (!negated && members.size === 0) return undefined
          if (members.size > 0) list.push(constraintOf(at, negated, members))
          continue
        }
        merged.set(at, narrowed(merged.get(at), { members, negated, count: values.length }))
      }
      for (const [at, members] of merged) {
        if (members.size === 0) return undefined
        if (members.size < (space[at]?.values.length ?? 0)) {
          list.push(constraintOf(at, false, members))
        }
      }
      list.sort((a, b) => a.dimension - b.dimension || a.id - b.id)
      return of(list.filter((one, n) => list.indexOf(one) === n))
    },
  }
}

function narrowed(
  before: ReadonlySet<number> | undefined,
  { members, negated, count }: { members: ReadonlySet<number>; negated: boolean; count: number },
): Set<number> {
  if (before === undefined && !negated) return new Set(members)
  const all = before ?? Array.from({ length: count }, (_, n) => n)
  return new Set([...all].filter((n) => members.has(n) !== negated))
}
