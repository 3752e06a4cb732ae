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
  return new DerNode(bytes, 0)
}

/**
 * Parses the one element that fills the content of `node`, as in an extension.
 *
 * @throws {CaError} as {@link parseDer} does
 */
export function parseContent({ within, from, stop }: DerNode): DerNode {
  if (checkedTo(within, from, stop, 0) !== stop) fault('bytes follow its end')
  return new DerNode(within, from)
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

/**
 * One element, of a form that was checked. Its bytes are views into what was parsed, never copies, and
 * are cut out when somebody asks for them: most elements are stepped over.
 */
export class DerNode {
  readonly tag: number
  /** What it is a part of, where it begins there, where its content does, and where it ends. */
  readonly within: Uint8Array
  readonly at: number
  readonly from: number
  readonly stop: number

  constructor(within: Uint8Array, at: number) {
    this.tag = within[at]!
    this.within = within
    this.at = at
    this.from = contentAt(within, at)
    this.stop = this.from + contentLength(within, at)
  }

  /** The whole element: tag, length and content. */
  get raw(): Uint8Array {
    return this.within.subarray(this.at, this.stop)
  }

  /** The content alone. */
  get body(): Uint8Array {
    return this.within.subarray(this.from, this.stop)
  }

  /** The elements inside; empty for a primitive one. */
  get children(): readonly DerNode[] {
    return this.tag & CONSTRUCTED ? childrenFrom(this, this.from) : []
  }
}

function childrenFrom({ within, stop }: DerNode, from: number): readonly DerNode[] {
  const children: DerNode[] = []
  for (let at = from; at < stop; ) {
    const child = new DerNode(within, at)
    children.push(child)
    at = child.stop
  }
  return children
}

/** Reads the elements in a constructed one in order. */
export interface DerCursor {
  /** The next one, which must have this tag. @throws {CaError} `CA_DER_INVALID` */
  take(tag: number, what: string): DerNode
  /** The next one if it has this tag. */
  takeIf(tag: number): DerNode | undefined
  /** All that are left. */
  rest(): readonly DerNode[]
  /** @throws {CaError} `CA_DER_INVALID` if one is left */
  end(what: string): void
}

/** Reads `node`, which must have the tag given (a SEQUENCE by default), element by element. */
export function cursor(node: DerNode, what: string, tag: number = TAG.sequence): DerCursor {
  if (node.tag !== tag) fault(`its ${what} has tag 0x${node.tag.toString(16)}`)
  return new Cursor(node, what)
}

class Cursor implements DerCursor {
  readonly #node: DerNode
  readonly #what: string
  #at: number

  constructor(node: DerNode, what: string) {
    this.#node = node
    this.#what = what
    this.#at = node.from
  }

  takeIf(wanted: number): DerNode | undefined {
    const { within, stop } = this.#node
    if (this.#at === stop || within[this.#at] !== wanted) return undefined
    const child = new DerNode(within, this.#at)
    this.#at = child.stop
    return child
  }

  take(wanted: number, name: string): DerNode {
    return this.takeIf(wanted) ?? fault(`its ${this.#what} has no ${name} where it belongs`)
  }

  rest(): readonly DerNode[] {
    return childrenFrom(this.#node, this.#at)
  }

  end(name: string): void {
    if (this.#at < this.#node.stop) fault(`its ${name} has more parts than it may`)
  }
}

/** Dotted form of an OBJECT IDENTIFIER. Arcs above 2^32 are refused, not truncated. */
export function readOid(node: Pick<DerNode, 'tag' | 'body'>): string {
  if (node.tag !== TAG.oid) return fault('it has an object identifier that is not one')
  if (node instanceof DerNode) {
    for (const { dotted, bytes } of KNOWN_OIDS) if (holds(node, bytes)) return dotted
  }
  return dottedOf(node.body)
}

/** Whether that is the content of `node`. From the end, where identifiers differ. */
function holds({ within, from, stop }: DerNode, content: Uint8Array): boolean {
  if (content.length !== stop - from) return false
  for (let at = content.length - 1; at >= 0; at -= 1) {
    if (content[at] !== within[from + at]) return false
  }
  return true
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
export function readBoolean({ tag, within, from, stop }: DerNode): boolean {
  const value = within[from]
  if (tag !== TAG.boolean || stop - from !== 1 || (value !== 0 && value !== 0xff)) {
    fault('it has a boolean that is not one')
  }
  return value === 0xff
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
export function readBitString({ tag, within, from, stop }: DerNode): Uint8Array {
  if (tag !== TAG.bitString || from === stop || within[from] !== 0) {
    return fault('it has a bit string that is not whole bytes')
  }
  return within.subarray(from + 1, stop)
}

function fault(why: string): never {
  throw new CaError('CA_DER_INVALID', `Cannot read DER: ${why}`)
}

/** Certificates repeat the same dozen, and spelling one out costs more than the rest of reading it. */
const KNOWN_OIDS = Object.values(OID).map((dotted) => ({ dotted, bytes: oid(dotted).subarray(2) }))
