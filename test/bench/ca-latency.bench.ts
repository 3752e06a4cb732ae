/**
 * How long one certificate takes while the CA is busy: an open loop. Calls begin when they are due, whether
 * or not those before have been answered, and each is timed from when it was due: a CA that stands still
 * for a second has made a second's calls late, not one. The rate is a share of what one core can do, by
 * what a certificate costs just before. The client is one that costs next to nothing, over several connections:
 * with grpc-js's over one, half of what was measured was the client's, which also keeps back what is above 100
 * calls at a time.
 *
 *     node test/bench/ca-latency.bench.ts [--seconds 10] [--shares 0.3,0.5,0.7] [--batches]
 *
 * With `--batches` half of the load is an agent's: a batch of 50 for each 50 singles, on a connection of its own.
 */
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { NODE_STARTS } from '#deploy/standalone/entry-point.ts'
import { askCa, caCalls } from './ca-client.ts'
import type { CaReady } from './ca-process.ts'
import { start } from './processes.ts'

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '10' },
    shares: { type: 'string', default: '0.3,0.5,0.7' },
    batches: { type: 'boolean', default: false },
  },
})
const BATCH = 50
const WARM = 8000

const directory = mkdtempSync(join(tmpdir(), 'redoubt-bench-'))
const { arguments: options } = NODE_STARTS.ca ?? { arguments: [] }
const running = start(
  [process.execPath, ...options, fileURLToPath(new URL('ca-process.ts', import.meta.url))],
  join(directory, 'ca.log'),
)
try {
  const [ready] = (await once(running.child, 'message')) as [CaReady]
  using calls = await caCalls(ready, BATCH)
  const ca = askCa(running.child)
  await closed(WARM)
  for (const share of values.shares.split(',').map(Number)) {
    const before = await ca.cpu()
    await closed(2000)
    const costUs = ((await ca.cpu()).allUs - before.allUs) / 2000
    await sleep(500)
    await measure(share, costUs)
  }

  /** `count` certificates, 64 calls at a time. */
  async function closed(count: number): Promise<void> {
    let left = count
    const one = async (): Promise<void> => {
      while (left > 0) {
        left -= 1
        await calls.lightSingle()
      }
    }
    await Promise.all(Array.from({ length: 64 }, one))
  }

  async function measure(share: number, costUs: number): Promise<void> {
    const perSecond = (share * 1e6) / costUs
    const before = await ca.cpu()
    const { latenciesMs, disturbedMs, seconds } = await open(perSecond, Number(values.seconds))
    const after = await ca.cpu()
    const sorted = latenciesMs.toSorted((a, b) => a - b)
    const at = (part: number) => (sorted[Math.floor(sorted.length * part)] ?? 0).toFixed(1)
    const busy = (after.mainUs - before.mainUs) / seconds / 1e4
    const waited = (after.waitedUs - before.waitedUs) / seconds / 1e4
    console.log(
      `${Math.round(share * 100)} % of a core, ${Math.round(perSecond)} a second${values.batches ? ', half of them in batches' : ''}: ` +
        `p50 ${at(0.5)}, p90 ${at(0.9)}, p99 ${at(0.99)}, worst ${at(1 - 1 / sorted.length)} ms; ` +
        `the CA's thread ran for ${busy.toFixed(0)} % of the time and stood ready without a core for ${waited.toFixed(0)} %; ` +
        `the client was late by ${disturbedMs.toFixed(1)} ms at its p99`,
    )
  }

  interface Open {
    /** Of singles, from when each was due. */
    readonly latenciesMs: readonly number[]
    /** 99th percentile of how late this process was to begin calls: its part of the latencies. */
    readonly disturbedMs: number
    readonly seconds: number
  }

  /** Calls at random moments, `perSecond` certificates in the mean. */
  async function open(perSecond: number, forSeconds: number): Promise<Open> {
    const latenciesMs: number[] = []
    const latesMs: number[] = []
    const answers: Promise<unknown>[] = []
    const meanMs = 1000 / perSecond
    const startMs = performance.now()
    let due = startMs
    const begin = (dueMs: number): void => {
      const turn = latesMs.length
      if (values.batches && turn % (2 * BATCH) === 0) answers.push(calls.batch())
      if (values.batches && turn % 2 === 0) return
      answers.push(calls.lightSingle().then(() => latenciesMs.push(performance.now() - dueMs)))
    }
    while (due < startMs + forSeconds * 1000) {
      const aheadMs = due - performance.now()
      if (aheadMs > 0) await sleep(aheadMs)
      const nowMs = performance.now()
      while (due <= nowMs) {
        begin(due)
        latesMs.push(nowMs - due)
        due += wait(meanMs)
      }
    }
    await Promise.all(answers)
    const seconds = (performance.now() - startMs) / 1000
    latesMs.sort((a, b) => a - b)
    return { latenciesMs, disturbedMs: latesMs[Math.floor(latesMs.length * 0.99)] ?? 0, seconds }
  }
} finally {
  await running[Symbol.asyncDispose]()
  rmSync(directory, { recursive: true })
}

/** Between two arrivals at random, `meanMs` in the mean. */
function wait(meanMs: number): number {
  return -meanMs * Math.log(1 - Math.random())
}
