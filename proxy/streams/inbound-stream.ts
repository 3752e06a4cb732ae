/** One HTTP/2 stream of a caller: its one request goes the way of all requests. */
import { constants, type ServerHttp2Stream } from 'node:http2'
import type { ProxyErrorCode } from '../error.ts'
import type { RequestHead } from '../http/request-head.ts'
import { type OwnAnswer, type Rescue, rescue } from '../http/rescue.ts'
import type { ResponseHead } from '../http/response-head.ts'
import { type Trailers, trailersOf } from '../http2/fields.ts'
import { readStreamRequest } from '../http2/read-request.ts'
import { interimFields, ownFields, responseFields } from '../http2/write.ts'
import type { Caller } from '../inbound/caller.ts'
import type { Admitted, AdmittedAnswer, InboundApp } from '../inbound/forward.ts'
import type { Exchange } from '../mesh/hop.ts'
import type { RequestSink } from '../stack/server-connection.ts'
import type { AppSession } from './app-session.ts'
import { closeLater } from './close-later.ts'
import { failedExchange } from './failed-exchange.ts'

const { NGHTTP2_FLAG_END_STREAM, NGHTTP2_INTERNAL_ERROR, NGHTTP2_NO_ERROR } = constants

/** Nothing is said that an app, or this sidecar over HTTP/1, does not say. */
const AS_SAID = { sendDate: false }

/** The connection that a stream belongs to. */
export interface StreamHost {
  /** Where an app that speaks HTTP/2 is; `undefined`: it speaks HTTP/1. */
  readonly session: AppSession | undefined
  /** Where requests go without {@link session}. */
  readonly app: InboundApp
  readonly sink: (caller: Caller, app: InboundApp) => RequestSink
  readonly retire: () => void
  /** Called once. */
  readonly onClose: () => void
}

export class InboundStream implements Caller, InboundApp {
  readonly protocol = 'HTTP/2'
  readonly #stream: ServerHttp2Stream
  readonly #host: StreamHost
  readonly #sink: RequestSink
  #isHead = false
  /** Whether trailers may follow the answer. */
  #hasTrailers = false
  #takesTrailers = false
  #announcesTrailers = false
  /** Whether the request has arrived whole. */
  #isWhole = false
  /** Whether the answer is whole, as far as we have to do with it. */
  #isAnswered = false
  /** Why the answer cannot be finished, as HTTP/2 says it. */
  #broken: number | undefined
  #requestTrailers: Trailers | undefined
  #trailers: Trailers | undefined

  constructor(stream: ServerHttp2Stream, host: StreamHost) {
    this.#stream = stream
    this.#host = host
    this.#sink = host.sink(this, this)
    // What happened is told by 'close', which follows.
    stream.on('error', () => {})
    stream.once('aborted', () => {
      this.#onGone()
      // It may be paused, and would wait for whoever reads it.
      stream.resume()
    })
    stream.once('close', () => {
      this.#onGone()
      host.onClose()
    })
    stream.on('drain', () => {
      if (!this.#isAnswered) this.#sink.onClientDrain()
    })
    stream.on('wantTrailers', () => this.#sendTrailers())
    stream.on('trailers', (_headers: unknown, _flags: number, raw?: string[]) => {
      this.#requestTrailers = trailersOf(raw ?? [])
    })
  }

  /** Takes the request. */
  begin(flags: number, raw: readonly string[]): void {
    const stream = this.#stream
    this.#isWhole = (flags & NGHTTP2_FLAG_END_STREAM) !== 0
    const read = readStreamRequest({ raw, isWhole: this.#isWhole })
    if (read.kind === 'refused') return this.#refuse(read.fault)
    this.#isHead = read.head.method === 'HEAD'
    this.#takesTrailers = read.takesTrailers
    this.#announcesTrailers = read.announcesTrailers
    if (!this.#isWhole) stream.on('data', (bytes: Buffer) => this.#sink.onRequestBody(bytes, false))
    stream.on('end', () => this.#onEnd())
    stream.resume()
    this.#sink.onRequest(read.head, undefined, this.#isWhole)
  }

  #refuse(fault: string): void {
    const answer = rescue(codeOf(fault))
    this.respondOwn(answer, '')
    this.#sink.onRefused(answer, fault)
  }

  #onEnd(): void {
    if (this.#isWhole) return
    this.#isWhole = true
    this.#sink.onRequestBody(undefined, true)
  }

  #onGone(): void {
    if (this.#isAnswered) return
    this.#isAnswered = true
    this.#sink.onClientGone()
  }

  /** To the app, with what only the stream knows. */
  send(
    head: RequestHead,
    edits: Admitted,
    body: Buffer | undefined,
    end: boolean,
    answer: AdmittedAnswer,
  ): Exchange {
    const { session, app } = this.#host
    if (session === undefined) return app.send(head, edits, body, end, answer)
    const takesTrailers = this.#takesTrailers
    const trailers = this.#announcesTrailers ? () => this.#requestTrailers ?? {} : undefined
    try {
      return session.send({ head, edits, takesTrailers, end, trailers }, body, answer)
    } catch (cause) {
      return failedExchange(answer, cause)
    }
  }

  pause(): void {
    this.#stream.pause()
  }

  resume(): void {
    this.#stream.resume()
  }

  retire(): void {
    this.#host.retire()
  }

  get #isGone(): boolean {
    return this.#isAnswered || this.#stream.closed || this.#stream.destroyed
  }

  askForBody(): void {
    if (!this.#isGone) this.#try(() => this.#stream.additionalHeaders({ ':status': 100 }))
  }

  respondInterim(head: ResponseHead): void {
    if (!this.#isGone) this.#try(() => this.#stream.additionalHeaders(interimFields(head)))
  }

  respond(head: ResponseHead, added: string, body: Buffer | undefined, end: boolean): boolean {
    if (this.#isGone) return true
    const endStream = (end && body === undefined) || this.#isHead
    const how = { endStream, waitForTrailers: !endStream, ...AS_SAID }
    this.#try(() => this.#stream.respond(responseFields(head, added), how))
    this.#hasTrailers = !endStream && !this.#isGone
    return this.respondBody(body, end)
  }

  respondBody(bytes: Buffer | undefined, end: boolean): boolean {
    if (this.#isGone) return true
    if (end) {
      this.#end(bytes)
      return true
    }
    if (bytes === undefined || this.#stream.writableEnded) return true
    return this.#stream.write(bytes)
  }

  respondTrailers(trailers: Trailers): void {
    this.#trailers = trailers
  }

  respondOwn(answer: OwnAnswer & Pick<Rescue, 'close'>, added: string): void {
    if (this.#isGone) return
    const { fields, body } = ownFields(answer, { added, isHead: this.#isHead })
    const endStream = body.length === 0
    this.#try(() => this.#stream.respond(fields, { endStream, ...AS_SAID }))
    if (!this.#isGone) this.#end(endStream ? undefined : body)
  }

  /** What cannot be said ends the stream: half of an answer is none. */
  #try(say: () => void): void {
    try {
      say()
    } catch {
      this.fail()
    }
  }

  /** Gives the stream up, on both sides. */
  fail(): void {
    this.#onGone()
    this.breakOff()
  }

  breakOff(code: number = NGHTTP2_INTERNAL_ERROR): void {
    this.#isAnswered = true
    this.#broken = code === NGHTTP2_NO_ERROR ? NGHTTP2_INTERNAL_ERROR : code
    if (!this.#hasTrailers) return closeLater(this.#stream, this.#broken)
    // Behind what has been sent: see `closeLater`.
    if (!this.#stream.writableEnded) this.#stream.end()
    this.#stream.resume()
  }

  #end(bytes: Buffer | undefined): void {
    this.#isAnswered = true
    if (!this.#stream.writableEnded) this.#stream.end(bytes)
    // Trailers leave later than the rest, and then it is they that are waited for.
    if (!this.#hasTrailers) this.#stream.once('finish', () => this.#stop())
    // What has come is let go of, so that the stream can close.
    this.#stream.resume()
  }

  #sendTrailers(): void {
    if (this.#broken !== undefined) return closeLater(this.#stream, this.#broken)
    this.#stream.sendTrailers(this.#trailers ?? {})
    this.#stop()
  }

  /** What still comes of the request nobody reads: the caller is told to stop (RFC 9113 §8.1). */
  #stop(): void {
    if (!this.#isWhole) closeLater(this.#stream, NGHTTP2_NO_ERROR)
  }
}

function codeOf(fault: string): ProxyErrorCode {
  const isTooLarge = fault === 'head-too-large' || fault === 'too-many-fields'
  return isTooLarge ? 'PROXY_HEAD_TOO_LARGE' : 'PROXY_BAD_REQUEST'
}
