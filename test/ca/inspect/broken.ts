/** For each rule of `cert inspect` a certificate that breaks it and no other. */
import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'

import { contextTag, derOf, oid, sequence, TAG, unsignedInteger } from '#ca/x509/der.ts'
import { OID } from '#ca/x509/index.ts'
import { timeDer } from '#ca/x509/time.ts'
import {
  EMPTY_NAME,
  ext,
  type Forgery,
  forgeLeaf,
  forgeRoot,
  LEAF_ID,
  nameOf,
  NOW,
  USAGE,
} from '../x509/forge.ts'

const SERIAL = Buffer.from('7f2b5a9c31e84d06b7d1c05e9a3f6218', 'hex')

/** keyUsage as DER has it: the zeros at its end are counted, not written. */
function usage(bits: number, critical = true): Uint8Array {
  const unused = bits === 0 ? 0 : 31 - Math.clz32(bits & -bits)
  const body = bits === 0 ? [0] : [unused, bits]
  return ext.raw(OID.keyUsage, derOf(TAG.bitString, Uint8Array.from(body)), critical)
}

const END = NOW.add({ minutes: 58 })
const SIGN_BOTH = USAGE.keyCertSign | USAGE.crlSign

/** A root without a fault, but for the change. */
export function rootWith({ extensions, ...change }: Forgery = {}): Uint8Array {
  return forgeRoot({
    serial: SERIAL,
    notAfter: NOW.add({ hours: 24 * 365 }),
    ...change,
    extensions: { ku: usage(SIGN_BOTH), ...extensions },
  }).der
}

const issuing = forgeRoot({ serial: SERIAL })

/** A leaf without a fault, but for the change. */
export function leafWith({ extensions, ...change }: Forgery = {}): Uint8Array {
  return forgeLeaf(issuing, {
    serial: SERIAL,
    notBefore: NOW.subtract({ minutes: 2 }),
    notAfter: END,
    ...change,
    extensions: { ku: usage(USAGE.digitalSignature), ...extensions },
  }).der
}

const unknown = (critical: boolean) => ext.raw('1.2.3.4.5', Uint8Array.of(5, 0), critical)

/** SubjectPublicKeyInfo of an RSA key that nobody has: its modulus is any odd number of so many bits. */
function rsa(bits: number, exponent = 'AQAB'): Buffer {
  const modulus = Buffer.alloc(bits / 8, 0xa5)
  const jwk = { kty: 'RSA', n: modulus.toString('base64url'), e: exponent }
  return createPublicKey({ key: jwk, format: 'jwk' }).export({ type: 'spki', format: 'der' })
}

const ed25519 = generateKeyPairSync('ed25519').privateKey

function spkiOf(key: KeyObject): Buffer {
  return createPublicKey(key).export({ type: 'spki', format: 'der' })
}

/** An RSA key whose parameters are left out: NULL becomes nothing, and two lengths follow. */
function rsaWithoutNull(): Uint8Array {
  const bits = rsa(2048).subarray(4 + 15)
  return sequence(sequence(oid(OID.rsaEncryption)), bits)
}

function ed25519WithNull(): Uint8Array {
  const bits = spkiOf(ed25519).subarray(2 + 7)
  return sequence(sequence(oid(OID.ed25519), NULL), bits)
}

const NULL = Uint8Array.of(TAG.null, 0)

function explicitCurve(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: 'P-256', paramEncoding: 'explicit' }).privateKey
}

function generalized(text: string): Uint8Array {
  return derOf(TAG.generalizedTime, Buffer.from(text))
}

/** An extension whose boolean is any byte. */
function flagged(name: string, flag: number, value: Uint8Array): Uint8Array {
  return sequence(oid(name), derOf(TAG.boolean, Uint8Array.of(flag)), derOf(TAG.octetString, value))
}

/** A length in more bytes than it needs. */
function longWay(der: Uint8Array): Uint8Array {
  return Buffer.concat([der.subarray(0, 1), Uint8Array.of(0x81), der.subarray(1)])
}

const NAME_CONSTRAINTS = sequence(
  derOf(contextTag(0), sequence(derOf(contextTag(6, 'primitive'), Buffer.from('prod.example')))),
)
const ED25519_AGREEMENT = usage(USAGE.digitalSignature | 0x08)
const SHA1_WITH_RSA = sequence(oid('1.2.840.113549.1.1.5'), NULL)
const ECDSA_WITH_NULL = sequence(oid(OID.ecdsaWithSha256), NULL)

const leaf = (change: Forgery) => (): Uint8Array => leafWith(change)
const root = (change: Forgery) => (): Uint8Array => rootWith(change)
/** A leaf with one extension otherwise; by the names of `forge.ts`. */
const saying = (extensions: NonNullable<Forgery['extensions']>) => leaf({ extensions })
const named = (...names: Parameters<typeof ext.san>[0]) =>
  saying({ san: ext.san([[6, LEAF_ID], ...names]) })

export const BROKEN: Readonly<Record<string, () => Uint8Array>> = {
  expired: leaf({ notAfter: NOW.subtract({ seconds: 1 }) }),
  'not-yet-valid': leaf({ notBefore: NOW.add({ seconds: 1 }) }),
  'validity-order': leaf({ notBefore: NOW.add({ hours: 2 }), notAfter: NOW.add({ hours: 1 }) }),
  'time-type': leaf({
    validity: sequence(timeDer(NOW.subtract({ minutes: 2 })), generalized('20260601125800Z')),
  }),
  'time-fraction': root({
    validity: sequence(timeDer(NOW.subtract({ minutes: 2 })), generalized('20500101000000.5Z')),
  }),
  endless: leaf({
    validity: sequence(timeDer(NOW.subtract({ minutes: 2 })), generalized('99991231235959Z')),
  }),
  'svid-short-life': leaf({ notAfter: NOW.add({ hours: 720 }) }),
  'svid-rotation-late': leaf({
    notBefore: NOW.subtract({ hours: 4 }),
    notAfter: NOW.add({ minutes: 10 }),
  }),
  'serial-positive': leaf({ serial: Uint8Array.of(0) }),
  'serial-length': leaf({ serial: new Uint8Array(21).fill(0x7f) }),
  'serial-random': leaf({ serial: Uint8Array.of(1) }),

  'rsa-bits': leaf({ spki: rsa(1024) }),
  'rsa-size': leaf({ spki: rsa(4104) }),
  'rsa-exponent': leaf({ spki: rsa(2048, 'Aw') }),
  'rsa-parameters': () => leafWith({ spki: rsaWithoutNull() }),
  'ec-named-curve': () => leafWith({ key: explicitCurve() }),
  'key-type': () =>
    leafWith({ key: generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).privateKey }),
  'ed25519-parameters': () => leafWith({ spki: ed25519WithNull() }),
  'ec-encipherment': saying({ ku: usage(USAGE.digitalSignature | 0x20) }),
  'ed25519-usage': leaf({ key: ed25519, extensions: { ku: ED25519_AGREEMENT } }),
  'signature-hash': leaf({ algorithm: SHA1_WITH_RSA }),
  'signature-algorithms-agree': leaf({ outerAlgorithm: sequence(oid('1.2.840.10045.4.3.3')) }),
  'ecdsa-parameters': leaf({ algorithm: ECDSA_WITH_NULL }),

  'version-3': leaf({ version: derOf(contextTag(0), derOf(TAG.integer, Uint8Array.of(1))) }),
  'issuer-named': leaf({
    issuerName: EMPTY_NAME,
    name: nameOf('api'),
    extensions: { san: both() },
  }),
  'unique-identifiers': leaf({
    extensionPart: (list) =>
      Buffer.concat([
        derOf(contextTag(1, 'primitive'), Uint8Array.of(0, 1)),
        derOf(contextTag(3), list),
      ]),
  }),
  'extension-once': saying({ a: unknown(false), b: unknown(false) }),
  'critical-understood': saying({ a: unknown(true) }),
  'authority-key-identifier': saying({ aki: undefined }),
  'authority-key-identifier-plain': saying({
    aki: ext.raw(
      OID.authorityKeyIdentifier,
      sequence(derOf(contextTag(0, 'primitive'), issuing.ski)),
      true,
    ),
  }),
  'subject-key-identifier-plain': saying({
    ski: ext.raw(OID.subjectKeyIdentifier, derOf(TAG.octetString, issuing.ski), true),
  }),
  'names-present': root({ extensions: { san: ext.san([]) } }),
  'names-ascii': named([1, Buffer.from('jos\u00e9@prod.example', 'latin1')]),
  'dns-name': named([2, 'api prod.example']),
  'ip-length': named([7, Uint8Array.of(10, 0, 0, 1, 24)]),
  'boolean-form': saying({ bc: flagged(OID.basicConstraints, 1, sequence()) }),
  'defaults-left-out': saying({ a: flagged('1.2.3.4.5', 0, NULL) }),
  readable: saying({ ski: longWay(ext.ski(issuing.ski)) }),

  'key-usage': saying({ ku: usage(USAGE.digitalSignature, false) }),
  'key-usage-some': saying({ ku: usage(0) }),
  'key-usage-trimmed': saying({ ku: ext.keyUsage(USAGE.digitalSignature) }),
  'only-with-agreement': saying({ ku: usage(USAGE.digitalSignature | 0x01) }),
  'any-usage-plain': saying({
    eku: ext.raw(
      OID.extendedKeyUsage,
      sequence(...[OID.serverAuth, OID.clientAuth, OID.anyExtendedKeyUsage].map(oid)),
      true,
    ),
  }),
  'path-length-of-authority': saying({
    bc: ext.raw(OID.basicConstraints, sequence(unsignedInteger(Uint8Array.of(0))), true),
  }),
  'constraints-default-left-out': saying({
    bc: ext.raw(OID.basicConstraints, sequence(derOf(TAG.boolean, Uint8Array.of(0))), true),
  }),

  'svid-one-uri': named([6, 'spiffe://prod.example/ns/pay/sa/other']),
  'svid-id-scheme': saying({ san: ext.uri('https://prod.example/ns/pay/sa/api') }),
  'svid-id-trust-domain': saying({ san: ext.uri('spiffe://Prod.example/ns/pay/sa/api') }),
  'svid-id-path': saying({ san: ext.uri('spiffe://prod.example/ns/../sa/api') }),
  'svid-id-length': saying({ san: ext.uri(`spiffe://prod.example/${'a'.repeat(2048)}`) }),
  'svid-id-of-workload': saying({ san: ext.uri('spiffe://prod.example') }),
  'svid-mesh-name': saying({ san: ext.uri('spiffe://prod.example/spire/agent') }),
  'svid-names-critical': saying({ san: ext.uri(LEAF_ID, false) }),
  'svid-common-name': leaf({ name: nameOf('api') }),
  'svid-key-identifier': saying({ ski: undefined }),
  'svid-constrains-nobody': saying({ nc: ext.raw(OID.nameConstraints, NAME_CONSTRAINTS, true) }),
  'svid-digital-signature': saying({ ku: usage(0x08) }),
  'svid-signs-nothing': saying({ ku: usage(USAGE.digitalSignature | USAGE.crlSign) }),
  'svid-both-roles': saying({ eku: ext.eku(OID.serverAuth) }),
  'svid-extended-usage': saying({ eku: undefined }),

  'ca-named': root({ name: EMPTY_NAME, issuerName: nameOf('root') }),
  'ca-basic-constraints-critical': root({ extensions: { bc: plainCa() } }),
  'ca-signs-certificates': root({ extensions: { ku: usage(USAGE.crlSign) } }),
  'ca-authenticates-nobody': root({
    extensions: { ku: usage(SIGN_BOTH | USAGE.digitalSignature) },
  }),
  'ca-id-without-path': root({ extensions: { san: ext.uri(LEAF_ID, false) } }),
  'ca-one-uri': root({
    extensions: {
      san: ext.san(
        [6, 6].map((type) => [type, 'spiffe://prod.example']),
        false,
      ),
    },
  }),
  'ca-names-trust-domain': root({ extensions: { san: undefined } }),
  'ca-key-identifier': root({ extensions: { ski: undefined } }),
  'ca-extended-usage': root({ extensions: { eku: ext.eku(OID.serverAuth) } }),
  'ca-name-constraints-critical': root({
    extensions: { nc: ext.raw(OID.nameConstraints, NAME_CONSTRAINTS, false) },
  }),
}

/** The SPIFFE ID, and the common name as a DNS name. */
function both(): Uint8Array {
  return ext.san([
    [6, LEAF_ID],
    [2, 'api'],
  ])
}

function plainCa(): Uint8Array {
  const value = sequence(derOf(TAG.boolean, Uint8Array.of(0xff)))
  return ext.raw(OID.basicConstraints, value, false)
}
