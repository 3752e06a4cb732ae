/**
 * The head of a request: read strictly, kept as text.
 *
 * @see RFC 9112 §3–§6
 */
import { isKnownMethod, mayBeAuthority } from '#policy/model/index.ts'
import { FRAMING, type Framing, isChunked, parseContentLength, readConnection } from './body.ts'
import { BYTE_CLASS, FIELD, TARGET_BYTE } from './field.ts'
import { FAULTY, FieldBlock, type FieldsFault, NEED_MORE } from './field-block.ts'
import { splitTarget } from './path.ts'

/** Request line and field lines together; Envoy's limit too. */
export const MAX_HEAD_BYTES = 61_440

export type RequestFault =
  | FieldsFault
  | 'head-too-large'
  | 'request-line-malformed'
  | 'method-unknown'
  | 'target-malformed'
  | 'version-unsupported'
  | 'host-missing'
  | 'host-repeated'
  | 'host-malformed'
  | 'content-length-malformed'
  | 'content-length-repeated'
  | 'transfer-encoding-unsupported'
  | 'transfer-encoding-repeated'
  | 'length-and-encoding'
  | 'connection-names-forbidden-field'
  | 'expectation-unknown'
  | 'connect-with-body'

/** Fields that a `Connection` field may not take away: framing, routing, and what policies decide on. */
const NOT_NOMINABLE =
  /^(host|content-length|transfer-encoding|authorization|cookie|traceparent|x-.*|:.*)$/

const SPACE = 0x20
const CR = 0x0d
const LF = 0x0a
const HASH = 0x23

export class RequestHead {
  readonly fields: FieldBlock = new FieldBlock()
  method = ''
  /** As sent, in origin form: path and query, every byte kept; `*`, or '' for CONNECT. No fragment. */
  target = ''
  /** Whether a fragment was cut, so that the request line has to be written anew. */
  hasFragment = false
  /** `Host` as sent, or the authority of an absolute or CONNECT target, which overrides it (RFC 9112 §3.2.2). */
  authority = ''
  /** Whether `authority` came with the target, so that `Host` has to be written anew. */
  isAbsolute = false
  /** Whether that target is `https`. */
  asksForTls = false
  framing: Framing = FRAMING.none
  /** Bytes of the body when `framing` is `length`, else 0. */
  contentLength = 0
  /** Whether the client wants to go on using its connection. */
  keepAlive = true
  /** The protocol asked for by `Upgrade`, as sent; '' when none is. */
  upgrade = ''
  expectsContinue = false
  hasRequestId = false
  /** Somebody says which attempt this is; whether to believe it is up to who knows the peer. */
  hasAttemptCount = false
  fault: RequestFault = 'request-line-malformed'

  #lastAuthority: string | undefined
  #lengths = 0
  #encodings = 0
  #hosts = 0
  #wantsUpgrade = false

  /**
   * Reads a head that starts at `bytes[start]` and lies within `bytes[start, end)`, whose field
   * names it makes lower case in place.
   *
   * @returns where the body starts, {@link NEED_MORE}, or {@link FAULTY} with `fault` set
   */
  read(bytes: Buffer, start: number, end: number): number {
    const limit = Math.min(end, start + MAX_HEAD_BYTES)
    const lineEnd = this.#readRequestLine(bytes, start, limit)
    if (lineEnd <= 0) return lineEnd === NEED_MORE ? this.#needMore(start, end) : FAULTY
    const bodyAt = this.fields.read(bytes, lineEnd, limit, start)
    if (bodyAt === NEED_MORE) return this.#needMore(start, end)
    if (bodyAt === FAULTY) return this.#refuse(this.fields.fault)
    this.fields.text = bytes.toString('latin1', start, bodyAt)
    return this.#understand() ? bodyAt : FAULTY
  }

  #needMore(start: number, end: number): number {
    return end - start >= MAX_HEAD_BYTES ? this.#refuse('head-too-large') : NEED_MORE
  }

  #refuse(fault: RequestFault): typeof FAULTY {
    this.fault = fault
    return FAULTY
  }

  #readRequestLine(bytes: Buffer, start: number, end: number): number {
    let at = start
    while (at < end && bytes[at]! >= 0x41 && bytes[at]! <= 0x5a) at += 1
    if (at === end) return at - start > 32 ? this.#refuse('method-unknown') : NEED_MORE
    if (bytes[at] !== SPACE || at === start) return this.#refuse('request-line-malformed')
    this.method = bytes.toString('latin1', start, at)
    if (!isKnownMethod(this.method)) return this.#refuse('method-unknown')
    const targetAt = at + 1
    at = targetAt
    while (at < end && BYTE_CLASS[bytes[at]!]! & TARGET_BYTE) at += 1
    if (at === end) return NEED_MORE
    const targetEnd = at
    this.hasFragment = bytes[at] === HASH
    if (this.hasFragment) at = endOfFragment(bytes, at, end)
    if (at === end) return NEED_MORE
    // HTTP/0.9: a request line without a version.
    if (targetEnd > targetAt && bytes[at] === CR) {
      if (at + 1 === end) return NEED_MORE
      return this.#refuse(bytes[at + 1] === LF ? 'version-unsupported' : 'target-malformed')
    }
    if (bytes[at] !== SPACE || targetEnd === targetAt) return this.#refuse('target-malformed')
    this.target = bytes.toString('latin1', targetAt, targetEnd)
    return this.#readVersion(bytes, at + 1, end)
  }

  #readVersion(bytes: Buffer, at: number, end: number): number {
    for (let index = 0; index < VERSION.length; index += 1) {
      if (at + index === end) return NEED_MORE
      const byte = bytes[at + index]!
      if (byte === VERSION[index]) continue
      const isOtherVersion = (index === 5 || index === 7) && byte >= 0x30 && byte <= 0x39
      return this.#refuse(isOtherVersion ? 'version-unsupported' : 'request-line-malformed')
    }
    return at + VERSION.length
  }

  /** Everything that one field means for another. False when the head is refused. */
  #understand(): boolean {
    this.framing = FRAMING.none
    this.contentLength = 0
    this.keepAlive = true
    this.upgrade = ''
    this.expectsContinue = false
    this.hasRequestId = false
    this.hasAttemptCount = false
    this.isAbsolute = false
    this.asksForTls = false
    this.#lengths = 0
    this.#encodings = 0
    this.#hosts = 0
    this.#wantsUpgrade = false
    const { fields } = this
    const host = this.authority
    for (let index = 0; index < fields.count; index += 1) {
      const kind = fields.kind(index)
      if (kind !== FIELD.other && !this.#note(index, kind)) return false
    }
    if (this.#hosts !== 1) {
      this.authority = host
      this.fault = this.#hosts === 0 ? 'host-missing' : 'host-repeated'
      return false
    }
    return this.#settleAuthority() && this.#settleFraming() && this.#settleUpgrade()
  }

  #note(index: number, kind: number): boolean {
    const { fields } = this
    switch (kind) {
      case FIELD.host:
        this.#hosts += 1
        this.authority = fields.value(index)
        return true
      case FIELD.contentLength:
        this.#lengths += 1
        this.contentLength = parseContentLength(fields.value(index))
        return true
      case FIELD.transferEncoding:
        this.#encodings += 1
        fields.drop(index)
        if (isChunked(fields.value(index))) return true
        this.fault = 'transfer-encoding-unsupported'
        return false
      case FIELD.connection:
        fields.drop(index)
        return this.#noteConnection(fields.value(index))
      case FIELD.upgrade:
        fields.drop(index)
        this.upgrade = fields.value(index)
        return true
      case FIELD.expect:
        if (fields.value(index).toLowerCase() === '100-continue') {
          this.expectsContinue = true
          return true
        }
        this.fault = 'expectation-unknown'
        return false
      case FIELD.requestId:
        this.hasRequestId = true
        return true
      case FIELD.attemptCount:
        this.hasAttemptCount = true
        return true
      default:
        // te, keep-alive, proxy-*, trailer, and the names that only we may say.
        fields.drop(index)
        return true
    }
  }

  #noteConnection(value: string): boolean {
    const options = readConnection(value)
    if (options.close) this.keepAlive = false
    if (options.upgrade) this.#wantsUpgrade = true
    for (const name of options.names) {
      if (NOT_NOMINABLE.test(name)) {
        this.fault = 'connection-names-forbidden-field'
        return false
      }
      this.fields.dropNamed(name)
    }
    return true
  }

  #settleAuthority(): boolean {
    if (this.target.charCodeAt(0) !== 0x2f) {
      const target = splitTarget(this.method, this.target)
      if (target.kind === 'malformed') {
        this.fault = 'target-malformed'
        return false
      }
      if (target.kind === 'absolute' || target.kind === 'authority') {
        this.isAbsolute = true
        this.authority = target.authority
        this.target = target.kind === 'absolute' ? target.path : ''
        this.asksForTls = target.kind === 'absolute' && target.isSecure
      }
    } else if (this.method === 'CONNECT') {
      this.fault = 'target-malformed'
      return false
    }
    // A connection mostly repeats one Host.
    if (this.authority === this.#lastAuthority) return true
    if (!this.isAbsolute && !mayBeAuthority(this.authority)) {
      this.fault = 'host-malformed'
      return false
    }
    this.#lastAuthority = this.authority
    return true
  }

  #settleFraming(): boolean {
    if (this.#lengths === 0 && this.#encodings === 0) return true
    if (this.#lengths > 1) this.fault = 'content-length-repeated'
    else if (this.#encodings > 1) this.fault = 'transfer-encoding-repeated'
    else if (this.#lengths + this.#encodings > 1) this.fault = 'length-and-encoding'
    else if (this.contentLength < 0) this.fault = 'content-length-malformed'
    else if (this.method === 'CONNECT') this.fault = 'connect-with-body'
    else {
      if (this.#encodings > 0) this.framing = FRAMING.chunked
      else if (this.contentLength > 0) this.framing = FRAMING.length
      return true
    }
    return false
  }

  /**
   * An upgrade is carried on when it is asked for properly and has no body. `h2c` never is: behind
   * it requests would pass that nobody decided on.
   */
  #settleUpgrade(): boolean {
    if (this.upgrade === '') return true
    const isCarried =
      this.#wantsUpgrade && this.framing === FRAMING.none && !/h2c|http/i.test(this.upgrade)
    if (!isCarried) this.upgrade = ''
    return true
  }
}

/** A fragment is nobody's business but the client's: Envoy cuts it in every mode (istio-semantics §0.8.10). */
function endOfFragment(bytes: Buffer, start: number, end: number): number {
  let at = start
  while (at < end && (bytes[at] === HASH || BYTE_CLASS[bytes[at]!]! & TARGET_BYTE)) at += 1
  return at
}

const VERSION: Uint8Array = Buffer.from('HTTP/1.1\r\n', 'latin1')
