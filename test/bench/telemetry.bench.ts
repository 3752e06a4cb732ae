/**
 * What evidence costs a request: `node test/bench/telemetry.bench.ts`. The budget is 0.5 µs for
 * metrics; the access log is on top, where it is on.
 */
import { mintPermit } from '#policy/model/index.ts'
import { accessLogLine } from '../../proxy/telemetry/access-log-line.ts'
import type { EdgeLabels } from '../../proxy/telemetry/edge.ts'
import { createMetrics } from '../../proxy/telemetry/metrics.ts'
import { RequestRecord } from '../../proxy/telemetry/record.ts'
import { continueTrace } from '../../proxy/telemetry/trace-context.ts'

const labels = (name: string): EdgeLabels => ({
  reporter: 'destination',
  source: { namespace: 'qotm', name },
  destination: { namespace: 'qotm', name: 'qotm-v1', labels: { app: 'qotm' } },
  service: { host: 'qotm.qotm.svc.cluster.local', name: 'qotm', namespace: 'qotm' },
  protocol: 'http',
  security: 'mutual_tls',
})

const metrics = createMetrics()
const edges = Array.from({ length: 16 }, (_, at) => metrics.edge(labels(`client-${at}`)))
const decision = {
  kind: 'allow',
  permit: mintPermit('qotm/allow-edge', 0),
  dryRun: [],
  audit: [],
} as const

let turn = 0
function record(): RequestRecord {
  turn += 1
  const edge = edges[turn & 15]
  if (edge === undefined) throw new Error('there are sixteen')
  const made = new RequestRecord(edge, turn)
  made.method = 'GET'
  made.target = '/quote?id=7'
  made.authority = 'qotm'
  made.status = turn % 50 === 0 ? 503 : 200
  made.flags = turn % 50 === 0 ? 'UF' : '-'
  made.details = 'via_upstream'
  made.durationMs = (turn % 97) / 10
  made.requestHeadBytes = 180
  made.responseHeadBytes = 120
  made.bytesSent = 100
  made.upstreamMs = 0.4
  made.attempts = 1
  made.upstreamHost = '127.0.0.1:8080'
  made.upstreamCluster = 'inbound|8080||'
  made.downstreamLocalAddress = '127.0.0.1:15006'
  made.downstreamRemoteAddress = '127.0.0.1:50000'
  made.sni = 'outbound_.80_._.qotm.qotm.svc.cluster.local'
  made.requestId = '6f2a1c9e-0d7b-4c55-9a53-1f6f0c9a2b11'
  made.decision = decision
  return made
}

const absent = { first: () => undefined, values: () => [], dropNamed: () => {} }
const traced = { traceId: '' }
let sink = 0
function use(length: number): void {
  sink += length
}

const rows: readonly (readonly [what: string, run: () => void])[] = [
  ['make a record', () => use(record().status)],
  ['make and count a record', () => metrics.count(record())],
  ['render a line of the access log', () => use(accessLogLine(record(), 't').length)],
  ['begin a trace', () => use(continueTrace(absent, traced, { random: Math.random }).length)],
]

const ROUNDS = 5
const CALLS = 300_000

for (const [what, run] of rows) {
  const rounds = Array.from({ length: ROUNDS }, () => {
    const { user: startUs } = process.cpuUsage()
    for (let call = 0; call < CALLS; call += 1) run()
    return ((process.cpuUsage().user - startUs) * 1000) / CALLS
  })
  const best = Math.min(...rounds.slice(1))
  console.log(`${what.padEnd(34)} ${best.toFixed(0).padStart(6)} ns`)
}

const startedMs = performance.now()
const text = metrics.render([])
console.log(
  `render ${text.split('\n').length} lines`.padEnd(34),
  `${(performance.now() - startedMs).toFixed(1).padStart(6)} ms`,
)
if (sink === 0) throw new Error('nothing was done')
