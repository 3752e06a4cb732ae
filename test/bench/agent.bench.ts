/**
 * What a node's agent costs: a burst of new workloads, the memory of many that stay, and a rotation of
 * all of them. CA and agent are processes of their own; each workload is a connection with the two
 * streams that a sidecar has, and the agent's Node is started as `redoubt up` starts it. Nothing here is a test: the figures are printed.
 *
 *     node test/bench/agent.bench.ts [--burst 1000] [--workloads 500] [--ttl PT1M]
 */
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { openRawCall, rawCall } from '../fakes/raw-grpc.ts'
import {
  type RunningAgent,
  type RunningAgentOptions,
  startAgentProcess,
} from '../soak/running-agent.ts'
import { cpuOf } from './cpu.ts'

const { values } = parseArgs({
  options: {
    burst: { type: 'string', default: '1000' },
    workloads: { type: 'string', default: '500' },
    ttl: { type: 'string', default: 'PT1M' },
  },
})
/** What a sidecar calls. */
const sidecar = rawCall(
  { path: '/SpiffeWorkloadAPI/FetchX509SVID' },
  { path: '/redoubt.agent.v1.Trust/Follow', ends: false },
)

await burst(Number(values.burst))
await rotation(Number(values.workloads), values.ttl)

/** Every workload has an identity of its own, and its certificate when this resolves. */
async function connectAll(agent: RunningAgent, count: number): Promise<readonly Socket[]> {
  const callers = Array.from({ length: count }, () => openRawCall(agent.socketPath, sidecar))
  await Promise.all(callers.map(({ answered }) => answered))
  return callers.map(({ socket }) => socket)
}

/** Once before, so that what it loads is in the cache of compiled code, as in a mesh that was up before. */
async function startWarm(options: RunningAgentOptions): Promise<RunningAgent> {
  await (await startAgentProcess(options))[Symbol.asyncDispose]()
  return startAgentProcess(options)
}

async function burst(count: number): Promise<void> {
  const callers = { kind: 'turns', identities: count } as const
  await using agent = await startWarm({ callers })
  const before = cpuOf(agent.pid)
  const startMs = performance.now()
  const sockets = await connectAll(agent, count)
  const tookMs = performance.now() - startMs
  const after = cpuOf(agent.pid)
  const cpuMs = after.userMs + after.systemMs - before.userMs - before.systemMs
  console.log(
    `burst: ${count} new workloads have their certificates after ${tookMs.toFixed(0)} ms, ` +
      `the agent's CPU ${cpuMs} ms (${((cpuMs * 1000) / count).toFixed(0)} µs each)`,
  )
  for (const socket of sockets) socket.destroy()
}

async function rotation(count: number, leafTtl: string): Promise<void> {
  const callers = { kind: 'turns', identities: count } as const
  await using agent = await startWarm({ callers, leafTtl, nodeArguments: ['--expose-gc'] })
  const idle = await agent.read()
  console.log(`memory: ${idle.rssMb.toFixed(0)} MB resident before the first workload`)
  const sockets = await connectAll(agent, count)
  const { rssMb, heapMb, identities, connections } = await agent.read()
  console.log(
    `memory: ${identities} identities over ${connections} connections: ` +
      `${rssMb.toFixed(0)} MB resident, of which heap ${heapMb.toFixed(0)} MB`,
  )
  await traceRotation(agent, count, leafTtl)
  for (const socket of sockets) socket.destroy()
}

/** A line for each second, from before the first renewal until the last. */
async function traceRotation(agent: RunningAgent, count: number, leafTtl: string): Promise<void> {
  const lifeMs = Temporal.Duration.from(leafTtl).total('milliseconds')
  const trace: number[] = []
  let last = cpuOf(agent.pid)
  let lastMs = performance.now()
  const endMs = lastMs + lifeMs * 0.55
  while (performance.now() < endMs) {
    await sleep(1000)
    const [now, nowMs] = [cpuOf(agent.pid), performance.now()]
    const cpuMs = now.userMs + now.systemMs - last.userMs - last.systemMs
    trace.push((100 * cpuMs) / (nowMs - lastMs))
    ;[last, lastMs] = [now, nowMs]
  }
  const { rotations, rssMb } = await agent.read()
  const busy = trace.filter((percent) => percent > 2)
  console.log(
    `rotation: ${rotations - count} of ${count} renewed, ${rssMb.toFixed(0)} MB resident after it`,
  )
  console.log(
    `CPU of the agent by second, % of one core: ${trace.map((one) => one.toFixed(0)).join(' ')}`,
  )
  console.log(
    `busiest second ${Math.max(...trace).toFixed(0)} %, mean of the ${busy.length} busy ones ` +
      `${(busy.reduce((a, b) => a + b, 0) / Math.max(1, busy.length)).toFixed(0)} %`,
  )
}
