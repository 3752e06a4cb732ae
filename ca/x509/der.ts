/**
 * DER (X.690), read and written.
 *
 * The reader is strict, because a certificate that two readers understand differently is an
 * identity that two parties understand differently: definite and minimal lengths only, tag numbers
 * below 31, no byte left over at any level, and limits on size and depth before anything is looked at.
 */
import { CaError } from '../error.ts'
import { OID } from './oid.ts'
import { bytesOf } from './slab.ts'

/** Tags that certificates use (X.690 §8, RFC 5280 Appendix A). */
export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  utf8String: 0x0c,
  printableString: 0x13,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const

/** One element. Its bytes are views into what was parsed, never copies. */
export interface DerNode {
  readonly tag: number
  /** The whole element: tag, length and content. */
  readonly raw: Uint8Array
  /** The content alone. */
  readonly body: Uint8Array
  /** The elements inside; empty for a primitive one. */
  readonly children: readonly DerNode[]
}

/** Bytes. A certificate with an RSA-8192 key and a full SAN is under 5 KiB. */
export const MAX_DER_BYTES = 65_536

/** A name constraint inside a certificate is 9 deep; nothing honest is deeper. */
const MAX_DEPTH = 16

const CONSTRUCTED = 0x20
const CONTEXT = 0x80

/**
 * Parses one element that fills `bytes` exactly.
 *
 * @throws {CaError} `CA_DER_INVALID`, also above {@link MAX_DER_BYTES} or 16 levels
 */
export function parseDer(bytes: Uint8Array): DerNode {
  if (bytes.length > MAX_DER_BYTES) {
    fault(`it has ${bytes.length} bytes, expected at most ${MAX_DER_BYTES}`)
  }
  const node = readNode(bytes, 0, bytes.length, 0)
  if (node.stop !== bytes.length) fault('bytes follow its end')
  return node
}

function readNode(bytes: Uint8Array, at: number, end: number, depth: number): ViewNode {
  if (depth === MAX_DEPTH) fault(`it is nested deeper than ${MAX_DEPTH} levels`)
  if (at + 2 > end) fault('it ends inside a tag or length')
  const tag = bytes[at]!
  if ((tag & 0x1f) === 0x1f) fault('it has a tag number above 30')
  const { length, next } = readLength(bytes, at + 1, end)
  const stop = next + length
  if (stop > end) fault('an element is longer than what holds it')
  const children = tag & CONSTRUCTED ? readChildren(bytes, next, stop, depth + 1) : NO_CHILDREN
  return new View(bytes, { tag, at, next, stop, children })
}

const NO_CHILDREN: readonly ViewNode[] = []

/** A node with its place; most are stepped over, so what is in them is cut out when asked for. */
interface ViewNode extends DerNode {
  readonly stop: number
}

interface Place {
  readonly tag: number
  readonly at: number
  readonly next: number
  readonly stop: number
  readonly children: readonly ViewNode[]
}

class View implements ViewNode {
  readonly tag: number
  readonly stop: number
  readonly children: readonly ViewNode[]
  readonly #bytes: Uint8Array
  readonly #at: number
  readonly #next: number

  constructor(bytes: Uint8Array, { tag, at, next, stop, children }: Place) {
    this.tag = tag
    this.stop = stop
    this.children = children
    this.#bytes = bytes
    this.#at = at
    this.#next = next
  }

  get raw(): Uint8Array {
    return this.#bytes.subarray(this.#at, this.stop)
  }

  get body(): Uint8Array {
    return this.#bytes.subarray(this.#next, this.stop)
  }
}

function readChildren(bytes: Uint8Array, from: number, end: number, depth: number): ViewNode[] {
  const children: ViewNode[] = []
  for (let at = from; at < end; ) {
    const child = readNode(bytes, at, end, depth)
    children.push(child)
    at = child.stop
  }
  return children
}

/** Up to two length bytes are enough below {@link MAX_DER_BYTES}; `0x80` alone would be BER's "until the end". */
function readLength(bytes: Uint8Array, at: number, end: number): { length: number; next: number } {
  const first = bytes[at]!
  if (first < 0x80) return { length: first, next: at + 1 }
  const count = first & 0x7f
  if (count === 0 || count > 2) fault('it has a length of a form that DER or its size forbids')
  if (at + 1 + count > end) fault('it ends inside a length')
  const length = count === 1 ? bytes[at + 1]! : bytes[at + 1]! * 256 + bytes[at + 2]!
  if (length < (count === 1 ? 0x80 : 0x100)) fault('it has a length that is not minimal')
  return { length, next: at + 1 + count }
}

/** Takes the children of a constructed element in order. */
export interface DerCursor {
  /** The next child, which must have this tag. @throws {CaError} `CA_DER_INVALID` */
  readonly take: (tag: number, what: string) => DerNode
  /** The next child if it has this tag. */
  readonly takeIf: (tag: number) => DerNode | undefined
  /** All that is left. */
  readonly rest: () => readonly DerNode[]
  /** @throws {CaError} `CA_DER_INVALID` if a child is left */
  readonly end: (what: string) => void
}

/** Reads `node`, which must have the tag given (a SEQUENCE by default), child by child. */
export function cursor(node: DerNode, what: string, tag: number = TAG.sequence): DerCursor {
  if (node.tag !== tag) fault(`its ${what} has tag 0x${node.tag.toString(16)}`)
  let at = 0
  const takeIf = (wanted: number): DerNode | undefined => {
    const child = node.children[at]
    if (child?.tag !== wanted) return undefined
    at += 1
    return child
  }
  return {
    takeIf,
    take: (wanted, name) => takeIf(wanted) ?? fault(`its ${what} has no ${name} where it belongs`),
    rest: () => node.children.slice(at),
    end: (name) => {
      if (at < node.children.length) fault(`its ${name} has more parts than it may`)
    },
  }
}

/** The tag of a context-specific element: `[n]`, constructed unless said otherwise. */
export function contextTag(n: number, form: 'constructed' | 'primitive' = 'constructed'): number {
  return CONTEXT | n | (form === 'constructed' ? CONSTRUCTED : 0)
}

/** Dotted form of an OBJECT IDENTIFIER. Arcs above 2^32 are refused, not truncated. */
export function readOid(node: DerNode): string {
  const { body } = node
  if (node.tag !== TAG.oid || body.length === 0 || body.length > 32 || body.at(-1)! & 0x80) {
    return fault('it has an object identifier that is not one')
  }
  return KNOWN_OIDS.find(({ bytes }) => isSame(bytes, body))?.dotted ?? dottedOf(body)
}

function dottedOf(body: Uint8Array): string {
  const arcs: number[] = []
  let arc = 0
  for (const byte of body) {
    if (arc === 0 && byte === 0x80) fault('it has an object identifier that is not minimal')
    arc = arc * 128 + (byte & 0x7f)
    if (arc > 0xffff_ffff) fault('it has an object identifier with an arc above 2^32')
    if (byte & 0x80) continue
    arcs.push(arc)
    arc = 0
  }
  const [first = 0, ...others] = arcs
  const root = Math.min(2, Math.floor(first / 40))
  return [root, first - root * 40, ...others].join('.')
}

/** A BOOLEAN; DER has only 0x00 and 0xff. */
export function readBoolean({ tag, body }: DerNode): boolean {
  if (tag !== TAG.boolean || body.length !== 1 || (body[0] !== 0 && body[0] !== 0xff)) {
    fault('it has a boolean that is not one')
  }
  return body[0] === 0xff
}

/** The content of an INTEGER, checked to be minimal (X.690 §8.3.2). */
export function readInteger({ tag, body }: DerNode): Uint8Array {
  const [first, second] = body
  if (tag !== TAG.integer || first === undefined) return fault('it has an integer that is not one')
  if (second !== undefined && first === (second & 0x80 ? 0xff : 0)) {
    fault('it has an integer that is not minimal')
  }
  return body
}

/** An INTEGER from 0 to 2^31. */
export function readSmallInteger(node: DerNode): number {
  const body = readInteger(node)
  if (body.length > 4 || body[0]! & 0x80) fault('it has an integer outside its range')
  return body.reduce((value, byte) => value * 256 + byte, 0)
}

/** The bits of a BIT STRING whose length is a multiple of 8, such as a key or a signature. */
export function readBitString({ tag, body }: DerNode): Uint8Array {
  if (tag !== TAG.bitString || body.length === 0 || body[0] !== 0) {
    return fault('it has a bit string that is not whole bytes')
  }
  return body.subarray(1)
}

function fault(why: string): never {
  throw new CaError('CA_DER_INVALID', `Cannot read DER: ${why}`)
}

/** Encodes one element around what is inside it. */
export function derOf(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const length = parts.reduce((sum, part) => sum + part.length, 0)
  const head = lengthBytes(length)
  const out = bytesOf(1 + head.length + length)
  out[0] = tag
  out.set(head, 1)
  let at = 1 + head.length
  for (const part of parts) {
    out.set(part, at)
    at += part.length
  }
  return out
}

function lengthBytes(length: number): readonly number[] {
  if (length < 0x80) return [length]
  if (length < 0x100) return [0x81, length]
  if (length < MAX_DER_BYTES) return [0x82, length >> 8, length & 0xff]
  throw new CaError('CA_DER_INVALID', `Cannot write DER: ${length} bytes, expected under 65536`)
}

/** A SEQUENCE. */
export function sequence(...parts: readonly Uint8Array[]): Uint8Array {
  return derOf(TAG.sequence, ...parts)
}

/** An OBJECT IDENTIFIER from its dotted form. */
export function oid(dotted: string): Uint8Array {
  const [root = 0, second = 0, ...others] = dotted.split('.').map(Number)
  return derOf(TAG.oid, Uint8Array.from([root * 40 + second, ...others].flatMap(base128)))
}

function base128(arc: number): number[] {
  const digits = [arc % 128]
  for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128)) {
    digits.unshift((left % 128) | 0x80)
  }
  return digits
}

/** A BIT STRING of whole bytes. */
export function bitString(bytes: Uint8Array): Uint8Array {
  return derOf(TAG.bitString, Uint8Array.of(0), bytes)
}

/** A non-negative INTEGER from its big-endian bytes. */
export function unsignedInteger(bytes: Uint8Array): Uint8Array {
  let from = 0
  while (from < bytes.length - 1 && bytes[from] === 0) from += 1
  const significant = bytes.subarray(from)
  const sign = (significant[0] ?? 0) & 0x80 || significant.length === 0 ? Uint8Array.of(0) : NOTHING
  return derOf(TAG.integer, sign, significant)
}

const NOTHING = new Uint8Array()

/** Certificates repeat the same dozen, and spelling one out costs more than the rest of reading it. */
const KNOWN_OIDS = Object.values(OID).map((dotted) => ({ dotted, bytes: oid(dotted).subarray(2) }))

function isSame(known: Uint8Array, body: Uint8Array): boolean {
  if (known.length !== body.length) return false
  for (let at = known.length - 1; at >= 0; at -= 1) if (known[at] !== body[at]) return false
  return true
}
