import type { Svid } from '#agent/client/index.ts'
import type { Clock } from '#core/clock.ts'
import type { Live } from '#core/live.ts'
import type { Log } from '#core/log.ts'
import type { Listener } from './capture/listen.ts'
import type { ProxyConfig } from './config.ts'
import { listenInbound } from './inbound/inbound.ts'
import type { InboundConfiguration } from './inbound/inbound-port.ts'
import type { FindDestination } from './outbound/destination.ts'
import { createOutboundEdges } from './outbound/edges.ts'
import { createHops } from './outbound/hops.ts'
import { listenOutbound } from './outbound/outbound.ts'
import { createOpenConnections, type OpenConnections } from './stack/open-connections.ts'
import { createTimerWheel } from './stack/timer-wheel.ts'
import type { Telemetry } from './telemetry/telemetry.ts'
import { watchPeers } from './tls/watch-peers.ts'

export interface DataPlaneDeps {
  readonly svid: Live<Svid>
  readonly inbound: Live<InboundConfiguration | undefined>
  readonly find: FindDestination
  readonly clock: Clock
  readonly now: () => Temporal.Instant
  /** Numbers in [0, 1). */
  readonly random: () => number
  readonly log: Log
  readonly telemetry: Telemetry
}

export interface DataPlane extends AsyncDisposable {
  readonly outbound: string
  /** By workload port. */
  readonly inbound: Readonly<Record<number, string>>
  /** Stops accepting, lets what is in flight finish for up to `drainMs`, then closes. */
  readonly drain: () => Promise<void>
}

/** Milliseconds between two looks at what is still in flight. */
const DRAIN_POLL_MS = 20
/** Idle connections stay open this long into a drain: a request may be on its way on them. */
const DRAIN_GRACE_MS = 200

/**
 * Opens all listeners that carry the app's traffic. Needs an identity and, for inbound connections, a
 * configuration: until there is one they are closed unanswered.
 *
 * @throws {ProxyError} `PROXY_LISTEN_FAILED` `PROXY_CONFIG_INVALID`
 */
export async function openDataPlane(
  config: Pick<ProxyConfig, 'inbound' | 'outbound' | 'sourceAddress' | 'drainMs'>,
  deps: DataPlaneDeps,
): Promise<DataPlane> {
  const { clock, svid, now, random, log, telemetry } = deps
  const aborter = new AbortController()
  const wheel = createTimerWheel(clock, aborter.signal)
  const nowMs = (): number => clock.nowMs()
  const connections = createOpenConnections(wheel)
  const peers = watchPeers(deps, aborter.signal)
  const common = { svid, now, nowMs, random, log, wheel, connections, peers, telemetry }
  const aliases = () => deps.inbound.current?.bundle.trustDomainAliases ?? []
  const hops = createHops({ ...common, aliases, sourceAddress: config.sourceAddress })
  const ask = { find: deps.find, hops, clock, wheel, now }
  const configuration = () => deps.inbound.current
  const workload = () => configuration()?.bundle.workload
  const listeners: Listener[] = []
  const inbound: Record<number, string> = {}
  try {
    for (const listener of config.inbound) {
      const opened = await listenInbound(listener, { ...common, ask, configuration })
      listeners.push(opened)
      inbound[listener.port] = opened.address
    }
    const outbound = await listenOutbound(config.outbound, {
      find: deps.find,
      hops,
      clock,
      wheel,
      random,
      connections,
      telemetry,
      edges: createOutboundEdges({ telemetry, svid, workload }),
      allowsAny: () => deps.inbound.current?.bundle.outboundPolicy === 'ALLOW_ANY',
    })
    listeners.push(outbound)
    return {
      outbound: outbound.address,
      inbound,
      drain: () =>
        drain({ listeners, connections, clock, drainMs: config.drainMs }, aborter.signal),
      async [Symbol.asyncDispose]() {
        for (const listener of listeners) listener.stop()
        connections.destroyAll()
        hops.close()
        aborter.abort()
      },
    }
  } catch (cause) {
    for (const listener of listeners) listener.stop()
    throw cause
  }
}

interface Draining {
  readonly listeners: readonly Listener[]
  readonly connections: OpenConnections
  readonly clock: Clock
  readonly drainMs: number
}

async function drain(
  { listeners, connections, clock, drainMs }: Draining,
  signal: AbortSignal,
): Promise<void> {
  const startMs = clock.nowMs()
  for (const listener of listeners) listener.stop()
  connections.retireAll()
  for (;;) {
    const elapsedMs = clock.nowMs() - startMs
    if (elapsedMs >= drainMs) break
    const isGraceOver = connections.count() === 0 || elapsedMs >= DRAIN_GRACE_MS
    if (connections.busy() === 0 && isGraceOver) break
    await clock.sleep(DRAIN_POLL_MS, signal)
  }
  connections.closeIdle()
}
