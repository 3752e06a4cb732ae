import 'reflect-metadata'
import { createHash, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { Pkcs10CertificateRequest, Pkcs10CertificateRequestGenerator } from '@peculiar/x509'
import test from 'ava'
import fc from 'fast-check'
import { CaError } from '#ca/index.ts'
import { signedDer, signerOf } from '#ca/x509/algorithm.ts'
import { contextTag, derOf, oid, sequence, TAG } from '#ca/x509/der.ts'
import {
  buildCsr,
  MAX_CSR_BYTES,
  type Life,
  p256Pkcs8,
  p256Spki,
  rotateAt,
  verifyCsr,
} from '#ca/x509/index.ts'
import { nested } from './forge.ts'

const keys: Readonly<Record<string, () => KeyObject>> = {
  'P-256': () => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey,
  'P-384': () => generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey,
  Ed25519: () => generateKeyPairSync('ed25519').privateKey,
  'RSA-2048': () => generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey,
  'RSA-4096': () => generateKeyPairSync('rsa', { modulusLength: 4096 }).privateKey,
}
for (const [name, key] of Object.entries(keys)) {
  test(`verifyCsr() takes what buildCsr() made of ${name}, and so does @peculiar/x509`, async (t) => {
    const privateKey = key()
    const der = buildCsr(privateKey)
    const { publicKeyDer } = verifyCsr(der)
    const spki = createPublicKey(privateKey).export({ type: 'spki', format: 'der' })
    t.is(Buffer.compare(publicKeyDer, spki), 0)
    const theirs = new Pkcs10CertificateRequest(Uint8Array.from(der))
    t.is(theirs.subject, '')
    t.true(await theirs.verify())
  })
}

test('verifyCsr() takes a request of @peculiar/x509 and reads nothing of its names (users §2.1.3, §2.1.14)', async (t) => {
  const keys = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, [
    'sign',
    'verify',
  ])
  const request = await Pkcs10CertificateRequestGenerator.create({
    name: 'CN=admin',
    keys,
    signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
  })
  const answer = verifyCsr(new Uint8Array(request.rawData))
  t.deepEqual(Object.keys(answer).toSorted(), ['key', 'publicKeyDer'])
  t.deepEqual(answer.key, { type: 'ec', curve: 'P-256' })
})

/** The valid base, made by hand so that one thing can be changed. */
const key = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
const version = Uint8Array.of(TAG.integer, 1, 0)
const spkiOf = (of: KeyObject) => createPublicKey(of).export({ type: 'spki', format: 'der' })
function request(change: { parts?: readonly Uint8Array[]; signWith?: KeyObject } = {}): Uint8Array {
  const { parts = [version, sequence(), spkiOf(key), derOf(contextTag(0))], signWith = key } =
    change
  const info = sequence(...parts)
  const signer = signerOf(signWith)
  return signedDer(info, signer, sign(signer.hash, info, signWith))
}

test('verifyCsr() takes the base', (t) => {
  t.deepEqual(verifyCsr(request()).key, { type: 'ec', curve: 'P-256' })
})

const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
const curve = (namedCurve: string) => generateKeyPairSync('ec', { namedCurve }).privateKey
const rsa = (modulusLength: number, publicExponent = 65_537) =>
  generateKeyPairSync('rsa', { modulusLength, publicExponent }).privateKey

const refused: Readonly<Record<string, () => Uint8Array>> = {
  'one signed by another key (users §2.2.21)': () => request({ signWith: stranger }),
  'one signed by a key of another kind': () =>
    request({ signWith: generateKeyPairSync('ed25519').privateKey }),
  'another version': () =>
    request({
      parts: [Uint8Array.of(TAG.integer, 1, 1), sequence(), spkiOf(key), derOf(contextTag(0))],
    }),
  'one without a key': () => request({ parts: [version, sequence()] }),
  'one with a part too many': () =>
    request({ parts: [version, sequence(), spkiOf(key), derOf(contextTag(0)), sequence()] }),
  'RSA of 1024 bits': () => buildCsr(rsa(1024)),
  'RSA of 2047 bits': () => buildCsr(rsa(2047)),
  'RSA of 4104 bits': () => buildCsr(rsa(4104)),
  'RSA with exponent 3 (users §2.1.16)': () => buildCsr(rsa(2048, 3)),
  secp256k1: () => {
    const odd = curve('secp256k1')
    const info = sequence(version, sequence(), spkiOf(odd), derOf(contextTag(0)))
    return signedDer(info, signerOf(key), sign('sha256', info, odd))
  },
  'a key algorithm with something after its curve': () => {
    const point = spkiOf(key).subarray(-65)
    const algorithm = sequence(oid('1.2.840.10045.2.1'), oid('1.2.840.10045.3.1.7'), sequence())
    const spki = sequence(algorithm, derOf(TAG.bitString, Uint8Array.of(0), point))
    return request({ parts: [version, sequence(), spki, derOf(contextTag(0))] })
  },
  'a point off the curve': () => {
    const point = Uint8Array.from(spkiOf(key).subarray(-65))
    point[64]! ^= 1
    const algorithm = sequence(oid('1.2.840.10045.2.1'), oid('1.2.840.10045.3.1.7'))
    const spki = sequence(algorithm, derOf(TAG.bitString, Uint8Array.of(0), point))
    return request({ parts: [version, sequence(), spki, derOf(contextTag(0))] })
  },
  'more bytes than any request needs': () => new Uint8Array(MAX_CSR_BYTES + 1),
  '10,000 nested sequences': () => nested(10_000),
  nothing: () => new Uint8Array(),
}
for (const [what, der] of Object.entries(refused)) {
  test(`verifyCsr() refuses ${what}`, (t) => {
    t.throws(() => verifyCsr(der()), { instanceOf: CaError, code: 'CA_CSR_REJECTED' })
  })
}

test('verifyCsr() refuses what is too large before it reads it', (t) => {
  t.throws(() => verifyCsr(new Uint8Array(MAX_CSR_BYTES + 1)), {
    message: 'Cannot take a certificate request: it has 8193 bytes, expected at most 8192',
  })
})

test('verifyCsr() refuses a compressed point and a negative modulus by their DER alone', (t) => {
  const algorithm = sequence(oid('1.2.840.10045.2.1'), oid('1.2.840.10045.3.1.7'))
  const point = Uint8Array.from(spkiOf(key).subarray(-65, -32))
  point[0] = 2
  const ec = sequence(algorithm, derOf(TAG.bitString, Uint8Array.of(0), point))
  t.throws(() => verifyCsr(request({ parts: [version, sequence(), ec, derOf(contextTag(0))] })), {
    message: /its point is not in uncompressed form$/,
  })
  const modulus = derOf(TAG.integer, new Uint8Array(256).fill(0x80))
  const rsaKey = sequence(modulus, derOf(TAG.integer, Uint8Array.of(1, 0, 1)))
  const name = sequence(oid('1.2.840.113549.1.1.1'), Uint8Array.of(TAG.null, 0))
  const negative = sequence(name, derOf(TAG.bitString, Uint8Array.of(0), rsaKey))
  const parts = [version, sequence(), negative, derOf(contextTag(0))]
  t.throws(() => verifyCsr(request({ parts })), { message: /its modulus is negative$/ })
})

test('verifyCsr() refuses a huge RSA key before any arithmetic (users §2.1.19, §2.2.23)', (t) => {
  const modulus = derOf(TAG.integer, Uint8Array.of(0, 0xff), new Uint8Array(7000).fill(0xff))
  const exponent = derOf(TAG.integer, Uint8Array.of(1, 0, 1))
  const bits = derOf(TAG.bitString, Uint8Array.of(0), sequence(modulus, exponent))
  const spki = sequence(
    sequence(Buffer.from('06092a864886f70d010101', 'hex'), Buffer.from('0500', 'hex')),
    bits,
  )
  t.throws(() => verifyCsr(request({ parts: [version, sequence(), spki, derOf(contextTag(0))] })), {
    message: /RSA of 56008 bits, expected 2048 to 4096/,
  })
})

test('verifyCsr() refuses an Ed25519 signature with S + L in place of S (users §2.1.17)', (t) => {
  const privateKey = generateKeyPairSync('ed25519').privateKey
  const sound = Uint8Array.from(buildCsr(privateKey))
  t.is(verifyCsr(sound).key.type, 'ed25519')
  const order = 2n ** 252n + 27_742_317_777_372_353_535_851_937_790_883_648_493n
  const from = sound.length - 32 // S is the second half, little-endian
  let s = order
  for (let at = 0; at < 32; at += 1) s += BigInt(sound[from + at]!) << BigInt(8 * at)
  for (let at = 0; at < 32; at += 1) sound[from + at] = Number((s >> BigInt(8 * at)) & 0xffn)
  t.throws(() => verifyCsr(sound), { message: /its signature is not by its own key/ })
})

test('verifyCsr() refuses the base with any one byte changed', (t) => {
  const sound = request()
  for (let at = 0; at < sound.length; at += 1) {
    const mutated = Uint8Array.from(sound)
    mutated[at]! ^= 0x55
    t.throws(() => verifyCsr(mutated), { code: 'CA_CSR_REJECTED' }, `byte ${at}`)
  }
})

test('verifyCsr() throws nothing but CA_CSR_REJECTED on mutated requests (users §2.1.13)', (t) => {
  const sound = request()
  const digest = createHash('sha256').update(sound).digest('hex')
  const mutation = fc.tuple(fc.nat(sound.length), fc.nat(30), fc.uint8Array({ maxLength: 40 }))
  const property = fc.property(mutation, ([at, cut, put]) => {
    const mutated = Buffer.concat([sound.subarray(0, at), put, sound.subarray(at + cut)])
    try {
      verifyCsr(mutated)
      return createHash('sha256').update(mutated).digest('hex') === digest
    } catch (error) {
      return error instanceof CaError && error.code === 'CA_CSR_REJECTED'
    }
  })
  t.notThrows(() => fc.assert(property, { numRuns: 1500, seed: 11 }))
})

test('p256Spki() and p256Pkcs8() write what OpenSSL does, byte for byte', (t) => {
  for (let n = 0; n < 600; n += 1) {
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const point = publicKey.export({ format: 'raw-public' })
    const scalar = privateKey.export({ format: 'raw-private' })
    const spki = publicKey.export({ type: 'spki', format: 'der' })
    const pkcs8 = privateKey.export({ type: 'pkcs8', format: 'der' })
    t.deepEqual(Buffer.from(p256Spki(point)), spki)
    t.deepEqual(Buffer.from(p256Pkcs8(scalar, point)), pkcs8)
    t.throws(() => p256Spki(point.subarray(1)), { code: 'CA_DER_INVALID' })
    t.throws(() => p256Pkcs8(scalar.subarray(1), point), { code: 'CA_DER_INVALID' })
  }
})

test('rotateAt() is between 40% and 50% of the life, whatever the spread', (t) => {
  const issuedAt = Temporal.Instant.from('2026-01-01T00:00:00Z')
  const life: Life = { issuedAt, notAfter: issuedAt.add({ hours: 10 }) }
  t.is(rotateAt(life, 0).toString(), '2026-01-01T05:00:00Z')
  t.is(rotateAt(life, 1).toString(), '2026-01-01T04:00:00Z')
  const property = fc.property(fc.double({ min: 0, max: 1, noNaN: true }), (spread) => {
    const atMs = rotateAt(life, spread).epochMilliseconds - issuedAt.epochMilliseconds
    return atMs >= 0.4 * 36_000_000 && atMs <= 0.5 * 36_000_000
  })
  t.notThrows(() => fc.assert(property))
})
