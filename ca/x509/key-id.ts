import { sha256 } from './sha256.ts'
import type { Certificate } from './certificate.ts'
import { cursor, parseDer, readBitString, TAG } from './der.ts'

/** Bytes of a {@link keyIdentifier}. */
export const KEY_ID_BYTES = 20

/**
 * The first 160 bits of the SHA-256 of the key's own bits (RFC 7093 §2, method 1).
 *
 * @param publicKeyDer - SubjectPublicKeyInfo.
 */
export function keyIdentifier(publicKeyDer: Uint8Array): Uint8Array {
  const fields = cursor(parseDer(publicKeyDer), 'public key')
  fields.take(TAG.sequence, 'algorithm')
  const key = readBitString(fields.take(TAG.bitString, 'key'))
  return sha256(key, KEY_ID_BYTES)
}

/**
 * How a deny-list and our listings name the key of `certificate`, in lower-case hex: by what its issuer
 * wrote into it (RFC 5280 §4.2.1.2), and by {@link keyIdentifier} where it wrote nothing.
 */
export function keyIdOf(certificate: Certificate): string {
  const known = KEY_IDS.get(certificate)
  if (known !== undefined) return known
  const bytes = certificate.ski ?? keyIdentifier(certificate.publicKeyDer)
  const keyId = Buffer.from(bytes).toString('hex')
  if (certificate.isCa) KEY_IDS.set(certificate, keyId) // Leaves come once.
  return keyId
}

const KEY_IDS = new WeakMap<Certificate, string>()
