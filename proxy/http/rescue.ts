import type { ProxyErrorCode } from '../error.ts'

/** How one failure is answered, logged and counted. */
export interface Rescue {
  readonly status: number
  /** Envoy's response flag (istio-semantics §13.6); '-' when none. */
  readonly flag: string
  /** Envoy's response detail. */
  readonly details: string
  readonly body: string
  /** Whether the connection's framing or health is now in doubt (RFC 9112 §9.6). */
  readonly close: boolean
}

const RESET = 'upstream connect error or disconnect/reset before headers. reset reason: '

/** Every failure the proxy turns into a response, and the only place where statuses are chosen. */
const RESCUES: Readonly<Record<ProxyErrorCode, Rescue>> = {
  PROXY_CONFIG_INVALID: row(500, '-', 'internal', '', true),
  PROXY_LISTEN_FAILED: row(500, '-', 'internal', '', true),
  PROXY_NOT_READY: row(503, 'NC', 'cluster_not_found', 'no configuration for this host yet', false),
  PROXY_BAD_REQUEST: row(400, 'DPE', 'http1.codec_error', 'Bad Request', true),
  PROXY_VERSION_UNSUPPORTED: row(426, 'DPE', 'low_version', 'Upgrade Required', true),
  PROXY_HEAD_TOO_LARGE: row(431, 'DPE', 'request_headers_too_large', '', true),
  PROXY_REQUEST_TIMEOUT: row(408, 'SI', 'stream_idle_timeout', 'stream timeout', true),
  PROXY_FORBIDDEN: row(403, '-', 'rbac_access_denied_matched_policy', 'RBAC: access denied', false),
  PROXY_TOKEN_REFUSED: row(401, '-', 'jwt_authn_access_denied', '', false),
  PROXY_TOKEN_MISDIRECTED: row(403, '-', 'jwt_authn_access_denied', '', false),
  PROXY_REFUSED_BY_PROVIDER: row(403, 'UAEX', 'ext_authz_denied', '', false),
  PROXY_BODY_TOO_LARGE: row(413, '-', 'request_payload_too_large', 'Payload Too Large', false),
  PROXY_NO_ROUTE: row(404, 'NR', 'route_not_found', '', false),
  PROXY_NO_CLUSTER: row(503, 'NC', 'cluster_not_found', '', false),
  PROXY_BLACK_HOLE: row(502, '-', 'direct_response', '', false),
  PROXY_NO_HEALTHY_UPSTREAM: row(503, 'UH', 'no_healthy_upstream', 'no healthy upstream', false),
  PROXY_OVERLOADED: row(503, 'UO', 'overflow', `${RESET}overflow`, false),
  PROXY_UPSTREAM_UNAVAILABLE: row(
    503,
    'UF',
    'connection_failure',
    `${RESET}connection failure`,
    false,
  ),
  PROXY_UPSTREAM_UNTRUSTED: row(
    503,
    'UF',
    'upstream_untrusted',
    `${RESET}TLS error: peer identity refused`,
    false,
  ),
  PROXY_UPSTREAM_RESET: row(
    503,
    'UC',
    'connection_termination',
    `${RESET}connection termination`,
    false,
  ),
  PROXY_UPSTREAM_PROTOCOL: row(502, 'UPE', 'protocol_error', `${RESET}protocol error`, false),
  PROXY_UPSTREAM_TIMEOUT: row(504, 'UT', 'response_timeout', 'upstream request timeout', false),
}

function row(status: number, flag: string, details: string, body: string, close: boolean): Rescue {
  return { status, flag, details, body, close }
}

/** What the client is told about a failure. */
export function rescue(code: ProxyErrorCode): Rescue {
  return RESCUES[code]
}

/** Statuses in gRPC's terms, for answers of a proxy; all others are 2, unknown (istio-semantics §4). */
const GRPC_STATUS: Readonly<Record<number, number>> = {
  400: 13,
  401: 16,
  403: 7,
  404: 12,
  429: 14,
  502: 14,
  503: 14,
  504: 14,
}

/** A refusal as a gRPC caller reads it: 200, and what is so in `grpc-status` and `grpc-message`. */
export function grpcForm(answer: Rescue): {
  readonly answer: Rescue
  readonly grpcStatus: number
  /** Whole lines, each with its CRLF. */
  readonly added: string
} {
  const grpcStatus = GRPC_STATUS[answer.status] ?? 2
  const message = encodeURI(answer.body).replaceAll('%20', ' ')
  const added = `content-type: application/grpc\r\ngrpc-status: ${grpcStatus}\r\ngrpc-message: ${message}\r\n`
  return { answer: { ...answer, status: 200, body: '' }, grpcStatus, added }
}

const REASONS: Readonly<Record<number, string>> = {
  301: 'Moved Permanently',
  302: 'Found',
  303: 'See Other',
  307: 'Temporary Redirect',
  308: 'Permanent Redirect',
  200: 'OK',
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  408: 'Request Timeout',
  413: 'Payload Too Large',
  426: 'Upgrade Required',
  429: 'Too Many Requests',
  431: 'Request Header Fields Too Large',
  500: 'Internal Server Error',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
}

/** What {@link ownResponse} makes a response of. */
export interface OwnAnswer extends Pick<Rescue, 'status' | 'body'> {
  /** Whether `body` is latin1, one character a byte. @default text */
  readonly isBytes?: boolean
}

/** The body in latin1, one character a byte. */
export function ownBody({ body, isBytes = false }: Pick<OwnAnswer, 'body' | 'isBytes'>): string {
  return isBytes ? body : Buffer.from(body, 'utf8').toString('latin1')
}

/**
 * A whole response of our own. `server: istio-envoy` is what clients of Istio's sidecars look for.
 *
 * @param added - whole lines, each with its CRLF
 */
export function ownResponse(
  { status, body, isBytes = false }: OwnAnswer,
  { added, isHead }: { readonly added: string; readonly isHead: boolean },
): string {
  const isTyped = body === '' || /(^|\r\n)content-type: /.test(added)
  const type = isTyped ? '' : 'content-type: text/plain\r\n'
  const line = `HTTP/1.1 ${status} ${REASONS[status] ?? 'Unknown'}\r\n`
  const bytes = ownBody({ body, isBytes })
  const { length } = bytes
  const text = isHead ? '' : bytes
  // Such an answer has no body, and no length (RFC 9110 §8.6).
  const size = status === 204 || status === 304 ? '' : `content-length: ${length}\r\n`
  return `${line}${size}${type}server: istio-envoy\r\n${added}\r\n${text}`
}
