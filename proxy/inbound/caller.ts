import type { OwnAnswer, Rescue } from '../http/rescue.ts'
import type { ResponseHead } from '../http/response-head.ts'
import type { Trailers } from '../http2/fields.ts'

/** The connection, or the stream, whose requests are decided on, as far as they act on it. */
export interface Caller {
  readonly protocol: 'HTTP/1.1' | 'HTTP/2'
  /** Stops reading the request's body until {@link resume}. */
  pause(): void
  resume(): void
  /** Asks for the body that the caller holds back (RFC 9110 §10.1.1). */
  askForBody(): void
  /** Takes no further request on this connection after the ones at hand. */
  retire(): void
  /** Passes 100 to 199 on. */
  respondInterim(head: ResponseHead): void
  /** Begins the answer. False: the caller is slow; `onClientDrain` follows. */
  respond(head: ResponseHead, added: string, body: Buffer | undefined, end: boolean): boolean
  /** More of the answer's body; false as for {@link respond}. */
  respondBody(bytes: Buffer | undefined, end: boolean): boolean
  /** What follows the answer's body; before its end. */
  respondTrailers(trailers: Trailers): void
  /** Answers by ourselves, whole. `added`: whole lines, each with its CRLF. */
  respondOwn(answer: OwnAnswer & Pick<Rescue, 'close'>, added: string): void
  /** An answer that was begun cannot be finished. `code`: why, in HTTP/2's terms (RFC 9113 §7). */
  breakOff(code?: number): void
}
