/**
 * The hop between two sidecars, or from a sidecar to an app: requests go in, answers come back.
 *
 * One request is an {@link Exchange}. Whether exchanges have a connection each (`http1.ts`) or share
 * one is the hop's affair; nothing here speaks of connections. Callbacks, not promises: at tens of
 * thousands of requests a second the difference is a fifth of the whole cost.
 */
import type { RequestHead } from '../http/request-head.ts'
import type { ResponseHead } from '../http/response-head.ts'
import type { RequestEdits } from '../http/serialize.ts'

export interface HopFailure {
  readonly kind: 'connect' | 'untrusted' | 'overflow' | 'reset' | 'protocol' | 'closed'
  readonly detail: string
  /**
   * Whether the other side may have acted on the request. Only when it cannot have may any request
   * be sent again (RFC 9110 §9.2.2).
   */
  readonly mayHaveActed: boolean
  /** What the other side said of it when it reset a stream (RFC 9113 §7). */
  readonly streamCode?: number
}

/** Who waits for the answer to one exchange. Nothing comes before `send` has returned. */
export interface HopAnswer {
  /** 100 to 199, except 101. */
  onInterim(head: ResponseHead): void
  /** `head` holds during the call only. `body` came with it; `end`: nothing follows. */
  onHead(head: ResponseHead, body: Buffer | undefined, end: boolean): void
  onBody(bytes: Buffer | undefined, end: boolean): void
  /** More of the request's body is welcome again. */
  onDrain(): void
  /** Instead of, or amid, the answer. Nothing comes after it. */
  onFailure(failure: HopFailure): void
}

/** One request on its way. */
export interface Exchange {
  /** Sends more of the request's body. False: it is buffered; wait for `onDrain`. */
  write(bytes: Buffer | undefined, end: boolean): boolean
  /** Asks for no more of the answer's body for now. */
  pause(): void
  resume(): void
  /** Gives the exchange up; nothing more is called back. */
  abort(): void
}

export interface Hop {
  /** Requests sent whose answers are not whole. */
  readonly inFlight: number
  /**
   * Sends a request. `head` stays as it is until the exchange is over; `body` is what there is of
   * the body by now, and `end` says that it is all of it.
   */
  send(
    head: RequestHead,
    edits: RequestEdits,
    body: Buffer | undefined,
    end: boolean,
    answer: HopAnswer,
  ): Exchange
  /** Lets exchanges finish and then closes; later `send`s fail. */
  close(): void
}
