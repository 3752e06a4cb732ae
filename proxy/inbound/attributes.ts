import {
  type Claims,
  clientAddress,
  headerValues,
  type HttpAttributes,
} from '#policy/model/index.ts'
import type { RequestHead } from '../http/request-head.ts'
import { textOf } from '../http/text.ts'

/**
 * The request as policies see it: a view of the head that a connection fills again and again. One
 * object a connection, since most decisions read two of its fields.
 */
export class RequestAttributes implements HttpAttributes {
  /** What it is a view of. */
  readonly head: RequestHead
  readonly #sourceIp: string
  path = ''
  /** Of the request's token, verified. */
  claims: Claims | undefined = undefined
  readonly header: (name: string) => readonly string[]

  constructor(head: RequestHead, sourceIp: string) {
    this.head = head
    this.#sourceIp = sourceIp
    this.header = (name) =>
      name === 'host' ? [head.authority] : headerValues(name, head.fields.values(name).map(textOf))
  }

  get method(): string {
    return this.head.method
  }

  get host(): string {
    return this.head.authority
  }

  get remoteIp(): string {
    return clientAddress(this.head.fields.values('x-forwarded-for'), this.#sourceIp)
  }
}
