/** The bundle of a gateway into what its request path calls. */
import {
  BUNDLE_FORMAT,
  type GatewayBundle,
  type GatewayServer,
  parseGatewayBundle,
  type Route,
  type VirtualHost,
} from '#policy/model/index.ts'
import type { ClusterDeps, ClusterState } from '../outbound/cluster-state.ts'
import type { Destination } from '../outbound/destination.ts'
import type { CompileRegex } from '../outbound/match-text.ts'
import { compileRoutes } from '../outbound/route.ts'
import { carryOn, clustersOf, type Prepared, regexFor } from '../sync/compile.ts'

/** One version of what a gateway routes by. */
export interface CompiledGateway {
  readonly bundle: GatewayBundle
  /** The policy server's name for it. */
  readonly version: string
  /** By workload port. */
  readonly listeners: ReadonlyMap<number, readonly CompiledServer[]>
  /** By name; they live on from bundle to bundle. */
  readonly clusters: ReadonlyMap<string, ClusterState>
}

export interface CompiledServer {
  readonly server: GatewayServer
  /** Routes for a host in lower case, without its port; none match when no virtual host has it. */
  readonly destinationOf: (host: string) => Destination
  /** Its most specific host for a server name in lower case, '' for none; `undefined`: it is not meant. */
  readonly answersTo: (name: string) => string | undefined
}

interface Compiling {
  readonly scheme: 'http' | 'https'
  readonly version: string
  readonly clusters: ReadonlyMap<string, ClusterState>
  readonly regex: CompileRegex
}

/**
 * Compiles a gateway's bundle. Clusters that `previous` has are carried on by `commit`, not before.
 *
 * @throws {PolicyError} on a body that is not a bundle
 * @throws {ProxyError} `PROXY_CONFIG_INVALID` on a route or an endpoint that cannot be used
 */
export async function prepareGateway(
  { body, version }: { readonly body: Uint8Array; readonly version: string },
  previous: CompiledGateway | undefined,
  deps: ClusterDeps,
): Promise<Prepared<CompiledGateway>> {
  const bundle = parseGatewayBundle(body)
  const known = previous?.clusters ?? new Map<string, ClusterState>()
  const clusters = clustersOf(bundle.clusters, known, deps)
  const servers = bundle.listeners.flatMap((listener) => listener.servers)
  const regex = await regexFor(
    servers.flatMap(({ virtualHosts }) => virtualHosts.flatMap(({ routes }) => routes)),
  )
  const compile = (server: GatewayServer, port: number): CompiledServer =>
    compileServer(server, port, {
      version,
      clusters,
      regex,
      scheme: server.tls === undefined ? 'http' : 'https',
    })
  const listeners = new Map(
    bundle.listeners.map((listener) => [
      listener.port,
      listener.servers.map((server) => compile(server, listener.port)),
    ]),
  )
  return {
    compiled: { bundle, version, listeners, clusters },
    commit: () => carryOn(bundle.clusters, known, clusters),
  }
}

function compileServer(server: GatewayServer, port: number, compiling: Compiling): CompiledServer {
  const compiled = server.virtualHosts.map(
    (one) => [one.host, destinationFor(one, port, compiling)] as const,
  )
  const byName = new Map(compiled)
  const wildcards = compiled.filter(([host]) => host.startsWith('*'))
  return {
    server,
    destinationOf: (host) =>
      byName.get(host) ?? wildcards.find(([pattern]) => hasHost(pattern, host))?.[1] ?? NOWHERE,
    answersTo: (name) => server.hosts.find((host) => hasHost(host, name)),
  }
}

/** Whether `host` is the one of `pattern`, or one of them. `*` is also that nobody was named. */
function hasHost(pattern: string, host: string): boolean {
  if (!pattern.startsWith('*')) return pattern === host
  return pattern === '*' || (host.length >= pattern.length && host.endsWith(pattern.slice(1)))
}

/** A host that no virtual host has: no route, 404. */
export const NOWHERE: Destination = {
  bundle: {
    format: BUNDLE_FORMAT,
    kind: 'known',
    host: 'unknown',
    port: 80,
    protocol: 'http',
    routes: [],
    clusters: {},
  },
  version: '',
  pickRoute: () => undefined,
  clusters: new Map(),
}

/** A virtual host as the outbound side knows destinations. */
function destinationFor(
  { host, routes }: VirtualHost,
  port: number,
  { version, clusters, regex, scheme }: Compiling,
): Destination {
  const named = new Set(routes.flatMap(clusterNames))
  const own = new Map([...clusters].filter(([name]) => named.has(name)))
  return {
    bundle: {
      format: BUNDLE_FORMAT,
      kind: 'known',
      host,
      port,
      protocol: 'http',
      routes,
      clusters: Object.fromEntries([...own].map(([name, { cluster }]) => [name, cluster])),
    },
    version,
    pickRoute: compileRoutes(routes, { clusters, regex, scheme }),
    clusters: own,
  }
}

function clusterNames({ action }: Route): readonly string[] {
  return action.kind === 'forward' ? action.destinations.map(({ cluster }) => cluster) : []
}
