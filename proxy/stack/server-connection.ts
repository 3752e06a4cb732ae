/**
 * The server's side of one HTTP/1.1 connection: requests are read one after another, each is given
 * to a {@link RequestSink}, and the next is not looked at until its answer is whole.
 *
 * A small request is one read and one call; a small answer is one write.
 *
 * Long because it is one state machine whose states share the socket and the bytes at hand.
 */
import type { Socket } from 'node:net'
import { FRAMING, type Framing } from '../http/body.ts'
import { ChunkedReader } from '../http/chunked.ts'
import { NEED_MORE } from '../http/field-block.ts'
import { MAX_HEAD_BYTES, RequestHead } from '../http/request-head.ts'
import type { ResponseHead } from '../http/response-head.ts'
import { type OwnAnswer, ownResponse, type Rescue, rescue } from '../http/rescue.ts'
import { CONNECTION_CLOSE, serializeResponse } from '../http/serialize.ts'
import type { ProxyErrorCode } from '../error.ts'
import type { TimerWheel, WheelTimer } from './timer-wheel.ts'
import { writeBody } from './write-body.ts'

/** Who answers the requests of one connection, one at a time. */
export interface RequestSink {
  /** `body` came with the head; `end`: there is no more of it. */
  readonly onRequest: (head: RequestHead, body: Buffer | undefined, end: boolean) => void
  readonly onRequestBody: (bytes: Buffer | undefined, end: boolean) => void
  /** The client takes more of the answer again. */
  readonly onClientDrain: () => void
  /** The client is gone before its answer was whole. */
  readonly onClientGone: () => void
  /** The head was refused by the codec and answered already. */
  readonly onRefused: (answer: Rescue, fault: string) => void
}

const HEAD = 0
const BODY = 1
const WHOLE = 2
const TUNNEL = 3
const CLOSED = 4

/** Milliseconds that a client has to finish a head it has begun. */
const HEAD_TIMEOUT_MS = 15_000
/** Milliseconds that we go on reading after a last answer, so that it is not lost to a reset. */
const LINGER_MS = 1000
const LF = 0x0a

export interface ServerConnectionOptions {
  readonly wheel: TimerWheel
  readonly sink: (connection: ServerConnection) => RequestSink
  /** Called once, when the socket is gone. */
  readonly onClose: (connection: ServerConnection) => void
}

export class ServerConnection {
  readonly protocol = 'HTTP/1.1'
  readonly socket: Socket
  readonly #sink: RequestSink
  readonly #head = new RequestHead()
  readonly #chunked = new ChunkedReader()
  readonly #timer: WheelTimer
  readonly #onClose: (connection: ServerConnection) => void
  #phase = HEAD
  #left = 0
  #held: Buffer[] = []
  #heldBytes = 0
  #consuming = false
  #answering = false
  #answered = false
  #outFraming: Framing = FRAMING.none
  #closing = false
  #retiring = false
  #needsDrain = false

  constructor(socket: Socket, { wheel, sink, onClose }: ServerConnectionOptions) {
    this.socket = socket
    this.#onClose = onClose
    this.#timer = wheel.timer(() => this.#onTimeout())
    this.#sink = sink(this)
    socket.on('data', (bytes: Buffer) => this.#onData(bytes))
    socket.on('drain', () => this.#onDrain())
    socket.on('end', () => this.#onEnd())
    // What happened is told by 'close', which follows.
    socket.on('error', () => {})
    socket.on('close', () => this.#onSocketClose())
  }

  /** Whether no request has been begun. */
  get isIdle(): boolean {
    return this.#phase === HEAD && this.#heldBytes === 0
  }

  /** Whether the request's body has arrived whole. */
  get isRequestWhole(): boolean {
    return this.#phase === WHOLE
  }

  /** Says `connection: close` with the next answer, and ends after it. */
  retire(): void {
    this.#retiring = true
  }

  /** Ends the connection after the request at hand, or now when there is none. */
  expire(): void {
    this.#retiring = true
    if (this.isIdle) this.#endSocket()
  }

  /** Ends a connection on which nothing is under way. */
  endIdle(): void {
    this.socket.end()
  }

  /** Takes bytes that were read before this object was made. */
  push(bytes: Buffer): void {
    this.#onData(bytes)
  }

  /** Stops reading the request's body until {@link resume}. */
  pause(): void {
    this.socket.pause()
  }

  resume(): void {
    if (this.#phase !== WHOLE || this.#heldBytes === 0) this.socket.resume()
  }

  /** Passes 100 to 199 on. */
  respondInterim(head: ResponseHead): void {
    if (this.#phase !== CLOSED) {
      this.socket.write(serializeResponse(head, FRAMING.none, ''), 'latin1')
    }
  }

  /** Asks the client for the body that it holds back (RFC 9110 §10.1.1). */
  askForBody(): void {
    if (this.#phase === BODY) this.socket.write('HTTP/1.1 100 Continue\r\n\r\n', 'latin1')
  }

  /** Begins the answer. False: the client is slow; `onDrain` follows. */
  respond(head: ResponseHead, added: string, body: Buffer | undefined, end: boolean): boolean {
    if (this.#phase === CLOSED) return true
    const framing = head.framing === FRAMING.close ? FRAMING.chunked : head.framing
    const isLast = this.#settleClosing(end)
    const text = serializeResponse(head, framing, isLast ? added + CONNECTION_CLOSE : added)
    this.#outFraming = framing
    this.#answered = true
    if (framing === FRAMING.tunnel) return this.#beginTunnel(text, body)
    return this.#write(text, body, end)
  }

  /** Answers by ourselves, whole. `added`: whole lines, each with its CRLF. */
  respondOwn(answer: OwnAnswer & Pick<Rescue, 'close'>, added: string): void {
    if (this.#phase === CLOSED) return
    if (answer.close) this.#closing = true
    const isLast = this.#settleClosing(true)
    const lines = isLast ? added + CONNECTION_CLOSE : added
    this.#outFraming = FRAMING.none
    this.#answered = true
    this.#write(
      ownResponse(answer, { added: lines, isHead: this.#head.method === 'HEAD' }),
      undefined,
      true,
    )
  }

  /** More of the answer's body; false as for {@link respond}. */
  respondBody(bytes: Buffer | undefined, end: boolean): boolean {
    if (this.#phase === CLOSED) return true
    return this.#write('', bytes, end)
  }

  /** HTTP/1.1 trailers end here, as those of requests do. */
  respondTrailers(): void {}

  /** Breaks the connection: an answer that was begun cannot be finished (RFC 9112 §8). */
  breakOff(): void {
    this.#phase = CLOSED
    this.socket.destroy()
  }

  /** After our own 2xx to CONNECT: hands the socket over, with what was read beyond the head. */
  detach(): Buffer | undefined {
    const rest = this.#takeHeld()
    this.#phase = CLOSED
    this.#timer.clear()
    for (const event of ['data', 'drain', 'end', 'error', 'close']) {
      this.socket.removeAllListeners(event)
    }
    this.#onClose(this)
    return rest
  }

  #settleClosing(end: boolean): boolean {
    // An answer that ends before its request leaves unread bytes in the way of the next.
    if (!this.#head.keepAlive || this.#retiring || (end && this.#phase === BODY))
      this.#closing = true
    return this.#closing
  }

  #write(text: string, body: Buffer | undefined, end: boolean): boolean {
    const isTaken = writeBody(this.socket, text, body, this.#outFraming === FRAMING.chunked, end)
    if (!isTaken) this.#needsDrain = true
    if (end) this.#endAnswer()
    return isTaken
  }

  #beginTunnel(text: string, body: Buffer | undefined): boolean {
    this.#phase = TUNNEL
    const isTaken = writeBody(this.socket, text, body, false, false)
    if (!isTaken) this.#needsDrain = true
    const rest = this.#takeHeld()
    if (rest !== undefined) this.#sink.onRequestBody(rest, false)
    this.socket.resume()
    return isTaken
  }

  #endAnswer(): void {
    // The client may still be sending through a tunnel whose other end has finished.
    if (this.#phase === TUNNEL) {
      this.socket.end()
      return
    }
    this.#answering = false
    this.#answered = false
    if (this.#closing || this.#phase !== WHOLE) return this.#endSocket()
    this.#phase = HEAD
    if (!this.#consuming && this.#heldBytes > 0) this.#continueHeld()
  }

  #continueHeld(): void {
    this.socket.resume()
    const bytes = this.#takeHeld()
    if (bytes !== undefined) this.#consume(bytes)
  }

  /** Half-closes, then reads on for a moment: unread bytes at close would reset the answer away. */
  #endSocket(): void {
    this.#phase = CLOSED
    this.socket.end()
    this.socket.resume()
    this.#timer.set(LINGER_MS)
  }

  #onTimeout(): void {
    if (this.#phase === HEAD) return this.#refuse('PROXY_REQUEST_TIMEOUT', 'head-incomplete')
    if (this.#phase === CLOSED) this.socket.destroy()
  }

  #onData(bytes: Buffer): void {
    if (this.#phase === CLOSED) return
    if (this.#heldBytes === 0 && this.#phase !== WHOLE) return this.#consume(bytes)
    this.#hold(bytes)
    if (this.#phase === WHOLE) this.socket.pause()
    // A head cannot be whole before another line is.
    else if (this.#heldBytes >= MAX_HEAD_BYTES || bytes.includes(LF))
      this.#consume(this.#takeHeld())
  }

  #hold(bytes: Buffer): void {
    if (bytes.length === 0) return
    this.#held.push(bytes)
    this.#heldBytes += bytes.length
  }

  #takeHeld(): Buffer | undefined {
    if (this.#heldBytes === 0) return undefined
    const bytes = this.#held.length === 1 ? this.#held[0] : Buffer.concat(this.#held)
    this.#held = []
    this.#heldBytes = 0
    return bytes
  }

  #consume(bytes: Buffer | undefined): void {
    if (bytes === undefined) return
    this.#consuming = true
    let at = 0
    while (at < bytes.length) {
      if (this.#phase === HEAD) at = this.#readHead(bytes, at)
      else if (this.#phase === BODY) at = this.#readBody(bytes, at)
      else if (this.#phase === TUNNEL) {
        this.#sink.onRequestBody(at === 0 ? bytes : bytes.subarray(at), false)
        break
      } else {
        if (this.#phase === WHOLE) {
          this.#hold(bytes.subarray(at))
          this.socket.pause()
        }
        break
      }
    }
    this.#consuming = false
  }

  #readHead(bytes: Buffer, at: number): number {
    const head = this.#head
    const bodyAt = head.read(bytes, at, bytes.length)
    if (bodyAt > 0) {
      if (this.#headTimed) this.#clearHeadTimer()
      return this.#begin(bytes, bodyAt)
    }
    if (bodyAt === NEED_MORE) {
      if (!this.#headTimed) {
        this.#headTimed = true
        this.#timer.set(HEAD_TIMEOUT_MS)
      }
      this.#hold(at === 0 ? bytes : bytes.subarray(at))
    } else this.#refuse(codeOf(head.fault), head.fault)
    return bytes.length
  }

  #headTimed = false

  #clearHeadTimer(): void {
    this.#headTimed = false
    this.#timer.clear()
  }

  #begin(bytes: Buffer, bodyAt: number): number {
    const head = this.#head
    this.#answering = true
    if (head.framing === FRAMING.none) {
      this.#phase = WHOLE
      this.#sink.onRequest(head, undefined, true)
      return bodyAt
    }
    this.#phase = BODY
    if (head.framing === FRAMING.length) {
      this.#left = head.contentLength
      const end = Math.min(bytes.length, bodyAt + this.#left)
      this.#left -= end - bodyAt
      if (this.#left === 0) this.#phase = WHOLE
      const body = end === bodyAt ? undefined : bytes.subarray(bodyAt, end)
      this.#sink.onRequest(head, body, this.#left === 0)
      return end
    }
    this.#chunked.reset()
    return this.#readChunks(bytes, bodyAt, (body, end) => this.#sink.onRequest(head, body, end))
  }

  #readBody(bytes: Buffer, at: number): number {
    if (this.#head.framing === FRAMING.chunked) {
      return this.#readChunks(bytes, at, (body, end) => {
        if (body !== undefined || end) this.#sink.onRequestBody(body, end)
      })
    }
    const end = Math.min(bytes.length, at + this.#left)
    this.#left -= end - at
    if (this.#left === 0) this.#phase = WHOLE
    this.#sink.onRequestBody(
      at === 0 && end === bytes.length ? bytes : bytes.subarray(at, end),
      this.#left === 0,
    )
    return end
  }

  #readChunks(
    bytes: Buffer,
    at: number,
    give: (body: Buffer | undefined, end: boolean) => void,
  ): number {
    const pieces: Buffer[] = []
    const step = this.#chunked.read(bytes, at, pieces)
    if (step === 'malformed') {
      this.#failBody()
      return bytes.length
    }
    const body = pieces.length > 1 ? Buffer.concat(pieces) : pieces[0]
    if (step === 'done') this.#phase = WHOLE
    give(body, step === 'done')
    return step === 'done' ? this.#chunked.next : bytes.length
  }

  /** A body that breaks its framing: what was begun upstream is given up with the connection. */
  #failBody(): void {
    const wasAnswered = this.#answered
    if (this.#answering) this.#sink.onClientGone()
    if (wasAnswered) this.breakOff()
    else this.#refuse('PROXY_BAD_REQUEST', 'chunked-malformed')
  }

  #refuse(code: ProxyErrorCode, fault: string): void {
    const answer = rescue(code)
    this.#head.keepAlive = false
    this.#closing = true
    if (this.#phase === HEAD) this.#head.method = ''
    this.#held = []
    this.#heldBytes = 0
    this.respondOwn(answer, '')
    this.#sink.onRefused(answer, fault)
  }

  #onDrain(): void {
    if (!this.#needsDrain) return
    this.#needsDrain = false
    if (this.#answering || this.#phase === TUNNEL) this.#sink.onClientDrain()
  }

  #onEnd(): void {
    if (this.#phase === TUNNEL) return this.#sink.onRequestBody(undefined, true)
    // Our last answer may still be on its way out.
    if (this.#phase === CLOSED) return
    if (this.#phase === WHOLE) {
      this.#closing = true
      return
    }
    if (this.#answering) {
      this.#answering = false
      this.#sink.onClientGone()
    }
    this.#phase = CLOSED
    this.socket.end()
    this.#timer.set(LINGER_MS)
  }

  #onSocketClose(): void {
    this.#timer.clear()
    const wasAnswering = this.#answering || this.#phase === TUNNEL
    this.#phase = CLOSED
    this.#answering = false
    if (wasAnswering) this.#sink.onClientGone()
    this.#onClose(this)
  }
}

function codeOf(fault: RequestHead['fault']): ProxyErrorCode {
  if (fault === 'version-unsupported') return 'PROXY_VERSION_UNSUPPORTED'
  if (fault === 'head-too-large' || fault === 'too-many-fields') return 'PROXY_HEAD_TOO_LARGE'
  return 'PROXY_BAD_REQUEST'
}
