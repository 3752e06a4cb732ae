import { createPublicKey, type KeyObject, sign } from 'node:crypto'

import { CaError } from '../error.ts'
import { isSignedBy, type KeyKind, readKeyKind, signedDer, signerOf } from './algorithm.ts'
import {
  contextTag,
  cursor,
  derOf,
  oid,
  parseDer,
  readBitString,
  readOid,
  readSmallInteger,
  sequence,
  TAG,
} from './der.ts'
import { OID } from './oid.ts'

/** Bytes; a request for RSA-4096 is 1.7 KiB. */
export const MAX_CSR_BYTES = 8192

/** What is taken from a request: its key, proved to be the caller's. Its names are not read. */
export interface VerifiedCsr {
  /** SubjectPublicKeyInfo, DER: the very bytes that the request's signature covers. */
  readonly publicKeyDer: Uint8Array
  readonly key: KeyKind
}

/** Names to ask for. Our CA does not read them; others do. */
export interface WantedNames {
  readonly uris?: readonly string[]
  readonly dns?: readonly string[]
}

/**
 * A PKCS#10 request (RFC 2986), DER, with an empty subject: a name in it would be a wish, and our
 * CA does not read wishes.
 *
 * @param privateKey - EC P-256 or P-384, RSA, or Ed25519.
 * @param publicKeyDer - Its SubjectPublicKeyInfo, for those who have it: to ask OpenSSL costs more than to sign.
 * @throws {CaError} `CA_SIGNER_UNAVAILABLE` for another kind of key
 */
export function buildCsr(
  privateKey: KeyObject,
  names: WantedNames = {},
  publicKeyDer?: Uint8Array,
): Uint8Array {
  const signer = signerOf(privateKey)
  const spki = publicKeyDer ?? createPublicKey(privateKey).export({ type: 'spki', format: 'der' })
  const info = sequence(VERSION_0, EMPTY_NAME, spki, attributesFor(names))
  return signedDer(info, signer, sign(signer.hash, info, privateKey))
}

const VERSION_0 = Uint8Array.of(TAG.integer, 1, 0)
const EMPTY_NAME = sequence()
const NO_ATTRIBUTES = derOf(contextTag(0))

/** PKCS#9's extensionRequest (RFC 2985 §5.4.2), with alternative names that are critical: there is no subject. */
function attributesFor({ uris = [], dns = [] }: WantedNames): Uint8Array {
  if (uris.length + dns.length === 0) return NO_ATTRIBUTES
  const name = (type: number, text: string) =>
    derOf(contextTag(type, 'primitive'), Buffer.from(text, 'latin1'))
  const names = [...uris.map((uri) => name(6, uri)), ...dns.map((host) => name(2, host))]
  const value = derOf(TAG.octetString, sequence(...names))
  const extension = sequence(oid(OID.subjectAltName), CRITICAL, value)
  return derOf(contextTag(0), sequence(oid(EXTENSION_REQUEST), derOf(TAG.set, sequence(extension))))
}

const EXTENSION_REQUEST = '1.2.840.113549.1.9.14'
const CRITICAL = derOf(TAG.boolean, Uint8Array.of(0xff))

/**
 * Reads a PKCS#10 request and verifies that its sender has the key it asks for.
 *
 * What is verified is what is returned: the key comes from the bytes under the signature.
 *
 * @throws {CaError} `CA_CSR_REJECTED` if it is larger than {@link MAX_CSR_BYTES}, malformed, of a
 *   key that is refused, or not signed by its own key
 */
export function verifyCsr(der: Uint8Array): VerifiedCsr {
  if (der.length > MAX_CSR_BYTES) {
    throw refusedCsr(`it has ${der.length} bytes, expected at most ${MAX_CSR_BYTES}`)
  }
  const { signed, spki, key } = readCsr(der)
  if (!isSignedBy(signed, spki, key)) throw refusedCsr('its signature is not by its own key')
  return { publicKeyDer: spki, key }
}

function readCsr(der: Uint8Array) {
  try {
    const outer = cursor(parseDer(der), 'request')
    const info = outer.take(TAG.sequence, 'content')
    const algorithm = cursor(outer.take(TAG.sequence, 'signature algorithm'), 'algorithm')
    const signature = readBitString(outer.take(TAG.bitString, 'signature'))
    outer.end('request')

    const fields = cursor(info, 'content')
    const version = readSmallInteger(fields.take(TAG.integer, 'version'))
    fields.take(TAG.sequence, 'subject')
    const spki = fields.take(TAG.sequence, 'public key')
    fields.takeIf(contextTag(0))
    fields.end('content')
    if (version !== 0) throw refusedCsr(`its version is ${version}, expected 0`)

    return {
      spki: spki.raw,
      key: readKeyKind(spki),
      signed: { tbs: info.raw, algorithm: readOid(algorithm.take(TAG.oid, 'name')), signature },
    }
  } catch (cause) {
    if (!(cause instanceof CaError) || cause.code === 'CA_CSR_REJECTED') throw cause
    throw new CaError('CA_CSR_REJECTED', `Cannot take a certificate request: ${cause.message}`, {
      cause,
    })
  }
}

function refusedCsr(why: string): CaError {
  return new CaError('CA_CSR_REJECTED', `Cannot take a certificate request: ${why}`)
}
