/** Proofs that a tree has a leaf, and that it has grown from another (RFC 9162 §2.1.3, §2.1.4). */
import { type Frontier, isPowerOfTwo, KEPT_LEVELS, nodeHash, splitOf } from './tree.ts'

/**
 * Hashes of perfect subtrees of 2^`level` leaves, from the `from`-th of that level to before the
 * `to`-th. Asked for levels 0, 8, 16, … only, and for at most 256 of them.
 */
export type ReadHashes = (level: number, from: number, to: number) => Promise<readonly Uint8Array[]>

/**
 * What, joined to the leaf at `index`, gives the root of the tree of the first `size` leaves.
 *
 * @param index - Below `size`.
 */
export function inclusionPath(
  read: ReadHashes,
  index: number,
  size: number,
): Promise<readonly Uint8Array[]> {
  return pathIn(read, index, 0, size)
}

/**
 * What shows that the tree of the first `first` leaves is the beginning of that of the first
 * `second`.
 *
 * @param first - From 1 to `second`.
 */
export function consistencyPath(
  read: ReadHashes,
  first: number,
  second: number,
): Promise<readonly Uint8Array[]> {
  return first === second ? Promise.resolve([]) : subproof(read, first, 0, second, true)
}

/** The tree of the first `size` leaves, from hashes that were kept. */
export async function readFrontier(read: ReadHashes, size: number): Promise<Frontier> {
  const peaks: Uint8Array[] = []
  for (let from = 0; from < size; ) {
    const width = isPowerOfTwo(size - from) ? size - from : splitOf(size - from)
    peaks.push(await subtree(read, from, from + width))
    from += width
  }
  return { size, peaks }
}

async function pathIn(
  read: ReadHashes,
  index: number,
  from: number,
  to: number,
): Promise<readonly Uint8Array[]> {
  if (to - from === 1) return []
  const middle = from + splitOf(to - from)
  return index < middle
    ? [...(await pathIn(read, index, from, middle)), await subtree(read, middle, to)]
    : [...(await pathIn(read, index, middle, to)), await subtree(read, from, middle)]
}

/** SUBPROOF of RFC 9162 §2.1.4.1; `isWhole`: the old tree's root is known to whoever verifies. */
async function subproof(
  read: ReadHashes,
  first: number,
  from: number,
  to: number,
  isWhole: boolean,
): Promise<readonly Uint8Array[]> {
  if (first === to) return isWhole ? [] : [await subtree(read, from, to)]
  const middle = from + splitOf(to - from)
  return first <= middle
    ? [...(await subproof(read, first, from, middle, isWhole)), await subtree(read, middle, to)]
    : [...(await subproof(read, first, middle, to, false)), await subtree(read, from, middle)]
}

/** The hash over the leaves from `from` to before `to`. */
async function subtree(read: ReadHashes, from: number, to: number): Promise<Uint8Array> {
  const size = to - from
  const height = Math.round(Math.log2(size))
  if (2 ** height !== size) {
    const middle = from + splitOf(size)
    return nodeHash(await subtree(read, from, middle), await subtree(read, middle, to))
  }
  const level = height - (height % KEPT_LEVELS)
  const width = 2 ** level
  return folded(await read(level, from / width, to / width))
}

/** The hash over a power of two of hashes. */
function folded(hashes: readonly Uint8Array[]): Uint8Array {
  let row = hashes
  while (row.length > 1) {
    row = row.flatMap((left, at) => {
      const right = row[at + 1]
      return at % 2 === 0 && right ? [nodeHash(left, right)] : []
    })
  }
  const [top] = row
  if (!top) throw new RangeError('Cannot hash a subtree: a hash that it needs is not there')
  return top
}
