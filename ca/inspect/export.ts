/**
 * Certificates and keys in the containers that other software wants. Written with node-forge, which
 * is used for nothing else: it never reads what somebody sent, and never verifies. Its certificate
 * and key classes know RSA alone, so only its ASN.1 writer, password encryption and key derivation
 * are used here; what goes in stays the bytes that it was.
 */
import forge from 'node-forge'

const { asn1, pki, pkcs12 } = forge
const { Class, Type } = asn1

type Node = forge.asn1.Asn1

/** RFC 2315, RFC 7292 and RFC 2985. */
const OID = {
  data: '1.2.840.113549.1.7.1',
  signedData: '1.2.840.113549.1.7.2',
  shroudedKeyBag: '1.2.840.113549.1.12.10.1.2',
  certificateBag: '1.2.840.113549.1.12.10.1.3',
  x509Certificate: '1.2.840.113549.1.9.22.1',
  localKeyId: '1.2.840.113549.1.9.21',
  sha256: '2.16.840.1.101.3.4.2.1',
} as const

/** Rounds of the password's key derivation: what OpenSSL writes today, times fifty. */
const ITERATIONS = 100_000

/** A PKCS#7 of certificates alone (RFC 2315 §9.1, "degenerate"), DER. */
export function toPkcs7(certificates: readonly Uint8Array[]): Uint8Array {
  const signedData = sequence(
    integer(1),
    set(),
    sequence(oid(OID.data)),
    explicit(0, ...certificates.map(fromDer)),
    set(),
  )
  return toBytes(sequence(oid(OID.signedData), explicit(0, signedData)))
}

export interface Pkcs12Input {
  /** DER, leaf first. */
  readonly certificates: readonly Uint8Array[]
  /** PKCS#8, DER; of the leaf. */
  readonly key: Uint8Array
  readonly password: string
  /** Cryptographically random, `length` bytes. */
  readonly randomBytes: (length: number) => Uint8Array
}

/**
 * A PKCS#12 (RFC 7292), DER: the key under PBES2 with AES-256, integrity by HMAC-SHA-256. The
 * certificates are not encrypted: they are public.
 */
export function toPkcs12({ certificates, key, password, randomBytes }: Pkcs12Input): Uint8Array {
  const keyId = binary(randomBytes(20))
  const bags = certificates.map((der, index) => certificateBag(der, index === 0 ? keyId : ''))
  const shrouded = pki.encryptPrivateKeyInfo(fromDer(key), forge.util.encodeUtf8(password), {
    algorithm: 'aes256',
    count: ITERATIONS,
    prfAlgorithm: 'sha256',
  })
  const keyBag = bag(OID.shroudedKeyBag, shrouded as Node, keyId)
  const safe = asn1
    .toDer(sequence(dataContent(sequence(...bags)), dataContent(sequence(keyBag))))
    .getBytes()
  return toBytes(
    sequence(
      integer(3),
      sequence(oid(OID.data), explicit(0, octets(safe))),
      macData(safe, password, binary(randomBytes(16))),
    ),
  )
}

function certificateBag(der: Uint8Array, keyId: string): Node {
  const value = sequence(oid(OID.x509Certificate), explicit(0, octets(binary(der))))
  return bag(OID.certificateBag, value, keyId)
}

function bag(type: string, value: Node, keyId: string): Node {
  const attributes = keyId === '' ? [] : [set(sequence(oid(OID.localKeyId), set(octets(keyId))))]
  return sequence(oid(type), explicit(0, value), ...attributes)
}

function dataContent(content: Node): Node {
  return sequence(oid(OID.data), explicit(0, octets(asn1.toDer(content).getBytes())))
}

/** RFC 7292 §4 and Appendix B: ID 3 derives the key of a MAC. */
function macData(safe: string, password: string, salt: string): Node {
  const digest = forge.md.sha256.create()
  const key = pkcs12.generateKey(
    password,
    forge.util.createBuffer(salt),
    3,
    ITERATIONS,
    digest.digestLength,
    digest,
  )
  const mac = forge.hmac.create()
  mac.start('sha256', key)
  mac.update(safe)
  const algorithm = sequence(oid(OID.sha256), asn1.create(Class.UNIVERSAL, Type.NULL, false, ''))
  return sequence(
    sequence(algorithm, octets(mac.getMac().getBytes())),
    octets(salt),
    integer(ITERATIONS),
  )
}

function sequence(...of: readonly Node[]): Node {
  return asn1.create(Class.UNIVERSAL, Type.SEQUENCE, true, [...of])
}

function set(...of: readonly Node[]): Node {
  return asn1.create(Class.UNIVERSAL, Type.SET, true, [...of])
}

function explicit(tag: number, ...of: readonly Node[]): Node {
  return asn1.create(Class.CONTEXT_SPECIFIC, tag as forge.asn1.Type, true, [...of])
}

function oid(dotted: string): Node {
  return asn1.create(Class.UNIVERSAL, Type.OID, false, asn1.oidToDer(dotted).getBytes())
}

function octets(bytes: string): Node {
  return asn1.create(Class.UNIVERSAL, Type.OCTETSTRING, false, bytes)
}

function integer(value: number): Node {
  return asn1.create(Class.UNIVERSAL, Type.INTEGER, false, asn1.integerToDer(value).getBytes())
}

function fromDer(der: Uint8Array): Node {
  return asn1.fromDer(forge.util.createBuffer(binary(der)))
}

/** node-forge's bytes are the characters of a string. */
function binary(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('latin1')
}

function toBytes(node: Node): Uint8Array {
  return new Uint8Array(Buffer.from(asn1.toDer(node).getBytes(), 'latin1'))
}
