/**
 * The client's side of one HTTP/1.1 connection. One exchange at a time.
 *
 * Long because it is one state machine whose states share the socket and the bytes at hand.
 */
import type { Socket } from 'node:net'
import { FRAMING, type Framing } from '../http/body.ts'
import { ChunkedReader } from '../http/chunked.ts'
import { NEED_MORE } from '../http/field-block.ts'
import type { RequestHead } from '../http/request-head.ts'
import { ResponseHead } from '../http/response-head.ts'
import { type RequestEdits, serializeRequest } from '../http/serialize.ts'
import { writeBody } from '../stack/write-body.ts'
import type { Exchange, HopAnswer, HopFailure } from './hop.ts'
import type { Dialled, Http1Hop } from './http1.ts'

const IDEMPOTENT: ReadonlySet<string> = new Set([
  'GET',
  'HEAD',
  'OPTIONS',
  'PUT',
  'DELETE',
  'TRACE',
])

/** Taken off what a server says it keeps an idle connection, so that we let go first. */
const KEEP_ALIVE_MARGIN_MS = 1000

const CONNECTING = 0
const IDLE = 1
const HEAD = 2
const BODY = 3
const TUNNEL = 4
const CLOSED = 5

/** A request not yet written, or written and perhaps to be written again. */
interface Sent {
  readonly head: RequestHead
  readonly edits: RequestEdits
  body: Buffer | undefined
  end: boolean
}

export class Http1Client implements Exchange {
  readonly #hop: Http1Hop
  readonly #head = new ResponseHead()
  readonly #chunked = new ChunkedReader()
  #socket: Socket | undefined
  #giveUpDialling: () => void
  #phase = CONNECTING
  #answer: HopAnswer | undefined
  #sent: Sent | undefined
  /** Who carries the exchange now, when it had to be sent again on another connection. */
  #successor: Http1Client | undefined
  #method = ''
  #outFraming: Framing = FRAMING.none
  #requestDone = true
  #left = 0
  #held: Buffer | undefined
  #served = 0
  #retireAtMs = Number.POSITIVE_INFINITY
  #idleSinceMs = 0
  #idleMs: number
  #answerBegun = false
  #needsDrain = false

  constructor(hop: Http1Hop) {
    this.#hop = hop
    this.#idleMs = hop.options.idleTimeoutMs
    this.#giveUpDialling = hop.options.dial(
      (dialled) => this.#onOpen(dialled),
      (kind, detail) => this.#onDialFailure(kind, detail),
    )
  }

  /** Whether an idle connection may carry one more request. */
  isFit(nowMs: number): boolean {
    return (
      this.#phase === IDLE && nowMs < this.#retireAtMs && nowMs - this.#idleSinceMs < this.#idleMs
    )
  }

  send(
    head: RequestHead,
    edits: RequestEdits,
    body: Buffer | undefined,
    end: boolean,
    answer: HopAnswer,
  ): void {
    this.#answer = answer
    this.#method = head.method
    this.#answerBegun = false
    // Kept while it may have to be written, or written again.
    this.#sent = { head, edits, body, end }
    if (this.#phase !== CONNECTING) this.#writeRequest()
  }

  write(bytes: Buffer | undefined, end: boolean): boolean {
    if (this.#successor !== undefined) return this.#successor.write(bytes, end)
    if (this.#phase === CLOSED) return true
    if (this.#phase === CONNECTING) return this.#keepForLater(bytes, end)
    this.#sent = undefined
    if (this.#socket === undefined) return true
    if (this.#phase === TUNNEL && end) {
      if (bytes !== undefined) this.#socket.write(bytes)
      this.#socket.end()
      return true
    }
    const isTaken = writeBody(this.#socket, '', bytes, this.#outFraming === FRAMING.chunked, end)
    if (!isTaken) this.#needsDrain = true
    if (end) this.#requestDone = true
    return isTaken
  }

  pause(): void {
    if (this.#successor !== undefined) this.#successor.pause()
    else this.#socket?.pause()
  }

  resume(): void {
    if (this.#successor !== undefined) this.#successor.resume()
    else this.#socket?.resume()
  }

  abort(): void {
    if (this.#successor !== undefined) return this.#successor.abort()
    if (this.#answer === undefined) return
    this.#answer = undefined
    this.#hop.release(this, false)
  }

  /** Ends the connection now; nothing is called back. */
  close(): void {
    if (this.#phase === CLOSED) return
    const wasConnecting = this.#phase === CONNECTING
    const wasBusy = this.#phase !== IDLE
    this.#phase = CLOSED
    if (wasConnecting) this.#giveUpDialling()
    else if (wasBusy) this.#socket?.destroy()
    else this.#socket?.destroySoon()
    this.#hop.forget(this)
  }

  #keepForLater(bytes: Buffer | undefined, end: boolean): boolean {
    const sent = this.#sent
    if (sent === undefined) return true
    if (bytes !== undefined) {
      sent.body = sent.body === undefined ? bytes : Buffer.concat([sent.body, bytes])
    }
    sent.end = end
    this.#needsDrain = true
    return end
  }

  #onOpen({ socket, lifeMs }: Dialled): void {
    if (this.#phase === CLOSED) {
      socket.destroy()
      return
    }
    this.#socket = socket
    this.#phase = IDLE
    this.#retireAtMs = this.#hop.options.nowMs() + lifeMs
    socket.on('data', (bytes: Buffer) => this.#onData(bytes))
    socket.on('drain', () => this.#onDrain())
    socket.on('end', () => this.#onEnd())
    // What happened is told by 'close', which follows.
    socket.on('error', () => {})
    socket.on('close', () => this.#onClose())
    if (this.#answer !== undefined) this.#writeRequest()
    if (this.#needsDrain) this.#onDrain()
  }

  #onDialFailure(kind: HopFailure['kind'], detail: string): void {
    if (this.#phase === CLOSED) return
    this.#phase = CLOSED
    this.#hop.forget(this)
    this.#fail({ kind, detail, mayHaveActed: false })
  }

  #writeRequest(): void {
    const sent = this.#sent
    const socket = this.#socket
    if (sent === undefined || socket === undefined) return
    const { head, edits, body, end } = sent
    this.#phase = HEAD
    this.#served += 1
    this.#outFraming = head.framing
    this.#requestDone = end
    const text = serializeRequest(head, edits)
    if (!writeBody(socket, text, body, head.framing === FRAMING.chunked, end))
      this.#needsDrain = true
    // Only a request that is at hand whole can be sent again.
    if (!end || this.#served === 1 || !IDEMPOTENT.has(head.method)) this.#sent = undefined
  }

  #onDrain(): void {
    if (!this.#needsDrain) return
    this.#needsDrain = false
    this.#answer?.onDrain()
  }

  #onData(bytes: Buffer): void {
    const held = this.#held
    if (held !== undefined) {
      this.#held = undefined
      return this.#consume(Buffer.concat([held, bytes]))
    }
    this.#consume(bytes)
  }

  #consume(bytes: Buffer): void {
    switch (this.#phase) {
      case HEAD:
        return this.#readHead(bytes, 0)
      case BODY:
        return this.#readBody(bytes, 0, undefined)
      case TUNNEL:
        return this.#answer?.onBody(bytes, false)
      default:
        // An answer that nobody asked for would be taken for the next one's.
        this.close()
    }
  }

  #readHead(bytes: Buffer, from: number): void {
    const head = this.#head
    let at = from
    for (;;) {
      const bodyAt = head.read(bytes, at, bytes.length, this.#method)
      if (bodyAt === NEED_MORE) {
        this.#held = at === 0 ? bytes : bytes.subarray(at)
        return
      }
      if (bodyAt < 0) return this.#breakProtocol(head.fault)
      this.#answerBegun = true
      this.#sent = undefined
      if (head.status >= 200 || head.status === 101) return this.#begin(bytes, bodyAt)
      this.#answer?.onInterim(head)
      at = bodyAt
      if (at === bytes.length) return
    }
  }

  #begin(bytes: Buffer, bodyAt: number): void {
    const head = this.#head
    if (head.keepAliveSeconds > 0) {
      this.#idleMs = Math.min(
        this.#hop.options.idleTimeoutMs,
        Math.max(0, head.keepAliveSeconds * 1000 - KEEP_ALIVE_MARGIN_MS),
      )
    }
    if (head.framing === FRAMING.none) return this.#finish(head, undefined, bodyAt === bytes.length)
    if (head.framing === FRAMING.length) {
      this.#left = head.contentLength
      const end = Math.min(bytes.length, bodyAt + this.#left)
      this.#left -= end - bodyAt
      const body = end === bodyAt ? undefined : bytes.subarray(bodyAt, end)
      if (this.#left === 0) return this.#finish(head, body, end === bytes.length)
      this.#phase = BODY
      this.#answer?.onHead(head, body, false)
      return
    }
    const body = bodyAt === bytes.length ? undefined : bytes.subarray(bodyAt)
    if (head.framing === FRAMING.chunked) {
      this.#phase = BODY
      this.#chunked.reset()
      return this.#readBody(bytes, bodyAt, head)
    }
    this.#phase = head.framing === FRAMING.tunnel ? TUNNEL : BODY
    this.#answer?.onHead(head, body, false)
  }

  /** `head`: not given to the answer yet. */
  #readBody(bytes: Buffer, at: number, head: ResponseHead | undefined): void {
    if (this.#head.framing === FRAMING.chunked) {
      const pieces: Buffer[] = []
      const step = this.#chunked.read(bytes, at, pieces)
      if (step === 'malformed') return this.#breakProtocol('chunked-malformed')
      const body = pieces.length > 1 ? Buffer.concat(pieces) : pieces[0]
      if (step === 'done') return this.#finish(head, body, this.#chunked.next === bytes.length)
      if (head !== undefined) this.#answer?.onHead(head, body, false)
      else if (body !== undefined) this.#answer?.onBody(body, false)
      return
    }
    if (this.#head.framing === FRAMING.close) {
      this.#answer?.onBody(bytes, false)
      return
    }
    const end = Math.min(bytes.length, this.#left)
    this.#left -= end
    if (this.#left > 0) {
      this.#answer?.onBody(bytes, false)
      return
    }
    this.#finish(
      undefined,
      end === bytes.length ? bytes : bytes.subarray(0, end),
      end === bytes.length,
    )
  }

  /** The answer is whole. The connection goes back before the answer does, for whoever comes next. */
  #finish(head: ResponseHead | undefined, body: Buffer | undefined, isExact: boolean): void {
    const answer = this.#answer
    const { maxRequestsPerConnection, nowMs } = this.#hop.options
    this.#answer = undefined
    this.#idleSinceMs = nowMs()
    this.#phase = IDLE
    const isReusable =
      isExact &&
      this.#requestDone &&
      this.#head.keepAlive &&
      this.#idleSinceMs < this.#retireAtMs &&
      (maxRequestsPerConnection === 0 || this.#served < maxRequestsPerConnection)
    this.#hop.release(this, isReusable)
    if (head === undefined) answer?.onBody(body, true)
    else answer?.onHead(head, body, true)
  }

  #breakProtocol(detail: string): void {
    this.#phase = CLOSED
    this.#socket?.destroy()
    this.#hop.forget(this)
    this.#fail({ kind: 'protocol', detail, mayHaveActed: true })
  }

  #onEnd(): void {
    if (this.#phase === TUNNEL) {
      this.#answer?.onBody(undefined, true)
      return
    }
    if (this.#phase === BODY && this.#head.framing === FRAMING.close) {
      this.#head.keepAlive = false
      return this.#finish(undefined, undefined, true)
    }
    // Idle or cut short: either way there is nothing more to get here.
    this.#onClose()
  }

  #onClose(): void {
    if (this.#phase === CLOSED) {
      // Ended by us, unless an exchange is still there to be told.
      if (this.#answer === undefined) return
    }
    const phase = this.#phase
    this.#phase = CLOSED
    this.#socket?.destroy()
    if (this.#answer !== undefined && phase === HEAD && this.#sendAgain()) return
    this.#hop.forget(this)
    this.#fail({
      kind: 'reset',
      detail: this.#answerBegun
        ? 'the connection ended amid the answer'
        : 'the connection ended before an answer',
      mayHaveActed: true,
    })
  }

  #sendAgain(): boolean {
    const sent = this.#sent
    const answer = this.#answer
    if (sent === undefined || answer === undefined || this.#answerBegun || this.#held !== undefined)
      return false
    this.#hop.forget(this)
    this.#answer = undefined
    this.#successor = this.#hop.reopen()
    this.#successor.send(sent.head, sent.edits, sent.body, sent.end, answer)
    return true
  }

  #fail(failure: HopFailure): void {
    const answer = this.#answer
    if (answer === undefined) return
    this.#answer = undefined
    this.#hop.release(this, false)
    answer.onFailure(failure)
  }
}
