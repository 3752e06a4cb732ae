/**
 * {@link Hop} over HTTP/1.1: a connection for each request in flight, kept for the next ones.
 *
 * What is sent again without asking: a request with a safe or idempotent method that was written to a
 * kept connection which then closed without a byte of an answer, once, on a new connection (RFC 9110
 * §9.2.2). A server may close an idle connection at any moment, so this is not a failure of anybody.
 */
import type { Socket } from 'node:net'
import type { RequestHead } from '../http/request-head.ts'
import type { RequestEdits } from '../http/serialize.ts'
import type { TimerWheel } from '../stack/timer-wheel.ts'
import type { Exchange, Hop, HopAnswer, HopFailure } from './hop.ts'
import { Http1Client } from './http1-client.ts'

/** A connection that may carry requests: connected, and for TLS with the peer's identity verified. */
export interface Dialled {
  readonly socket: Socket
  /** Milliseconds from now after which no new request goes on it; `Infinity` for none. */
  readonly lifeMs: number
}

export type DialFailure = Extract<HopFailure['kind'], 'connect' | 'untrusted'>

/** Opens one connection; calls back once, never before it returns. Returns how to give it up. */
export type Dial = (
  onOpen: (dialled: Dialled) => void,
  onFailure: (kind: DialFailure, detail: string) => void,
) => () => void

export interface Http1HopOptions {
  readonly dial: Dial
  readonly wheel: TimerWheel
  readonly nowMs: () => number
  readonly maxConnections: number
  /** Requests that wait for a connection; beyond, they fail with `overflow`. */
  readonly maxPending: number
  readonly maxRequestsPerConnection: number
  readonly idleTimeoutMs: number
}

interface Waiting {
  readonly start: (client: Http1Client) => void
  readonly fail: (failure: HopFailure) => void
}

export class Http1Hop implements Hop {
  readonly options: Http1HopOptions
  readonly #idle: Http1Client[] = []
  readonly #all = new Set<Http1Client>()
  readonly #waiting: Waiting[] = []
  #inFlight = 0
  #closed = false

  constructor(options: Http1HopOptions) {
    this.options = options
  }

  get inFlight(): number {
    return this.#inFlight
  }

  send(
    head: RequestHead,
    edits: RequestEdits,
    body: Buffer | undefined,
    end: boolean,
    answer: HopAnswer,
  ): Exchange {
    this.#inFlight += 1
    const kept = this.#takeIdle()
    if (kept !== undefined) {
      kept.send(head, edits, body, end, answer)
      return kept
    }
    if (this.#closed)
      return this.#failLater(answer, {
        kind: 'closed',
        detail: 'the hop was closed',
        mayHaveActed: false,
      })
    if (this.#all.size < this.options.maxConnections) {
      const client = this.#open()
      client.send(head, edits, body, end, answer)
      return client
    }
    if (this.#waiting.length >= this.options.maxPending) {
      return this.#failLater(answer, {
        kind: 'overflow',
        detail: 'too many requests wait',
        mayHaveActed: false,
      })
    }
    return this.#wait(head, edits, body, end, answer)
  }

  close(): void {
    this.#closed = true
    for (const client of this.#idle.splice(0)) client.close()
  }

  /** Called by a client whose exchange is over; `reusable`: it can carry another. */
  release(client: Http1Client, reusable: boolean): void {
    this.#inFlight -= 1
    if (!reusable || this.#closed) {
      client.close()
      return
    }
    const next = this.#waiting.shift()
    if (next === undefined) this.#idle.push(client)
    else next.start(client)
  }

  /** Called by a client whose socket is gone. */
  forget(client: Http1Client): void {
    this.#all.delete(client)
    const at = this.#idle.indexOf(client)
    if (at >= 0) this.#idle.splice(at, 1)
    if (this.#waiting.length > 0 && this.#all.size < this.options.maxConnections) {
      this.#waiting.shift()?.start(this.#open())
    }
  }

  /** A new connection for a request that has to be sent again. */
  reopen(): Http1Client {
    return this.#open()
  }

  #takeIdle(): Http1Client | undefined {
    for (;;) {
      const client = this.#idle.pop()
      if (client === undefined || client.isFit(this.options.nowMs())) return client
      client.close()
    }
  }

  #open(): Http1Client {
    const client = new Http1Client(this)
    this.#all.add(client)
    return client
  }

  #failLater(answer: HopAnswer, failure: HopFailure): Exchange {
    let aborted = false
    queueMicrotask(() => {
      this.#inFlight -= 1
      if (!aborted) answer.onFailure(failure)
    })
    const abort = (): void => {
      aborted = true
    }
    return { write: () => true, pause() {}, resume() {}, abort }
  }

  /** An exchange that has no connection yet: what is written to it waits along. */
  #wait(
    head: RequestHead,
    edits: RequestEdits,
    body: Buffer | undefined,
    end: boolean,
    answer: HopAnswer,
  ): Exchange {
    let client: Http1Client | undefined
    const pieces = body === undefined ? [] : [body]
    let ended = end
    const waiting: Waiting = {
      start(started) {
        client = started
        const whole = pieces.length > 1 ? Buffer.concat(pieces) : pieces[0]
        started.send(head, edits, whole, ended, answer)
        if (!ended) answer.onDrain()
      },
      fail: (failure) => answer.onFailure(failure),
    }
    this.#waiting.push(waiting)
    return {
      write(bytes, isEnd) {
        if (client !== undefined) return client.write(bytes, isEnd)
        if (bytes !== undefined) pieces.push(bytes)
        ended = isEnd
        return false
      },
      pause: () => client?.pause(),
      resume: () => client?.resume(),
      abort: () => {
        if (client !== undefined) return client.abort()
        const at = this.#waiting.indexOf(waiting)
        if (at < 0) return
        this.#waiting.splice(at, 1)
        this.#inFlight -= 1
      },
    }
  }
}
