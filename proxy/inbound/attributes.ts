import type { AddedHeader } from '#ca/jwt/request/index.ts'
import {
  type Claims,
  clientAddress,
  type Connection,
  headerValues,
  type HttpAttributes,
  impliedHeader,
  isPseudoHeader,
  pseudoHeader,
} from '#policy/model/index.ts'
import type { RequestHead } from '../http/request-head.ts'
import { textOf } from '../http/text.ts'

/** Of a request without a token. */
export const NONE_ADDED: readonly AddedHeader[] = []

/**
 * The request as policies see it: a view of the head that a connection fills again and again. One
 * object a connection, since most decisions read two of its fields.
 */
export class RequestAttributes implements HttpAttributes {
  /** What it is a view of. */
  readonly head: RequestHead
  readonly #sourceIp: string
  readonly #isSecure: boolean
  path = ''
  /** Of the request's token, verified. */
  claims: Claims | undefined = undefined
  /** What its token brings, instead of the client's own of these names. */
  added: readonly AddedHeader[] = NONE_ADDED
  readonly header: (name: string) => readonly string[]

  constructor(head: RequestHead, { peer, sourceIp }: Connection) {
    this.head = head
    this.#sourceIp = sourceIp
    this.#isSecure = peer !== undefined
    this.header = (name) => (isPseudoHeader(name) ? pseudoHeader(name, this) : this.#valuesOf(name))
  }

  #valuesOf(name: string): readonly string[] {
    const lines = this.#lines(name)
    return lines.length > 0 ? headerValues(name, lines) : impliedHeader(name, this.#isSecure)
  }

  #lines(name: string): readonly string[] {
    const own = this.added.flatMap((one) => (one.name === name ? [one.value] : []))
    return (own.length > 0 ? own : this.head.fields.values(name)).map(textOf)
  }

  get method(): string {
    return this.head.method
  }

  get target(): string {
    return this.head.target
  }

  get host(): string {
    return this.head.authority
  }

  get remoteIp(): string {
    return clientAddress(this.head.fields.values('x-forwarded-for'), this.#sourceIp)
  }
}
