/**
 * What a certificate says, well-formed or not.
 *
 * Read by `@peculiar/x509` and Node, and on purpose not by `ca/x509`: that reader refuses whatever
 * a sidecar must refuse, and this one must be able to say what is wrong with it. It is also a
 * second opinion on certificates that our own encoder made.
 */
import 'reflect-metadata' // needed by @peculiar/x509, before it

import { hash, type KeyObject, X509Certificate as NodeCertificate } from 'node:crypto'

import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
} from '@peculiar/x509'

import { CaError } from '../error.ts'
import { OID, readCertificate } from '../x509/index.ts'
import { type Anatomy, readAnatomy } from './anatomy.ts'
import { type AlternativeName, readAlternativeNames } from './alternative-names.ts'

/** A public key: `bits` for RSA, `curve` for elliptic curves, neither where the type says it all. */
export interface KeyFacts {
  readonly type: string
  readonly bits?: number
  readonly curve?: string
  /** RSA only. */
  readonly exponent?: bigint
}

/** A certificate in words, before anything is judged. */
export interface CertificateFacts {
  readonly der: Uint8Array
  readonly subject: string
  readonly issuer: string
  /** Lower-case hex without leading zero bytes, as `ca revoke` takes it; a negative one starts with `-`. */
  readonly serial: string
  readonly notBefore: Temporal.Instant
  readonly notAfter: Temporal.Instant
  readonly key: KeyFacts
  /** As OpenSSL names it, e.g. `ecdsa-with-SHA256`. */
  readonly signature: string
  readonly san: readonly AlternativeName[]
  readonly sanIsCritical: boolean
  /** Left out when the extension is. */
  readonly usage?: readonly string[]
  readonly usageIsCritical: boolean
  /** Names where there is one, else dotted identifiers. */
  readonly extendedUsage?: readonly string[]
  readonly ca: boolean
  readonly basicConstraintsAreCritical: boolean
  /** Lower-case hex. */
  readonly subjectKeyId?: string
  readonly authorityKeyId?: string
  readonly criticalExtensions: readonly string[]
  /** Extensions that are there more than once. */
  readonly repeatedExtensions: readonly string[]
  /** How it is written. */
  readonly anatomy: Anatomy
  /** Lower-case hex. */
  readonly sha256: string
  /** Of SubjectPublicKeyInfo. */
  readonly publicKeySha256: string
  /** Why a sidecar of ours cannot read it at all, if so. */
  readonly unreadable?: string
}

/** Bytes of one certificate that are looked at; sidecars stop far below this. */
export const MAX_INSPECTED_BYTES = 65_536

/** @throws {CaError} `CA_DER_INVALID` if `der` is no X.509 certificate */
export function readFacts(der: Uint8Array): CertificateFacts {
  if (der.length > MAX_INSPECTED_BYTES) {
    throw refused(`it has ${der.length} bytes, expected at most ${MAX_INSPECTED_BYTES}`)
  }
  try {
    return factsOf(der, new X509Certificate(new Uint8Array(der)), new NodeCertificate(der))
  } catch (cause) {
    // Whatever two parsers make of hostile bytes: a stack that ran out is a RangeError, for one.
    throw refused(cause instanceof Error ? plain(cause.message) : 'it is not DER', cause)
  }
}

function factsOf(
  der: Uint8Array,
  certificate: X509Certificate,
  node: NodeCertificate,
): CertificateFacts {
  const { extensions } = certificate
  const types = extensions.map(({ type }) => type)
  const critical = extensions.filter(({ critical }) => critical).map(({ type }) => type)
  const san = extensions.find(({ type }) => type === OID.subjectAltName)
  const unreadable = whyUnreadable(der)
  const anatomy = readAnatomy(der)
  return {
    der,
    subject: certificate.subject,
    issuer: certificate.issuer,
    serial: node.serialNumber.toLowerCase(),
    notBefore: instantOf(certificate.notBefore),
    notAfter: instantOf(certificate.notAfter),
    key: keyOf(node, anatomy),
    signature: node.signatureAlgorithm ?? node.signatureAlgorithmOid ?? 'unknown',
    san: san ? readAlternativeNames(new Uint8Array(san.value)) : [],
    sanIsCritical: critical.includes(OID.subjectAltName),
    ...usesOf(certificate),
    usageIsCritical: critical.includes(OID.keyUsage),
    basicConstraintsAreCritical: critical.includes(OID.basicConstraints),
    criticalExtensions: critical,
    repeatedExtensions: types.filter((type, at) => types.indexOf(type) !== at),
    anatomy,
    sha256: hash('sha256', der),
    publicKeySha256: hash('sha256', new Uint8Array(certificate.publicKey.rawData)),
    ...(unreadable !== undefined && { unreadable }),
  }
}

function usesOf(
  certificate: X509Certificate,
): Pick<CertificateFacts, 'usage' | 'extendedUsage' | 'ca' | 'subjectKeyId' | 'authorityKeyId'> {
  const usage = certificate.getExtension(KeyUsagesExtension)
  const extended = certificate.getExtension(ExtendedKeyUsageExtension)
  const subjectKeyId = certificate.getExtension(SubjectKeyIdentifierExtension)?.keyId
  const authorityKeyId = certificate.getExtension(AuthorityKeyIdentifierExtension)?.keyId
  return {
    ...(usage && { usage: usageNames(usage.usages) }),
    ...(extended && {
      extendedUsage: Array.from(extended.usages, useName),
    }),
    ca: certificate.getExtension(BasicConstraintsExtension)?.ca ?? false,
    ...(subjectKeyId !== undefined && { subjectKeyId }),
    ...(authorityKeyId !== undefined && { authorityKeyId }),
  }
}

/** RFC 5280 §4.2.1.12. */
const EXTENDED_USES: Readonly<Record<string, string>> = {
  [OID.serverAuth]: 'serverAuth',
  [OID.clientAuth]: 'clientAuth',
  [OID.anyExtendedKeyUsage]: 'anyExtendedKeyUsage',
  '1.3.6.1.5.5.7.3.3': 'codeSigning',
  '1.3.6.1.5.5.7.3.4': 'emailProtection',
  '1.3.6.1.5.5.7.3.8': 'timeStamping',
  '1.3.6.1.5.5.7.3.9': 'ocspSigning',
}

function useName(oid: unknown): string {
  return EXTENDED_USES[String(oid)] ?? String(oid)
}

/** In the order of RFC 5280 §4.2.1.3. */
const USES = [
  'digitalSignature',
  'nonRepudiation',
  'keyEncipherment',
  'dataEncipherment',
  'keyAgreement',
  'keyCertSign',
  'cRLSign',
  'encipherOnly',
  'decipherOnly',
] as const

function usageNames(flags: number): readonly string[] {
  return USES.filter((name) => (flags & KeyUsageFlags[name]) !== 0)
}

const CURVES: Readonly<Record<string, string>> = {
  prime256v1: 'P-256',
  secp384r1: 'P-384',
  secp521r1: 'P-521',
}

/** What a key says of itself where OpenSSL cannot take it for one. */
const KEY_TYPES: Readonly<Record<string, string>> = {
  [OID.rsaEncryption]: 'rsa',
  [OID.ecPublicKey]: 'ec',
  [OID.ed25519]: 'ed25519',
}

function keyOf(certificate: NodeCertificate, { keyAlgorithm }: Anatomy): KeyFacts {
  try {
    return keyFactsOf(certificate.publicKey)
  } catch {
    return { type: KEY_TYPES[keyAlgorithm.name] ?? 'unknown' } // the findings say what that means
  }
}

/** What OpenSSL says of a key. */
export function keyFactsOf({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): KeyFacts {
  const { namedCurve, modulusLength, publicExponent } = asymmetricKeyDetails ?? {}
  return {
    type: asymmetricKeyType ?? 'unknown',
    ...(modulusLength !== undefined && { bits: modulusLength }),
    ...(namedCurve !== undefined && { curve: CURVES[namedCurve] ?? namedCurve }),
    ...(publicExponent !== undefined && { exponent: publicExponent }),
  }
}

function whyUnreadable(der: Uint8Array): string | undefined {
  try {
    readCertificate(der)
    return undefined
  } catch (cause) {
    if (!(cause instanceof CaError)) throw cause
    return cause.message.replace(/^Cannot [^:]*: /, '')
  }
}

function instantOf(date: Date): Temporal.Instant {
  return Temporal.Instant.fromEpochMilliseconds(date.getTime())
}

function plain(message: string): string {
  return message
    .replace(/\.$/, '')
    .replace(/[^\x20-\x7e]/g, '?')
    .slice(0, 200)
}

function refused(why: string, cause?: unknown): CaError {
  return new CaError('CA_DER_INVALID', `Cannot read a certificate: ${why}`, { cause })
}
