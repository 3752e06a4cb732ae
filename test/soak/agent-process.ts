/** An agent in a process of its own, callers told apart as in production: what is measured is its own. */
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { createWorkloadRegistry, openAgent } from '#agent/index.ts'
import { parseSpiffeId, type SpiffeId, trustDomainOf } from '#ca/spiffe/index.ts'
import { derFromPem } from '#ca/x509/index.ts'
import { systemClock, systemNow } from '../../deploy/run/system-clock.ts'

/** First message to this process. */
export interface AgentSetup {
  readonly caAddress: string
  /** PEM. */
  readonly caRoots: string
  readonly joinToken: string
  readonly socketPath: string
  /**
   * `process`: each caller is the process that the registry names. `turns`: the nth connection is the
   * nth of `identities`, again from the first after the last.
   */
  readonly callers:
    | {
        readonly kind: 'process'
        readonly pid: number
        readonly startTime: string
        readonly id: string
      }
    | { readonly kind: 'turns'; readonly identities: number }
}

/** Answer to each further message, after a collection of garbage if the process may. */
export interface AgentReading {
  readonly heapMb: number
  readonly rssMb: number
  readonly calls: number
  readonly connections: number
  readonly identities: number
  readonly rotations: number
}

// Nothing of the CA's is loaded here: its memory would be counted as the agent's.
const agentId = parseSpiffeId('spiffe://prod.example/ns/redoubt-system/sa/redoubt-agent')
const trustDomain = trustDomainOf(agentId)

const [setup] = (await once(process, 'message')) as [AgentSetup]
const { callers, caAddress, caRoots, joinToken, socketPath } = setup

function byTurns(identities: number): (socket: Socket) => Promise<SpiffeId> {
  const ids = Array.from({ length: identities }, (_, at) =>
    parseSpiffeId(`spiffe://${trustDomain}/ns/bench/sa/w${at}`),
  )
  const known = new WeakMap<Socket, SpiffeId>()
  let next = 0
  return async (socket) => {
    const id = known.get(socket) ?? ids[next++ % ids.length]
    if (!id) throw new Error('there are no identities')
    known.set(socket, id)
    return id
  }
}

function byProcess(): (socket: Socket, signal: AbortSignal) => Promise<SpiffeId | undefined> {
  const registry = createWorkloadRegistry({ clock: systemClock })
  if (callers.kind === 'process') {
    const { pid, startTime, id } = callers
    registry.setWorkloads([{ pid, startTime, spiffeId: parseSpiffeId(id) }])
  }
  return registry.identify
}

const agent = await openAgent(
  { trustDomain, agentId, caAddress, socketPath, joinToken },
  {
    clock: systemClock,
    now: systemNow,
    random: Math.random,
    log: () => {},
    caRoots: derFromPem('CERTIFICATE', caRoots),
    identify: callers.kind === 'turns' ? byTurns(callers.identities) : byProcess(),
  },
)
let rotations = 0
agent.onRotated(() => {
  rotations += 1
})
process.on('message', () => {
  globalThis.gc?.()
  const { heapUsed, rss } = process.memoryUsage()
  const reading = { heapMb: heapUsed / 2 ** 20, rssMb: rss / 2 ** 20, ...agent.load() }
  const identities = agent.held().length
  process.send?.({ ...reading, identities, rotations } satisfies AgentReading)
})
process.send?.('ready')
await once(process, 'SIGTERM')
process.exit(0)
