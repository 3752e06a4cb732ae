/** One request to an app that speaks HTTP/2, and its answer. */
import { type ClientHttp2Stream, constants, type IncomingHttpHeaders } from 'node:http2'
import type { ResponseHead } from '../http/response-head.ts'
import { type Trailers, trailersOf } from '../http2/fields.ts'
import { readStreamResponse } from '../http2/read-response.ts'
import type { AdmittedAnswer } from '../inbound/forward.ts'
import type { Exchange, HopFailure } from '../mesh/hop.ts'
import type { OpenSession } from './app-session.ts'
import { closeLater } from './close-later.ts'

const END_STREAM = constants.NGHTTP2_FLAG_END_STREAM
const { NGHTTP2_CANCEL, NGHTTP2_PROTOCOL_ERROR, NGHTTP2_REFUSED_STREAM } = constants

export interface AppExchangeOptions {
  readonly open: OpenSession
  readonly answer: AdmittedAnswer
  /** Filled for the time of a call. */
  readonly head: ResponseHead
  readonly method: string
  /** What follows the body, if something was said to. */
  readonly trailers: (() => Trailers) | undefined
}

export class AppExchange implements Exchange {
  readonly #stream: ClientHttp2Stream
  readonly #options: AppExchangeOptions
  /** `undefined` once it is over. */
  #answer: AdmittedAnswer | undefined
  #trailers: Trailers | undefined
  /** Whether trailers have yet to follow the request. */
  #hasTrailers: boolean
  /** Given up, by this code, as soon as it can be. */
  #code: number | undefined
  #cause: (Error & { readonly code?: string }) | undefined

  constructor(stream: ClientHttp2Stream, options: AppExchangeOptions) {
    this.#stream = stream
    this.#options = options
    this.#answer = options.answer
    stream.on('response', (_headers, flags, raw) => this.#onHead(flags, raw))
    stream.on('headers', (_headers, _flags, raw) => this.#onInterim(raw))
    stream.on('trailers', (_headers: IncomingHttpHeaders, _flags: number, raw?: string[]) => {
      this.#trailers = trailersOf(raw ?? [])
    })
    this.#hasTrailers = options.trailers !== undefined
    stream.on('wantTrailers', () => this.#sendTrailers())
    stream.on('drain', () => this.#answer?.onDrain())
    stream.on('error', (cause) => {
      this.#cause = cause
    })
    stream.on('close', () => this.#onClose())
  }

  write(bytes: Buffer | undefined, end: boolean): boolean {
    const stream = this.#stream
    if (stream.closed || stream.destroyed || stream.writableEnded) return true
    if (!end) return bytes === undefined || stream.write(bytes)
    stream.end(bytes)
    return true
  }

  pause(): void {
    this.#stream.pause()
  }

  resume(): void {
    this.#stream.resume()
  }

  abort(): void {
    this.#answer = undefined
    this.#close(NGHTTP2_CANCEL)
  }

  #close(code: number): void {
    if (!this.#hasTrailers) return closeLater(this.#stream, code)
    // Behind what has been sent: see `closeLater`.
    this.#code = code
    if (!this.#stream.writableEnded) this.#stream.end()
  }

  #sendTrailers(): void {
    this.#hasTrailers = false
    if (this.#code !== undefined) closeLater(this.#stream, this.#code)
    else this.#stream.sendTrailers(this.#options.trailers?.() ?? {})
  }

  #onInterim(raw: readonly string[]): void {
    const { head, method } = this.#options
    const fault = readStreamResponse(raw, method, head)
    if (fault !== undefined) return this.#refuse(fault)
    this.#answer?.onInterim(head)
  }

  #onHead(flags: number, raw: readonly string[]): void {
    const { head, method } = this.#options
    const fault = readStreamResponse(raw, method, head)
    if (fault !== undefined) return this.#refuse(fault)
    const isWhole = (flags & END_STREAM) !== 0
    if (isWhole) return this.#end((answer) => answer.onHead(head, undefined, true))
    this.#answer?.onHead(head, undefined, false)
    this.#stream.on('data', (bytes: Buffer) => this.#answer?.onBody(bytes, false))
    this.#stream.on('end', () => this.#onEnd())
  }

  #onEnd(): void {
    const { rstCode } = this.#stream
    if (rstCode !== 0 && rstCode !== undefined) return
    this.#end((answer) => {
      if (this.#trailers !== undefined) answer.onTrailers(this.#trailers)
      answer.onBody(undefined, true)
    })
  }

  /** The answer is whole; what is left of the request the app does not want. */
  #end(tell: (answer: AdmittedAnswer) => void): void {
    const answer = this.#answer
    if (answer === undefined) return
    this.#answer = undefined
    tell(answer)
    if (!this.#stream.writableEnded) this.#close(NGHTTP2_CANCEL)
    this.#stream.resume()
  }

  #refuse(detail: string): void {
    this.#fail({ kind: 'protocol', detail, mayHaveActed: true })
    this.#close(NGHTTP2_PROTOCOL_ERROR)
  }

  #onClose(): void {
    const { open } = this.#options
    const cause = this.#cause ?? open.cause
    const detail = cause?.code ?? cause?.message ?? 'the stream was reset'
    if (!open.isConnected) return this.#fail({ kind: 'connect', detail, mayHaveActed: false })
    if (cause?.code === 'ERR_HTTP2_ERROR') {
      return this.#fail({ kind: 'protocol', detail, mayHaveActed: true })
    }
    const streamCode = this.#stream.rstCode
    const mayHaveActed = streamCode !== NGHTTP2_REFUSED_STREAM
    this.#fail({ kind: 'reset', detail, mayHaveActed, streamCode })
  }

  #fail(failure: HopFailure): void {
    const answer = this.#answer
    this.#answer = undefined
    answer?.onFailure(failure)
  }
}
