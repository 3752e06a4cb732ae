/**
 * Requests of one connection from the app: destination, route, endpoint, attempt, and again.
 *
 * One object a connection: its requests come one after another, so it is both who takes them and who
 * takes the peers' answers.
 *
 * Long because attempts, retries, timeouts and answers act on the same state of one request.
 */
import type { Clock } from '#core/clock.ts'
import type { Live } from '#core/live.ts'
import { formatAddress } from '../config.ts'
import type { ProxyErrorCode } from '../error.ts'
import { FRAMING } from '../http/body.ts'
import { type Authority, readAuthority } from '../http/path.ts'
import type { RequestHead } from '../http/request-head.ts'
import { type Rescue, rescue } from '../http/rescue.ts'
import type { ResponseHead } from '../http/response-head.ts'
import { codeOfFailure } from '../mesh/failure.ts'
import type { Exchange, HopAnswer, HopFailure } from '../mesh/hop.ts'
import { requestId } from '../stack/identifiers.ts'
import { noteRequest } from '../stack/note-request.ts'
import type { RequestSink, ServerConnection } from '../stack/server-connection.ts'
import type { TimerWheel, WheelTimer } from '../stack/timer-wheel.ts'
import { RequestRecord } from '../telemetry/record.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import { continueTrace } from '../telemetry/trace-context.ts'
import type { ClusterState, EndpointState } from './cluster-state.ts'
import { awaitDestination, type Destination, type FindDestination } from './destination.ts'
import type { OutboundEdges } from './edges.ts'
import type { Hops } from './hops.ts'
import { ReplayBuffer } from './replay.ts'
import {
  ATTEMPT_COUNT,
  type AttemptEnd,
  attemptCountLine,
  decideRetry,
  flagOfGivingUp,
  isRetriableAnswer,
} from './retry.ts'
import type { CompiledAction, Target } from './route.ts'
import { pickDestination } from './split.ts'

export interface OutboundDeps {
  readonly find: FindDestination
  readonly hops: Hops
  readonly clock: Clock
  readonly wheel: TimerWheel
  readonly random: () => number
  /** Whether hosts that nobody knows are reached directly. */
  readonly allowsAny: () => boolean
  readonly telemetry: Telemetry
  readonly edges: OutboundEdges
  /** Takes a connection over after CONNECT. */
  readonly onConnect: (connection: Downstream, authority: Authority) => void
}

/** The connection whose requests these are, as far as they act on it. */
export type Downstream = Pick<
  ServerConnection,
  | 'socket'
  | 'pause'
  | 'resume'
  | 'respondInterim'
  | 'respond'
  | 'respondBody'
  | 'respondOwn'
  | 'breakOff'
  | 'detach'
>

type Forward = Extract<CompiledAction, { readonly kind: 'forward' }>

/** Port of `http`. */
const DEFAULT_PORT = 80
/** A route answered by itself. */
const DIRECT = { flag: '-', details: 'direct_response' } as const

export class OutboundRequests implements RequestSink, HopAnswer {
  readonly #deps: OutboundDeps
  readonly #connection: Downstream
  /** Where the connection was meant to go, when CONNECT or SOCKS said so. */
  readonly #captured: Authority | undefined
  readonly #edits: { target: string | undefined; authority: string | undefined; added: string } = {
    target: undefined,
    authority: undefined,
    added: '',
  }
  /** What every attempt adds. */
  #added = ''
  readonly #remoteAddress: string
  readonly #localAddress: string
  readonly #replay = new ReplayBuffer()
  #lastAuthority = ''
  #authority: Authority = { host: '', port: 0 }
  #live: Live<Destination | undefined> | undefined
  #head: RequestHead | undefined
  #destination: Destination | undefined
  #action: Forward | undefined
  #target: Target | undefined
  #cluster: ClusterState | undefined
  #endpoint: EndpointState | undefined
  #tried: EndpointState[] = []
  #attempts = 0
  #isRetrying = false
  /** Why there was no further attempt, as a response flag; '' when that says nothing. */
  #giveUpFlag = ''
  #exchange: Exchange | undefined
  #answered = false
  #isTunnel = false
  #record: RequestRecord | undefined
  #deadlineMs = 0
  #timeout: WheelTimer | undefined
  #pauseTimer: WheelTimer | undefined

  constructor(deps: OutboundDeps, connection: Downstream, captured?: Authority) {
    this.#deps = deps
    this.#connection = connection
    const { remoteAddress, remotePort, localAddress, localPort } = connection.socket
    this.#remoteAddress = formatAddress(remoteAddress ?? '', remotePort ?? 0)
    this.#localAddress = formatAddress(localAddress ?? '', localPort ?? 0)
    this.#captured = captured
  }

  onRequest(head: RequestHead, body: Buffer | undefined, end: boolean): void {
    this.#head = head
    this.#answered = false
    this.#isTunnel = false
    this.#attempts = 0
    this.#giveUpFlag = ''
    if (this.#tried.length > 0) this.#tried = []
    this.#replay.begin(body, end)
    const record = this.#open()
    noteRequest(record, head, this.#deps.telemetry.isLogging)
    if (body !== undefined) record.bytesReceived = body.length
    // In the clear it would have to be pretended that TLS leads there.
    if (head.asksForTls) return this.#refuse('PROXY_BAD_REQUEST')
    if (head.authority !== this.#lastAuthority && !this.#settleAuthority(head)) return
    if (head.hasAttemptCount) head.fields.dropNamed(ATTEMPT_COUNT)
    if (head.method === 'CONNECT') return this.#deps.onConnect(this.#connection, this.#authority)
    if (head.target === '*') return this.#refuse('PROXY_NO_ROUTE')
    const destination = this.#live?.current
    if (destination !== undefined) return this.#begin(head, destination)
    this.#awaitDestination(head)
  }

  #open(): RequestRecord {
    const { edges, clock } = this.#deps
    const record = new RequestRecord(edges.toNowhere(), clock.nowMs())
    record.downstreamRemoteAddress = this.#remoteAddress
    record.downstreamLocalAddress = this.#localAddress
    this.#record = record
    return record
  }

  #settleAuthority(head: RequestHead): boolean {
    const authority = this.#captured ?? readAuthority(head.authority)
    if (authority === undefined) {
      this.#refuse('PROXY_BAD_REQUEST')
      return false
    }
    const { host, port } = authority
    this.#authority = { host, port: port === 0 ? DEFAULT_PORT : port }
    this.#lastAuthority = head.authority
    this.#live = head.method === 'CONNECT' ? undefined : this.#deps.find(host, this.#authority.port)
    return true
  }

  /** The first request to a host asks the policy server; the following ones find the answer here. */
  #awaitDestination(head: RequestHead): void {
    this.#live ??= this.#deps.find(this.#authority.host, this.#authority.port)
    const live = this.#live
    awaitDestination(live, this.#deps.clock, (destination) => {
      if (this.#head !== head || this.#live !== live) return
      if (destination === undefined) this.#refuse('PROXY_NOT_READY')
      else this.#begin(head, destination)
    })
  }

  #begin(head: RequestHead, destination: Destination): void {
    this.#destination = destination
    this.#edits.target = undefined
    this.#edits.authority = undefined
    this.#added = this.#linesToAdd(head)
    this.#edits.added = this.#added
    if (this.#record !== undefined) this.#record.edge = this.#deps.edges.toDestination(destination)
    if (destination.bundle.kind === 'unknown') return this.#passThrough(head)
    const route = destination.pickRoute(head)
    if (route === undefined) return this.#refuse('PROXY_NO_ROUTE')
    if (this.#record !== undefined) this.#record.route = route.name
    const { action } = route
    switch (action.kind) {
      case 'forward':
        return this.#forward(head, action)
      case 'redirect': {
        const added = `location: ${action.locationOf(head)}\r\n${action.response.added}`
        return this.#answerOwn({ status: action.status, body: '', close: false }, added)
      }
      case 'respond':
        return this.#answerOwn({ ...action, close: false }, action.response.added)
      default:
        return action satisfies never
    }
  }

  /** What names the request and its trace, where the app did not. */
  #linesToAdd(head: RequestHead): string {
    const { random } = this.#deps
    const record = this.#record
    const trace = record === undefined ? '' : continueTrace(head.fields, record, { random })
    if (head.hasRequestId) return trace
    const id = requestId(random)
    if (record !== undefined) record.requestId = id
    return `${trace}x-request-id: ${id}\r\n`
  }

  #passThrough(head: RequestHead): void {
    if (!this.#deps.allowsAny()) return this.#refuse('PROXY_BLACK_HOLE')
    const { host, port } = this.#authority
    const { body, ended } = this.#replay
    this.#exchange = this.#deps.hops.toHost(host, port).send(head, this.#edits, body, ended, this)
  }

  #forward(head: RequestHead, action: Forward): void {
    const target = pickDestination(action.split, this.#deps.random)
    const { cluster } = target
    this.#action = action
    this.#target = target
    if (cluster === undefined) return this.#refuse('PROXY_NO_CLUSTER')
    if (!cluster.requests.enter()) return this.#refuse('PROXY_OVERLOADED')
    this.#cluster = cluster
    for (const name of target.request.drop) head.fields.dropNamed(name)
    if (target.request.added !== '') this.#added += target.request.added
    this.#edits.authority = target.authority
    this.#edits.target = action.rewriteTarget?.(head.target)
    if (action.timeoutMs !== undefined) this.#startTimeout(action.timeoutMs)
    this.#attempt(head)
  }

  #startTimeout(timeoutMs: number): void {
    this.#deadlineMs = this.#deps.clock.nowMs() + timeoutMs
    this.#timeout ??= this.#deps.wheel.timer(() => this.#fail('PROXY_UPSTREAM_TIMEOUT'))
    this.#timeout.set(timeoutMs)
  }

  #attempt(head: RequestHead): void {
    const cluster = this.#cluster
    const bundle = this.#destination?.bundle
    if (cluster === undefined || bundle?.kind !== 'known') return
    const endpoint = cluster.pick(this.#attempts === 0 ? undefined : this.#tried)
    if (endpoint === undefined) return this.#fail('PROXY_NO_HEALTHY_UPSTREAM')
    this.#attempts += 1
    this.#edits.added = this.#added + attemptCountLine(this.#attempts)
    this.#endpoint = endpoint
    cluster.begin(endpoint)
    const hop = endpoint.hop ?? this.#deps.hops.toEndpoint(cluster, endpoint, bundle.protocol)
    this.#noteAttempt(cluster, endpoint)
    const perTryMs = this.#action?.retry.perTryTimeoutMs
    if (perTryMs !== undefined) this.#setPause(perTryMs)
    const replay = this.#replay
    this.#exchange = hop.send(head, this.#edits, replay.body, replay.ended, this)
    if (!replay.ended) this.#trimReplay()
  }

  #noteAttempt(cluster: ClusterState, endpoint: EndpointState): void {
    const record = this.#record
    if (record === undefined) return
    record.edge = this.#deps.edges.toEndpoint(cluster, endpoint)
    record.attempts = this.#attempts
    record.upstreamHost = endpoint.endpoint.address
    record.upstreamCluster = cluster.name
  }

  /** A body that is not going to be sent again is not kept. */
  #trimReplay(): void {
    this.#replay.trim()
    this.#connection.resume()
  }

  #setPause(ms: number): void {
    this.#pauseTimer ??= this.#deps.wheel.timer(() => this.#onPauseOver())
    this.#pauseTimer.set(ms)
  }

  /** The time for one try is over, or the wait before the next. */
  #onPauseOver(): void {
    if (this.#exchange !== undefined) return this.#onTryTimeout()
    if (this.#head !== undefined) this.#attempt(this.#head)
  }

  #onTryTimeout(): void {
    if (this.#answered) return
    this.#exchange?.abort()
    this.#endAttempt(0)
    if (!this.#retry({ kind: 'try-timed-out' })) this.#fail('PROXY_UPSTREAM_TIMEOUT')
  }

  /** Whether another attempt is on its way. */
  #retry(end: AttemptEnd): boolean {
    const waitMs = this.#retryWait(end)
    if (waitMs !== undefined) this.#setPause(waitMs)
    return waitMs !== undefined
  }

  /** Milliseconds until another attempt; `undefined`: there is none. */
  #retryWait(end: AttemptEnd): number | undefined {
    const action = this.#action
    const cluster = this.#cluster
    if (action === undefined || cluster === undefined || this.#head === undefined) return undefined
    const decision = decideRetry({
      retry: action.retry,
      attempts: this.#attempts,
      end,
      isReplayable: this.#replay.isReplayable,
      isWithinBudget: this.#isRetrying || cluster.mayRetry(),
      remainingMs:
        action.timeoutMs === undefined ? undefined : this.#deadlineMs - this.#deps.clock.nowMs(),
      random: this.#deps.random(),
    })
    if (decision.kind === 'give-up') {
      this.#giveUpFlag = flagOfGivingUp(decision.reason)
      return undefined
    }
    if (!this.#isRetrying) cluster.retries += 1
    this.#isRetrying = true
    return decision.waitMs
  }

  #endAttempt(status: number): void {
    const endpoint = this.#endpoint
    this.#exchange = undefined
    this.#pauseTimer?.clear()
    if (endpoint === undefined) return
    this.#endpoint = undefined
    this.#tried.push(endpoint)
    this.#cluster?.end(endpoint, status)
  }

  onRequestBody(bytes: Buffer | undefined, end: boolean): void {
    if (bytes !== undefined && this.#record !== undefined) {
      this.#record.bytesReceived += bytes.length
    }
    if (this.#isTunnel) {
      if (this.#exchange?.write(bytes, end) === false) this.#connection.pause()
      return
    }
    if (this.#head === undefined) return
    const replay = this.#replay
    replay.ended = end
    if (bytes !== undefined) replay.add(bytes)
    const exchange = this.#exchange
    if (exchange === undefined) {
      if (replay.isFull) this.#connection.pause()
      return
    }
    replay.trim()
    if (!exchange.write(bytes, end) && !end) this.#connection.pause()
  }

  onDrain(): void {
    this.#connection.resume()
  }

  onClientDrain(): void {
    this.#exchange?.resume()
  }

  onClientGone(): void {
    this.#exchange?.abort()
    this.#endAttempt(-1)
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

  onHead(head: ResponseHead, body: Buffer | undefined, end: boolean): void {
    const exchange = this.#exchange
    const retry = this.#action?.retry
    if (retry !== undefined && retry.retries > 0 && this.#isWorthRetry(head)) {
      const waitMs = this.#retryWait({ kind: 'answered', status: head.status })
      if (waitMs !== undefined) {
        if (!end) exchange?.abort()
        this.#endAttempt(head.status)
        return this.#setPause(waitMs)
      }
    }
    this.#answered = true
    this.#pauseTimer?.clear()
    this.#noteAnswer(head, body)
    this.#isTunnel = head.framing === FRAMING.tunnel
    const response = this.#target?.response
    if (response !== undefined) for (const name of response.drop) head.fields.dropNamed(name)
    if (end) this.#end(head.status)
    const added = response === undefined ? '' : response.added
    if (!this.#connection.respond(head, added, body, end) && !end) exchange?.pause()
  }

  #noteAnswer(head: ResponseHead, body: Buffer | undefined): void {
    const record = this.#record
    if (record === undefined) return
    record.status = head.status
    record.responseHeadBytes = head.fields.text.length
    record.upstreamMs = this.#deps.clock.nowMs() - record.startMs
    if (body !== undefined) record.bytesSent = body.length
  }

  #report(answer: Pick<Rescue, 'flag' | 'details'> | undefined, status: number): void {
    const record = this.#record
    if (record === undefined) return
    this.#record = undefined
    record.status = status
    record.durationMs = this.#deps.clock.nowMs() - record.startMs
    record.details = answer === undefined ? 'via_upstream' : answer.details
    if (answer !== undefined) record.flags = answer.flag
    const also = this.#giveUpFlag
    if (also !== '') record.flags = record.flags === '-' ? also : `${record.flags},${also}`
    this.#deps.telemetry.record(record)
  }

  #isWorthRetry(head: ResponseHead): boolean {
    const { retry } = this.#action as Forward
    const grpc = head.fields.first('grpc-status')
    return isRetriableAnswer(retry, head.status, grpc === undefined ? undefined : Number(grpc))
  }

  onBody(bytes: Buffer | undefined, end: boolean): void {
    const exchange = this.#exchange
    const record = this.#record
    if (record !== undefined && bytes !== undefined) record.bytesSent += bytes.length
    // The client may still send through a tunnel whose other end has finished.
    if (end && !this.#isTunnel) this.#end(record?.status ?? 0)
    if (!this.#connection.respondBody(bytes, end) && !end) exchange?.pause()
  }

  onFailure(failure: HopFailure): void {
    const endpoint = this.#endpoint
    if (failure.kind === 'connect' && endpoint !== undefined) this.#cluster?.rest(endpoint)
    this.#endAttempt(0)
    if (this.#record !== undefined) this.#record.upstreamFailure = failure.detail
    if (this.#answered || !this.#retry(failure)) this.#fail(codeOfFailure(failure))
  }

  #fail(code: ProxyErrorCode): void {
    this.#exchange?.abort()
    this.#endAttempt(0)
    if (!this.#answered) return this.#refuse(code)
    this.#finish(this.#isTunnel ? undefined : rescue(code), this.#record?.status ?? 0)
    this.#connection.breakOff()
  }

  #refuse(code: ProxyErrorCode): void {
    const answer = rescue(code)
    if (this.#record !== undefined) this.#record.bytesSent = answer.body.length
    this.#finish(answer, answer.status)
    this.#connection.respondOwn(answer, '')
  }

  #answerOwn(answer: Pick<Rescue, 'status' | 'body' | 'close'>, added: string): void {
    if (this.#record !== undefined) this.#record.bytesSent = Buffer.byteLength(answer.body)
    this.#finish(DIRECT, answer.status)
    this.#connection.respondOwn(answer, added)
  }

  #end(status: number): void {
    this.#endAttempt(status)
    this.#finish(undefined, status)
  }

  /** The request is over, however it ended. `answer`: what we made of it without an upstream. */
  #finish(answer: Pick<Rescue, 'flag' | 'details'> | undefined, status: number): void {
    this.#report(answer, status)
    this.#head = undefined
    this.#timeout?.clear()
    this.#pauseTimer?.clear()
    this.#replay.begin(undefined, true)
    const cluster = this.#cluster
    this.#cluster = undefined
    this.#action = undefined
    this.#target = undefined
    if (cluster === undefined) return
    cluster.requests.leave()
    if (!this.#isRetrying) return
    this.#isRetrying = false
    cluster.retries -= 1
  }
}
