/**
 * Merkle trees as RFC 9162 §2.1 has them. A tree that only grows is kept as its peaks: the perfect
 * subtrees that it consists of, a few dozen hashes however many leaves there are.
 */
import { SHA256_BYTES, sha256 } from '../x509/sha256.ts'

/** Bytes of every hash. */
export const HASH_BYTES: number = SHA256_BYTES

/**
 * Levels of perfect subtrees whose hashes are worth keeping: with every eighth one at hand, any hash
 * of the tree is at most 256 leaves or kept hashes away.
 */
export const KEPT_LEVELS = 8

const LEAF = Uint8Array.of(0)

/** Hash of the tree without leaves (RFC 9162 §2.1.1). */
const EMPTY_ROOT: Uint8Array = sha256('')

/** Hash of a leaf: prefixed by a byte of its own, so that no leaf can pass for a node. */
export function leafHash(data: Uint8Array): Uint8Array {
  return sha256(Buffer.concat([LEAF, data]))
}

/** {@link leafHash} of the text's UTF-8, which is not written out for it. */
export function textLeafHash(text: string): Uint8Array {
  return sha256(`\0${text}`)
}

/** Hash of the node above two others. */
export function nodeHash(left: Uint8Array, right: Uint8Array): Uint8Array {
  node.set(left, 1)
  node.set(right, 1 + HASH_BYTES)
  return sha256(node)
}

/** What is hashed for a node, put together in one place: its prefix, then both hashes. */
const node = new Uint8Array(1 + 2 * HASH_BYTES).fill(1, 0, 1)

/** A tree as far as growing it needs. */
export interface Frontier {
  /** Leaves. */
  readonly size: number
  /** Hashes of its perfect subtrees, the largest and leftmost first: one for each bit of `size`. */
  readonly peaks: readonly Uint8Array[]
}

/** The tree without leaves. */
export const EMPTY_TREE: Frontier = { size: 0, peaks: [] }

/** A perfect subtree of 2^`level` leaves, the `index`-th of its level from the left. */
export interface TreeNode {
  readonly level: number
  readonly index: number
  readonly hash: Uint8Array
}

/** A tree after more leaves, and the nodes that came to be at the levels worth keeping. */
export interface Growth {
  readonly tree: Frontier
  readonly kept: readonly TreeNode[]
}

/** The tree with `leaves` (their hashes) at its right end. Pure: `tree` stays as it was. */
export function grow(tree: Frontier, leaves: readonly Uint8Array[]): Growth {
  const peaks = [...tree.peaks]
  const kept: TreeNode[] = []
  let { size } = tree
  for (const leaf of leaves) {
    let merged = leaf
    let index = size
    for (let level = 0; index % 2 === 1; ) {
      merged = nodeHash(peaks.pop() ?? merged, merged)
      index = (index - 1) / 2
      level += 1
      if (level % KEPT_LEVELS === 0) kept.push({ level, index, hash: merged })
    }
    peaks.push(merged)
    size += 1
  }
  return { tree: { size, peaks }, kept }
}

/** The root hash of a tree: its peaks, joined from the right (RFC 9162 §2.1.1). */
export function rootOf({ peaks }: Frontier): Uint8Array {
  return peaks.length === 0 ? EMPTY_ROOT : peaks.reduceRight((right, left) => nodeHash(left, right))
}

/** The largest power of two below `size`, which is at least 2: where RFC 9162 splits a tree. */
export function splitOf(size: number): number {
  let power = 1
  while (power * 2 < size) power *= 2
  return power
}

/** Whether a tree of `size` leaves, at least 1, is perfect. Exact: logarithms of large sizes are not. */
export function isPowerOfTwo(size: number): boolean {
  let power = 1
  while (power < size) power *= 2
  return power === size
}
