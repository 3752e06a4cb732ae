/** What a timed run came to, and whether it was good. Pure. */
import Table from 'cli-table3'
import type { Reading, RefusalReading } from './reading.ts'

/** The last line of `npm start -- --for 20s --output json`. */
export interface Summary {
  /** First attempts of the load generator that were answered or failed. */
  readonly requests: number
  readonly allowed: number
  /** Requests of the intruder that were refused with 403. */
  readonly denied: number
  /** First attempts that failed as the app saw it. */
  readonly lost: number
  /** Answers by version. */
  readonly canary: { readonly v1: number; readonly v2: number }
  /** Certificates that replaced another, all sidecars together. */
  readonly rotations: number
  /** Attempts beyond the first, made by sidecars. */
  readonly retries: number
  /** What was wrong, one sentence each; empty when all was well. */
  readonly failures: readonly string[]
}

/** @param before - as the run began to count */
export function summarise(before: Reading, after: Reading): Summary {
  const requests = grown(before, after, ({ load }) => load?.requests)
  const lost = grown(before, after, ({ load }) => load?.lost)
  const version = (name: string) => grown(before, after, ({ load }) => load?.versions[name])
  const counted = {
    requests,
    allowed: requests - lost,
    denied: grown(before, after, ({ intruder }) => intruder?.refused),
    lost,
    canary: { v1: version('v1'), v2: version('v2') },
    rotations: grown(before, after, ({ workloads }) => sum(workloads, (one) => one.rotations)),
    retries: grown(before, after, ({ workloads }) => sum(workloads, (one) => one.retries)),
  }
  return { ...counted, failures: failuresOf(counted, before, after) }
}

function grown(
  before: Reading,
  after: Reading,
  of: (reading: Reading) => number | undefined,
): number {
  return (of(after) ?? 0) - (of(before) ?? 0)
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0)
}

function failuresOf(
  counted: Omit<Summary, 'failures'>,
  before: Reading,
  after: Reading,
): readonly string[] {
  const { requests, lost, denied } = counted
  const failures: string[] = []
  if (requests === 0) failures.push('no request was made')
  if (lost > 0) failures.push(`${lost} requests were lost: ${listed(after.load?.failures ?? {})}`)
  const tried = grown(before, after, ({ intruder }) => intruder?.requests)
  const other = after.intruder?.other ?? {}
  if (tried === 0) failures.push('the intruder made no request')
  else if (denied < tried) failures.push(`the intruder was not refused: ${listed(other)}`)
  for (const { workload, rotations } of after.workloads) {
    if (rotations <= rotationsOf(before, workload)) {
      failures.push(`${workload} did not rotate its certificate`)
    }
  }
  return failures
}

function rotationsOf({ workloads }: Reading, workload: string): number {
  return workloads.find((one) => one.workload === workload)?.rotations ?? 0
}

function listed(counts: Readonly<Record<string, number>>): string {
  return Object.entries(counts)
    .map(([what, count]) => `${what} (${count})`)
    .join(', ')
}

/** The table at the end of a timed run. */
export function summaryLines(summary: Summary, after: Reading): readonly string[] {
  const { requests, allowed, denied, lost, canary, rotations, retries, failures } = summary
  const answered = canary.v1 + canary.v2
  const share = (count: number) => `${((100 * count) / (answered || 1)).toFixed(1)} %`
  const table = new Table({ style: { head: [], border: [] } })
  table.push(
    ['requests', requests],
    ['allowed', allowed],
    ['denied (intruder)', denied],
    ['lost', lost],
    ['canary v1 / v2', `${share(canary.v1)} / ${share(canary.v2)}  (${canary.v1} / ${canary.v2})`],
    ['certificate rotations', rotations],
    ['retries by sidecars', retries],
  )
  return [
    ...table.toString().split('\n'),
    ...after.refusals.map((refusal) => `refused: ${refusalText(refusal)}`),
    ...failures.map((failure) => `FAILED: ${failure}`),
  ]
}

/** Who was refused where, and why, in one line. */
export function refusalText({ from, to, policy, considered, count }: RefusalReading): string {
  const why =
    policy === undefined
      ? `no ALLOW policy matched (${considered.join(', ') || 'none applies'})`
      : `DENY policy ${policy}`
  return `${from.replace(/^spiffe:\/\/[^/]+\//, '')} → ${to}, ${count} times: ${why}`
}
