import type { Svid } from '#agent/client/index.ts'
import type { Clock } from '#core/clock.ts'
import type { Live } from '#core/live.ts'
import type { Log } from '#core/log.ts'
import type { Listener } from './capture/listen.ts'
import type { GatewayListener, ProxyConfig } from './config.ts'
import { ProxyError } from './error.ts'
import type { CompiledGateway } from './gateway/compile.ts'
import type { GatewayDeps } from './gateway/gateway.ts'
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
  /** What it routes by, where it is a gateway. */
  readonly gateway?: Live<CompiledGateway | undefined> | undefined
  readonly find: FindDestination
  readonly clock: Clock
  readonly now: () => Temporal.Instant
  /** Numbers in [0, 1). */
  readonly random: () => number
  readonly log: Log
  readonly telemetry: Telemetry
}

export type DataPlaneConfig = Pick<
  ProxyConfig,
  'inbound' | 'gateway' | 'folder' | 'outbound' | 'sourceAddress' | 'drainMs'
>

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
  config: DataPlaneConfig,
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
  const edges = createOutboundEdges({ telemetry, svid, workload })
  const way = { hops, clock, wheel, random, telemetry, edges }
  const { folder = '' } = config
  const guard = { ...common, ask, configuration, folder, outbound: way }
  const { keep, stop } = createListeners()
  const inbound: Record<number, string> = {}
  try {
    for (const listener of config.inbound) {
      inbound[listener.port] = keep(await listenInbound(listener, guard))
    }
    for (const listener of config.gateway ?? []) {
      inbound[listener.port] = keep(
        await openGateway(listener, { ...guard, gateway: deps.gateway }),
      )
    }
    const outbound = await listenOutbound(config.outbound, {
      ...way,
      find: deps.find,
      connections,
      allowsAny: () => deps.inbound.current?.bundle.outboundPolicy === 'ALLOW_ANY',
    })
    return {
      outbound: keep(outbound),
      inbound,
      drain: () => drain({ ...common, stop, clock, drainMs: config.drainMs }, aborter.signal),
      async [Symbol.asyncDispose]() {
        stop()
        connections.destroyAll()
        hops.close()
        aborter.abort()
      },
    }
  } catch (cause) {
    stop()
    throw cause
  }
}

interface Listeners extends Pick<Listener, 'stop'> {
  /** Returns its address. */
  readonly keep: (opened: Listener) => string
}

/** What has been opened, so that all of it is stopped. */
function createListeners(): Listeners {
  const all: Listener[] = []
  return {
    keep(opened) {
      all.push(opened)
      return opened.address
    },
    stop() {
      for (const listener of all) listener.stop()
    },
  }
}

/** Most sidecars are no gateway, and then nothing of one is loaded. */
async function openGateway(
  listener: GatewayListener,
  { gateway, ...deps }: Omit<GatewayDeps, 'gateway'> & Pick<DataPlaneDeps, 'gateway'>,
): Promise<Listener> {
  if (gateway === undefined) {
    const message = `Cannot open port ${listener.port} of the gateway: it has nothing to route by`
    throw new ProxyError('PROXY_CONFIG_INVALID', message)
  }
  const { listenGateway } = await import('./gateway/gateway.ts')
  return listenGateway(listener, { ...deps, gateway })
}

interface Draining {
  readonly stop: Listener['stop']
  readonly connections: OpenConnections
  readonly clock: Clock
  readonly drainMs: number
}

async function drain(
  { stop, connections, clock, drainMs }: Draining,
  signal: AbortSignal,
): Promise<void> {
  const startMs = clock.nowMs()
  stop()
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
