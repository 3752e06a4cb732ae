/**
 * Requests of one accepted connection, from decision to app.
 *
 * One object a connection: its requests come one after another, so it is both who takes them and who
 * takes the app's answers.
 */
import type { Decide, Decision, Permit } from '#policy/model/index.ts'
import { normalizePath } from '#policy/model/index.ts'
import type { ProxyErrorCode } from '../error.ts'
import type { RequestHead } from '../http/request-head.ts'
import type { ResponseHead } from '../http/response-head.ts'
import { type Rescue, rescue } from '../http/rescue.ts'
import { codeOfFailure } from '../mesh/failure.ts'
import type { Exchange, Hop, HopAnswer, HopFailure } from '../mesh/hop.ts'
import { decisionId, requestId } from '../stack/identifiers.ts'
import type { RequestSink, ServerConnection } from '../stack/server-connection.ts'
import { RequestAttributes } from './attributes.ts'
import type { PortRules } from './inbound-port.ts'
import type { Peer } from './peer.ts'

export interface InboundDeps {
  /** The way to the app. */
  readonly app: Hop
  readonly rules: () => PortRules | undefined
  readonly random: () => number
}

export class InboundRequests implements RequestSink, HopAnswer {
  readonly #deps: InboundDeps
  readonly #peer: Peer
  readonly #connection: ServerConnection
  readonly #edits: { added: string } = { added: '' }
  #rules: PortRules | undefined
  #decide: Decide | undefined
  #attributes: RequestAttributes | undefined
  #exchange: Exchange | undefined
  #lastTarget = ''
  #lastPath = ''
  #answered = false

  constructor(deps: InboundDeps, peer: Peer, connection: ServerConnection) {
    this.#deps = deps
    this.#peer = peer
    this.#connection = connection
  }

  onRequest(head: RequestHead, body: Buffer | undefined, end: boolean): void {
    this.#answered = false
    const code = this.#admit(head)
    if (code !== undefined) return this.#refuse(code, '')
    const decision = this.#authorize(head)
    if (decision.kind === 'allow') return this.#forward(decision.permit, head, body, end)
    this.#refuse('PROXY_FORBIDDEN', `x-redoubt-decision: ${decisionId(this.#deps.random)}\r\n`)
  }

  /** Whether the request can be decided on at all. */
  #admit(head: RequestHead): ProxyErrorCode | undefined {
    const rules = this.#deps.rules()
    if (rules !== this.#rules) {
      if (rules === undefined) return 'PROXY_NOT_READY'
      // From plaintext that was accepted before: the mode has changed since.
      if (rules.mtls === 'STRICT' && this.#peer.connection.peer === undefined) {
        this.#connection.retire()
        return 'PROXY_FORBIDDEN'
      }
      this.#rules = rules
      this.#decide = rules.configuration.engine(this.#peer.connection)
      this.#lastTarget = ''
    }
    if (head.method === 'CONNECT') return 'PROXY_NO_ROUTE'
    return head.target === this.#lastTarget ? undefined : this.#normalize(head)
  }

  /** Clients mostly repeat themselves: the last target is remembered. */
  #normalize(head: RequestHead): ProxyErrorCode | undefined {
    if (head.target === '*') return 'PROXY_NO_ROUTE'
    const mode = this.#rules?.configuration.bundle.pathNormalization ?? 'BASE'
    const normalized = normalizePath(head.target, mode)
    if (normalized.kind === 'refused') return 'PROXY_BAD_REQUEST'
    this.#lastTarget = head.target
    this.#lastPath = normalized.path
    return undefined
  }

  #authorize(head: RequestHead): Decision | { readonly kind: 'deny' } {
    this.#attributes ??= new RequestAttributes(head, this.#peer.connection.sourceIp)
    this.#attributes.path = this.#lastPath
    return this.#decide === undefined ? { kind: 'deny' } : this.#decide(this.#attributes)
  }

  /** Takes a permit, so that nothing gets here that was not decided on. */
  #forward(_permit: Permit, head: RequestHead, body: Buffer | undefined, end: boolean): void {
    const id = head.hasRequestId ? '' : `x-request-id: ${requestId(this.#deps.random)}\r\n`
    this.#edits.added = this.#peer.forwardedCert + id
    this.#exchange = this.#deps.app.send(head, this.#edits, body, end, this)
  }

  #refuse(code: ProxyErrorCode, added: string): void {
    this.#finish(rescue(code))
    this.#connection.respondOwn(rescue(code), added)
  }

  onRequestBody(bytes: Buffer | undefined, end: boolean): void {
    if (this.#exchange?.write(bytes, end) === false && !end) this.#connection.pause()
  }

  onDrain(): void {
    this.#connection.resume()
  }

  onClientDrain(): void {
    this.#exchange?.resume()
  }

  onClientGone(): void {
    this.#exchange?.abort()
    this.#exchange = undefined
  }

  onRefused(_answer: Rescue, _fault: string): void {}

  onInterim(head: ResponseHead): void {
    this.#connection.respondInterim(head)
  }

  onHead(head: ResponseHead, body: Buffer | undefined, end: boolean): void {
    const exchange = this.#exchange
    this.#answered = true
    // Ours to say, not the app's.
    if (head.hasInternal) head.fields.dropNamed('x-redoubt-decision')
    if (end) this.#finish(undefined)
    if (!this.#connection.respond(head, '', body, end) && !end) exchange?.pause()
  }

  onBody(bytes: Buffer | undefined, end: boolean): void {
    const exchange = this.#exchange
    if (end) this.#finish(undefined)
    if (!this.#connection.respondBody(bytes, end) && !end) exchange?.pause()
  }

  onFailure(failure: HopFailure): void {
    const answer = rescue(codeOfFailure(failure))
    this.#finish(answer)
    if (this.#answered) this.#connection.breakOff()
    else this.#connection.respondOwn(answer, '')
  }

  #finish(_rescue: Rescue | undefined): void {
    this.#exchange = undefined
  }
}
