/** Two sidecars with real sockets, TLS and policy engine; only what streams to them is made by hand. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Svid } from '#agent/client/index.ts'
import type { TrustDomain } from '#ca/spiffe/index.ts'
import type { Clock } from '#core/clock.ts'
import { createLive, type LiveSource } from '#core/live.ts'
import { compileAuthorization } from '#policy/casbin/index.ts'
import type { Cluster, DestinationBundle, InboundBundle } from '#policy/model/index.ts'
import { compileTokenRules } from '#ca/jwt/request/index.ts'
import { BUNDLE_FORMAT } from '#policy/model/index.ts'
import { compileProviders } from '../../proxy/authorizer/compile.ts'
import { type DataPlane, openDataPlane } from '../../proxy/data-plane.ts'
import type { InboundConfiguration } from '../../proxy/inbound/inbound-port.ts'
import { ClusterState } from '../../proxy/outbound/cluster-state.ts'
import type { Destination } from '../../proxy/outbound/destination.ts'
import { compileRoutes } from '../../proxy/outbound/route.ts'
import { createTelemetry, type Telemetry } from '../../proxy/telemetry/telemetry.ts'
import { createFakeIssuer, type FakeIssuer } from './fake-svid.ts'

export const CLIENT_ID = 'spiffe://cluster.local/ns/test/sa/client'
export const SERVER_ID = 'spiffe://cluster.local/ns/test/sa/server'

export const realClock: Clock = {
  nowMs: (): number => performance.now(),
  sleep: (ms: number, signal: AbortSignal): Promise<void> => sleep(ms, undefined, { signal }),
}

export function inboundBundle(change: Partial<InboundBundle> = {}): InboundBundle {
  return {
    format: BUNDLE_FORMAT,
    workload: { namespace: 'test', name: 'server', serviceAccount: 'server', labels: {} },
    trustDomain: 'cluster.local' as TrustDomain,
    trustDomainAliases: [],
    pathNormalization: 'BASE',
    mtls: 'STRICT',
    ports: [{ port: 8080, name: 'http', protocol: 'http', mtls: 'STRICT' }],
    authorization: [
      {
        namespace: 'test',
        name: 'allow-client',
        action: 'ALLOW',
        dryRun: false,
        rules: [
          {
            from: [{ principals: ['cluster.local/ns/test/sa/client'] }],
            to: [{ notPaths: ['/forbidden*'] }],
          },
        ],
      },
    ],
    providers: {},
    tokenRules: [],
    outboundPolicy: 'ALLOW_ANY',
    ...change,
  }
}

/** @param providers - of `bundle.providers`, which take a moment to compile */
export function compiledInbound(
  bundle: InboundBundle,
  providers?: InboundConfiguration['providers'],
): InboundConfiguration {
  const engine = compileAuthorization({ ...bundle, policies: bundle.authorization })
  const { tokenRules } = bundle
  const now = () => Temporal.Now.instant()
  const authenticate = tokenRules.length === 0 ? undefined : compileTokenRules(tokenRules, { now })
  return { bundle, version: '1', engine, authenticate, providers }
}

export function cluster(address: string, change: Partial<Cluster> = {}): Cluster {
  return {
    service: { host: 'server.test.svc.cluster.local', name: 'server', namespace: 'test' },
    subset: '',
    loadBalancing: 'LEAST_REQUEST',
    connectionPool: {
      maxConnections: 2 ** 32 - 1,
      connectTimeoutMs: 2000,
      maxPendingRequests: 2 ** 32 - 1,
      maxRequests: 2 ** 32 - 1,
      maxRequestsPerConnection: 0,
      idleTimeoutMs: 60_000,
    },
    sni: 'outbound_.80_._.server.test.svc.cluster.local',
    endpoints: [
      {
        address,
        tls: 'mutual',
        identities: [SERVER_ID as never],
        workload: { namespace: 'test', name: 'server', serviceAccount: 'server', labels: {} },
      },
    ],
    ...change,
  }
}

export type KnownBundle = Extract<DestinationBundle, { kind: 'known' }>

export function destinationBundle(
  clusters: Record<string, Cluster>,
  change: Partial<KnownBundle> = {},
): KnownBundle {
  const [name = ''] = Object.keys(clusters)
  return {
    format: BUNDLE_FORMAT,
    kind: 'known',
    host: 'server.test.svc.cluster.local',
    port: 80,
    protocol: 'http',
    routes: [
      {
        name: 'default',
        action: {
          kind: 'forward',
          destinations: [{ cluster: name, weight: 1 }],
          retry: { attempts: 2, retryOn: ['connect-failure', 'refused-stream'], backoffMs: 25 },
        },
      },
    ],
    clusters,
    ...change,
  }
}

export function compiledDestination(bundle: DestinationBundle): Destination {
  const deps = { nowMs: realClock.nowMs, random: Math.random }
  if (bundle.kind === 'unknown') {
    return { bundle, version: '1', pickRoute: () => undefined, clusters: new Map() }
  }
  const clusters = new Map(
    Object.entries(bundle.clusters).map(([name, one]) => [name, new ClusterState(name, one, deps)]),
  )
  const regex = (text: string) => {
    const compiled = new RegExp(`^(?:${text})$`)
    return { test: (value: string) => compiled.test(value) }
  }
  const context = { clusters, regex: regex as never, scheme: 'http' } as const
  return { bundle, version: '1', pickRoute: compileRoutes(bundle.routes, context), clusters }
}

export interface FakeSidecar extends AsyncDisposable {
  readonly plane: DataPlane
  readonly svid: LiveSource<Svid>
  readonly inbound: LiveSource<InboundConfiguration | undefined>
  /** By `host:port`; one that is not there is never answered. */
  readonly destinations: Map<string, LiveSource<Destination | undefined>>
  readonly telemetry: Telemetry
  /** Lines of the access log, without their ends; the last ones come with disposal. */
  readonly log: string[]
  readonly events: { readonly event: string; readonly fields: unknown }[]
}

export interface FakeSidecarOptions {
  readonly svid: Svid
  /** `host:port` of the app. */
  readonly app?: string
  readonly bundle?: InboundBundle
  readonly drainMs?: number
  /** Keeps no access log. */
  readonly noLog?: boolean
  readonly now?: () => Temporal.Instant
}

export async function openFakeSidecar(options: FakeSidecarOptions): Promise<FakeSidecar> {
  const svid = createLive(options.svid)
  const { bundle = inboundBundle() } = options
  const inbound = createLive<InboundConfiguration | undefined>(
    compiledInbound(bundle, await compileProviders(bundle.providers)),
  )
  const destinations = new Map<string, LiveSource<Destination | undefined>>()
  const events: { event: string; fields: unknown }[] = []
  const aborter = new AbortController()
  const log: string[] = []
  const telemetry = createTelemetry(
    {
      clock: realClock,
      now: () => Temporal.Now.instant(),
      random: Math.random,
      writeAccessLog: options.noLog ? undefined : (lines) => void log.push(lines),
    },
    aborter.signal,
  )
  const plane = await openDataPlane(
    {
      inbound:
        options.app === undefined ? [] : [{ port: 8080, listen: '127.0.0.1:0', app: options.app }],
      outbound: '127.0.0.1:0',
      drainMs: options.drainMs ?? 2000,
    },
    {
      svid: svid.live,
      inbound: inbound.live,
      find(host, port) {
        const key = `${host}:${port}`
        const known = destinations.get(key) ?? createLive<Destination | undefined>(undefined)
        destinations.set(key, known)
        return known.live
      },
      clock: realClock,
      now: options.now ?? (() => Temporal.Now.instant()),
      random: Math.random,
      telemetry,
      log: (_level, event, fields) => void events.push({ event, fields }),
    },
  )
  return {
    plane,
    svid,
    inbound,
    destinations,
    events,
    telemetry,
    log,
    async [Symbol.asyncDispose]() {
      await plane[Symbol.asyncDispose]()
      telemetry[Symbol.dispose]()
      aborter.abort()
    },
  }
}

export interface FakePair extends AsyncDisposable {
  readonly issuer: FakeIssuer
  readonly client: FakeSidecar
  readonly server: FakeSidecar
  /** Where the client's app sends its requests. */
  readonly outbound: string
}

/** A client's and a server's sidecar; the client knows `server:80`. */
export async function openFakePair(app: string, bundle?: InboundBundle): Promise<FakePair> {
  const issuer = await createFakeIssuer()
  const server = await openFakeSidecar({
    svid: await issuer.issue(SERVER_ID),
    app,
    ...(bundle === undefined ? {} : { bundle }),
  })
  const client = await openFakeSidecar({ svid: await issuer.issue(CLIENT_ID) })
  const known = compiledDestination(
    destinationBundle({
      'outbound|80||server.test.svc.cluster.local': cluster(server.plane.inbound[8080] ?? ''),
    }),
  )
  client.destinations.set('server:80', createLive<Destination | undefined>(known))
  return {
    issuer,
    client,
    server,
    outbound: client.plane.outbound,
    async [Symbol.asyncDispose]() {
      await client[Symbol.asyncDispose]()
      await server[Symbol.asyncDispose]()
    },
  }
}
