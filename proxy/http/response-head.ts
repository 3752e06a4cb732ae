/**
 * The head of a response: read strictly, kept as text.
 *
 * @see RFC 9112 §4, §6
 */
import { FRAMING, type Framing, isChunked, parseContentLength, readConnection } from './body.ts'
import { FIELD } from './field.ts'
import { FAULTY, FieldBlock, type FieldsFault, NEED_MORE } from './field-block.ts'
import { MAX_HEAD_BYTES } from './request-head.ts'

export type ResponseFault =
  | FieldsFault
  | 'head-too-large'
  | 'status-line-malformed'
  | 'content-length-malformed'
  | 'content-length-repeated'
  | 'transfer-encoding-unsupported'
  | 'length-and-encoding'

const SPACE = 0x20
const CR = 0x0d
const LF = 0x0a
const ZERO = 0x30
const PREFIX: Uint8Array = Buffer.from('HTTP/1.', 'latin1')

export class ResponseHead {
  readonly fields: FieldBlock = new FieldBlock()
  /** 100..599. */
  status = 0
  framing: Framing = FRAMING.none
  contentLength = 0
  keepAlive = true
  /** Seconds that the server keeps an idle connection, by its `Keep-Alive: timeout=n`; 0 when unsaid. */
  keepAliveSeconds = 0
  /** The protocol of a 101, as sent. */
  upgrade = ''
  /** Whether there is a field that only a sidecar may set. */
  hasInternal = false
  fault: ResponseFault = 'status-line-malformed'
  #lengths = 0
  #encodings = 0

  /**
   * Reads a head that starts at `bytes[start]`; names become lower case in place. `method` is the
   * request's: what follows a HEAD or CONNECT is framed otherwise (RFC 9112 §6.3).
   *
   * @returns where the body starts, {@link NEED_MORE}, or {@link FAULTY} with `fault` set
   */
  read(bytes: Buffer, start: number, end: number, method: string): number {
    const limit = Math.min(end, start + MAX_HEAD_BYTES)
    const lineEnd = this.#readStatusLine(bytes, start, limit)
    const bodyAt = lineEnd > 0 ? this.fields.read(bytes, lineEnd, limit, start) : lineEnd
    if (bodyAt === NEED_MORE) {
      return end - start >= MAX_HEAD_BYTES ? this.#refuse('head-too-large') : NEED_MORE
    }
    if (bodyAt === FAULTY) return this.#refuse(lineEnd > 0 ? this.fields.fault : this.fault)
    this.fields.text = bytes.toString('latin1', start, bodyAt)
    return this.#understand(method) ? bodyAt : FAULTY
  }

  #refuse(fault: ResponseFault): typeof FAULTY {
    this.fault = fault
    return FAULTY
  }

  #readStatusLine(bytes: Buffer, start: number, end: number): number {
    for (let index = 0; index < PREFIX.length; index += 1) {
      if (start + index === end) return NEED_MORE
      if (bytes[start + index] !== PREFIX[index]) return this.#refuse('status-line-malformed')
    }
    if (start + 13 > end) return NEED_MORE
    const minor = bytes[start + 7]! - ZERO
    const status =
      (bytes[start + 9]! - ZERO) * 100 +
      (bytes[start + 10]! - ZERO) * 10 +
      bytes[start + 11]! -
      ZERO
    const isDigits =
      isDigit(bytes[start + 9]!) && isDigit(bytes[start + 10]!) && isDigit(bytes[start + 11]!)
    if ((minor !== 0 && minor !== 1) || bytes[start + 8] !== SPACE || !isDigits) {
      return this.#refuse('status-line-malformed')
    }
    if (status < 100 || status > 599) return this.#refuse('status-line-malformed')
    let at = start + 12
    if (bytes[at] !== SPACE && bytes[at] !== CR) return this.#refuse('status-line-malformed')
    while (at < end && bytes[at] !== CR) {
      const byte = bytes[at]!
      if (byte === LF || byte === 0x7f || (byte < SPACE && byte !== 0x09)) {
        return this.#refuse('status-line-malformed')
      }
      at += 1
    }
    if (at + 1 >= end) return NEED_MORE
    if (bytes[at + 1] !== LF) return this.#refuse('status-line-malformed')
    this.status = status
    this.keepAlive = minor === 1
    return at + 2
  }

  #understand(method: string): boolean {
    this.framing = FRAMING.none
    this.contentLength = 0
    this.keepAliveSeconds = 0
    this.upgrade = ''
    this.hasInternal = false
    this.#lengths = 0
    this.#encodings = 0
    const { fields, status } = this
    for (let index = 0; index < fields.count; index += 1) {
      const kind = fields.kind(index)
      if (kind !== FIELD.other && !this.#note(index, kind)) return false
    }
    if (this.#lengths + this.#encodings > 1) {
      this.fault = this.#encodings > 0 ? 'length-and-encoding' : 'content-length-repeated'
      return false
    }
    if (status === 101) this.framing = FRAMING.tunnel
    else if (method === 'CONNECT' && status < 300 && status >= 200) this.framing = FRAMING.tunnel
    else if (status < 200 || status === 204 || status === 304 || method === 'HEAD') return true
    else if (this.#encodings > 0) this.framing = FRAMING.chunked
    else if (this.#lengths > 0) {
      if (this.contentLength > 0) this.framing = FRAMING.length
    } else this.framing = FRAMING.close
    return true
  }

  #note(index: number, kind: number): boolean {
    const { fields } = this
    switch (kind) {
      case FIELD.contentLength:
        this.#lengths += 1
        this.contentLength = parseContentLength(fields.value(index))
        if (this.contentLength >= 0) return true
        this.fault = 'content-length-malformed'
        return false
      case FIELD.transferEncoding:
        this.#encodings += 1
        fields.drop(index)
        if (isChunked(fields.value(index))) return true
        this.fault = 'transfer-encoding-unsupported'
        return false
      case FIELD.connection:
        fields.drop(index)
        this.#noteConnection(fields.value(index))
        return true
      case FIELD.keepAlive: {
        fields.drop(index)
        const seconds = /(?:^|[,;\s])timeout=(\d{1,6})/i.exec(fields.value(index))?.[1]
        if (seconds !== undefined) this.keepAliveSeconds = Number(seconds)
        return true
      }
      case FIELD.upgrade:
        fields.drop(index)
        this.upgrade = fields.value(index)
        return true
      case FIELD.internal:
        this.hasInternal = true
        return true
      case FIELD.hop:
        fields.drop(index)
        return true
      default:
        return true
    }
  }

  #noteConnection(value: string): void {
    const options = readConnection(value)
    if (options.close) this.keepAlive = false
    else if (options.keepAlive) this.keepAlive = true
    for (const name of options.names) {
      if (name !== 'content-length') this.fields.dropNamed(name)
    }
  }
}

function isDigit(byte: number): boolean {
  return byte >= ZERO && byte <= ZERO + 9
}
