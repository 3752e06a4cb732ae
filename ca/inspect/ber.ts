/**
 * BER (X.690 §8), read one level at a time and without judging it.
 *
 * `ca/x509/der.ts` refuses what a sidecar must refuse. What is inspected may be exactly that, and
 * PKCS#7 and PKCS#12 files are allowed to be BER: lengths in any form, and elements without one.
 * Nothing here recurses further than {@link MAX_DEPTH} or keeps more than {@link MAX_CHILDREN}.
 */
import { CaError } from '../error.ts'

/** One element. Its bytes are views into what was read. */
export interface BerElement {
  /** The first byte: class, form and number, which is below 31. */
  readonly tag: number
  /** The whole element. */
  readonly raw: Uint8Array
  /** The content, without the two zeros that end an element without a length. */
  readonly body: Uint8Array
}

/** Levels of elements without a length inside each other; those with one cost nothing to step over. */
const MAX_DEPTH = 32

/** Elements in one; a container of 200 certificates has 200. */
const MAX_CHILDREN = 4096

const CONSTRUCTED = 0x20

/**
 * The element that fills `bytes`; what follows it is not looked at.
 *
 * @throws {CaError} `CA_DER_INVALID`
 */
export function readBer(bytes: Uint8Array): BerElement {
  return elementAt(bytes, 0, 0)
}

/**
 * The elements inside `element`, in order.
 *
 * @throws {CaError} `CA_DER_INVALID`, also above 4096 of them
 */
export function berChildren({ tag, body }: BerElement): readonly BerElement[] {
  if (!(tag & CONSTRUCTED)) throw refused('an element holds no others where it should')
  return berSequence(body)
}

/** The elements that follow each other in `bytes`. @throws {CaError} `CA_DER_INVALID` */
export function berSequence(bytes: Uint8Array): readonly BerElement[] {
  const children: BerElement[] = []
  for (let at = 0; at < bytes.length; ) {
    if (children.length === MAX_CHILDREN) throw refused(`an element has over ${MAX_CHILDREN} parts`)
    const child = elementAt(bytes, at, 0)
    children.push(child)
    at += child.raw.length
  }
  return children
}

/**
 * The bytes of an OCTET STRING, also of one in pieces (X.690 §8.7.3).
 *
 * @throws {CaError} `CA_DER_INVALID`
 */
export function berOctets(element: BerElement): Uint8Array {
  if (!(element.tag & CONSTRUCTED)) return element.body
  const pieces = berChildren(element)
  if (pieces.some(({ tag }) => tag & CONSTRUCTED))
    throw refused('an octet string is in pieces twice')
  return Buffer.concat(pieces.map(({ body }) => body))
}

function elementAt(bytes: Uint8Array, at: number, depth: number): BerElement {
  const tag = bytes[at]
  const first = bytes[at + 1]
  if (tag === undefined || first === undefined) throw refused('it ends inside an element')
  if ((tag & 0x1f) === 0x1f) throw refused('it has a tag number above 30')
  if (first === 0x80) return withoutLength(bytes, at, depth)
  const count = first & 0x80 ? first & 0x7f : 0
  const from = at + 2 + count
  const length = count === 0 ? first : numberAt(bytes, at + 2, count)
  const end = from + length
  if (end > bytes.length) throw refused('an element is longer than what holds it')
  return { tag, raw: bytes.subarray(at, end), body: bytes.subarray(from, end) }
}

function numberAt(bytes: Uint8Array, at: number, count: number): number {
  if (count > 6) throw refused('it has a length of more than 6 bytes')
  return bytes.subarray(at, at + count).reduce((value, byte) => value * 256 + byte, 0)
}

/** An element that ends where two zeros stand in place of a child. */
function withoutLength(bytes: Uint8Array, at: number, depth: number): BerElement {
  const tag = bytes[at] ?? 0
  if (depth === MAX_DEPTH) throw refused(`it is nested deeper than ${MAX_DEPTH} levels`)
  if (!(tag & CONSTRUCTED)) throw refused('a primitive element has no length')
  let end = at + 2
  while (bytes[end] !== 0 || bytes[end + 1] !== 0) {
    end += elementAt(bytes, end, depth + 1).raw.length
  }
  return { tag, raw: bytes.subarray(at, end + 2), body: bytes.subarray(at + 2, end) }
}

function refused(why: string): CaError {
  return new CaError('CA_DER_INVALID', `Cannot read BER: ${why}`)
}
