/** Upper bounds of every histogram of ours, in the metric's unit (istio-semantics §13.2). */
export const BUCKETS: readonly number[] = [
  0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 300_000, 600_000,
  1_800_000, 3_600_000,
]

/** One histogram: how many values fell into each bucket alone, and their sum. */
export class Histogram {
  /** One longer than {@link BUCKETS}: the last is what is beyond all of them. */
  readonly counts: number[] = Array.from({ length: BUCKETS.length + 1 }, () => 0)
  sum = 0

  /** Linear, because most values are small and the first comparison settles them. */
  observe(value: number): void {
    let index = 0
    while (index < LENGTH && value > (BUCKETS[index] as number)) index += 1
    this.counts[index] = (this.counts[index] as number) + 1
    this.sum += value
  }
}

const LENGTH = BUCKETS.length
