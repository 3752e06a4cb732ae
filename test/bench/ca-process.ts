/**
 * The CA of `ca-calls.bench.ts` in a process of its own: what is charged to it is its own work. It answers
 * questions about itself over Node's channel, one at a time.
 */
import { createPublicKey, generateKeyPairSync, sign, verify } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type Profiler, Session } from 'node:inspector/promises'
import { pemFromDer } from '#ca/x509/index.ts'
import { newToken, startCa } from '../ca/harness.ts'

/** What the benchmark is told when the CA listens. */
export interface CaReady {
  readonly address: string
  /** PEM. */
  readonly roots: string
  readonly joinToken: string
}

/** What it may be asked. */
export type CaQuestion =
  /** CPU µs of reading a key, verifying with it and signing, P-256, by OpenSSL alone: of one, over `ms`. */
  | { readonly ask: 'floor'; readonly ms: number }
  /** {@link CaCpu} so far. */
  | { readonly ask: 'cpu' }
  | { readonly ask: 'profile' }
  /** The profile since, a V8 one. */
  | { readonly ask: 'profiled' }

/** CPU µs since it started. */
export interface CaCpu {
  /** All of its threads. */
  readonly allUs: number
  /** The one that runs JavaScript. */
  readonly mainUs: number
  /** Ready to run, and another had the core: what others on the machine cost us in latency. */
  readonly waitedUs: number
  /** Resident, bytes. */
  readonly rss: number
}

const NO_LIMIT = { perSecond: 1e9, burst: 1e9 }
const [leafTtl = 'PT1H'] = process.argv.slice(2)
await using running = await startCa({
  leafTtl: Temporal.Duration.from(leafTtl),
  signing: { perCaller: NO_LIMIT, total: NO_LIMIT },
})
const { ca } = running
const session = new Session()
session.connect()
process.on('message', (question: CaQuestion) => {
  void answer(question).then((body) => process.send?.(body))
})
process.send?.({
  address: ca.address,
  roots: pemFromDer('CERTIFICATE', ca.bundle.current.roots),
  joinToken: await newToken(ca, ['spiffe://prod.example/*']),
} satisfies CaReady)
await once(process, 'SIGTERM')
session.disconnect()
process.disconnect?.()

async function answer(question: CaQuestion): Promise<number | CaCpu | Profiler.Profile | true> {
  switch (question.ask) {
    case 'floor':
      return floor(question.ms)
    case 'cpu':
      return cpu()
    case 'profile':
      await session.post('Profiler.enable')
      await session.post('Profiler.setSamplingInterval', { interval: 200 })
      await session.post('Profiler.start')
      return true
    case 'profiled':
      return (await session.post('Profiler.stop')).profile
  }
}

function cpu(): CaCpu {
  const [all, main] = [process.cpuUsage(), process.threadCpuUsage()]
  const [, waitedNs = 0] = readFileSync('/proc/self/schedstat', 'utf8').split(' ').map(Number)
  return {
    allUs: all.user + all.system,
    mainUs: main.user + main.system,
    waitedUs: waitedNs / 1000,
    rss: process.memoryUsage.rss(),
  }
}

function floor(ms: number): number {
  const { privateKey: key, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const spki = publicKey.export({ type: 'spki', format: 'der' })
  const data = Buffer.alloc(300, 7)
  const signature = sign('sha256', data, key)
  const before = process.threadCpuUsage()
  const untilMs = performance.now() + ms
  let turns = 0
  for (; performance.now() < untilMs; turns += 1) {
    verify('sha256', data, createPublicKey({ key: spki, format: 'der', type: 'spki' }), signature)
    sign('sha256', data, key)
  }
  const { user, system } = process.threadCpuUsage(before)
  return (user + system) / turns
}
