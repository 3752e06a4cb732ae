/** X.509 certificates (RFC 5280 §4), read into plain values. Reading judges form, never trust. */
import { CaError } from '../error.ts'
import {
  contextTag,
  cursor,
  type DerCursor,
  type DerNode,
  parseDer,
  readBitString,
  readInteger,
  readOid,
  readSmallInteger,
  TAG,
} from './der.ts'
import { type KeyKind, readKeyKind, type Signed } from './algorithm.ts'
import { type Extensions, readExtensions } from './extensions.ts'
import { readTime } from './time.ts'

/** Bytes; far above any SVID or CA certificate, far below what costs anything to refuse. */
export const MAX_CERTIFICATE_BYTES = 16_384

/** A certificate as it was read. Bytes are views into {@link Certificate.der}. */
export interface Certificate extends Extensions {
  readonly der: Uint8Array
  /** Lower-case hex of the serial number without leading zero bytes. */
  readonly serial: string
  /** Name, DER. Compared as bytes and never printed for a decision. */
  readonly issuer: Uint8Array
  readonly subject: Uint8Array
  readonly subjectIsEmpty: boolean
  readonly notBefore: Temporal.Instant
  readonly notAfter: Temporal.Instant
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKeyDer: Uint8Array
  readonly key: KeyKind
  readonly signed: Signed
}

/**
 * Reads one certificate of version 3.
 *
 * @throws {CaError} `CA_DER_INVALID` if it is larger than {@link MAX_CERTIFICATE_BYTES}, not strict
 *   DER, has an extension twice, or a key that {@link readKeyKind} refuses
 */
export function readCertificate(der: Uint8Array): Certificate {
  if (der.length > MAX_CERTIFICATE_BYTES) {
    throw refused(`it has ${der.length} bytes, expected at most ${MAX_CERTIFICATE_BYTES}`)
  }
  const outer = cursor(parseDer(der), 'certificate')
  const tbs = outer.take(TAG.sequence, 'content')
  const algorithm = outer.take(TAG.sequence, 'signature algorithm')
  const signature = readBitString(outer.take(TAG.bitString, 'signature'))
  outer.end('certificate')
  return readTbs(der, tbs, algorithm, signature)
}

/**
 * SubjectPublicKeyInfo of a certificate, for who has read it before and let go of it.
 *
 * @throws {CaError} `CA_DER_INVALID`
 */
export function readPublicKey(der: Uint8Array): Uint8Array {
  const outer = cursor(parseDer(der), 'certificate')
  const fields = cursor(outer.take(TAG.sequence, 'content'), 'content')
  fields.takeIf(contextTag(0))
  fields.take(TAG.integer, 'serial number')
  for (const name of ['signature algorithm', 'issuer', 'validity', 'subject']) {
    fields.take(TAG.sequence, name)
  }
  return fields.take(TAG.sequence, 'public key').raw
}

function readTbs(
  der: Uint8Array,
  tbs: DerNode,
  outerAlgorithm: DerNode,
  signature: Uint8Array,
): Certificate {
  const fields = cursor(tbs, 'content')
  readVersion(fields)
  const serial = serialHex(fields.take(TAG.integer, 'serial number'))
  const algorithm = fields.take(TAG.sequence, 'signature algorithm')
  if (!sameBytes(algorithm.raw, outerAlgorithm.raw)) {
    throw refused('its two signature algorithms differ') // RFC 5280 §4.1.1.2
  }
  const issuer = fields.take(TAG.sequence, 'issuer')
  const validity = cursor(fields.take(TAG.sequence, 'validity'), 'validity')
  const [start, end, ...others] = validity.rest()
  if (!start || !end || others.length > 0) throw refused('its validity is odd')
  const subject = fields.take(TAG.sequence, 'subject')
  const spki = fields.take(TAG.sequence, 'public key')
  const extensions = fields.takeIf(contextTag(3))
  fields.end('content') // so the unique identifiers of version 2 are refused
  return {
    ...readExtensions(extensions),
    der,
    serial,
    issuer: issuer.raw,
    subject: subject.raw,
    subjectIsEmpty: subject.children.length === 0,
    notBefore: readTime(start),
    notAfter: readTime(end),
    publicKeyDer: spki.raw,
    key: readKeyKind(spki),
    signed: {
      tbs: tbs.raw,
      algorithm: readOid(cursor(algorithm, 'signature algorithm').take(TAG.oid, 'identifier')),
      signature,
    },
  }
}

function readVersion(fields: DerCursor): void {
  const [number, ...others] = fields.takeIf(contextTag(0))?.children ?? []
  if (!number || others.length > 0 || readSmallInteger(number) !== 2) {
    throw refused('its version is not 3')
  }
}

function serialHex(node: DerNode): string {
  const { buffer, byteOffset, length } = readInteger(node)
  const hex = Buffer.from(buffer, byteOffset, length).toString('hex')
  return hex.length > 2 && hex.startsWith('00') ? hex.slice(2) : hex
}

/** Whether two byte strings are the same. Not for secrets: it stops at the first difference. */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0
}

function refused(why: string): CaError {
  return new CaError('CA_DER_INVALID', `Cannot read a certificate: ${why}`)
}
