/**
 * Where elements are put one after the other: an allocation of its own for each costs more to make, and to
 * collect, than what is written into it. Whoever keeps one for long keeps this much with it.
 */
const SLAB_BYTES = 16_384
let slab: Uint8Array = new Uint8Array()
let used = 0

/** `length` bytes of anything, which whoever asks overwrites, all of them. Nobody else has them. */
export function bytesOf(length: number): Uint8Array {
  if (length > SLAB_BYTES / 8) return new Uint8Array(length)
  if (used + length > slab.length) {
    slab = new Uint8Array(SLAB_BYTES)
    used = 0
  }
  used += length
  return slab.subarray(used - length, used)
}
