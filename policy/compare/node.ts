/** The nodes of a decision diagram, each once. */

/** What becomes of the requests that reach a node. */
export type Node = Leaf | Split | Line

/** `verdict` is `undefined` where there is nothing to tell. */
export interface Leaf {
  readonly kind: 'leaf'
  readonly id: number
  readonly verdict: string | undefined
}

/** By the class of an attribute; a class that no edge has leads to nothing to tell. */
export interface Split {
  readonly kind: 'split'
  readonly id: number
  readonly dimension: number
  readonly edges: readonly { readonly classes: readonly number[]; readonly to: Node }[]
}

/** By whether some value of an attribute with many is of a class. */
export interface Line {
  readonly kind: 'line'
  readonly id: number
  readonly dimension: number
  readonly member: number
  readonly present: Node
  readonly absent: Node
}

/** Makes nodes. */
export interface Nodes {
  readonly leaf: (verdict: string | undefined) => Leaf
  readonly split: (dimension: number, edges: Split['edges'], count: number) => Node
  readonly line: (dimension: number, member: number, present: Node, absent: Node) => Node
}

/** One object for equal nodes, and none for a question whose answer does not matter. */
export function createNodes(): Nodes {
  const known = new Map<string, Node>()
  const once = <T extends Node>(key: string, make: (id: number) => T): T => {
    const found = (known.get(key) as T | undefined) ?? make(known.size)
    known.set(key, found)
    return found
  }
  const leaf = (verdict: string | undefined): Leaf =>
    once(`leaf ${verdict}`, (id) => ({ kind: 'leaf', id, verdict }))
  const nothing = leaf(undefined)
  return {
    leaf,
    split: (dimension, edges, count) => {
      const byTarget = Map.groupBy(edges, ({ to }) => to)
      const merged = [...byTarget].map(([to, same]) => {
        return { to, classes: same.flatMap(({ classes }) => classes).sort((a, b) => a - b) }
      })
      const only = merged.length === 1 ? merged[0] : undefined
      if (only?.classes.length === count) return only.to
      const told = merged.filter(({ to }) => to !== nothing)
      const key = told.map(({ to, classes }) => `${classes.join()}>${to.id}`).join(' ')
      return once(`${dimension} ${key}`, (id) => ({ kind: 'split', id, dimension, edges: told }))
    },
    line: (dimension, member, present, absent) => {
      if (present === absent) return present
      const key = `${dimension}.${member} ${present.id} ${absent.id}`
      return once(key, (id) => ({ kind: 'line', id, dimension, member, present, absent }))
    },
  }
}
