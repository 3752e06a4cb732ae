/**
 * A decision diagram over the dimensions of a space: requests are divided by one attribute after the
 * other, by just what the boxes that are still possible ask of it, and not at all where the answer is
 * known. Requests that lead to one remainder are one node, whichever way they came.
 */
import { PolicyError } from '../error.ts'
import { createNodes, type Node } from './node.ts'
import { type Constraint, createRests, type Rest, type Rests } from './rest.ts'
import type { Box } from './side.ts'
import type { Dimension } from './space.ts'

/**
 * Judges requests of which `matched` purposes hold and `possible` ones may still; `live` are the purposes of
 * each box that is left.
 *
 * `verdict` counts when `done`; else `matters` are the purposes that can still change it.
 */
export type Judge = (
  matched: bigint,
  possible: bigint,
  live: readonly bigint[],
) =>
  | { readonly done: true; readonly verdict: string | undefined }
  | { readonly done: false; readonly matters: bigint }

export interface Rated {
  readonly box: Box
  /** The bit of what the box is for. */
  readonly purpose: bigint
}

/** Nodes beyond which a comparison is given up. */
export const MAX_NODES = 200_000

/** Purposes that each rest still stands for. */
type Live = ReadonlyMap<Rest, bigint>

interface State {
  readonly dimension: number
  /** In a dimension of many values, the class that is next. */
  readonly member: number
  readonly matched: bigint
  readonly live: Live
}

/**
 * Divides the space by `boxes`.
 *
 * @throws {PolicyError} `POLICY_LIMIT`
 */
export function divide(space: readonly Dimension[], boxes: readonly Rated[], judge: Judge): Node {
  const rests = createRests(space)
  const nodes = createNodes()
  const known = new Map<string, Node>()

  const visit = (state: State): Node => {
    const settled = settle(state, judge)
    if (settled.kind === 'leaf') return nodes.leaf(settled.verdict)
    const next = toNextRead(space, settled.state)
    const key = keyOf(next)
    const before = known.get(key)
    if (before !== undefined) return before
    if (known.size >= MAX_NODES) {
      const why = `it needs more than ${MAX_NODES} steps, too many`
      throw new PolicyError('POLICY_LIMIT', `Cannot compare: ${why}`)
    }
    const node = space[next.dimension]?.many === true ? byLine(next) : byClass(next)
    known.set(key, node)
    return node
  }

  const byClass = (state: State): Node => {
    const values = space[state.dimension]?.values ?? []
    const groups = groupClasses(values.length, state, rests)
    return nodes.split(
      state.dimension,
      groups.map(({ classes, live }) => {
        const after = { ...state, dimension: state.dimension + 1, live }
        return { classes, to: visit(after) }
      }),
      values.length,
    )
  }

  const byLine = (state: State): Node => {
    const { dimension, member } = state
    const after = (present: boolean): Node =>
      visit({ ...state, member: member + 1, live: afterLine(state, present, rests) })
    return nodes.line(dimension, member, after(true), after(false))
  }

  const live = new Map<Rest, bigint>()
  for (const { box, purpose } of boxes) {
    const rest = rests.ofBox(box)
    if (rest !== undefined) live.set(rest, (live.get(rest) ?? 0n) | purpose)
  }
  return visit({ dimension: 0, member: 0, matched: 0n, live })
}

/** Takes out what is matched and what no longer matters, and asks for the verdict. */
function settle(
  state: State,
  judge: Judge,
):
  | { readonly kind: 'leaf'; readonly verdict: string | undefined }
  | { readonly kind: 'open'; readonly state: State } {
  let { matched } = state
  let possible = 0n
  for (const [rest, purposes] of state.live) {
    if (rest.constraints.length === 0) matched |= purposes
    else possible |= purposes
  }
  const judgement = judge(matched, possible & ~matched, [...state.live.values()])
  if (judgement.done) return { kind: 'leaf', verdict: judgement.verdict }
  const live = new Map<Rest, bigint>()
  for (const [rest, purposes] of state.live) {
    const left = purposes & judgement.matters & ~matched
    if (left !== 0n && rest.constraints.length > 0) live.set(rest, left)
  }
  return { kind: 'open', state: { ...state, matched, live } }
}

/** Passes by what nothing that is left reads. */
function toNextRead(space: readonly Dimension[], state: State): State {
  let [dimension, member] = [space.length, 0]
  for (const { constraints } of state.live.keys()) {
    for (const one of constraints) {
      if (one.dimension > dimension) break
      const first = space[one.dimension]?.many === true ? firstOf(one.members) : 0
      if (one.dimension < dimension) [dimension, member] = [one.dimension, first]
      else member = Math.min(member, first)
    }
  }
  return { ...state, dimension, member }
}

function firstOf(members: ReadonlySet<number>): number {
  let first = Number.POSITIVE_INFINITY
  for (const member of members) first = Math.min(first, member)
  return first
}

function keyOf({ dimension, member, matched, live }: State): string {
  const parts = [...live].map(([rest, purposes]) => `${rest.id}:${purposes}`).sort()
  return `${dimension}.${member}|${matched}|${parts.join()}`
}

/** Classes that leave the same of every box, together. */
function groupClasses(
  count: number,
  { dimension, live }: State,
  rests: Rests,
): readonly { readonly classes: readonly number[]; readonly live: Live }[] {
  const unread = new Map<Rest, bigint>()
  const kept = Array.from({ length: count }, (): (readonly [Rest, bigint])[] => [])
  for (const [rest, purposes] of live) {
    const [first, ...others] = rest.constraints
    if (first?.dimension !== dimension) unread.set(rest, purposes)
    else {
      const left = rests.of(others)
      for (const member of first.members) kept[member]?.push([left, purposes])
    }
  }
  const groups = new Map<string, { classes: number[]; live: Map<Rest, bigint> }>()
  for (const [member, left] of kept.entries()) {
    const key = left.map(([rest, purposes]) => `${rest.id}:${purposes}`).join()
    const group = groups.get(key) ?? { classes: [], live: joined(unread, left) }
    group.classes.push(member)
    groups.set(key, group)
  }
  return [...groups.values()]
}

function joined(live: Live, more: readonly (readonly [Rest, bigint])[]): Map<Rest, bigint> {
  const all = new Map(live)
  for (const [rest, purposes] of more) all.set(rest, (all.get(rest) ?? 0n) | purposes)
  return all
}

/** What is left once it is known whether some value is of the state's class. */
function afterLine({ dimension, member, live }: State, present: boolean, rests: Rests): Live {
  const left: (readonly [Rest, bigint])[] = []
  for (const [rest, purposes] of live) {
    const constraints: Constraint[] = []
    const alive = rest.constraints.every((one) => {
      if (one.dimension !== dimension || !one.members.has(member)) constraints.push(one)
      else if (present) return !one.negated
      else {
        const less = rests.without(one, member)
        if (less === undefined) return one.negated
        constraints.push(less)
      }
      return true
    })
    if (!alive) continue
    constraints.sort((a, b) => a.dimension - b.dimension || a.id - b.id)
    left.push([rests.of(constraints), purposes])
  }
  return joined(new Map(), left)
}
