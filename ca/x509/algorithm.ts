/**
 * Keys and signatures: which there are, how large they may be, and checking one.
 *
 * What is too large, too small or unknown is refused from the DER alone, before OpenSSL is handed
 * anything: an RSA key of 64 kbit is a few kilobytes to send and seconds to verify with.
 */
import { type KeyObject, type PublicKeyInput, verify } from 'node:crypto'

import { CaError } from '../error.ts'
import {
  bitString,
  cursor,
  type DerNode,
  oid,
  readBitString,
  readInteger,
  readOid,
  readSmallInteger,
  parseDer,
  sequence,
  TAG,
} from './der.ts'
import { OID } from './oid.ts'

/** What kind of key it is and how large, read from SubjectPublicKeyInfo. */
export type KeyKind =
  | { readonly type: 'ec'; readonly curve: 'P-256' | 'P-384' | 'P-521' }
  | { readonly type: 'rsa'; readonly bits: number }
  | { readonly type: 'ed25519' }

/** Curves by identifier, with the length of an uncompressed point in bytes (SEC 1 §2.3.3). */
const CURVES: Readonly<Record<string, { curve: 'P-256' | 'P-384' | 'P-521'; pointBytes: number }>> =
  {
    [OID.p256]: { curve: 'P-256', pointBytes: 65 },
    [OID.p384]: { curve: 'P-384', pointBytes: 97 },
    [OID.p521]: { curve: 'P-521', pointBytes: 133 },
  }

/** Bits of RSA moduli that are accepted, of anyone. */
export const RSA_BITS = { min: 2048, max: 4096 } as const

/** RFC 8017 allows 3; forgeries against lax padding checks need it to be small. */
const MIN_RSA_EXPONENT = 65_537

/**
 * The kind of the key in `spki`, a SubjectPublicKeyInfo.
 *
 * @throws {CaError} `CA_DER_INVALID` if it is not EC P-256, P-384 or P-521, RSA of 2048 to 4096
 *   bits with an exponent of at least 65537, or Ed25519
 */
export function readKeyKind(spki: DerNode): KeyKind {
  const fields = cursor(spki, 'public key')
  const algorithm = cursor(fields.take(TAG.sequence, 'algorithm'), 'key algorithm')
  const name = readOid(algorithm.take(TAG.oid, 'identifier'))
  const curve = name === OID.ecPublicKey ? readOid(algorithm.take(TAG.oid, 'curve')) : ''
  if (name === OID.rsaEncryption) algorithm.take(TAG.null, 'null')
  algorithm.end('key algorithm')
  const key = readBitString(fields.take(TAG.bitString, 'key'))
  fields.end('public key')
  if (name === OID.ecPublicKey) return ecKind(curve, key)
  if (name === OID.rsaEncryption) return rsaKind(key)
  if (name === OID.ed25519 && key.length === 32) return { type: 'ed25519' }
  throw refusedKey(`its algorithm ${name} is none of EC, RSA and Ed25519`)
}

function ecKind(name: string, point: Uint8Array): KeyKind {
  const known = CURVES[name]
  if (!known) throw refusedKey(`its curve ${name} is none of P-256, P-384 and P-521`)
  if (point.length !== known.pointBytes || point[0] !== 0x04) {
    throw refusedKey('its point is not in uncompressed form')
  }
  return { type: 'ec', curve: known.curve }
}

function rsaKind(key: Uint8Array): KeyKind {
  const fields = cursor(parseDer(key), 'RSA key')
  const modulus = readInteger(fields.take(TAG.integer, 'modulus'))
  const exponent = readSmallInteger(fields.take(TAG.integer, 'exponent'))
  fields.end('RSA key')
  const [first = 0, second = 0] = modulus
  if (first & 0x80) throw refusedKey('its modulus is negative')
  const bits =
    first === 0
      ? (modulus.length - 1) * 8 - Math.clz32(second) + 24
      : modulus.length * 8 - Math.clz32(first) + 24
  if (bits < RSA_BITS.min || bits > RSA_BITS.max) {
    throw refusedKey(`it is RSA of ${bits} bits, expected ${RSA_BITS.min} to ${RSA_BITS.max}`)
  }
  if (exponent < MIN_RSA_EXPONENT || exponent % 2 === 0) {
    throw refusedKey(`its exponent is ${exponent}, expected an odd number from ${MIN_RSA_EXPONENT}`)
  }
  return { type: 'rsa', bits }
}

function refusedKey(why: string): CaError {
  return new CaError('CA_DER_INVALID', `Cannot use a public key: ${why}`)
}

interface Signature {
  readonly key: KeyKind['type']
  readonly hash: string | undefined
}

/** Signature algorithms by identifier. SHA-1 and MD5 are not here. */
const SIGNATURES: Readonly<Record<string, Signature>> = {
  [OID.ecdsaWithSha256]: { key: 'ec', hash: 'sha256' },
  '1.2.840.10045.4.3.3': { key: 'ec', hash: 'sha384' },
  '1.2.840.10045.4.3.4': { key: 'ec', hash: 'sha512' },
  '1.2.840.113549.1.1.11': { key: 'rsa', hash: 'sha256' },
  '1.2.840.113549.1.1.12': { key: 'rsa', hash: 'sha384' },
  '1.2.840.113549.1.1.13': { key: 'rsa', hash: 'sha512' },
  [OID.ed25519]: { key: 'ed25519', hash: undefined },
}

/** Something signed: the signed bytes as they came, the algorithm's identifier, the signature. */
export interface Signed {
  readonly tbs: Uint8Array
  readonly algorithm: string
  readonly signature: Uint8Array
}

/**
 * Whether `signed` was signed by the key in `spki`, whose kind was read by {@link readKeyKind}. The key
 * goes to OpenSSL as it came: one that is used once is not worth an object, which costs a tenth of the
 * check. Never throws: what cannot be verified is not verified, as with a point off its curve.
 */
export function isSignedBy(signed: Signed, spki: Uint8Array, kind: KeyKind): boolean {
  return isSignedWith(signed, { key: bufferOf(spki), format: 'der', type: 'spki' }, kind)
}

/** The same bytes as a Buffer, which node:crypto asks for. */
function bufferOf({ buffer, byteOffset, length }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, length)
}

/** The same with a key that is at hand. The arithmetic is OpenSSL's. Never throws. */
export function isSignedWith(
  signed: Signed,
  key: KeyObject | PublicKeyInput,
  kind: KeyKind,
): boolean {
  const algorithm = SIGNATURES[signed.algorithm]
  if (algorithm?.key !== kind.type) return false
  try {
    return verify(algorithm.hash, signed.tbs, key, signed.signature)
  } catch {
    return false
  }
}

/** How a key of ours signs: the AlgorithmIdentifier and the hash. */
export interface Signer {
  readonly algorithmDer: Uint8Array
  readonly hash: string | undefined
}

/**
 * The signature algorithm that suits `key`, private or public.
 *
 * @throws {CaError} `CA_SIGNER_UNAVAILABLE` for a kind of key that we do not sign with
 */
export function signerOf(key: KeyObject): Signer {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key
  const name = type === 'ec' ? `ec ${details?.namedCurve}` : (type ?? 'no key')
  const signer = SIGNERS[name]
  if (signer) return signer
  throw new CaError('CA_SIGNER_UNAVAILABLE', `Cannot sign: a key of type ${name} is not supported`)
}

const SIGNERS: Readonly<Record<string, Signer>> = {
  'ec prime256v1': { algorithmDer: sequence(oid(OID.ecdsaWithSha256)), hash: 'sha256' },
  'ec secp384r1': { algorithmDer: sequence(oid('1.2.840.10045.4.3.3')), hash: 'sha384' },
  rsa: {
    algorithmDer: sequence(oid('1.2.840.113549.1.1.11'), Uint8Array.of(TAG.null, 0)),
    hash: 'sha256',
  },
  ed25519: { algorithmDer: sequence(oid(OID.ed25519)), hash: undefined },
}

/** `tbs` with algorithm and signature after it: the outer shape of certificates and requests. */
export function signedDer(tbs: Uint8Array, signer: Signer, signature: Uint8Array): Uint8Array {
  return sequence(tbs, signer.algorithmDer, bitString(signature))
}
