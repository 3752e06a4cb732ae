/** DER (X.690), written: each element around what is inside it, with lengths of the shortest form. */
import { CaError } from '../error.ts'
import { bytesOf } from './slab.ts'

/** Tags that certificates use (X.690 §8, RFC 5280 Appendix A). */
export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  utf8String: 0x0c,
  printableString: 0x13,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const

/** Bytes. A certificate with an RSA-8192 key and a full SAN is under 5 KiB. */
export const MAX_DER_BYTES = 65_536

const CONSTRUCTED = 0x20
const CONTEXT = 0x80

/** The tag of a context-specific element: `[n]`, constructed unless said otherwise. */
export function contextTag(n: number, form: 'constructed' | 'primitive' = 'constructed'): number {
  return CONTEXT | n | (form === 'constructed' ? CONSTRUCTED : 0)
}

/** Encodes one element around what is inside it. */
export function derOf(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  let length = 0
  for (const part of parts) length += part.length
  const lengthBytes = lengthOfLength(length)
  const out = bytesOf(1 + lengthBytes + length)
  out[0] = tag
  let at = 1
  if (lengthBytes > 1) out[at++] = 0x80 | (lengthBytes - 1)
  if (lengthBytes > 2) out[at++] = length >> 8
  out[at++] = length & 0xff
  for (const part of parts) {
    out.set(part, at)
    at += part.length
  }
  return out
}

/** Bytes that it takes to write `length`. */
function lengthOfLength(length: number): 1 | 2 | 3 {
  if (length < 0x80) return 1
  if (length < 0x100) return 2
  if (length < MAX_DER_BYTES) return 3
  throw new CaError('CA_DER_INVALID', `Cannot write DER: ${length} bytes, expected under 65536`)
}

/** A SEQUENCE. */
export function sequence(...parts: readonly Uint8Array[]): Uint8Array {
  return derOf(TAG.sequence, ...parts)
}

/** An OBJECT IDENTIFIER from its dotted form. */
export function oid(dotted: string): Uint8Array {
  const [root = 0, second = 0, ...others] = dotted.split('.').map(Number)
  return derOf(TAG.oid, Uint8Array.from([root * 40 + second, ...others].flatMap(base128)))
}

function base128(arc: number): number[] {
  const digits = [arc % 128]
  for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128)) {
    digits.unshift((left % 128) | 0x80)
  }
  return digits
}

/** A BIT STRING of whole bytes. */
export function bitString(bytes: Uint8Array): Uint8Array {
  return derOf(TAG.bitString, Uint8Array.of(0), bytes)
}

/** A non-negative INTEGER from its big-endian bytes. */
export function unsignedInteger(bytes: Uint8Array): Uint8Array {
  let from = 0
  while (from < bytes.length - 1 && bytes[from] === 0) from += 1
  const significant = bytes.subarray(from)
  const sign = (significant[0] ?? 0) & 0x80 || significant.length === 0 ? Uint8Array.of(0) : NOTHING
  return derOf(TAG.integer, sign, significant)
}

const NOTHING = new Uint8Array()
