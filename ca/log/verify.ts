/** The other side of a proof: it is believed for its arithmetic alone (RFC 9162 §2.1.3.2, §2.1.4.2). */
import { isPowerOfTwo, nodeHash } from './tree.ts'

/** Whether `path` leads from the leaf hash at `index` to `root`, the root of a tree of `size` leaves. */
export function isIncluded(
  leaf: Uint8Array,
  { index, size }: { readonly index: number; readonly size: number },
  path: readonly Uint8Array[],
  root: Uint8Array,
): boolean {
  if (!isCount(index) || !isCount(size) || index >= size) return false
  let [at, last] = [index, size - 1]
  let hash = leaf
  for (const sibling of path) {
    if (last === 0) return false
    if (at % 2 === 1 || at === last) {
      hash = nodeHash(sibling, hash)
      while (at % 2 === 0 && at !== 0) [at, last] = [half(at), half(last)]
    } else {
      hash = nodeHash(hash, sibling)
    }
    ;[at, last] = [half(at), half(last)]
  }
  return last === 0 && same(hash, root)
}

/** A tree by its size and root. */
export interface TreeSummary {
  readonly size: number
  readonly root: Uint8Array
}

/** Whether `path` shows that the tree `second` begins with all of the tree `first`, unchanged. */
export function isConsistent(
  first: TreeSummary,
  second: TreeSummary,
  path: readonly Uint8Array[],
): boolean {
  if (!isCount(first.size) || !isCount(second.size) || first.size > second.size) return false
  if (first.size === 0) return path.length === 0
  if (first.size === second.size) return path.length === 0 && same(first.root, second.root)
  // A first tree that is perfect is a node of the second, and so begins the proof itself.
  const [seed, ...rest] = isPowerOfTwo(first.size) ? [first.root, ...path] : path
  if (!seed) return false
  return climb(first, second, seed, rest)
}

function climb(
  first: TreeSummary,
  second: TreeSummary,
  seed: Uint8Array,
  path: readonly Uint8Array[],
): boolean {
  let [at, last] = [first.size - 1, second.size - 1]
  while (at % 2 === 1) [at, last] = [half(at), half(last)]
  let [old, now] = [seed, seed]
  for (const hash of path) {
    if (last === 0) return false
    if (at % 2 === 1 || at === last) {
      old = nodeHash(hash, old)
      now = nodeHash(hash, now)
      while (at % 2 === 0 && at !== 0) [at, last] = [half(at), half(last)]
    } else {
      now = nodeHash(now, hash)
    }
    ;[at, last] = [half(at), half(last)]
  }
  return last === 0 && same(old, first.root) && same(now, second.root)
}

/** Division by shifting would end at 2^31. */
function half(count: number): number {
  return Math.floor(count / 2)
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0
}
