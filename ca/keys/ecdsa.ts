/** The two forms of an ECDSA signature: X.509 has it in DER, JWS and PKCS#11 as r and s in a row. */
import { cursor, parseDer, readInteger, sequence, TAG, unsignedInteger } from '../x509/der.ts'

/**
 * r and s, each of `length` bytes (RFC 7518 §3.4), of a signature in DER (RFC 3279 §2.2.3).
 *
 * @throws {CaError} `CA_DER_INVALID`
 */
export function rawSignature(der: Uint8Array, length: number): Uint8Array {
  const fields = cursor(parseDer(der), 'signature')
  const raw = Buffer.alloc(2 * length)
  for (const [name, end] of [
    ['r', length],
    ['s', 2 * length],
  ] as const) {
    const value = withoutZeros(readInteger(fields.take(TAG.integer, name)))
    raw.set(value, end - value.length)
  }
  fields.end('signature')
  return raw
}

/** The DER of a signature whose r and s are in a row. */
export function derSignature(raw: Uint8Array): Uint8Array {
  const half = raw.length / 2
  return sequence(unsignedInteger(raw.subarray(0, half)), unsignedInteger(raw.subarray(half)))
}

function withoutZeros(number: Uint8Array): Uint8Array {
  const first = number.findIndex((byte) => byte !== 0)
  return first < 0 ? number.subarray(-1) : number.subarray(first)
}
