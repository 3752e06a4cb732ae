export interface BackoffOptions {
  /** Milliseconds before the first retry. @default 25 */
  readonly baseMs?: number
  /** Milliseconds that no wait exceeds. @default 10_000 */
  readonly maxMs?: number
  /** A source of numbers in [0, 1). */
  readonly random: () => number
}

/**
 * Waits, in milliseconds, that double from `baseMs` to `maxMs` and are then drawn uniformly from
 * zero up to that bound ("full jitter").
 *
 * @throws {RangeError} if `baseMs` or `maxMs` is not positive, or `maxMs < baseMs`
 */
export function* backoff(options: BackoffOptions): Generator<number, never> {
  const { baseMs = 25, maxMs = 10_000, random } = options
  if (!(baseMs > 0 && maxMs >= baseMs)) {
    throw new RangeError(
      `Cannot back off from ${baseMs} ms to ${maxMs} ms: expected 0 < baseMs <= maxMs`,
    )
  }
  for (let boundMs = baseMs; ; boundMs = Math.min(boundMs * 2, maxMs)) {
    yield random() * boundMs
  }
}
