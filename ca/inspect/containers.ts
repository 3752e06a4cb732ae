/** Certificates in the containers of other software: PKCS#7 (RFC 2315) and PKCS#12 (RFC 7292), read. */
import { createPrivateKey, type KeyObject } from 'node:crypto'

import { CaError } from '../error.ts'
import { contextTag, readOid, TAG } from '../x509/der.ts'
import { berChildren, type BerElement, berOctets, readBer } from './ber.ts'
import { decrypt, isMacOf, RoundBudget } from './pkcs12-password.ts'

const DATA = '1.2.840.113549.1.7.1'
const SIGNED_DATA = '1.2.840.113549.1.7.2'
const ENCRYPTED_DATA = '1.2.840.113549.1.7.6'
const KEY_BAG = '1.2.840.113549.1.12.10.1.1'
const SHROUDED_KEY_BAG = '1.2.840.113549.1.12.10.1.2'
const CERTIFICATE_BAG = '1.2.840.113549.1.12.10.1.3'

/**
 * The certificates of a PKCS#7 (or CMS) SignedData, DER, in order. Its signatures are not looked at.
 *
 * @throws {CaError} `CA_DER_INVALID`
 */
export function readPkcs7(bytes: Uint8Array): readonly Uint8Array[] {
  const [type, content] = berChildren(readBer(bytes))
  if (oidOf(type) !== SIGNED_DATA) throw refused('PKCS#7', 'it is no SignedData')
  const fields = berChildren(wanted(berChildren(wanted(content))[0]))
  const certificates = fields.find(({ tag }) => tag === contextTag(0))
  if (!certificates) throw refused('PKCS#7', 'there is no certificate in it')
  return berChildren(certificates)
    .filter(({ tag }) => tag === TAG.sequence)
    .map(({ raw }) => raw)
}

/** What was in a PKCS#12. */
export interface Pkcs12 {
  /** DER, in order. */
  readonly certificates: readonly Uint8Array[]
  readonly key?: KeyObject
}

/**
 * Opens a PKCS#12.
 *
 * @param password - Left out where there is none.
 * @throws {CaError} `CA_DER_INVALID` if it is none, the password is wrong, or it asks for too much work
 */
export function readPkcs12(bytes: Uint8Array, password?: string): Pkcs12 {
  const budget = new RoundBudget()
  const [, safe, macData] = berChildren(readBer(bytes))
  const content = contentOf(wanted(safe))
  if (macData && !isMacOf(macData, content, password ?? '', budget)) {
    throw refused(
      'PKCS#12',
      password === undefined
        ? 'it has a password, expected --password-file'
        : 'its password is not that one',
    )
  }
  const bags = berChildren(readBer(content)).flatMap((part) => bagsOf(part, password ?? '', budget))
  const certificates = bags.flatMap(certificatesOf)
  const key = bags.map((bag) => keyOf(bag, password ?? '', budget)).find(Boolean)
  return { certificates, ...(key && { key }) }
}

/** The octets of a ContentInfo of plain data. */
function contentOf(info: BerElement): Uint8Array {
  const [type, content] = berChildren(info)
  if (oidOf(type) !== DATA) throw refused('PKCS#12', 'it is protected otherwise than by a password')
  return berOctets(wanted(berChildren(wanted(content))[0]))
}

interface Bag {
  readonly type: string
  readonly value: BerElement
}

function bagsOf(info: BerElement, password: string, budget: RoundBudget): readonly Bag[] {
  const safe =
    oidOf(berChildren(info)[0]) === ENCRYPTED_DATA
      ? opened(info, password, budget)
      : contentOf(info)
  return berChildren(readBer(safe)).map((bag) => {
    const [type, value] = berChildren(bag)
    return { type: oidOf(type), value: wanted(berChildren(wanted(value))[0]) }
  })
}

/** EncryptedData, whose content is tagged in place of its type: octets, or pieces of them. */
function opened(info: BerElement, password: string, budget: RoundBudget): Uint8Array {
  const data = wanted(berChildren(wanted(berChildren(info)[1]))[0])
  const [, algorithm, octets] = berChildren(wanted(berChildren(data)[1]))
  return decrypt(algorithm, berOctets(wanted(octets)), password, budget)
}

function certificatesOf({ type, value }: Bag): readonly Uint8Array[] {
  if (type !== CERTIFICATE_BAG) return []
  const octets = berChildren(wanted(berChildren(value)[1]))[0]
  return [berOctets(wanted(octets))]
}

function keyOf({ type, value }: Bag, password: string, budget: RoundBudget): KeyObject | undefined {
  if (type !== KEY_BAG && type !== SHROUDED_KEY_BAG) return undefined
  const [algorithm, octets] = berChildren(value)
  const pkcs8 =
    type === KEY_BAG ? value.raw : decrypt(algorithm, berOctets(wanted(octets)), password, budget)
  try {
    return createPrivateKey({ key: Buffer.from(pkcs8), format: 'der', type: 'pkcs8' })
  } catch (cause) {
    throw refused('PKCS#12', 'the key in it is none', cause)
  }
}

function oidOf(element: BerElement | undefined): string {
  return readOid(wanted(element))
}

function wanted(element: BerElement | undefined): BerElement {
  if (!element) throw new CaError('CA_DER_INVALID', 'Cannot read BER: a part of it is missing')
  return element
}

function refused(what: string, why: string, cause?: unknown): CaError {
  return new CaError('CA_DER_INVALID', `Cannot read ${what}: ${why}`, { cause })
}
