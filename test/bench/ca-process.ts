/** The CA of `ca-calls.bench.ts` in a process of its own: what is charged to it is its own work. */
import { once } from 'node:events'
import { pemFromDer } from '#ca/x509/index.ts'
import { newToken, startCa } from '../ca/harness.ts'

/** What the benchmark is told when the CA listens. */
export interface CaReady {
  readonly address: string
  /** PEM. */
  readonly roots: string
  readonly joinToken: string
}

const NO_LIMIT = { perSecond: 1e9, burst: 1e9 }
const [leafTtl = 'PT1H'] = process.argv.slice(2)
await using running = await startCa({
  leafTtl: Temporal.Duration.from(leafTtl),
  signing: { perCaller: NO_LIMIT, total: NO_LIMIT },
})
const { ca } = running
process.send?.({
  address: ca.address,
  roots: pemFromDer('CERTIFICATE', ca.bundle.current.roots),
  joinToken: await newToken(ca, ['spiffe://prod.example/*']),
} satisfies CaReady)
await once(process, 'SIGTERM')
