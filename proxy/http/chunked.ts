import { readChunkSize } from './chunk-size.ts'

/** Bytes of trailer fields after the last chunk. We read past them and carry none. */
const MAX_TRAILER_BYTES = 8192
/** A size line can be told whole or malformed within this many bytes. */
const MAX_SIZE_LINE = 16

const CR = 0x0d
const LF = 0x0a

type State = 'size' | 'data' | 'data-end' | 'trailer' | 'done'

/** Where reading stopped: `next` is the first byte not taken. */
export type ChunkedStep = 'more' | 'done' | 'malformed'

/**
 * Takes the chunked coding off a body that comes in pieces (RFC 9112 §7.1). What it passes on are
 * views of the bytes it was given.
 *
 * Trailers are checked for shape and dropped: a `Host` or `Authorization` that arrives after the
 * decision must not reach the app, and HTTP/1.1 apps do without (RFC 9110 §6.5.1 lets us).
 */
export class ChunkedReader {
  #state: State = 'size'
  #left = 0
  #held = ''
  #trailerBytes = 0
  /** After `done`: the first byte in the last piece that is not of this body. */
  next = 0

  /** Makes it ready for another body. */
  reset(): void {
    this.#state = 'size'
    this.#left = 0
    this.#held = ''
    this.#trailerBytes = 0
    this.next = 0
  }

  /** Reads `bytes[from…]`, adding the pieces of body found there to `into`. */
  read(bytes: Buffer, from: number, into: Buffer[]): ChunkedStep {
    let at = from
    while (at < bytes.length || this.#state === 'done') {
      switch (this.#state) {
        case 'size': {
          const next = this.#readSize(bytes, at)
          if (next < 0) return 'malformed'
          at = next
          break
        }
        case 'data': {
          const end = Math.min(bytes.length, at + this.#left)
          into.push(bytes.subarray(at, end))
          this.#left -= end - at
          at = end
          if (this.#left === 0) this.#enter('data-end')
          break
        }
        case 'data-end': {
          if (!this.#takeCrlf(bytes[at]!)) return 'malformed'
          at += 1
          if (this.#held === '\r\n') this.#enter('size')
          break
        }
        case 'trailer': {
          const next = this.#readTrailer(bytes, at)
          if (next < 0) return 'malformed'
          at = next
          break
        }
        case 'done':
          this.next = at
          return 'done'
        default:
          return this.#state satisfies never
      }
    }
    return 'more'
  }

  #enter(state: State): void {
    this.#state = state
    this.#held = ''
  }

  /** A size line is read from the piece itself, or byte by byte when a piece ends inside it. */
  #readSize(bytes: Buffer, at: number): number {
    if (this.#held === '') {
      const size = readChunkSize(bytes, at)
      if (size.kind === 'malformed') return -1
      if (size.kind === 'size') return this.#enterChunk(size.bytes, size.next)
      this.#held = bytes.toString('latin1', at)
      return this.#held.length > MAX_SIZE_LINE ? -1 : bytes.length
    }
    this.#held += String.fromCharCode(bytes[at]!)
    const size = readChunkSize(Buffer.from(this.#held, 'latin1'), 0)
    if (size.kind === 'malformed' || this.#held.length > MAX_SIZE_LINE) return -1
    return size.kind === 'size' ? this.#enterChunk(size.bytes, at + 1) : at + 1
  }

  #enterChunk(size: number, next: number): number {
    this.#left = size
    this.#enter(size === 0 ? 'trailer' : 'data')
    return next
  }

  #takeCrlf(byte: number): boolean {
    if (byte !== (this.#held === '' ? CR : LF)) return false
    this.#held += byte === CR ? '\r' : '\n'
    return true
  }

  /** Lines up to the empty one; a bare LF or a line that begins with a space is malformed. */
  #readTrailer(bytes: Buffer, from: number): number {
    let at = from
    for (; at < bytes.length; at += 1) {
      const byte = bytes[at]!
      this.#trailerBytes += 1
      if (this.#trailerBytes > MAX_TRAILER_BYTES) return -1
      if (byte === LF) {
        if (!this.#held.endsWith('\r')) return -1
        if (this.#held === '\r') {
          this.#enter('done')
          return at + 1
        }
        if (!TRAILER_LINE.test(this.#held)) return -1
        this.#held = ''
      } else {
        if (this.#held.endsWith('\r')) return -1
        this.#held += String.fromCharCode(byte)
      }
    }
    return at
  }
}

const TRAILER_LINE = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\r$/
