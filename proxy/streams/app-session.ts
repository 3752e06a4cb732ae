/** The way to an app that speaks HTTP/2: one connection in plaintext for each connection of a caller. */
import { connect as connectSocket } from 'node:net'
import { type ClientHttp2Session, connect } from 'node:http2'
import type { RequestHead } from '../http/request-head.ts'
import { ResponseHead } from '../http/response-head.ts'
import type { Trailers } from '../http2/fields.ts'
import { requestFields } from '../http2/write.ts'
import type { Admitted, AdmittedAnswer } from '../inbound/forward.ts'
import type { PlainTarget } from '../mesh/dial.ts'
import type { Exchange } from '../mesh/hop.ts'
import type { TimerWheel } from '../stack/timer-wheel.ts'
import { AppExchange } from './app-exchange.ts'
import { CLIENT_LIMITS } from './limits.ts'

export interface AppSessionOptions {
  readonly target: PlainTarget
  readonly wheel: TimerWheel
  readonly connectTimeoutMs: number
}

/** A request for the app, with what only its stream knows. */
export interface StreamRequest {
  readonly head: RequestHead
  readonly edits: Admitted
  readonly takesTrailers: boolean
  readonly end: boolean
  /** What follows the body, asked for when that is over; `undefined`: nothing does. */
  readonly trailers: (() => Trailers) | undefined
}

/** A session, and whether the app has ever been there. */
export interface OpenSession {
  readonly session: ClientHttp2Session
  isConnected: boolean
  /** Why it ended. */
  cause: (Error & { readonly code?: string }) | undefined
}

export class AppSession {
  readonly #options: AppSessionOptions
  /** Filled again for each answer: it holds while it is handed on. */
  readonly #head = new ResponseHead()
  #open: OpenSession | undefined

  constructor(options: AppSessionOptions) {
    this.#options = options
  }

  send(request: StreamRequest, body: Buffer | undefined, answer: AdmittedAnswer): Exchange {
    const { head, edits, takesTrailers, end, trailers } = request
    const open = this.#session()
    const stream = open.session.request(requestFields(head, edits, takesTrailers), {
      endStream: end && body === undefined,
      waitForTrailers: !end && trailers !== undefined,
    })
    const exchange = new AppExchange(stream, {
      open,
      answer,
      head: this.#head,
      method: head.method,
      trailers,
    })
    if (body !== undefined) exchange.write(body, end)
    return exchange
  }

  /** Lets what is under way finish. */
  close(): void {
    this.#open?.session.close()
  }

  /** Gives up what is under way. */
  destroy(): void {
    this.#open?.session.destroy()
  }

  /** One that takes requests: an app may have said goodbye on the one before. */
  #session(): OpenSession {
    const known = this.#open
    if (known !== undefined && !known.session.closed && !known.session.destroyed) return known
    const { target, wheel, connectTimeoutMs } = this.#options
    const { host, port } = target
    const socket = connectSocket({ host, port, noDelay: true })
    const session = connect('http://app', { ...CLIENT_LIMITS, createConnection: () => socket })
    const open: OpenSession = { session, isConnected: false, cause: undefined }
    const timer = wheel.timer(() => session.destroy(new Error('no connection in time')))
    timer.set(connectTimeoutMs)
    session.once('connect', () => {
      open.isConnected = true
      timer.clear()
    })
    // Told to each of its streams.
    session.on('error', (cause) => {
      open.cause = cause
    })
    session.once('close', timer.clear)
    this.#open = open
    return open
  }
}
