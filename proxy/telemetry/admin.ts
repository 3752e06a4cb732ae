/**
 * The ports of a sidecar that people and machines look at: admin (loopback only, read-only),
 * metrics and readiness.
 */
import type { Svid } from '#agent/client/index.ts'
import type { Clock } from '#core/clock.ts'
import type { Live } from '#core/live.ts'
import { parseAddress } from '../config.ts'
import { ProxyError } from '../error.ts'
import type { PolicySession } from '../sync/policy-stream.ts'
import { type Answer, listenReadOnly, type Pages, type ReadOnlyServer } from './read-only-server.ts'
import { PROMETHEUS_CONTENT_TYPE } from './prometheus.ts'
import { createSampler } from './samples.ts'
import type { Telemetry } from './telemetry.ts'
import { viewCertificates, viewClusters, viewConfiguration, viewDenial } from './views.ts'

/** Each `host:port`; port 0 picks a free one. */
export interface AdminAddresses {
  readonly admin: string
  readonly metrics: string
  readonly readiness: string
}

export interface AdminSources {
  readonly workload: { readonly namespace: string; readonly name: string }
  readonly svid: Live<Svid>
  readonly session: PolicySession
  readonly telemetry: Telemetry
  readonly health: () => Health
  readonly clock: Clock
  readonly now: () => Temporal.Instant
  /** Of this software. */
  readonly version: string
}

export interface Health {
  readonly ready: boolean
  /** Why not; empty when ready. */
  readonly reasons: readonly string[]
}

export interface Admin extends AsyncDisposable {
  /** What was really bound. */
  readonly addresses: AdminAddresses
}

/**
 * Opens the three ports.
 *
 * @throws {ProxyError} `PROXY_LISTEN_FAILED`; `PROXY_CONFIG_INVALID` for an admin address that is not loopback
 */
export async function openAdmin(addresses: AdminAddresses, sources: AdminSources): Promise<Admin> {
  if (!isLoopback(parseAddress(addresses.admin).host)) {
    throw new ProxyError(
      'PROXY_CONFIG_INVALID',
      `Cannot open the admin port on "${addresses.admin}": it shows how the mesh is guarded, expected a loopback address`,
    )
  }
  const aborter = new AbortController()
  const pages = pagesOf(sources, aborter.signal)
  const servers: ReadOnlyServer[] = []
  const close = async (): Promise<void> => {
    aborter.abort()
    await Promise.all(servers.map((server) => server[Symbol.asyncDispose]()))
  }
  const listen = async (address: string, served: Pages, onlyFor?: (host: string) => boolean) => {
    const server = await listenReadOnly(address, served, onlyFor)
    servers.push(server)
    return server.address
  }
  try {
    return {
      addresses: {
        admin: await listen(addresses.admin, pages.admin, isLoopback),
        metrics: await listen(addresses.metrics, pages.metrics),
        readiness: await listen(addresses.readiness, pages.readiness),
      },
      [Symbol.asyncDispose]: close,
    }
  } catch (cause) {
    await close()
    throw cause
  }
}

/** Names and addresses of this machine to itself; a browser led here by another name gets nothing. */
function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(host)
}

function pagesOf(
  sources: AdminSources,
  signal: AbortSignal,
): { readonly admin: Pages; readonly metrics: Pages; readonly readiness: Pages } {
  const { workload, svid, session, telemetry, health, clock, now, version } = sources
  const isReady = (): boolean => health().ready
  const sample = createSampler({ svid, session, isReady, version }, signal)
  const prometheus = (): Answer => ({
    status: 200,
    type: PROMETHEUS_CONTENT_TYPE,
    body: telemetry.render(sample()),
  })
  const ready = (): Answer => readiness(health())
  const help = (): Answer => ({ status: 200, type: TEXT, body: HELP })
  const admin: Pages = {
    '/': help,
    '/help': help,
    '/ready': ready,
    '/config_dump': () => json(viewConfiguration(workload, session)),
    '/certs': () => json(viewCertificates(svid.current, now())),
    '/clusters': () => json(viewClusters(session, clock.nowMs())),
    '/decisions': (query) => decisions(telemetry, query),
    '/stats/prometheus': prometheus,
  }
  return {
    admin,
    metrics: { '/stats/prometheus': prometheus, '/metrics': prometheus },
    readiness: { '/healthz/ready': ready, '/ready': ready },
  }
}

const TEXT = 'text/plain; charset=utf-8'

const HELP = `Redoubt sidecar, admin port. Read-only.

/ready              200 when this sidecar serves, 503 and why when not
/config_dump        resources of the policy stream: desired, applied, rejected; bundles in force
/certs              the certificate shown to peers, and the bundles peers are judged by
/clusters           endpoints, how busy and how healthy they are
/decisions          the last denials, oldest first; ?since=SEQUENCE, ?limit=N (at most 1000), ?id=ID
/stats/prometheus   metrics
`

function readiness({ ready, reasons }: Health): Answer {
  const body = ready ? 'LIVE\n' : `${reasons.join('\n')}\n`
  return { status: ready ? 200 : 503, type: TEXT, body }
}

function json(value: unknown, status = 200): Answer {
  return { status, type: 'application/json', body: `${JSON.stringify(value, null, 2)}\n` }
}

const MAX_DECISIONS = 1000

function decisions({ decisions: ring }: Telemetry, query: URLSearchParams): Answer {
  const id = query.get('id')
  if (id !== null) {
    const entry = ring.find(id)
    return entry ? json(viewDenial(entry)) : json({ error: 'no such decision is held' }, 404)
  }
  const since = wholeOf(query.get('since'), 0)
  const limit = Math.min(wholeOf(query.get('limit'), 100), MAX_DECISIONS)
  if (Number.isNaN(since) || Number.isNaN(limit)) {
    return json({ error: 'since and limit are whole numbers' }, 400)
  }
  return json({ decisions: ring.list({ since, limit }).map(viewDenial) })
}

function wholeOf(text: string | null, otherwise: number): number {
  if (text === null) return otherwise
  return /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN
}
