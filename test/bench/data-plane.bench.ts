/**
 * CPU per request per proxy of a mTLS pair, ours and the installed peers, in one call.
 *
 *     node test/bench/data-plane.bench.ts [--connections 32] [--seconds 3] [--rounds 3] [--peers haproxy]
 *
 * All pairs run from start to end; each round loads them in turn, so that a machine that slows down
 * slows all of them. CPU is what the kernel charged to the two proxy processes of a pair; client, app
 * and control plane are not counted. Checked, not assumed: statuses, response count, TLS version.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { connect } from 'node:tls'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import Table from 'cli-table3'
import { writeCertificates } from './certificates.ts'
import { cpuOfAll } from './cpu.ts'
import { type LoadResult, load } from './load.ts'
import { type Pair, startPeers } from './peers.ts'
import { start } from './processes.ts'
import { startRedoubt } from './redoubt-pair.ts'

const { values } = parseArgs({
  options: {
    connections: { type: 'string', default: '32' },
    seconds: { type: 'string', default: '3' },
    rounds: { type: 'string', default: '3' },
    // Peers to run beside ours, comma separated.
    peers: { type: 'string', default: 'haproxy,nginx,envoy' },
  },
})
const connections = Number(values.connections)
const durationMs = Number(values.seconds) * 1000
const rounds = Number(values.rounds)

/** Requests before anything is measured, and the longest time for them. */
const WARM_UP_REQUESTS = 20_000
const MAX_WARM_UP_MS = 8000

interface Sample {
  readonly userUs: number
  readonly systemUs: number
  readonly result: LoadResult
}

const directory = mkdtempSync(join(tmpdir(), 'redoubt-bench-'))
const pairs: Pair[] = []
const app = start(
  [process.execPath, fileURLToPath(new URL('app.js', import.meta.url))],
  join(directory, 'app.log'),
)
try {
  const appPort = await firstNumber()
  await writeCertificates(directory)
  pairs.push(await startRedoubt(directory, appPort))
  const tls = new Map([['redoubt', await spoken(pairs[0])]])
  const peers = await startPeers({
    directory,
    appPort,
    // What ours negotiated, so that both sides encrypt alike. Groups matter at the handshake only;
    // X25519 is what every peer's TLS library has.
    cipher: tls.get('redoubt')?.cipher ?? 'TLS_AES_256_GCM_SHA384',
    group: 'X25519',
    names: values.peers.split(','),
  })
  pairs.push(...peers.pairs)
  for (const pair of peers.pairs) tls.set(pair.name, await spoken(pair))

  const samples = new Map<string, Sample[]>(pairs.map(({ name }) => [name, []]))
  for (const pair of pairs) await warmUp(pair)
  for (let round = 0; round < rounds; round += 1) {
    for (const pair of pairs) samples.get(pair.name)?.push(await measure(pair, durationMs))
  }
  report(samples, tls)
  for (const name of peers.missing) console.log(`${name}: not installed, not measured`)
} finally {
  for (const pair of pairs) await pair[Symbol.asyncDispose]()
  await app[Symbol.asyncDispose]()
  rmSync(directory, { recursive: true, force: true })
}

async function firstNumber(): Promise<number> {
  const lines = createInterface({ input: app.child.stdout ?? process.stdin })
  for await (const line of lines) return Number(line)
  throw new Error('the app printed no port')
}

/** By requests, not by time: that is what a compiler at run time counts by. */
async function warmUp(pair: Pair): Promise<void> {
  const endMs = performance.now() + MAX_WARM_UP_MS
  for (let left = WARM_UP_REQUESTS; left > 0 && performance.now() < endMs; ) {
    left -= (await measure(pair, 500)).result.responses
  }
}

async function measure(pair: Pair, forMs: number): Promise<Sample> {
  const before = cpuOfAll(pair.pids)
  const result = await load({
    address: pair.outbound,
    host: pair.host,
    connections,
    durationMs: forMs,
  })
  const after = cpuOfAll(pair.pids)
  if ([...result.byStatus.keys()].some((status) => status !== 200)) {
    throw new Error(
      `${pair.name} answered ${JSON.stringify([...result.byStatus])}: all must be 200`,
    )
  }
  const perRequest = 1000 / (result.responses * pair.pids.length)
  return {
    userUs: (after.userMs - before.userMs) * perRequest,
    systemUs: (after.systemMs - before.systemMs) * perRequest,
    result,
  }
}

/** What the pair's TLS side speaks to a caller: the handshake is complete before a certificate is missed. */
function spoken(
  pair: Pair | undefined,
): Promise<{ readonly version: string; readonly cipher: string }> {
  const [host = '', port = ''] = (pair?.inbound ?? '').split(':')
  return new Promise((resolve, reject) => {
    const socket = connect({
      host,
      port: Number(port),
      servername: 'server.bench',
      // Without it, it is nobody of the mesh, whom a port that takes HTTP closes.
      ALPNProtocols: ['istio-http/1.1'],
      rejectUnauthorized: false,
    })
    socket.on('error', reject)
    socket.on('secureConnect', () => {
      resolve({ version: socket.getProtocol() ?? '?', cipher: socket.getCipher().standardName })
      socket.destroy()
    })
  })
}

function report(
  samples: ReadonlyMap<string, readonly Sample[]>,
  tls: ReadonlyMap<string, { readonly version: string; readonly cipher: string }>,
): void {
  const table = new Table({
    head: [
      'pair',
      'responses',
      'TLS',
      'user µs',
      'system µs',
      'µs/request/proxy',
      'ours/theirs',
      'rps',
      'p50 ms',
      'p99 ms',
    ],
  })
  const totalOf = (name: string): number =>
    median((samples.get(name) ?? []).map(({ userUs, systemUs }) => userUs + systemUs))
  const ours = totalOf('redoubt')
  for (const [name, of] of samples) {
    const mid = (pick: (sample: Sample) => number, digits = 1): string =>
      median(of.map(pick)).toFixed(digits)
    const spokenBy = tls.get(name)
    table.push([
      name,
      of.reduce((sum, { result }) => sum + result.responses, 0),
      `${spokenBy?.version} ${spokenBy?.cipher}`,
      mid(({ userUs }) => userUs),
      mid(({ systemUs }) => systemUs),
      totalOf(name).toFixed(1),
      (ours / totalOf(name)).toFixed(2),
      mid(({ result }) => result.responses / result.seconds, 0),
      mid(({ result }) => result.p50, 2),
      mid(({ result }) => result.p99, 2),
    ])
  }
  console.log(
    `${cpus()[0]?.model ?? 'unknown CPU'}, ${cpus().length} cores; Node ${process.version}; ` +
      `${connections} connections, ${rounds} rounds of ${durationMs / 1000} s, medians; 100-byte answers`,
  )
  console.log(table.toString())
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
}
