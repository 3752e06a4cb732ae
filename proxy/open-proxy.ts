import { openSvid, type Svid } from '#agent/client/index.ts'
import type { Clock } from '#core/clock.ts'
import type { Live } from '#core/live.ts'
import type { Log } from '#core/log.ts'
import type { ProxyConfig } from './config.ts'
import { openDataPlane } from './data-plane.ts'
import { createTelemetry } from './telemetry/telemetry.ts'
import { openPolicyStream } from './sync/policy-stream.ts'

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
  const svid = await openSvid({ socketPath: config.agentSocket, clock, random, log }, signal)
  const session = openPolicyStream(
    {
      svid,
      address: config.policyAddress,
      policyId: config.policyId,
      workload: config.workload,
      now,
      clock,
      random,
      log,
    },
    signal,
  )
  for await (const inbound of session.inbound.changes(signal)) {
    if (inbound !== undefined) break
  }
  const telemetry = createTelemetry(
    { clock, now, random, writeAccessLog: deps.writeAccessLog },
    signal,
  )
  const plane = await openDataPlane(config, {
    svid,
    inbound: session.inbound,
    find: session.destination,
    clock,
    now,
    random,
    log,
    telemetry,
  })
  return {
    addresses: {
      outbound: plane.outbound,
      inbound: plane.inbound,
      admin: config.admin,
      metrics: config.metrics,
      readiness: config.readiness,
    },
    svid,
    drain: plane.drain,
    async [Symbol.asyncDispose]() {
      await plane[Symbol.asyncDispose]()
      aborter.abort()
    },
  }
}
