/** Quantiles of a cumulative histogram, as Prometheus' `histogram_quantile` reckons them. */

export interface Bucket {
  /** Upper bound; `Infinity` for the last. */
  readonly le: number
  /** Observations at or below it. */
  readonly count: number
}

/**
 * The value below which a share of observations lies, interpolated within its bucket; `undefined`
 * without observations, and the last finite bound for what lies beyond it.
 *
 * @param share - 0 to 1
 * @param buckets - by rising `le`
 */
export function quantile(share: number, buckets: readonly Bucket[]): number | undefined {
  const total = buckets.at(-1)?.count ?? 0
  if (total === 0) return undefined
  const rank = share * total
  const index = buckets.findIndex(({ count }) => count >= rank)
  const { le, count } = buckets[index] ?? { le: 0, count: 0 }
  const below = buckets[index - 1] ?? { le: 0, count: 0 }
  if (le === Number.POSITIVE_INFINITY) return below.le
  const inBucket = count - below.count
  return inBucket === 0 ? le : below.le + ((le - below.le) * (rank - below.count)) / inBucket
}

/** What was observed between two readings of one histogram. */
export function bucketsBetween(
  before: readonly Bucket[],
  after: readonly Bucket[],
): readonly Bucket[] {
  const counts = new Map(before.map(({ le, count }) => [le, count]))
  return after.map(({ le, count }) => ({ le, count: count - (counts.get(le) ?? 0) }))
}
