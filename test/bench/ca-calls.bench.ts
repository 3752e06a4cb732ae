/**
 * What a certificate costs the CA's process over gRPC and mutual TLS, ledger and log on the disk: by the
 * batch API, and by Istio's, one certificate a call. The floor is the arithmetic that no implementation
 * can leave out: reading a key, verifying a request and signing a certificate with OpenSSL, nothing else.
 *
 * The floor is measured in the same process, in slices between those of the load, and each slice of load is
 * held against the floors on both sides of it: a machine whose speed changes from one second to the next
 * changes both. Then one more load of each is profiled, which says whose the time is.
 *
 *     node test/bench/ca-calls.bench.ts [--rounds 40] [--slice 250] [--profile DIRECTORY]
 */
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { NODE_STARTS } from '#deploy/standalone/entry-point.ts'
import { askCa, caCalls } from './ca-client.ts'
import type { CaReady } from './ca-process.ts'
import { sharesOf } from './ca-shares.ts'
import { start } from './processes.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '40' },
    slice: { type: 'string', default: '250' },
    profile: { type: 'string' },
  },
})
const sliceMs = Number(values.slice)
const FLOOR_MS = 50
const PROFILE_MS = 3000

/** Certificates of each kind before anything is measured: until then its code is still being compiled. */
const WARM = 40_000

/** Certificates a call of the batch API; calls in flight. */
const BATCH = 50
const BATCHES_IN_FLIGHT = 4
const SINGLES_IN_FLIGHT = 64

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
  const ways = [
    { name: `batch API, ${BATCH} a call`, inFlight: BATCHES_IN_FLIGHT, call: calls.batch },
    { name: "Istio's API, one a call", inFlight: SINGLES_IN_FLIGHT, call: calls.single },
  ].map((way) => ({
    ...way,
    costsUs: [] as number[],
    ratios: [] as number[],
    mainUs: [] as number[],
  }))
  for (const { call, inFlight } of ways) {
    for (let warm = 0; warm < WARM; ) warm += await load(call, inFlight, 500)
  }

  const floorsUs = [await ca.floor(FLOOR_MS)]
  for (let round = 0; round < Number(values.rounds); round += 1) {
    for (const { call, inFlight, costsUs, mainUs, ratios } of ways) {
      const before = await ca.cpu()
      const count = await load(call, inFlight, sliceMs)
      const after = await ca.cpu()
      const cost = (after.allUs - before.allUs) / count
      mainUs.push((after.mainUs - before.mainUs) / count)
      const last = floorsUs.at(-1) ?? 0
      const next = await ca.floor(FLOOR_MS)
      floorsUs.push(next)
      costsUs.push(cost)
      ratios.push(cost / ((last + next) / 2))
    }
  }
  console.log(`floor: verify and sign ${spread(floorsUs).padStart(44)} µs CPU`)
  for (const { name, costsUs, ratios } of ways) {
    console.log(`${name.padEnd(26)} ${spread(costsUs).padStart(40)} µs CPU`)
    console.log(`${'× floor'.padStart(26)} ${spread(ratios).padStart(40)}`)
  }

  for (const { name, call, inFlight, costsUs, mainUs } of ways) {
    await ca.profile()
    const before = await ca.cpu()
    await load(call, inFlight, PROFILE_MS)
    const after = await ca.cpu()
    const profile = await ca.profiled()
    if (values.profile) {
      writeFileSync(join(values.profile, `${name.slice(0, 5)}.cpuprofile`), JSON.stringify(profile))
    }
    console.log(`\n${name}: whose the CPU is, µs a certificate`)
    const cpuUs = after.mainUs - before.mainUs
    const shares = sharesOf(profile, { cpuUs, waitedUs: after.waitedUs - before.waitedUs })
    for (const { group, us } of shares) tell(group, (us / cpuUs) * median(mainUs))
    tell('other threads: collecting garbage, compiling', median(costsUs) - median(mainUs))
  }
  const { rss } = await ca.cpu()
  console.log(`\nresident at the end: ${Math.round(rss / 1e6)} MB`)
} finally {
  await running[Symbol.asyncDispose]()
  rmSync(directory, { recursive: true })
}

/** Calls for `ms`, `inFlight` at a time: how many certificates came. @throws {Error} if a call brings nothing */
async function load(call: () => Promise<number>, inFlight: number, ms: number): Promise<number> {
  const untilMs = performance.now() + ms
  let count = 0
  const one = async (): Promise<void> => {
    while (performance.now() < untilMs) {
      const issued = await call()
      if (issued === 0) throw new Error('a call brought no certificate')
      count += issued
    }
  }
  await Promise.all(Array.from({ length: inFlight }, one))
  return count
}

function tell(what: string, us: number): void {
  console.log(`  ${what.padEnd(60)} ${us.toFixed(1).padStart(7)}`)
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0
}

/** Median, and the quartiles around it. */
function spread(values: readonly number[]): string {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (part: number) => (sorted[Math.floor(part * (sorted.length - 1))] ?? 0).toFixed(2)
  return `${at(0.5)} (${at(0.25)} to ${at(0.75)})`
}
