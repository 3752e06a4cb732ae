/**
 * Between a gateway's two halves: what the inbound one let through goes to the outbound one, which routes it as
 * it routes what an app sends, and the answer goes back.
 *
 * One object a connection, as both halves are.
 */
import type { Admitted, AdmittedAnswer, InboundApp } from '../inbound/forward.ts'
import { endOfPath } from '../outbound/rewrite.ts'
import type { RequestHead } from '../http/request-head.ts'
import { type Rescue, rescue } from '../http/rescue.ts'
import type { ResponseHead } from '../http/response-head.ts'
import type { Exchange } from '../mesh/hop.ts'
import { type Downstream, type OutboundDeps, OutboundRequests } from '../outbound/requests.ts'
import type { ServerConnection } from '../stack/server-connection.ts'
import { RoutedHead } from './routed-head.ts'

export class RoutedRequests implements InboundApp, Exchange {
  readonly #outbound: OutboundRequests
  readonly #head = new RoutedHead()
  #answer: AdmittedAnswer | undefined
  /** Whether `send` has yet to return. */
  #sending = false
  /** Whether the client takes no more of the answer for now. */
  #slow = false

  constructor(deps: OutboundDeps, connection: ServerConnection) {
    this.#outbound = new OutboundRequests(deps, this.#downstream(connection))
  }

  send(
    head: RequestHead,
    edits: Admitted,
    body: Buffer | undefined,
    end: boolean,
    answer: AdmittedAnswer,
  ): Exchange {
    this.#answer = answer
    this.#sending = true
    const routed = this.#routed(head, edits)
    if (routed === undefined) this.#answerOwn(rescue('PROXY_HEAD_TOO_LARGE'), '')
    else {
      routed.claims = edits.claims
      this.#outbound.onRequest(routed, body, end)
    }
    this.#sending = false
    return this
  }

  /** The request with what its token adds and takes away, and with the path that was decided on: what routes see is what policies saw. */
  #routed(head: RequestHead, { path, added, ...edits }: Admitted): RoutedHead | undefined {
    const written = edits.target ?? head.target
    const target = path + written.slice(endOfPath(written))
    if (added === '' && target === head.target && head instanceof RoutedHead) return head
    return this.#head.become(head, { added, target }) ? this.#head : undefined
  }

  /** The client's connection as the outbound half sees it. */
  #downstream(connection: ServerConnection): Downstream {
    return {
      socket: connection.socket,
      pause: () => connection.pause(),
      resume: () => connection.resume(),
      detach: () => connection.detach(),
      respondInterim: (head) => this.#answer?.onInterim(head),
      respond: (head, added, body, end) => {
        this.#slow = false
        this.#answer?.onHead(head, body, end, added + decisionLine(head))
        return !this.#slow
      },
      respondBody: (bytes, end) => {
        this.#slow = false
        this.#answer?.onBody(bytes, end)
        return !this.#slow
      },
      respondOwn: (answer, added) => this.#answerOwn({ ...DIRECT, ...answer }, added),
      breakOff: () =>
        this.#answer?.onFailure({
          kind: 'reset',
          detail: 'the answer broke off',
          mayHaveActed: true,
        }),
    }
  }

  #answerOwn(answer: Rescue, added: string): void {
    const waiting = this.#answer
    if (!this.#sending) return waiting?.onOwnAnswer(answer, added)
    // Whoever sends hears of nothing before `send` has returned.
    queueMicrotask(() => waiting?.onOwnAnswer(answer, added))
  }

  write(bytes: Buffer | undefined, end: boolean): boolean {
    this.#outbound.onRequestBody(bytes, end)
    // The outbound half pauses the connection by itself.
    return true
  }

  pause(): void {
    this.#slow = true
  }

  resume(): void {
    this.#outbound.onClientDrain()
  }

  abort(): void {
    this.#outbound.onClientGone()
  }
}

/** A route answered by itself. */
const DIRECT = { flag: '-', details: 'direct_response' } as const

/** Of a sidecar's refusal, which the inbound half would take for an app's own word. */
function decisionLine({ hasInternal, fields }: ResponseHead): string {
  const id = hasInternal ? fields.first('x-redoubt-decision') : undefined
  return id === undefined ? '' : `x-redoubt-decision: ${id}\r\n`
}
