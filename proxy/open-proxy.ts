import { openSvid, type Svid } from '#agent/client/index.ts'
import type { Clock } from '#core/clock.ts'
import type { Live } from '#core/live.ts'
import type { Log } from '#core/log.ts'
import type { ProxyConfig } from './config.ts'
import { openDataPlane } from './data-plane.ts'
import { createTelemetry } from './telemetry/telemetry.ts'
import { openPolicyStream, type PolicySession } from './sync/policy-stream.ts'
import { type Health, openAdmin } from './telemetry/admin.ts'

export interface ProxyDeps {
  readonly clock: Clock
  readonly now: () => Temporal.Instant
  /** Numbers in [0, 1). */
  readonly random: () => number
  readonly log: Log
  /** Takes one line of the access log, without its newline; left out: no access log. */
  readonly writeAccessLog?: (line: string) => void
}

export interface Proxy extends AsyncDisposable {
  readonly addresses: {
    readonly outbound: string
    /** By workload port. */
    readonly inbound: Readonly<Record<number, string>>
    readonly admin: string
    readonly metrics: string
    readonly readiness: string
  }
  readonly svid: Live<Svid>
  /** Stops accepting, lets requests in flight finish for up to `drainMs`, then closes. */
  readonly drain: () => Promise<void>
}

/**
 * Opens a sidecar: first its identity, then its configuration, then its listeners. Resolves when it
 * serves; while agent or policy server are away it waits.
 *
 * @throws {ProxyError} `PROXY_CONFIG_INVALID` `PROXY_LISTEN_FAILED`
 */
export async function openProxy(config: ProxyConfig, deps: ProxyDeps): Promise<Proxy> {
  const { clock, now, random, log } = deps
  const aborter = new AbortController()
  const { signal } = aborter
  await using opened = new AsyncDisposableStack()
  opened.defer(async () => aborter.abort())
  const common = { clock, now, random, log }
  const { workload, policyAddress: address, policyId } = config
  const name = `${workload.namespace}/${workload.name}`
  const svid = await openSvid({ socketPath: config.agentSocket, name, ...common }, signal)
  const isGateway = (config.gateway ?? []).length > 0
  const session = openPolicyStream(
    { svid, address, policyId, workload, isGateway, ...common },
    signal,
  )
  const { writeAccessLog } = deps
  const telemetry = opened.use(
    createTelemetry({ ...common, writeAccessLog, logs: config.accessLog }, signal),
  )
  const health = createHealth(session)
  const admin = opened.use(
    await openAdmin(config, {
      workload,
      svid,
      session,
      telemetry,
      health: health.current,
      clock,
      now,
      version: config.version ?? 'unknown',
    }),
  )
  const { inbound, gateway, destination: find } = session
  await known(inbound, signal)
  if (gateway !== undefined) await known(gateway, signal)
  const plane = opened.use(
    await openDataPlane(config, { svid, inbound, gateway, find, telemetry, ...common }),
  )
  health.serving()
  const disposables = opened.move()
  return {
    addresses: { outbound: plane.outbound, inbound: plane.inbound, ...admin.addresses },
    svid,
    async drain() {
      health.draining()
      await plane.drain()
    },
    [Symbol.asyncDispose]: () => disposables.disposeAsync(),
  }
}

async function known(live: Live<unknown>, signal: AbortSignal): Promise<void> {
  for await (const value of live.changes(signal)) {
    if (value !== undefined) return
  }
}

/** Whether the sidecar serves, and if not, why not. */
function createHealth(session: PolicySession): {
  readonly current: () => Health
  readonly serving: () => void
  readonly draining: () => void
} {
  let state: 'starting' | 'serving' | 'draining' = 'starting'
  return {
    current() {
      if (state === 'serving') return { ready: true, reasons: [] }
      if (state === 'draining') return { ready: false, reasons: ['it is draining'] }
      const isConfigured = session.inbound.current !== undefined
      const reason = isConfigured ? 'its listeners are not open' : 'it has no configuration yet'
      return { ready: false, reasons: [reason] }
    },
    serving() {
      state = 'serving'
    },
    draining() {
      state = 'draining'
    },
  }
}
