/** Identifiers that name a request in logs and headers. They need to be unlike each other, not secret. */

const DIGITS: Uint8Array = Buffer.from('0123456789abcdef', 'latin1')
const DASH = 0x2d
const FOUR = 0x34

/** Filled and read within one call; written as bytes, because text put together costs three times as much. */
const scratch = Buffer.alloc(64)

/** Writes the 8 digits of one drawn number at `at`. */
function writeWord(at: number, random: () => number): void {
  const word = (random() * 0x1_0000_0000) | 0
  for (let digit = 0; digit < 8; digit += 1) {
    scratch[at + digit] = DIGITS[(word >>> (28 - 4 * digit)) & 15] as number
  }
}

/** `bytes` random bytes in lower-case hex: a multiple of 4, at most 32. */
export function hexBytes(bytes: number, random: () => number): string {
  for (let at = 0; at < bytes * 2; at += 8) writeWord(at, random)
  return scratch.toString('latin1', 0, bytes * 2)
}

/** What `x-redoubt-decision` says: 16 bytes in hex. */
export function decisionId(random: () => number): string {
  return hexBytes(16, random)
}

/** What `x-request-id` says: a UUID of version 4 (RFC 9562 §5.4). */
export function requestId(random: () => number): string {
  // From the end, since each word overlaps the one before it by the dashes between them.
  writeWord(28, random)
  writeWord(19, random)
  scratch.copyWithin(24, 23, 27)
  scratch[23] = DASH
  writeWord(9, random)
  scratch.copyWithin(14, 13, 17)
  writeWord(0, random)
  scratch[8] = scratch[13] = scratch[18] = DASH
  scratch[14] = FOUR
  scratch[19] = DIGITS[8 | ((scratch[19] as number) & 3)] as number
  return scratch.toString('latin1', 0, 36)
}
