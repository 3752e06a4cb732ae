/**
 * Requests of one accepted connection, or of one stream, from decision to app.
 *
 * One object a connection: its requests come one after another, so it is both who takes them and who
 * takes the app's answers. In HTTP/2 they do so within a stream, and there is one object for each.
 *
 * Long because it is one state machine, from a request's first byte to the record of how it ended.
 */
import type { Authenticate, Authentication } from '#ca/jwt/request/index.ts'
import type { Claims, Decision, Permit } from '#policy/model/index.ts'
import type { Consultation, ConsultationHost } from '../authorizer/consultation.ts'
import type { AskDeps, HeaderEdit, Verdict } from '../authorizer/question.ts'
import type { ProxyErrorCode } from '../error.ts'
import { FRAMING } from '../http/body.ts'
import { FIELD } from '../http/field.ts'
import type { RequestHead } from '../http/request-head.ts'
import type { ResponseHead } from '../http/response-head.ts'
import type { RequestEdits } from '../http/serialize.ts'
import { grpcStatusOf, type Trailers } from '../http2/fields.ts'
import { grpcForm, type OwnAnswer, type Rescue, rescue } from '../http/rescue.ts'
import { codeOfFailure } from '../mesh/failure.ts'
import type { Exchange, HopAnswer, HopFailure } from '../mesh/hop.ts'
import { requestId } from '../stack/identifiers.ts'
import { noteRequest } from '../stack/note-request.ts'
import type { RequestSink } from '../stack/server-connection.ts'
import { RequestRecord } from '../telemetry/record.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import type { Caller } from './caller.ts'
import { consultationHost } from './consulting.ts'
import { HeldRequest } from './held-request.ts'
import type { PortRules } from './inbound-port.ts'
import type { Peer } from './peer.ts'
import { RequestDecider } from './request-decider.ts'
import { addedLines, answerOf, denialOf, dropSpent, tokenRequestOf } from './token.ts'

/** What is known of a request once it has been decided on. */
export interface Admitted extends RequestEdits {
  /** What was decided on. */
  readonly path: string
  /** Of its token, verified. */
  readonly claims: Claims | undefined
}

/** Who waits for the answer to a request that was let through. */
export interface AdmittedAnswer extends HopAnswer {
  /** @param added - whole lines, each with its CRLF */
  onHead(head: ResponseHead, body: Buffer | undefined, end: boolean, added?: string): void
  /** Instead of an answer: nobody was asked. `added`: whole lines, each with its CRLF. */
  onOwnAnswer(answer: Rescue, added: string): void
  /** What follows the answer's body; comes before its end. */
  onTrailers(trailers: Trailers): void
}

/** Where requests go that were let through: the app, or what a gateway routes to. Otherwise as a `Hop`. */
export interface InboundApp {
  send(
    head: RequestHead,
    edits: Admitted,
    body: Buffer | undefined,
    end: boolean,
    answer: AdmittedAnswer,
  ): Exchange
}

export interface InboundDeps {
  /** The way to the app. */
  readonly app: InboundApp
  /** The app as records name it: `host:port` and `inbound|<workload port>||`. */
  readonly upstream: { readonly host: string; readonly cluster: string }
  readonly rules: () => PortRules | undefined
  readonly random: () => number
  readonly nowMs: () => number
  readonly telemetry: Telemetry
  /** The way to external providers. */
  readonly ask: AskDeps
  readonly onAnswer: ConsultationHost['onAnswer']
}

export class InboundRequests implements RequestSink, AdmittedAnswer {
  readonly #deps: InboundDeps
  readonly #peer: Peer
  readonly #connection: Caller
  readonly #app: InboundApp
  readonly #decider: RequestDecider
  readonly #edits: { -readonly [K in keyof Admitted]: Admitted[K] } = {
    added: '',
    target: undefined,
    path: '',
    claims: undefined,
  }
  #exchange: Exchange | undefined
  #answered = false
  #isTunnel = false
  #record: RequestRecord | undefined
  /** Of the request at hand. */
  #head: RequestHead | undefined
  /** Waits for its token to be verified. */
  #held: HeldRequest | undefined
  /** Waits for external providers. */
  #consultation: Consultation | undefined
  #host: ConsultationHost | undefined
  /** Whether the providers of this request have all said yes. */
  #asked = false
  /** What they want changed in its answer. */
  #response: readonly HeaderEdit[] = []
  /** Made up for it; '' until it is needed. */
  #requestId = ''

  /** @param app - the way to the app, where it is another for each stream */
  constructor(deps: InboundDeps, peer: Peer, connection: Caller, app: InboundApp = deps.app) {
    this.#deps = deps
    this.#peer = peer
    this.#connection = connection
    this.#app = app
    this.#decider = new RequestDecider(deps, peer, connection)
  }

  onRequest(head: RequestHead, body: Buffer | undefined, end: boolean): void {
    this.#answered = false
    this.#isTunnel = false
    if (this.#response.length > 0) this.#response = []
    this.#asked = false
    this.#requestId = ''
    this.#head = head
    const record = this.#open()
    noteRequest(record, head, this.#deps.telemetry.isLogging)
    if (record.protocol === 'HTTP/2' && isGrpc(head)) {
      record.edge = this.#peer.edge(this.#deps.rules(), 'grpc')
    }
    if (body !== undefined) record.bytesReceived = body.length
    const code = this.#decider.admit(head)
    if (code !== undefined) return this.#refuseAs(rescue(code), head, '')
    const { rules } = this.#decider
    if (rules?.asksProviders === true) return this.#consult(new HeldRequest(head, body, end))
    const authenticate = rules?.configuration.authenticate
    if (authenticate !== undefined) {
      return this.#authenticate(authenticate, new HeldRequest(head, body, end))
    }
    const decision = this.#decider.authorize(head, record, this.#asked)
    if (decision?.kind === 'allow') return this.#forward(decision.permit, head, body, end)
    this.#deny(decision, head, record)
  }

  #deny(decision: Decision | undefined, head: RequestHead, record: RequestRecord): void {
    const id = decision === undefined ? '' : record.decisionId
    const added = id === '' ? '' : `x-redoubt-decision: ${id}\r\n`
    const code = codeOfDenial(decision)
    if (code === 'PROXY_BAD_REQUEST') this.#respond(rescue(code), added)
    else this.#refuseAs(rescue(code), head, added)
  }

  /** CUSTOM comes before tokens, which come before all else that decides (istio-semantics §1.3). */
  #consult(held: HeldRequest): void {
    const { ask } = this.#deps
    const providers = this.#decider.rules?.configuration.providers
    if (providers === undefined) return this.#consultNobody(held)
    this.#host ??= this.#createHost()
    this.#consultation = providers.consult(held, this.#host, ask)
    this.#consultation.start()
  }

  /** None of those that policies ask is there: what would be asked about is refused, before its token is read. */
  #consultNobody(held: HeldRequest): void {
    const { head } = held
    const record = this.#record
    const early = this.#decider.decide(head)
    const isCustom = early?.kind === 'ask' || (early?.kind === 'deny' && early.action === 'CUSTOM')
    if (!isCustom || record === undefined) return this.#proceed(held, false)
    this.#deny(this.#decider.authorize(head, record, false), head, record)
  }

  #createHost(): ConsultationHost {
    return consultationHost({
      decider: this.#decider,
      peer: this.#peer,
      caller: this.#connection,
      requestIdOf: (head) => this.#requestIdOf(head),
      onPassed: (held, response) => {
        this.#consultation = undefined
        this.#response = response
        this.#proceed(held, true)
      },
      onRefused: (held, decision, said) => {
        this.#consultation = undefined
        this.#refuseByProvider(held.head, decision, said)
      },
      onBodyTooLarge: ({ head }) => {
        this.#consultation = undefined
        this.#refuseAs(rescue('PROXY_BODY_TOO_LARGE'), head, '')
      },
      onAnswer: this.#deps.onAnswer,
    })
  }

  /** Tokens, then all other policies. */
  #proceed(held: HeldRequest, asked: boolean): void {
    this.#asked = asked
    const record = this.#record
    const authenticate = this.#decider.rules?.configuration.authenticate
    if (authenticate !== undefined) return this.#authenticate(authenticate, held)
    if (record === undefined) return
    const decision = this.#decider.authorize(held.head, record, asked)
    if (decision?.kind !== 'allow') return this.#deny(decision, held.head, record)
    this.#forward(decision.permit, held.head, held.body, held.isWhole)
  }

  #refuseByProvider(
    head: RequestHead,
    decision: Decision | undefined,
    said: ProviderRefusal | undefined,
  ): void {
    const record = this.#record
    if (record === undefined) return
    if (decision?.kind === 'deny') this.#decider.note(decision, head, record)
    if (said === undefined) return this.#deny(decision, head, record)
    const headers = this.#decider.rules?.configuration.providers?.headerText(said.headers) ?? ''
    const answer = { ...rescue('PROXY_REFUSED_BY_PROVIDER'), status: said.status, body: said.body }
    const id = `x-redoubt-decision: ${record.decisionId}\r\n`
    if (isGrpc(head)) {
      const text = Buffer.from(said.body, 'latin1').toString('utf8')
      return this.#refuseAs({ ...answer, body: text }, head, withoutType(headers) + id)
    }
    this.#respond(answer, headers + id, { isBytes: true })
  }

  #authenticate(authenticate: Authenticate, held: HeldRequest): void {
    const record = this.#record
    if (record === undefined) return
    const { head } = held
    const answer = authenticate(tokenRequestOf(head))
    if (!(answer instanceof Promise)) return this.#settleToken(answer, held, record)
    this.#held = held
    if (!held.isWhole) this.#connection.pause()
    const resume = (authentication: Authentication | undefined): void => {
      // Whoever asked may be gone by now.
      if (this.#held !== held) return
      this.#held = undefined
      if (authentication === undefined) this.#deny(undefined, head, record)
      else this.#settleToken(authentication, held, record)
      if (!held.isWhole) this.#connection.resume()
    }
    // A verifier that cannot answer is no permission.
    answer.then(resume, () => resume(undefined))
  }

  #settleToken(authentication: Authentication, held: HeldRequest, record: RequestRecord): void {
    const { head } = held
    if (authentication.kind === 'refused') {
      const decision = denialOf(authentication)
      this.#decider.noteAs(decision, head, record, {
        decide: () => decision,
        attributes: undefined,
      })
      const { answer, challenge } = answerOf(authentication, {
        isSecure: this.#peer.isSecure,
        authority: head.authority,
        path: this.#decider.path,
      })
      const id = `x-redoubt-decision: ${record.decisionId}\r\n`
      return this.#refuseAs(answer, head, challenge + id)
    }
    dropSpent(head, authentication)
    const decision = this.#decider.authorize(head, record, this.#asked, authentication)
    if (decision?.kind !== 'allow') return this.#deny(decision, head, record)
    const { target } = authentication
    const outcome = { added: addedLines(authentication), target }
    this.#forward(decision.permit, head, held.body, held.isWhole, outcome)
  }

  #open(): RequestRecord {
    const { edge, remoteAddress, localAddress, connection } = this.#peer
    const record = new RequestRecord(edge(this.#deps.rules()), this.#deps.nowMs())
    record.protocol = this.#connection.protocol
    record.downstreamRemoteAddress = remoteAddress
    record.downstreamLocalAddress = localAddress
    record.sni = connection.sni ?? ''
    // Where it would go: Envoy tells that of refused requests too (istio-semantics §4).
    record.upstreamCluster = this.#deps.upstream.cluster
    this.#record = record
    return record
  }

  /** Takes a permit, so that nothing gets here that was not decided on. */
  #forward(
    _permit: Permit,
    head: RequestHead,
    body: Buffer | undefined,
    end: boolean,
    { added, target }: RequestEdits = UNCHANGED,
  ): void {
    if (head.hasAttemptCount && this.#peer.connection.peer === undefined) {
      head.fields.dropNamed('x-envoy-attempt-count')
    }
    const id = head.hasRequestId ? '' : `x-request-id: ${this.#requestIdOf(head)}\r\n`
    this.#edits.added = this.#peer.forwardedCert + id + added
    this.#edits.target = target
    this.#edits.path = this.#decider.path
    this.#edits.claims = this.#decider.claims
    const record = this.#record
    if (record !== undefined) {
      record.attempts = 1
      record.upstreamHost = this.#deps.upstream.host
      if (id !== '') record.requestId = id.slice('x-request-id: '.length, -2)
    }
    this.#exchange = this.#app.send(head, this.#edits, body, end, this)
  }

  /** One id a request, told to providers before it is told to the app. */
  #requestIdOf(head: RequestHead): string {
    if (head.hasRequestId) return head.fields.firstOf(FIELD.requestId) ?? ''
    if (this.#requestId === '') this.#requestId = requestId(this.#deps.random)
    return this.#requestId
  }

  /** gRPC callers read a refusal in gRPC's form (istio-semantics §4). */
  #refuseAs(answer: Rescue, head: RequestHead, added: string): void {
    if (!isGrpc(head)) return this.#respond(answer, added)
    const form = grpcForm(answer)
    if (this.#record !== undefined) this.#record.grpcStatus = form.grpcStatus
    this.#respond(form.answer, form.added + added)
  }

  #respond(answer: Rescue, added: string, how?: Pick<OwnAnswer, 'isBytes'>): void {
    if (this.#record !== undefined) this.#record.bytesSent = answer.body.length
    this.#finish(answer, answer.status)
    const lines =
      this.#response.length === 0
        ? added
        : added + (this.#decider.rules?.configuration.providers?.linesOfOwn(this.#response) ?? '')
    this.#connection.respondOwn(how === undefined ? answer : { ...answer, ...how }, lines)
  }

  onRequestBody(bytes: Buffer | undefined, end: boolean): void {
    if (bytes !== undefined && this.#record !== undefined) {
      this.#record.bytesReceived += bytes.length
    }
    if (this.#consultation !== undefined) return this.#consultation.push(bytes, end)
    if (this.#held !== undefined) return this.#held.push(bytes, end)
    if (this.#exchange?.write(bytes, end) === false && !end) this.#connection.pause()
  }

  onDrain(): void {
    this.#connection.resume()
  }

  onClientDrain(): void {
    this.#exchange?.resume()
  }

  onClientGone(): void {
    this.#held = undefined
    this.#consultation?.cancel()
    this.#consultation = undefined
    this.#exchange?.abort()
    if (this.#record !== undefined) this.#record.flags = 'DC'
    this.#finish(undefined, this.#record?.status ?? 0)
  }

  onRefused(answer: Rescue, fault: string): void {
    if (this.#record === undefined) this.#open()
    this.#finish({ ...answer, details: fault }, answer.status)
  }

  onInterim(head: ResponseHead): void {
    this.#connection.respondInterim(head)
  }

  onOwnAnswer(answer: Rescue, added: string): void {
    this.#respond(answer, added)
  }

  onHead(head: ResponseHead, body: Buffer | undefined, end: boolean, more = ''): void {
    const exchange = this.#exchange
    const record = this.#record
    this.#answered = true
    // Ours to say, not the app's.
    if (head.hasInternal) head.fields.dropNamed('x-redoubt-decision')
    if (record !== undefined) {
      record.status = head.status
      record.responseHeadBytes = head.fields.text.length
      record.upstreamMs = this.#deps.nowMs() - record.startMs
      if (body !== undefined) record.bytesSent = body.length
    }
    this.#isTunnel = head.framing === FRAMING.tunnel
    if (end && record?.protocol === 'HTTP/2') {
      record.grpcStatus = grpcStatusOf(head.fields.first('grpc-status'))
    }
    if (end) this.#finish(undefined, head.status)
    const added =
      this.#response.length === 0
        ? more
        : more +
          (this.#decider.rules?.configuration.providers?.changeResponse(head, this.#response) ?? '')
    if (!this.#connection.respond(head, added, body, end) && !end) exchange?.pause()
  }

  onBody(bytes: Buffer | undefined, end: boolean): void {
    const exchange = this.#exchange
    const record = this.#record
    if (record !== undefined && bytes !== undefined) record.bytesSent += bytes.length
    // The client may still send through a tunnel whose other end has finished.
    if (end && !this.#isTunnel) this.#finish(undefined, record?.status ?? 0)
    if (!this.#connection.respondBody(bytes, end) && !end) exchange?.pause()
  }

  onTrailers(trailers: Trailers): void {
    if (this.#record !== undefined) {
      this.#record.grpcStatus = grpcStatusOf(trailers['grpc-status']?.[0])
    }
    this.#connection.respondTrailers(trailers)
  }

  onFailure(failure: HopFailure): void {
    const answer = rescue(codeOfFailure(failure))
    if (this.#record !== undefined) this.#record.upstreamFailure = failure.detail
    if (this.#answered) {
      this.#finish(this.#isTunnel ? undefined : answer, this.#record?.status ?? 0)
      return this.#connection.breakOff(failure.streamCode)
    }
    if (this.#head === undefined || !isGrpc(this.#head)) {
      this.#finish(answer, answer.status)
      return this.#connection.respondOwn(answer, '')
    }
    const form = grpcForm(answer)
    if (this.#record !== undefined) this.#record.grpcStatus = form.grpcStatus
    this.#finish(form.answer, form.answer.status)
    this.#connection.respondOwn(form.answer, form.added)
  }

  /** The request is over, however it ended. `answer`: what we made of a failure. */
  #finish(answer: Rescue | undefined, status: number): void {
    this.#exchange = undefined
    const record = this.#record
    if (record === undefined) return
    this.#record = undefined
    record.status = status
    record.durationMs = this.#deps.nowMs() - record.startMs
    if (answer === undefined) record.details = 'via_upstream'
    else {
      record.flags = answer.flag
      // What a denial says of itself is in its decision.
      if (record.decision?.kind !== 'deny') record.details = answer.details
    }
    this.#deps.telemetry.record(record)
  }
}

/** What tokens change when there are none. */
const UNCHANGED: RequestEdits = { added: '' }

type ProviderRefusal = Extract<Verdict, { readonly kind: 'deny' }>

const GRPC = /^application\/grpc(\+|$)/

function isGrpc(head: RequestHead): boolean {
  const type = head.fields.first('content-type')
  return type !== undefined && GRPC.test(type)
}

/** gRPC says its own. */
function withoutType(lines: string): string {
  return lines.replace(/^content-type: .*\r\n/gm, '')
}

/** Envoy refuses a path that it cannot normalise before any policy is asked: so do we, when one would be. */
function codeOfDenial(decision: Decision | undefined): ProxyErrorCode {
  const isAmbiguous = decision?.kind === 'deny' && decision.reason === 'ambiguous-path'
  return isAmbiguous ? 'PROXY_BAD_REQUEST' : 'PROXY_FORBIDDEN'
}
