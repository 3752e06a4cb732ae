/**
 * DER (X.690), read; `der-write.ts` writes it.
 *
 * The reader is strict, because a certificate that two readers understand differently is an
 * identity that two parties understand differently: definite and minimal lengths only, tag numbers
 * below 31, no byte left over at any level, and limits on size and depth before anything is looked at.
 */
import { CaError } from '../error.ts'
import { MAX_DER_BYTES, oid, TAG } from './der-write.ts'
import { OID } from './oid.ts'

export {
  bitString,
  contextTag,
  derOf,
  MAX_DER_BYTES,
  oid,
  sequence,
  TAG,
  unsignedInteger,
} from './der-write.ts'

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

/** A name constraint inside a certificate is 9 deep; nothing honest is deeper. */
const MAX_DEPTH = 16

const CONSTRUCTED = 0x20

/**
 * Parses one element that fills `bytes` exactly. All of it is checked before any of it is read; nodes
 * are made of those parts alone that somebody looks at.
 *
 * @throws {CaError} `CA_DER_INVALID`, also above {@link MAX_DER_BYTES} or 16 levels
 */
export function parseDer(bytes: Uint8Array): DerNode {
  if (bytes.length > MAX_DER_BYTES) {
    fault(`it has ${bytes.length} bytes, expected at most ${MAX_DER_BYTES}`)
  }
  if (checkedTo(bytes, 0, bytes.length, 0) !== bytes.length) fault('bytes follow its end')
  return new View(bytes, 0)
}

/** Checks the form of the element at `at`, and of all inside it: where it ends, which is not beyond `end`. */
function checkedTo(bytes: Uint8Array, at: number, end: number, depth: number): number {
  if (depth === MAX_DEPTH) fault(`it is nested deeper than ${MAX_DEPTH} levels`)
  if (at + 2 > end) fault('it ends inside a tag or length')
  const tag = bytes[at]!
  if ((tag & 0x1f) === 0x1f) fault('it has a tag number above 30')
  checkLength(bytes, at + 1, end)
  const from = contentAt(bytes, at)
  const stop = from + contentLength(bytes, at)
  if (stop > end) fault('an element is longer than what holds it')
  if (tag & CONSTRUCTED) {
    for (let inside = from; inside < stop; ) inside = checkedTo(bytes, inside, stop, depth + 1)
  }
  return stop
}

/** Up to two length bytes are enough below {@link MAX_DER_BYTES}; `0x80` alone would be BER's "until the end". */
function checkLength(bytes: Uint8Array, at: number, end: number): void {
  const first = bytes[at]!
  if (first < 0x80) return
  const count = first & 0x7f
  if (count === 0 || count > 2) fault('it has a length of a form that DER or its size forbids')
  if (at + 1 + count > end) fault('it ends inside a length')
  const isMinimal = count === 1 ? bytes[at + 1]! >= 0x80 : bytes[at + 1] !== 0
  if (!isMinimal) fault('it has a length that is not minimal')
}

/** Where the content of the element at `at` begins; its length is checked. */
function contentAt(bytes: Uint8Array, at: number): number {
  const first = bytes[at + 1]!
  return at + (first < 0x80 ? 2 : 2 + (first & 0x7f))
}

/** Bytes of content of the element at `at`; its length is checked. */
function contentLength(bytes: Uint8Array, at: number): number {
  const first = bytes[at + 1]!
  if (first < 0x80) return first
  return first === 0x81 ? bytes[at + 2]! : bytes[at + 2]! * 256 + bytes[at + 3]!
}

/** An element that was checked. What is in it is cut out when asked for: most are stepped over. */
class View implements DerNode {
  readonly tag: number
  readonly stop: number
  readonly #bytes: Uint8Array
  readonly #at: number
  readonly #next: number

  constructor(bytes: Uint8Array, at: number) {
    this.#bytes = bytes
    this.#at = at
    this.tag = bytes[at]!
    this.#next = contentAt(bytes, at)
    this.stop = this.#next + contentLength(bytes, at)
  }

  get raw(): Uint8Array {
    return this.#bytes.subarray(this.#at, this.stop)
  }

  get body(): Uint8Array {
    return this.#bytes.subarray(this.#next, this.stop)
  }

  get children(): readonly DerNode[] {
    if (!(this.tag & CONSTRUCTED)) return NO_CHILDREN
    const children: View[] = []
    for (let at = this.#next; at < this.stop; ) {
      const child = new View(this.#bytes, at)
      children.push(child)
      at = child.stop
    }
    return children
  }

  /** Whether its content is `wanted`. */
  holds(wanted: Uint8Array): boolean {
    if (wanted.length !== this.stop - this.#next) return false
    // From the end, where identifiers differ.
    for (let at = wanted.length - 1; at >= 0; at -= 1) {
      if (wanted[at] !== this.#bytes[this.#next + at]) return false
    }
    return true
  }
}

const NO_CHILDREN: readonly DerNode[] = []

/** Takes the children of a constructed element in order. */
export interface DerCursor {
  /** The next child, which must have this tag. @throws {CaError} `CA_DER_INVALID` */
  take(tag: number, what: string): DerNode
  /** The next child if it has this tag. */
  takeIf(tag: number): DerNode | undefined
  /** All that is left. */
  rest(): readonly DerNode[]
  /** @throws {CaError} `CA_DER_INVALID` if a child is left */
  end(what: string): void
}

/** Reads `node`, which must have the tag given (a SEQUENCE by default), child by child. */
export function cursor(node: DerNode, what: string, tag: number = TAG.sequence): DerCursor {
  if (node.tag !== tag) fault(`its ${what} has tag 0x${node.tag.toString(16)}`)
  return new Cursor(node.children, what)
}

class Cursor implements DerCursor {
  readonly #children: readonly DerNode[]
  readonly #what: string
  #at = 0

  constructor(children: readonly DerNode[], what: string) {
    this.#children = children
    this.#what = what
  }

  takeIf(wanted: number): DerNode | undefined {
    const child = this.#children[this.#at]
    if (child?.tag !== wanted) return undefined
    this.#at += 1
    return child
  }

  take(wanted: number, name: string): DerNode {
    return this.takeIf(wanted) ?? fault(`its ${this.#what} has no ${name} where it belongs`)
  }

  rest(): readonly DerNode[] {
    return this.#children.slice(this.#at)
  }

  end(name: string): void {
    if (this.#at < this.#children.length) fault(`its ${name} has more parts than it may`)
  }
}

/** Dotted form of an OBJECT IDENTIFIER. Arcs above 2^32 are refused, not truncated. */
export function readOid(node: DerNode): string {
  if (node.tag !== TAG.oid) return fault('it has an object identifier that is not one')
  if (node instanceof View) {
    for (const { dotted, bytes } of KNOWN_OIDS) if (node.holds(bytes)) return dotted
  }
  return dottedOf(node.body)
}

function dottedOf(body: Uint8Array): string {
  if (body.length === 0 || body.length > 32 || body.at(-1)! & 0x80) {
    return fault('it has an object identifier that is not one')
  }
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

/** Certificates repeat the same dozen, and spelling one out costs more than the rest of reading it. */
const KNOWN_OIDS = Object.values(OID).map((dotted) => ({ dotted, bytes: oid(dotted).subarray(2) }))
