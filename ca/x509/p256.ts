/**
 * P-256 keys in DER around their bare bytes. Everything but these is the same for each key, and OpenSSL's
 * encoders, which look for themselves among all that it has, cost twice what making the key does.
 */
import { CaError } from '../error.ts'
import { bitString, contextTag, derOf, oid, sequence, TAG } from './der.ts'
import { OID } from './oid.ts'

/** Bytes of a private key, and of an uncompressed point (SEC 1 §2.3.3). */
const SCALAR_BYTES = 32
const POINT_BYTES = 65

const ALGORITHM = sequence(oid(OID.ecPublicKey), oid(OID.p256))
const NO_SCALAR = new Uint8Array(SCALAR_BYTES)
const NO_POINT = new Uint8Array(POINT_BYTES)

const SPKI = sequence(ALGORITHM, bitString(NO_POINT))

/** PKCS#8 (RFC 5958) around ECPrivateKey (RFC 5915) with its public half, as OpenSSL writes it. */
const EC_PRIVATE_KEY = sequence(
  Uint8Array.of(TAG.integer, 1, 1),
  derOf(TAG.octetString, NO_SCALAR),
  derOf(contextTag(1), bitString(NO_POINT)),
)
const PKCS8 = sequence(
  Uint8Array.of(TAG.integer, 1, 0),
  ALGORITHM,
  derOf(TAG.octetString, EC_PRIVATE_KEY),
)
/** Where the private key is: the public half with its headers is all that follows it. */
const SCALAR_AT = PKCS8.length - derOf(contextTag(1), bitString(NO_POINT)).length - SCALAR_BYTES

/**
 * SubjectPublicKeyInfo of an uncompressed point, in memory of its own.
 *
 * @throws {CaError} `CA_DER_INVALID` if it is not one by its length and first byte
 */
export function p256Spki(point: Uint8Array): Uint8Array {
  checkPoint(point)
  const der = new Uint8Array(SPKI)
  der.set(point, SPKI.length - POINT_BYTES)
  return der
}

/**
 * PKCS#8 of a private key and its public half, in memory of its own.
 *
 * @param scalar - Big-endian, 32 bytes.
 * @throws {CaError} `CA_DER_INVALID` for other lengths
 */
export function p256Pkcs8(scalar: Uint8Array, point: Uint8Array): Uint8Array {
  checkPoint(point)
  if (scalar.length !== SCALAR_BYTES) {
    throw invalid(`a private key has ${scalar.length} bytes, expected ${SCALAR_BYTES}`)
  }
  const der = new Uint8Array(PKCS8)
  der.set(scalar, SCALAR_AT)
  der.set(point, PKCS8.length - POINT_BYTES)
  return der
}

function checkPoint(point: Uint8Array): void {
  if (point.length === POINT_BYTES && point[0] === 0x04) return
  throw invalid(`a public key is not an uncompressed point of ${POINT_BYTES} bytes`)
}

function invalid(why: string): CaError {
  return new CaError('CA_DER_INVALID', `Cannot write a P-256 key: ${why}`)
}
