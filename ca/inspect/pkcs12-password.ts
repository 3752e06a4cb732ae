/** How a PKCS#12 turns a password into keys: PBES2 (RFC 8018), and the older way of its own (RFC 7292 Appendix B). */
import { createDecipheriv, createHmac, hash, pbkdf2Sync } from 'node:crypto'

import forge from 'node-forge'

import { CaError } from '../error.ts'
import { readOid } from '../x509/der.ts'
import { berChildren, type BerElement } from './ber.ts'

/**
 * Rounds of key derivation that one file may ask for. What is written today asks for 2,048 to
 * 600,000 three times; these take half a second at most.
 */
export class RoundBudget {
  #left = 2_000_000

  /** @throws {CaError} `CA_DER_INVALID` if no so many are left */
  spend(rounds: number, cost = 1): number {
    this.#left -= rounds * cost
    if (rounds < 1 || this.#left < 0) throw refused(`it asks for ${rounds} rounds of its password`)
    return rounds
  }
}

/** A round by hand takes so many times what one inside OpenSSL takes. */
const BY_HAND = 5

/** Hashes by identifier, with the bytes of a block. */
const HASHES: Readonly<Record<string, { readonly name: string; readonly block: number }>> = {
  '1.3.14.3.2.26': { name: 'sha1', block: 64 },
  '2.16.840.1.101.3.4.2.1': { name: 'sha256', block: 64 },
  '2.16.840.1.101.3.4.2.2': { name: 'sha384', block: 128 },
  '2.16.840.1.101.3.4.2.3': { name: 'sha512', block: 128 },
}

/** Pseudo-random functions of PBKDF2 by identifier. */
const PRFS: Readonly<Record<string, string>> = {
  '1.2.840.113549.2.7': 'sha1',
  '1.2.840.113549.2.9': 'sha256',
  '1.2.840.113549.2.10': 'sha384',
  '1.2.840.113549.2.11': 'sha512',
}

/** Ciphers of PBES2 by identifier, with the bytes of a key. */
const CIPHERS: Readonly<Record<string, { readonly name: string; readonly keyBytes: number }>> = {
  '2.16.840.1.101.3.4.1.2': { name: 'aes-128-cbc', keyBytes: 16 },
  '2.16.840.1.101.3.4.1.22': { name: 'aes-192-cbc', keyBytes: 24 },
  '2.16.840.1.101.3.4.1.42': { name: 'aes-256-cbc', keyBytes: 32 },
  '1.2.840.113549.3.7': { name: 'des-ede3-cbc', keyBytes: 24 },
}

const PBES2 = '1.2.840.113549.1.5.13'
const PBKDF2 = '1.2.840.113549.1.5.12'
const SHA1_3DES = '1.2.840.113549.1.12.1.3'
const SHA1_RC2_40 = '1.2.840.113549.1.12.1.6'

/**
 * Decrypts `data` as the AlgorithmIdentifier `algorithm` says.
 *
 * @throws {CaError} `CA_DER_INVALID` if the password is wrong or the algorithm is not known here
 */
export function decrypt(
  algorithm: BerElement | undefined,
  data: Uint8Array,
  password: string,
  budget: RoundBudget,
): Uint8Array {
  const [name, parameters] = berChildren(wanted(algorithm))
  const kind = oidOf(name)
  try {
    if (kind === PBES2) return decryptPbes2(wanted(parameters), data, password, budget)
    if (kind === SHA1_3DES || kind === SHA1_RC2_40) {
      return decryptOld(kind, wanted(parameters), data, password, budget)
    }
  } catch (cause) {
    if (cause instanceof CaError) throw cause
    throw refused('its password is not that one', cause)
  }
  throw refused(`it is encrypted with ${kind}, which is not known here`)
}

function decryptPbes2(
  parameters: BerElement,
  data: Uint8Array,
  password: string,
  budget: RoundBudget,
): Uint8Array {
  const [derivation, scheme] = berChildren(parameters).map(berChildren)
  if (oidOf(derivation?.[0]) !== PBKDF2) throw refused('its key is not derived by PBKDF2')
  const [salt, rounds, ...rest] = berChildren(wanted(derivation?.[1]))
  const prf = rest.find(({ tag }) => tag === 0x30)
  const digest = prf ? PRFS[oidOf(berChildren(prf)[0])] : 'sha1'
  const cipher = CIPHERS[oidOf(scheme?.[0])]
  if (!cipher || !digest) throw refused('it is encrypted in a way that is not known here')
  const count = budget.spend(numberOf(rounds))
  const key = pbkdf2Sync(password, wanted(salt).body, count, cipher.keyBytes, digest)
  const decipher = createDecipheriv(cipher.name, key, wanted(scheme?.[1]).body)
  return Buffer.concat([decipher.update(data), decipher.final()])
}

/** 3DES, and RC2 with 40 bits, which OpenSSL no longer has: what keytool and Windows wrote for twenty years. */
function decryptOld(
  kind: string,
  parameters: BerElement,
  data: Uint8Array,
  password: string,
  budget: RoundBudget,
): Uint8Array {
  const [salt, rounds] = berChildren(parameters)
  const count = budget.spend(numberOf(rounds), BY_HAND)
  const derive = (id: number, length: number) =>
    deriveBytes({ id, length, password, salt: wanted(salt).body, rounds: count }, HASH_OF_OLD)
  if (kind === SHA1_3DES) {
    const decipher = createDecipheriv('des-ede3-cbc', derive(1, 24), derive(2, 8))
    return Buffer.concat([decipher.update(data), decipher.final()])
  }
  const decipher = forge.rc2.createDecryptionCipher(binary(derive(1, 5)), 40)
  decipher.start(binary(derive(2, 8)) as never)
  decipher.update(forge.util.createBuffer(binary(data)))
  if (!decipher.finish()) throw refused('its password is not that one')
  return Buffer.from(decipher.output.getBytes(), 'latin1')
}

const HASH_OF_OLD = { name: 'sha1', block: 64 } as const

/**
 * Whether MacData is that of `content` under `password` (RFC 7292 §4).
 *
 * @throws {CaError} `CA_DER_INVALID` if it is of a kind that is not known here
 */
export function isMacOf(
  macData: BerElement,
  content: Uint8Array,
  password: string,
  budget: RoundBudget,
): boolean {
  const [info, salt, rounds] = berChildren(macData)
  const [algorithm, digest] = berChildren(wanted(info))
  const digestName = HASHES[oidOf(berChildren(wanted(algorithm))[0])]
  if (!digestName) throw refused('its MAC is of a kind that is not known here')
  const count = rounds ? budget.spend(numberOf(rounds), BY_HAND) : 1
  const expected = wanted(digest).body
  const input = { id: 3, password, salt: wanted(salt).body, rounds: count }
  const key = deriveBytes({ ...input, length: expected.length }, digestName)
  return createHmac(digestName.name, key).update(content).digest().equals(expected)
}

interface Derivation {
  /** 1: a key, 2: an initial value, 3: the key of a MAC. */
  readonly id: number
  readonly length: number
  readonly password: string
  readonly salt: Uint8Array
  readonly rounds: number
}

/** RFC 7292 Appendix B.2, in its words D, S, P, I, A and B. */
function deriveBytes(
  { id, length, password, salt, rounds }: Derivation,
  digest: { readonly name: string; readonly block: number },
): Buffer {
  const { block } = digest
  const diversifier = Buffer.alloc(block, id)
  const secret = Buffer.from(`${password}\0`, 'utf16le').swap16()
  let input = Buffer.concat([repeated(salt, block), repeated(secret, block)])
  const out: Buffer[] = []
  for (let made = 0; made < length; ) {
    let piece = Buffer.concat([diversifier, input])
    for (let round = 0; round < rounds; round += 1) piece = hash(digest.name, piece, 'buffer')
    out.push(piece)
    made += piece.length
    input = plusOneAndEach(input, repeated(piece, block).subarray(0, block))
  }
  return Buffer.concat(out).subarray(0, length)
}

/** `bytes` again and again, up to the next whole block. */
function repeated(bytes: Uint8Array, block: number): Buffer {
  const length = Math.ceil(bytes.length / block) * block
  return length === 0 ? Buffer.alloc(0) : Buffer.alloc(length, bytes)
}

/** Each block of `input` plus `addend` plus one, as numbers. */
function plusOneAndEach(input: Buffer, addend: Buffer): Buffer<ArrayBuffer> {
  const sum = Buffer.from(input)
  for (let start = 0; start < sum.length; start += addend.length) {
    let carry = 1
    for (let at = addend.length - 1; at >= 0; at -= 1) {
      carry += (sum[start + at] ?? 0) + (addend[at] ?? 0)
      sum[start + at] = carry & 0xff
      carry >>= 8
    }
  }
  return sum
}

function oidOf(element: BerElement | undefined): string {
  return readOid(wanted(element))
}

function numberOf(element: BerElement | undefined): number {
  return wanted(element).body.reduce((value, byte) => value * 256 + byte, 0)
}

function wanted(element: BerElement | undefined): BerElement {
  if (!element) throw refused('a part of it is missing')
  return element
}

function binary(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('latin1')
}

function refused(why: string, cause?: unknown): CaError {
  return new CaError('CA_DER_INVALID', `Cannot read PKCS#12: ${why}`, { cause })
}
