/**
 * What a client outside the mesh says of itself is not believed (istio-semantics §7.4, fixed behaviour): before
 * anything is decided its request is written anew, with what the gateway knows.
 */
import type { RequestHead } from '../http/request-head.ts'
import { type Rescue, rescue } from '../http/rescue.ts'
import { requestId } from '../stack/identifiers.ts'
import type { RequestSink, ServerConnection } from '../stack/server-connection.ts'
import { RoutedHead } from './routed-head.ts'

export interface EdgeDeps {
  /** The client's address, IPv4 dotted or IPv6, without port. */
  readonly sourceIp: string
  readonly scheme: 'http' | 'https'
  /** Numbers in [0, 1). */
  readonly random: () => number
}

/** Replaced by what the gateway says. `x-envoy-*`, `x-redoubt-*` and `x-forwarded-client-cert` no codec of ours lets in. */
const OURS = ['x-forwarded-for', 'x-forwarded-proto', 'x-request-id', 'x-envoy-attempt-count']

export class EdgeRequests implements RequestSink {
  readonly #deps: EdgeDeps
  readonly #connection: ServerConnection
  readonly #inner: RequestSink
  readonly #head = new RoutedHead()

  constructor(deps: EdgeDeps, connection: ServerConnection, inner: RequestSink) {
    this.#deps = deps
    this.#connection = connection
    this.#inner = inner
  }

  onRequest(head: RequestHead, body: Buffer | undefined, end: boolean): void {
    // It has no target that could be written anew, and is refused as it is.
    if (head.method === 'CONNECT') return this.#inner.onRequest(head, body, end)
    const added = this.#ownLines(head)
    for (const name of OURS) head.fields.dropNamed(name)
    if (this.#head.become(head, { added })) return this.#inner.onRequest(this.#head, body, end)
    const answer = rescue('PROXY_HEAD_TOO_LARGE')
    this.#inner.onRefused(answer, this.#head.fault)
    this.#connection.respondOwn(answer, '')
  }

  /** The client's address comes last, after whatever it says itself: the mesh believes the last one. */
  #ownLines({ fields }: RequestHead): string {
    const { sourceIp, scheme, random } = this.#deps
    const forwardedFor = [...fields.values('x-forwarded-for'), sourceIp].join(',')
    return `x-forwarded-for: ${forwardedFor}\r\nx-forwarded-proto: ${scheme}\r\nx-request-id: ${requestId(random)}\r\n`
  }

  onRequestBody(bytes: Buffer | undefined, end: boolean): void {
    this.#inner.onRequestBody(bytes, end)
  }

  onClientDrain(): void {
    this.#inner.onClientDrain()
  }

  onClientGone(): void {
    this.#inner.onClientGone()
  }

  onRefused(answer: Rescue, fault: string): void {
    this.#inner.onRefused(answer, fault)
  }
}
