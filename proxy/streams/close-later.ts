import type { Http2Stream } from 'node:http2'

/**
 * Resets a stream, but never within an event of its own session, and only where no trailers are due on it:
 * Node 26 may have destroyed a stream that was reset while it still writes it, and aborts the process when it
 * then asks for trailers. Whoever waits for trailers ends the stream first, and resets it when it is asked.
 */
export function closeLater(stream: Http2Stream, code: number): void {
  setImmediate(() => {
    if (!stream.closed && !stream.destroyed) stream.close(code)
  })
}
