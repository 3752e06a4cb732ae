import type { ServerDuplexStream } from '@grpc/grpc-js'

/**
 * A stream's requests, one at a time. Unlike plain iteration this leaves the stream whole when the
 * loop is left or the client has said its last, so that a status can still be sent.
 */
export function requestsOf<Request>(
  call: ServerDuplexStream<Request, unknown>,
): AsyncIterable<Request> {
  return call.iterator({ destroyOnReturn: false })
}
