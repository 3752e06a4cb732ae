import type { Decision } from '#policy/model/index.ts'
import type { Edge } from './edge.ts'

/**
 * What the data path knows of one request when it is over. Made once a request, before anything can
 * fail; fields are filled in as they become known, and what stays as it is here was never known.
 * A class, so that all of them have one shape.
 */
export class RequestRecord {
  /** Replaced once the peer is known. */
  edge: Edge
  /** When its first byte arrived: milliseconds on the monotonic clock. */
  readonly startMs: number
  /** First byte of the request to last byte of the response. */
  durationMs = 0
  method = ''
  /** As received, query included. */
  target = ''
  /** `TCP`: an opaque connection, which has none of what requests have. */
  protocol: 'HTTP/1.0' | 'HTTP/1.1' | 'HTTP/2' | 'TCP' = 'HTTP/1.1'
  /** `Host` as received. */
  authority = ''
  /** 0: no response. */
  status = 0
  /** -1: not gRPC. */
  grpcStatus = -1
  /** Envoy's response flags (istio-semantics §13.6), comma separated. */
  flags = '-'
  /** Envoy's response code detail, e.g. `via_upstream`; '' when there is none. */
  details = ''
  /** Bytes of the bodies. */
  bytesReceived = 0
  bytesSent = 0
  /** Bytes of the heads, as on the wire. */
  requestHeadBytes = 0
  responseHeadBytes = 0
  /** Request sent on to first byte of its answer; -1 when there was none. */
  upstreamMs = -1
  /** `host:port` of the endpoint that was tried last. */
  upstreamHost = ''
  upstreamCluster = ''
  upstreamLocalAddress = ''
  /** Why TLS towards it failed. */
  upstreamFailure = ''
  downstreamLocalAddress = ''
  downstreamRemoteAddress = ''
  sni = ''
  route = ''
  /** Attempts made, 1 without retries; 0 when it went nowhere. */
  attempts = 0
  requestId = ''
  /** 32 hex digits. */
  traceId = ''
  /** Only read for the access log. */
  forwardedFor = ''
  userAgent = ''
  /** What authorization said; inbound only. */
  decision: Decision | undefined = undefined
  /** `x-redoubt-decision`: set by `telemetry.noteDenial`. */
  decisionId = ''

  constructor(edge: Edge, startMs: number) {
    this.edge = edge
    this.startMs = startMs
  }
}
