/** Keys as objects of a token (PKCS#11 2.40 §4). */
import { randomBytes } from 'node:crypto'

import { CaError } from '../../error.ts'
import { bitString, oid, parseDer, sequence, TAG } from '../../x509/der.ts'
import { OID } from '../../x509/oid.ts'
import { storeIdOf } from '../signing-key.ts'
import { type Memory, memory, type Pkcs11Library, ulong, words } from './library.ts'
import type { Session } from './sessions.ts'

/** Attributes (PKCS#11 2.40 §A.2). */
const CKA = {
  class: 0x0,
  token: 0x1,
  private: 0x2,
  label: 0x3,
  keyType: 0x100,
  id: 0x102,
  sensitive: 0x103,
  sign: 0x108,
  verify: 0x10a,
  extractable: 0x162,
  ecParams: 0x180,
  ecPoint: 0x181,
} as const

/** CKO_PUBLIC_KEY and CKO_PRIVATE_KEY. */
export const KEY_HALF = { public: 2, private: 3 } as const

export type KeyHalf = (typeof KEY_HALF)[keyof typeof KEY_HALF]

const KEY_TYPE_EC = 3
const EC_KEY_PAIR_GEN = 0x1040
const ECDSA = 0x1041

/** Bytes of r or s on P-256. */
const NUMBER_BYTES = 32
/** Bytes of an uncompressed point on P-256 (SEC 1 §2.3.3). */
const POINT_BYTES = 65
/** Room for one in an OCTET STRING. */
const MAX_POINT_BYTES = 256

const P256: Uint8Array = oid(OID.p256)
const YES = memory(Uint8Array.of(1))
const NO = memory(Uint8Array.of(0))

type Attribute = readonly [type: number, value: Memory]

function template(attributes: readonly Attribute[]): Memory {
  return words(...attributes.map(([type, value]) => [type, value, value.length] as const))
}

/** The object that is one half of the key with this identifier. */
export async function findKey(
  library: Pkcs11Library,
  { handle }: Session,
  half: KeyHalf,
  id: string,
): Promise<bigint | undefined> {
  const wanted = template([
    [CKA.class, ulong(half)],
    [CKA.id, memory(Buffer.from(id, 'hex'))],
  ])
  await library.call('C_FindObjectsInit', handle, wanted, 2)
  const found = ulong(0)
  const count = ulong(0)
  try {
    await library.call('C_FindObjects', handle, found, 1, count)
  } finally {
    await library.call('C_FindObjectsFinal', handle)
  }
  return count.readBigUInt64LE() === 0n ? undefined : found.readBigUInt64LE()
}

/** Makes a P-256 key that cannot be taken out, and gives it its identifier. Returns its public half. */
export async function generateKey(library: Pkcs11Library, session: Session): Promise<Uint8Array> {
  const draft = memory(randomBytes(20)) // until its identifier is known, which is made of the key
  const label = memory(Buffer.from('redoubt'))
  const both: readonly Attribute[] = [
    [CKA.token, YES],
    [CKA.label, label],
    [CKA.id, draft],
  ]
  const open = [...both, [CKA.ecParams, memory(P256)], [CKA.verify, YES]] as const
  const secret = [
    ...both,
    [CKA.private, YES],
    [CKA.sensitive, YES],
    [CKA.extractable, NO],
    [CKA.sign, YES],
  ] as const
  const halves = [ulong(0), ulong(0)] as const
  await library.call(
    'C_GenerateKeyPair',
    session.handle,
    words([EC_KEY_PAIR_GEN, null, 0]),
    template(open),
    open.length,
    template(secret),
    secret.length,
    ...halves,
  )
  const publicKeyDer = await readPublicKey(library, session, halves[0].readBigUInt64LE())
  const named = template([[CKA.id, memory(Buffer.from(storeIdOf(publicKeyDer), 'hex'))]])
  for (const half of halves) {
    await library.call('C_SetAttributeValue', session.handle, half.readBigUInt64LE(), named, 1)
  }
  return publicKeyDer
}

/** SubjectPublicKeyInfo of a public key on P-256. @throws {CaError} `CA_STATE_UNUSABLE` for another kind */
export async function readPublicKey(
  library: Pkcs11Library,
  session: Session,
  object: bigint,
): Promise<Uint8Array> {
  const type = ulong(0)
  const curve = memory(P256.length)
  const point = memory(MAX_POINT_BYTES)
  const wanted = template([
    [CKA.keyType, type],
    [CKA.ecParams, curve],
    [CKA.ecPoint, point],
  ])
  await library.call('C_GetAttributeValue', session.handle, object, wanted, 3)
  const length = Number(wanted.readBigUInt64LE(2 * 24 + 16))
  const bits = pointOf(point.subarray(0, length))
  if (Number(type.readBigUInt64LE()) !== KEY_TYPE_EC || !curve.equals(P256) || !bits) {
    throw new CaError(
      'CA_STATE_UNUSABLE',
      'Cannot use a key of a PKCS#11 token: it is not on P-256',
    )
  }
  return sequence(sequence(oid(OID.ecPublicKey), P256), bitString(bits))
}

/** In an OCTET STRING, as the standard has it, or bare, as some modules do. */
function pointOf(bytes: Uint8Array): Uint8Array | undefined {
  if (bytes.length === POINT_BYTES && bytes[0] === 0x04) return bytes
  if (bytes[0] !== TAG.octetString) return undefined
  const { body } = parseDer(bytes)
  return body.length === POINT_BYTES ? body : undefined
}

/** r and s over a SHA-256 digest, in a row. */
export async function signDigest(
  library: Pkcs11Library,
  { handle }: Session,
  key: bigint,
  digest: Uint8Array,
): Promise<Uint8Array> {
  await library.call('C_SignInit', handle, words([ECDSA, null, 0]), key)
  const signature = memory(2 * NUMBER_BYTES)
  await library.call(
    'C_Sign',
    handle,
    memory(digest),
    digest.length,
    signature,
    ulong(signature.length),
  )
  return signature
}
