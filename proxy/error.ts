/** Stable reasons for {@link ProxyError}, and the keys of the table that answers them (`http/rescue.ts`). */
export type ProxyErrorCode =
  | 'PROXY_CONFIG_INVALID'
  | 'PROXY_LISTEN_FAILED'
  | 'PROXY_NOT_READY'
  | 'PROXY_BAD_REQUEST'
  | 'PROXY_VERSION_UNSUPPORTED'
  | 'PROXY_HEAD_TOO_LARGE'
  | 'PROXY_REQUEST_TIMEOUT'
  | 'PROXY_FORBIDDEN'
  /** A token that does not verify; one that is meant for somebody else. */
  | 'PROXY_TOKEN_REFUSED'
  | 'PROXY_TOKEN_MISDIRECTED'
  /** An external provider said no, or could not be asked: the status is its own. */
  | 'PROXY_REFUSED_BY_PROVIDER'
  /** More of a body than may be put to a provider. */
  | 'PROXY_BODY_TOO_LARGE'
  | 'PROXY_NO_ROUTE'
  | 'PROXY_NO_CLUSTER'
  | 'PROXY_BLACK_HOLE'
  | 'PROXY_NO_HEALTHY_UPSTREAM'
  | 'PROXY_OVERLOADED'
  | 'PROXY_UPSTREAM_UNAVAILABLE'
  | 'PROXY_UPSTREAM_RESET'
  | 'PROXY_UPSTREAM_PROTOCOL'
  | 'PROXY_UPSTREAM_TIMEOUT'
  | 'PROXY_UPSTREAM_UNTRUSTED'

/** The only error class that leaves `proxy/`. */
export class ProxyError extends Error {
  override readonly name = 'ProxyError'
  readonly code: ProxyErrorCode

  constructor(code: ProxyErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
