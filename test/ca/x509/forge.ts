/** Certificates with anything in them, for tests of what must be refused. Built apart from `ca/issue`. */
import { createHash, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import type { TrustBundle } from '#ca/x509/index.ts'
import { parseTrustDomain } from '#ca/spiffe/index.ts'
import { signedDer, signerOf } from '#ca/x509/algorithm.ts'
import { contextTag, derOf, oid, sequence, TAG, unsignedInteger } from '#ca/x509/der.ts'
import { OID } from '#ca/x509/index.ts'
import { timeDer } from '#ca/x509/time.ts'

/** The instant at which everything forged is in time. */
export const NOW: Temporal.Instant = Temporal.Instant.from('2026-06-01T12:00:00Z')

export const LEAF_ID = 'spiffe://prod.example/ns/pay/sa/api'

/** Extensions by a name of our own; `undefined` leaves one out, so that a case can. */
export type ExtensionSet = Readonly<Record<string, Uint8Array | undefined>>

export interface Forged {
  readonly der: Uint8Array
  readonly key: KeyObject
  readonly name: Uint8Array
  readonly ski: Uint8Array
}

export interface Forgery {
  readonly issuer?: Forged
  readonly key?: KeyObject
  readonly name?: Uint8Array
  readonly issuerName?: Uint8Array
  readonly notBefore?: Temporal.Instant
  readonly notAfter?: Temporal.Instant
  readonly serial?: Uint8Array
  readonly extensions?: ExtensionSet
  /** Signs in place of the issuer. */
  readonly signWith?: KeyObject
  readonly version?: Uint8Array
  /** AlgorithmIdentifier inside what is signed, and beside the signature. */
  readonly algorithm?: Uint8Array
  readonly outerAlgorithm?: Uint8Array
  /** In place of the two times; DER. */
  readonly validity?: Uint8Array
  /** In place of the key's own SubjectPublicKeyInfo. */
  readonly spki?: Uint8Array
  /** In place of the explicitly tagged list of extensions; empty for none. */
  readonly extensionPart?: (list: Uint8Array) => Uint8Array
}

const key = () => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey

/** Keys are dear to make and say nothing about a case: one for each role. */
const KEYS = { root: key(), issuing: key(), leaf: key() }

export function nameOf(text: string): Uint8Array {
  const attribute = sequence(oid(OID.commonName), derOf(TAG.utf8String, Buffer.from(text)))
  return sequence(derOf(TAG.set, attribute))
}

export const EMPTY_NAME: Uint8Array = sequence()

export const ext = {
  raw: (name: string, value: Uint8Array, critical: boolean): Uint8Array =>
    sequence(
      oid(name),
      ...(critical ? [derOf(TAG.boolean, Uint8Array.of(0xff))] : []),
      derOf(TAG.octetString, value),
    ),
  /** Context tag number and content of each name. */
  san: (names: readonly (readonly [number, Uint8Array | string])[], critical = true): Uint8Array =>
    ext.raw(
      OID.subjectAltName,
      sequence(
        ...names.map(([type, value]) =>
          derOf(
            contextTag(type, type === 0 || type === 4 ? 'constructed' : 'primitive'),
            typeof value === 'string' ? Buffer.from(value, 'latin1') : value,
          ),
        ),
      ),
      critical,
    ),
  uri: (uri: string, critical = true): Uint8Array => ext.san([[6, uri]], critical),
  keyUsage: (bits: number, critical = true): Uint8Array =>
    ext.raw(OID.keyUsage, derOf(TAG.bitString, Uint8Array.of(0, bits)), critical),
  eku: (...usages: readonly string[]): Uint8Array =>
    ext.raw(OID.extendedKeyUsage, sequence(...usages.map(oid)), false),
  ca: (pathLength?: number): Uint8Array =>
    ext.raw(
      OID.basicConstraints,
      sequence(
        derOf(TAG.boolean, Uint8Array.of(0xff)),
        ...(pathLength === undefined ? [] : [unsignedInteger(Uint8Array.of(pathLength))]),
      ),
      true,
    ),
  notCa: (): Uint8Array => ext.raw(OID.basicConstraints, sequence(), true),
  ski: (id: Uint8Array): Uint8Array =>
    ext.raw(OID.subjectKeyIdentifier, derOf(TAG.octetString, id), false),
  aki: (id: Uint8Array): Uint8Array =>
    ext.raw(OID.authorityKeyIdentifier, sequence(derOf(contextTag(0, 'primitive'), id)), false),
} as const

export const USAGE = { digitalSignature: 0x80, keyCertSign: 0x04, crlSign: 0x02 } as const

export function forge(what: Forgery): Forged {
  const subjectKey = what.key ?? KEYS.leaf
  const spki = createPublicKey(subjectKey).export({ type: 'spki', format: 'der' })
  const ski = createHash('sha1').update(spki).digest()
  const name = what.name ?? EMPTY_NAME
  const issuer = what.issuer ?? { name, key: subjectKey, ski }
  const signingKey = what.signWith ?? issuer.key
  const signer = signerOf(signingKey)
  const { extensionPart = (list) => derOf(contextTag(3), list) } = what
  const extensions = { ski: ext.ski(ski), aki: ext.aki(issuer.ski), ...what.extensions }
  const tbs = sequence(
    what.version ?? derOf(contextTag(0), derOf(TAG.integer, Uint8Array.of(2))),
    unsignedInteger(what.serial ?? Uint8Array.of(0x12, 0x34)),
    what.algorithm ?? signer.algorithmDer,
    what.issuerName ?? issuer.name,
    what.validity ??
      sequence(
        timeDer(what.notBefore ?? NOW.subtract({ hours: 1 })),
        timeDer(what.notAfter ?? NOW.add({ hours: 1 })),
      ),
    name,
    what.spki ?? spki,
    extensionPart(sequence(...Object.values(extensions).filter((one) => one !== undefined))),
  )
  const outer = {
    ...signer,
    algorithmDer: what.outerAlgorithm ?? what.algorithm ?? signer.algorithmDer,
  }
  const der = signedDer(tbs, outer, sign(signer.hash, tbs, signingKey))
  return { der, key: subjectKey, name, ski }
}

const CA_EXTENSIONS: ExtensionSet = {
  bc: ext.ca(),
  ku: ext.keyUsage(USAGE.keyCertSign | USAGE.crlSign),
  san: ext.uri('spiffe://prod.example', false),
}

export function forgeRoot(change: Forgery = {}): Forged {
  const extensions = { ...CA_EXTENSIONS, ...change.extensions }
  return forge({ key: KEYS.root, name: nameOf('root'), ...change, extensions })
}

export function forgeIssuing(root: Forged, change: Forgery = {}): Forged {
  const extensions = { ...CA_EXTENSIONS, ...change.extensions }
  return forge({ key: KEYS.issuing, name: nameOf('issuing'), issuer: root, ...change, extensions })
}

export function forgeLeaf(issuing: Forged, change: Forgery = {}): Forged {
  const extensions = {
    bc: ext.notCa(),
    ku: ext.keyUsage(USAGE.digitalSignature),
    eku: ext.eku(OID.serverAuth, OID.clientAuth),
    san: ext.uri(LEAF_ID),
    ...change.extensions,
  }
  return forge({ key: KEYS.leaf, issuer: issuing, ...change, extensions })
}

export function bundleOf(trustDomain: string, ...roots: readonly Forged[]): TrustBundle {
  return {
    trustDomain: parseTrustDomain(trustDomain),
    generation: 1,
    roots: roots.map(({ der }) => der),
  }
}

/** `levels` SEQUENCEs inside each other, with honest lengths. */
export function nested(levels: number): Uint8Array {
  let inner: Uint8Array = new Uint8Array()
  for (let level = 0; level < levels; level += 1) {
    inner = inner.length < 0xff00 ? derOf(TAG.sequence, inner) : inner
  }
  return inner
}
