/** The ways through a diagram: each is a class of requests with one verdict. */
import type { Node } from './node.ts'

/** Requests, by what is asked of them; an attribute that is not named may be anything. */
export interface Cube {
  /** By dimension: the classes that its value may be of. */
  readonly classes: ReadonlyMap<number, readonly number[]>
  /** By dimension of many values: classes of which some value is, or none. */
  readonly lines: ReadonlyMap<number, ReadonlyMap<number, boolean>>
  readonly verdict: string
}

/** Every way to a verdict, one after the other. No request is in two. */
export function* cubesOf(root: Node): Generator<Cube> {
  const classes = new Map<number, readonly number[]>()
  const lines = new Map<number, Map<number, boolean>>()
  const walk = function* (node: Node): Generator<Cube> {
    switch (node.kind) {
      case 'leaf':
        if (node.verdict !== undefined) {
          const kept = new Map([...lines].map(([at, members]) => [at, new Map(members)]))
          yield { classes: new Map(classes), lines: kept, verdict: node.verdict }
        }
        return
      case 'split':
        for (const edge of node.edges) {
          classes.set(node.dimension, edge.classes)
          yield* walk(edge.to)
        }
        classes.delete(node.dimension)
        return
      case 'line': {
        const members = lines.get(node.dimension) ?? new Map<number, boolean>()
        lines.set(node.dimension, members)
        for (const present of [false, true]) {
          members.set(node.member, present)
          yield* walk(present ? node.present : node.absent)
        }
        members.delete(node.member)
        if (members.size === 0) lines.delete(node.dimension)
        return
      }
      default:
        return node satisfies never
    }
  }
  yield* walk(root)
}

/** How many ways there are. */
export function countCubes(root: Node): bigint {
  const known = new Map<Node, bigint>()
  const count = (node: Node): bigint => {
    const before = known.get(node)
    if (before !== undefined) return before
    const own =
      node.kind === 'leaf'
        ? node.verdict === undefined
          ? 0n
          : 1n
        : node.kind === 'split'
          ? node.edges.reduce((sum, { to }) => sum + count(to), 0n)
          : count(node.present) + count(node.absent)
    known.set(node, own)
    return own
  }
  return count(root)
}
