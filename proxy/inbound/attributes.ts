import type { Claims, HttpAttributes } from '#policy/model/index.ts'
import type { RequestHead } from '../http/request-head.ts'

/** Fields whose lines are one value, joined with a comma, to policies (istio-semantics §0.8.17). */
const JOINED: ReadonlySet<string> = new Set(
  `accept accept-encoding access-control-request-method authorization cache-control content-type expect
  grpc-timeout if-none-match origin pragma referer user-agent via x-client-trace-id
  x-envoy-decorator-operation x-forwarded-for x-forwarded-host x-forwarded-proto x-request-id`.split(
    /\s+/,
  ),
)

/**
 * The request as policies see it: a view of the head that a connection fills again and again. One
 * object a connection, since most decisions read two of its fields.
 */
export class RequestAttributes implements HttpAttributes {
  readonly #head: RequestHead
  readonly #sourceIp: string
  path = ''
  readonly claims: Claims | undefined = undefined
  readonly header: (name: string) => readonly string[]

  constructor(head: RequestHead, sourceIp: string) {
    this.#head = head
    this.#sourceIp = sourceIp
    this.header = (name) => {
      if (name === 'host') return [head.authority]
      const values = head.fields.values(name)
      return values.length > 1 && JOINED.has(name) ? [values.join(',')] : values
    }
  }

  get method(): string {
    return this.#head.method
  }

  get host(): string {
    return this.#head.authority
  }

  /** The right-most entry of the last `X-Forwarded-For` line, else the connection's source (§0.8.19). */
  get remoteIp(): string {
    const last = this.#head.fields.values('x-forwarded-for').at(-1)
    return last === undefined ? this.#sourceIp : last.slice(last.lastIndexOf(',') + 1).trim()
  }
}
