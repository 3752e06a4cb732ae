/** As much of a gRPC server stream as writing with backpressure needs. */
export interface WritableCall<Response> {
  readonly write: (response: Response) => boolean
  readonly once: (event: 'drain', listener: () => void) => unknown
  readonly off: (event: 'drain', listener: () => void) => unknown
}

/**
 * Writes one message and resolves when the caller has room for another, so that one who does not
 * read holds one message and not a queue of them. Returns early when `signal` aborts.
 */
export async function write<Response>(
  call: WritableCall<Response>,
  response: Response,
  signal: AbortSignal,
): Promise<void> {
  if (signal.aborted || call.write(response)) return
  await new Promise<void>((resolve) => {
    const done = (): void => {
      call.off('drain', done)
      signal.removeEventListener('abort', done)
      resolve()
    }
    call.once('drain', done)
    signal.addEventListener('abort', done, { once: true })
  })
}
