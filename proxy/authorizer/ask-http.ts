/** Asks over HTTP/1.1, on the connections that the sidecar keeps to a service. */
import type { HttpAuthorizer } from '#policy/model/index.ts'
import type { ResponseHead } from '../http/response-head.ts'
import type { Exchange, HopAnswer, HopFailure } from '../mesh/hop.ts'
import { askWithin, type AttemptFailure, type Send } from './attempts.ts'
import { type CheckAnswer, type CheckRequest, compileHttpCheck } from './http-check.ts'
import type { Ask } from './question.ts'

/** Bytes of an answer's body; a longer one is a failure. */
const MAX_ANSWER_BYTES = 1024 * 1024

/** How to ask the provider of `settings`. */
export function compileAskHttp(settings: HttpAuthorizer): Ask {
  const { requestOf, verdictOf } = compileHttpCheck(settings)
  return (question, deps, done) => {
    const request = question.http && requestOf(question.http)
    const send: Send = ({ cluster, endpoint, destination }, answered, failed) => {
      if (request === undefined) {
        queueMicrotask(() => failed({ detail: 'no question can be made of it', again: false }))
        return () => {}
      }
      const hop = endpoint.hop ?? deps.hops.toEndpoint(cluster, endpoint, destination.protocol)
      const collector = new AnswerCollector(
        (answer) => answered(verdictOf(answer), answer.status),
        failed,
      )
      return collector.send(request, (head, edits, body) =>
        hop.send(head, edits, body, true, collector),
      )
    }
    return askWithin(settings, deps, send, done)
  }
}

type SendRequest = (
  head: CheckRequest['head'],
  edits: CheckRequest['edits'],
  body: CheckRequest['body'],
) => Exchange

/** One answer, put together from its pieces. */
class AnswerCollector implements HopAnswer {
  readonly #answered: (answer: CheckAnswer) => void
  readonly #failed: (failure: AttemptFailure) => void
  #exchange: Exchange | undefined
  #status = 0
  #headers: readonly (readonly [name: string, value: string])[] = []
  #body = ''

  constructor(answered: (answer: CheckAnswer) => void, failed: (failure: AttemptFailure) => void) {
    this.#answered = answered
    this.#failed = failed
  }

  send({ head, edits, body }: CheckRequest, send: SendRequest): () => void {
    const exchange = send(head, edits, body)
    this.#exchange = exchange
    return () => exchange.abort()
  }

  onInterim(): void {}

  onDrain(): void {}

  onHead({ status, fields }: ResponseHead, body: Buffer | undefined, end: boolean): void {
    this.#status = status
    this.#headers = Array.from({ length: fields.count }, (_, index) => index)
      .filter((index) => !fields.isDropped(index))
      .map((index) => [fields.name(index), fields.value(index)] as const)
    if (status === 101) return this.#giveUp('it answered 101')
    this.onBody(body, end)
  }

  onBody(bytes: Buffer | undefined, end: boolean): void {
    if (bytes !== undefined) this.#body += bytes.toString('latin1')
    if (this.#body.length > MAX_ANSWER_BYTES) {
      return this.#giveUp(`its answer has more than ${MAX_ANSWER_BYTES} bytes`)
    }
    if (!end) return
    this.#answered({ status: this.#status, headers: this.#headers, body: this.#body })
  }

  #giveUp(detail: string): void {
    this.#exchange?.abort()
    this.#failed({ detail, again: false })
  }

  onFailure({ kind, detail }: HopFailure): void {
    // A question has no effect, so that it may be put again where the other side closed in between.
    const isNobody = kind === 'connect' || kind === 'reset' || kind === 'closed'
    this.#failed({ detail: `${kind}: ${detail}`, again: isNobody && this.#status === 0 })
  }
}
