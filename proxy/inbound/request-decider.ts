/** What policies say of the requests of one connection or stream, whichever protocol they came by. */
import type { Claims, Decide, Decision, Denied } from '#policy/model/index.ts'
import { normalizePath } from '#policy/model/index.ts'
import type { ProxyErrorCode } from '../error.ts'
import type { RequestHead } from '../http/request-head.ts'
import { noteRequest } from '../stack/note-request.ts'
import type { RequestRecord } from '../telemetry/record.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import { NONE_ADDED, RequestAttributes } from './attributes.ts'
import type { Caller } from './caller.ts'
import type { PortRules } from './inbound-port.ts'
import type { Peer } from './peer.ts'
import type { TokenPassed } from './token.ts'

export interface DeciderDeps {
  readonly rules: () => PortRules | undefined
  readonly telemetry: Telemetry
}

/** What read a request when it was refused; `attributes` is `undefined` when nothing of it was read. */
interface Reading {
  readonly decide: Decide
  readonly attributes: RequestAttributes | undefined
}

export class RequestDecider {
  readonly #deps: DeciderDeps
  readonly #peer: Peer
  readonly #caller: Caller
  #rules: PortRules | undefined
  #decide: Decide | undefined
  #attributes: RequestAttributes | undefined
  #lastTarget = ''
  #lastPath = ''

  constructor(deps: DeciderDeps, peer: Peer, caller: Caller) {
    this.#deps = deps
    this.#peer = peer
    this.#caller = caller
  }

  /** Of the last request that was admitted. */
  get rules(): PortRules | undefined {
    return this.#rules
  }

  /** Of the last request that was admitted, as policies see it. */
  get path(): string {
    return this.#lastPath
  }

  /** Of the last request that was decided on. */
  get claims(): Claims | undefined {
    return this.#attributes?.claims
  }

  /** Whether the request can be decided on at all. */
  admit(head: RequestHead): ProxyErrorCode | undefined {
    const rules = this.#deps.rules()
    if (rules !== this.#rules) {
      if (rules === undefined) return 'PROXY_NOT_READY'
      // From plaintext that was accepted before: the mode has changed since.
      if (rules.mtls === 'STRICT' && this.#peer.connection.peer === undefined) {
        this.#caller.retire()
        return 'PROXY_FORBIDDEN'
      }
      this.#rules = rules
      this.#decide = this.#peer.decide(rules)
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

  /** Decides on a request that a provider may have changed; `undefined` when it cannot be decided on. */
  decideAgain(head: RequestHead): Decision | undefined {
    const isRead = head.target === this.#lastTarget || this.#normalize(head) === undefined
    return isRead ? this.decide(head) : undefined
  }

  decide(head: RequestHead, token?: TokenPassed): Decision | undefined {
    if (this.#attributes?.head !== head) {
      this.#attributes = new RequestAttributes(head, this.#peer.connection)
    }
    this.#attributes.path = this.#lastPath
    this.#attributes.claims = token?.claims
    this.#attributes.added = token?.added ?? NONE_ADDED
    return this.#decide?.(this.#attributes)
  }

  /** {@link decide}, noted. `asked`: all providers have said yes. */
  authorize(
    head: RequestHead,
    record: RequestRecord,
    asked: boolean,
    token?: TokenPassed,
  ): Decision | undefined {
    let decision = this.decide(head, token)
    // What asked before it asks no more; a provider that nobody has asked is no permission.
    while (decision?.kind === 'ask' && asked) decision = decision.proceed()
    record.decision = decision
    if (decision?.kind === 'deny') this.note(decision, head, record)
    return decision
  }

  /** Notes a refusal by policy. */
  note(decision: Denied, head: RequestHead, record: RequestRecord): void {
    if (this.#decide === undefined) return
    this.noteAs(decision, head, record, { decide: this.#decide, attributes: this.#attributes })
  }

  /** Notes a refusal by something else. */
  noteAs(
    decision: Denied,
    head: RequestHead,
    record: RequestRecord,
    { decide, attributes }: Reading,
  ): void {
    const { connection } = this.#peer
    noteRequest(record, head, true)
    record.decision = decision
    const denial = { decision, connection, decide, attributes }
    record.decisionId = this.#deps.telemetry.noteDenial(denial)
  }
}
