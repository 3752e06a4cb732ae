/** Where in a diagram a request is that is known in part: one of a log, say. */
import type { Node } from './node.ts'
import type { AttributeId } from './literal.ts'
import type { Dimension, Value } from './space.ts'

/** What is known of a request. An attribute that is not told is not known; lists are those of many values. */
export type Known = ReadonlyMap<AttributeId, Value | readonly string[]>

/** The verdicts that a request may have, `undefined` for none among them; empty: it cannot be. */
export function verdictsOf(
  space: readonly Dimension[],
  root: Node,
  known: Known,
): ReadonlySet<string | undefined> {
  const found = new Set<string | undefined>()
  const seen = new Set<Node>()
  const classes = new Map<number, number | undefined>()
  const classOf = (at: number, value: Value): number | undefined => {
    if (!classes.has(at)) classes.set(at, space[at]?.classOf(value))
    return classes.get(at)
  }
  const visit = (node: Node): void => {
    if (seen.has(node)) return
    seen.add(node)
    if (node.kind === 'leaf') {
      found.add(node.verdict)
      return
    }
    const { attribute = '', values = [], classOf: listed } = space[node.dimension] ?? {}
    const isKnown = known.has(attribute)
    const value = known.get(attribute)
    if (node.kind === 'line') {
      const members =
        isKnown && Array.isArray(value) ? value.map((one) => listed?.(one)) : undefined
      const there = members?.includes(node.member)
      if (there !== false) visit(node.present)
      if (there !== true) visit(node.absent)
      return
    }
    const own =
      isKnown && !Array.isArray(value) ? classOf(node.dimension, value as Value) : undefined
    if (isKnown && own === undefined) return
    for (const { classes: some, to } of node.edges) {
      if (own === undefined || some.includes(own)) visit(to)
    }
    const told = node.edges.flatMap((edge) => edge.classes)
    if (own === undefined ? told.length < values.length : !told.includes(own)) found.add(undefined)
  }
  visit(root)
  return found
}
