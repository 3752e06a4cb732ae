/**
 * What a leaf says, and its DER.
 *
 * Everything that is the same in each leaf, or in each leaf of one issuer, is encoded once: a
 * certificate is then a dozen concatenations, where a general generator spends 2 to 3 ms
 * (test/bench/issue.bench.ts).
 */
import type { LifeReason } from '../log/entry.ts'
import type { SpiffeId } from '../spiffe/index.ts'
import { contextTag, derOf, oid, sequence, TAG, unsignedInteger } from '../x509/der.ts'
import { KEY_ID_BYTES, keyIdentifier, OID } from '../x509/index.ts'
import { instantOf, timeDer } from '../x509/time.ts'

/** What a leaf will say, before anyone has signed it. Plain data: it can be logged, diffed, tested. */
export interface SvidTemplate {
  readonly spiffeId: SpiffeId
  /** Names beside it, of servers whose clients know none of SPIFFE. @default none */
  readonly dnsNames?: readonly string[]
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKeyDer: Uint8Array
  /** At most 20 bytes, read as an unsigned number. */
  readonly serial: Uint8Array
  readonly issuedAt: Temporal.Instant
  /** To the second, as certificates have it. */
  readonly notBefore: Temporal.Instant
  readonly notAfter: Temporal.Instant
  /** Why that is its end. */
  readonly life: LifeReason
}

/** Who asks for what, once admitted. */
export interface SvidRequest {
  readonly spiffeId: SpiffeId
  /** Granted to the CA's own server certificate alone. */
  readonly dnsNames?: readonly string[]
  readonly publicKeyDer: Uint8Array
  readonly ttl: Temporal.Duration
  /** Why it is that. @default 'default' */
  readonly life?: LifeReason
}

/** Seconds of clock skew that a fresh certificate forgives. */
export const BACKDATE_SECONDS = 120

/** 128 random bits: under the 20 bytes of RFC 5280 §4.1.2.2, over the 64 bits that CAs must draw. */
export const SERIAL_BYTES = 16

/**
 * The template for `request`. Pure.
 *
 * @param entropy - Its serial: bytes that no other certificate has had.
 * @param issuerNotAfter - The issuer's end; no leaf outlives it.
 */
export function planSvid(
  { spiffeId, dnsNames = [], publicKeyDer, ttl, life = 'default' }: SvidRequest,
  now: Temporal.Instant,
  entropy: Uint8Array,
  issuerNotAfter: Temporal.Instant,
): SvidTemplate {
  const issuedMs = now.epochMilliseconds
  const wantedMs = issuedMs + millisecondsOf(ttl)
  const issuerMs = issuerNotAfter.epochMilliseconds
  return {
    spiffeId,
    dnsNames,
    publicKeyDer,
    serial: entropy,
    issuedAt: now,
    notBefore: secondOf(issuedMs - BACKDATE_SECONDS * 1000),
    notAfter: secondOf(Math.min(wantedMs, issuerMs)),
    life: issuerMs < wantedMs ? 'issuer' : life,
  }
}

/** Temporal's own arithmetic is a tenth of what a leaf costs; this is the same to the second. */
function secondOf(epochMs: number): Temporal.Instant {
  return instantOf(Math.floor(epochMs / 1000) * 1000)
}

/** How long that is; most leaves live by one and the same. */
const millisecondsOf = newest((life: Temporal.Duration) => life.total('milliseconds'))

/** `of`, which remembers the last answer. */
function newest<Input, Output>(of: (input: Input) => Output): (input: Input) => Output {
  let last: { readonly input: Input; readonly output: Output } | undefined
  return (input) => {
    if (last?.input !== input) last = { input, output: of(input) }
    return last.output
  }
}

/** What every leaf of one issuer has in common, encoded. */
export interface IssuerParts {
  readonly algorithmDer: Uint8Array
  /** Name, DER: the issuing CA's subject. */
  readonly name: Uint8Array
  /** The issuing CA's subject key identifier. */
  readonly ski: Uint8Array
}

/** Encodes leaves of one issuer; the result is the signed part, TBSCertificate. */
export function compileTemplate(issuer: IssuerParts): (template: SvidTemplate) => Uint8Array {
  const [start, end] = [newest(timeDer), newest(timeDer)]
  const algorithmAndName = Buffer.concat([issuer.algorithmDer, issuer.name])
  // A key's identifier comes last, and is as long in each leaf.
  const extensionsToKeyId = Buffer.concat([
    LEAF_EXTENSIONS,
    authorityKeyIdentifier(issuer.ski),
    subjectKeyIdentifier(new Uint8Array(KEY_ID_BYTES)).subarray(0, -KEY_ID_BYTES),
  ])
  return ({ spiffeId, dnsNames, publicKeyDer, serial, notBefore, notAfter }) =>
    sequence(
      VERSION_3,
      unsignedInteger(serial),
      algorithmAndName,
      sequence(start(notBefore), end(notAfter)),
      EMPTY_NAME,
      publicKeyDer,
      extensionList(
        extensionsToKeyId,
        keyIdentifier(publicKeyDer),
        // Critical because the subject is empty (RFC 5280 §4.1.2.6, X509-SVID §2).
        uriName(spiffeId, 'critical', dnsNames),
      ),
    )
}

/** X.509 version 3, explicitly tagged. */
export const VERSION_3: Uint8Array = derOf(contextTag(0), derOf(TAG.integer, Uint8Array.of(2)))

const EMPTY_NAME = sequence()

/** One extension; `critical` is written only when true, as DER has it. */
export function extension(
  name: string,
  value: Uint8Array,
  criticality: 'critical' | 'plain' = 'plain',
): Uint8Array {
  const flag = criticality === 'critical' ? TRUE : NOTHING
  return sequence(EXTENSION_OIDS[name] ?? oid(name), flag, derOf(TAG.octetString, value))
}

const TRUE = derOf(TAG.boolean, Uint8Array.of(0xff))
const NOTHING = new Uint8Array()

/** Of the extensions that each leaf spells anew. */
const EXTENSION_OIDS: Readonly<Record<string, Uint8Array>> = {
  [OID.subjectAltName]: oid(OID.subjectAltName),
  [OID.subjectKeyIdentifier]: oid(OID.subjectKeyIdentifier),
}

/** The extensions of a certificate, explicitly tagged. */
export function extensionList(...extensions: readonly Uint8Array[]): Uint8Array {
  return derOf(contextTag(3), sequence(...extensions))
}

/** keyUsage from its first byte; `unused` counts the zero bits at its end (X.690 §11.2.2). */
export function keyUsage(bits: number, unused: number): Uint8Array {
  return extension(OID.keyUsage, derOf(TAG.bitString, Uint8Array.of(unused, bits)), 'critical')
}

/** subjectAltName of one URI, and of DNS names after it. */
export function uriName(
  uri: string,
  criticality: 'critical' | 'plain',
  dnsNames: readonly string[] = [],
): Uint8Array {
  const name = derOf(contextTag(6, 'primitive'), Buffer.from(uri, 'latin1'))
  const others = dnsNames.map((dns) =>
    derOf(contextTag(2, 'primitive'), Buffer.from(dns, 'latin1')),
  )
  return extension(OID.subjectAltName, sequence(name, ...others), criticality)
}

/** subjectKeyIdentifier. */
export function subjectKeyIdentifier(ski: Uint8Array): Uint8Array {
  return extension(OID.subjectKeyIdentifier, derOf(TAG.octetString, ski))
}

/** authorityKeyIdentifier with nothing but the issuer's key identifier. */
export function authorityKeyIdentifier(ski: Uint8Array): Uint8Array {
  const id = derOf(contextTag(0, 'primitive'), ski)
  return extension(OID.authorityKeyIdentifier, sequence(id))
}

const DIGITAL_SIGNATURE = 0x80
const LEAF_KEY_USAGE = keyUsage(DIGITAL_SIGNATURE, 7)
const LEAF_EXTENDED_KEY_USAGE = extension(
  OID.extendedKeyUsage,
  sequence(oid(OID.serverAuth), oid(OID.clientAuth)),
)
/** cA is false by default and defaults are not written: an empty sequence. */
const LEAF_BASIC_CONSTRAINTS = extension(OID.basicConstraints, sequence(), 'critical')

/** The extensions that are the same in every leaf. */
const LEAF_EXTENSIONS: Uint8Array = Buffer.concat([
  LEAF_KEY_USAGE,
  LEAF_EXTENDED_KEY_USAGE,
  LEAF_BASIC_CONSTRAINTS,
])

/** `instant` without its fraction of a second. */
export function toSecond(instant: Temporal.Instant): Temporal.Instant {
  return instant.round({ smallestUnit: 'second', roundingMode: 'floor' })
}

/** The earlier of two. */
export function earlier(a: Temporal.Instant, b: Temporal.Instant): Temporal.Instant {
  return Temporal.Instant.compare(a, b) < 0 ? a : b
}

/** Lower-case hex without leading zero bytes: the form in which certificates and ledger are compared. */
export function serialText(serial: Uint8Array): string {
  const hex = serial.toHex()
  let from = 0
  while (hex.startsWith('00', from) && from < hex.length - 2) from += 2
  return hex.slice(from)
}
