import { hash } from 'node:crypto'

/** Bytes of a {@link sha256}. */
export const SHA256_BYTES = 32

/**
 * The first `length` bytes of the SHA-256 of some bytes, or of a text's UTF-8.
 *
 * By way of a string: what node:crypto returns as bytes has memory of its own outside of JavaScript's heap, to
 * ask for and to collect, which costs more than to hash.
 */
export function sha256(data: Uint8Array | string, length: number = SHA256_BYTES): Uint8Array {
  const text = hash('sha256', data, 'latin1')
  const bytes = new Uint8Array(length)
  for (let at = 0; at < length; at += 1) bytes[at] = text.charCodeAt(at)
  return bytes
}
