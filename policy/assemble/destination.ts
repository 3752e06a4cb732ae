/** `destination/<host>:<port>`: how one client reaches one host and port. */
import {
  BUNDLE_FORMAT,
  type Cluster,
  type ConnectionPool,
  type DestinationBundle,
  type Route,
} from '../model/bundle.ts'
import type { Intent, WorkloadInstance } from '../model/intent.ts'
import type { HttpDestination } from '../model/traffic.ts'
import { findDestinationRule, trafficPolicyFor } from './destination-rule.ts'
import { endpointsOf } from './endpoints.ts'
import { findHost, proxiedProtocol, type RegistryHost, resolveName } from './registry.ts'
import { defaultRoute, findVirtualService, type RouteContext, readRoutes } from './routes.ts'

const UNLIMITED = 2 ** 32 - 1
const HOUR_MS = 3_600_000

/** §6.6. */
const DEFAULT_POOL: Omit<ConnectionPool, 'connectTimeoutMs'> = {
  maxConnections: UNLIMITED,
  maxPendingRequests: UNLIMITED,
  maxRequests: UNLIMITED,
  maxRequestsPerConnection: 0,
  idleTimeoutMs: HOUR_MS,
}

/** A VirtualService for a host that no registry knows is served on this port only (§5.2). */
const HOSTS_WITHOUT_SERVICE_PORT = 80

type Target = Pick<HttpDestination, 'host' | 'port' | 'subset'>

/**
 * How `client` reaches `host` (a Host header's name without port, any case, short or full) at
 * service port `port`. Pure.
 */
export function assembleDestination(
  intent: Intent,
  instances: readonly WorkloadInstance[],
  client: WorkloadInstance,
  host: string,
  port: number,
): DestinationBundle {
  const name = resolveName(intent, host, client.namespace)
  const known = findHost(intent, name, client.namespace)
  const servicePort = known?.ports.find((declared) => declared.port === port)
  const protocol = servicePort && proxiedProtocol(servicePort)
  const virtual = findVirtualService(intent, known?.host ?? name, client.namespace)
  const withoutService = virtual !== undefined && !known && port === HOSTS_WITHOUT_SERVICE_PORT
  if (!protocol && !withoutService) return { format: BUNDLE_FORMAT, kind: 'unknown' }

  const clusters = collectClusters(intent, instances, client)
  const { mesh } = intent
  const clusterOf = clusters.namedAt(port)
  const context: RouteContext = { client, gateway: 'mesh', port, mesh, clusterOf }
  const opaque = protocol === 'tcp' || protocol === 'tls'
  const own = known?.host ?? name
  const routes: readonly Route[] =
    virtual && !opaque ? readRoutes(virtual.http, context) : [defaultRoute(own, context)]
  return {
    format: BUNDLE_FORMAT,
    kind: 'known',
    host: own,
    port,
    protocol: protocol ?? 'http',
    routes,
    clusters: clusters.build(name),
  }
}

/** Clusters that the routes of one client name, put together once all routes are read. */
export interface ClusterCollection {
  /** Names the cluster of a destination, for requests at service port `port`. */
  readonly namedAt: (port: number) => RouteContext['clusterOf']
  /** `asked`: the name that the client used; left out: each cluster's own. */
  readonly build: (asked?: string) => Readonly<Record<string, Cluster>>
}

export function collectClusters(
  intent: Intent,
  instances: readonly WorkloadInstance[],
  client: WorkloadInstance,
): ClusterCollection {
  const targets = new Map<string, Target>()
  return {
    namedAt: (port) => (target) => {
      const complete = { ...target, port: destinationPort(intent, client, target, port) }
      const cluster = clusterName(complete)
      targets.set(cluster, complete)
      return cluster
    },
    build: (asked) =>
      Object.fromEntries(
        [...targets]
          .map(([name, target]) => {
            const cluster = buildCluster(intent, instances, client, target, asked ?? target.host)
            return [name, cluster] as const
          })
          .filter((entry): entry is [string, Cluster] => entry[1] !== undefined)
          .toSorted(([a], [b]) => (a < b ? -1 : 1)),
      ),
  }
}

/** The destination's own port, else the service's only one, else the one that the client addressed (§5.5). */
function destinationPort(
  intent: Intent,
  client: WorkloadInstance,
  target: Target,
  port: number,
): number {
  if (target.port !== undefined) return target.port
  const ports = findHost(intent, target.host, client.namespace)?.ports ?? []
  return ports.length === 1 && ports[0] ? ports[0].port : port
}

function clusterName({ host, port, subset = '' }: Target): string {
  return `outbound|${port}|${subset}|${host}`
}

/** `undefined` when the host, its port or the subset does not exist: the route then answers 503 (§5.5). */
function buildCluster(
  intent: Intent,
  instances: readonly WorkloadInstance[],
  client: WorkloadInstance,
  { host, port, subset: subsetName = '' }: Target,
  asked: string,
): Cluster | undefined {
  const known = findHost(intent, host, client.namespace)
  const servicePort = known?.ports.find((declared) => declared.port === port)
  if (!known || !servicePort || !proxiedProtocol(servicePort)) return undefined

  const rule = findDestinationRule(intent, client, known)
  const subset = rule?.subsets.find(({ name }) => name === subsetName)
  if (subsetName !== '' && !subset) return undefined

  const policy = trafficPolicyFor(rule, subset, servicePort.port)
  return {
    service: { host: known.host, name: known.name, namespace: known.namespace },
    subset: subsetName,
    loadBalancing: policy.loadBalancing ?? 'LEAST_REQUEST',
    connectionPool: {
      ...DEFAULT_POOL,
      connectTimeoutMs: intent.mesh.connectTimeoutMs,
      ...policy.connectionPool,
    },
    ...(policy.outlierDetection ? { outlierDetection: policy.outlierDetection } : {}),
    sni: `outbound_.${servicePort.port}_.${subsetName}_.${known.host}`,
    endpoints: endpointsOf(intent, instances, known, servicePort, {
      tls: policy.tls ? { mode: policy.tls } : {},
      ...(subset ? { labels: subset.labels } : {}),
      asked: addressOf(known, asked),
    }),
  }
}

/** What resolution NONE dials: the address or name that the client asked for, when it is this host's. */
function addressOf({ host, origin }: RegistryHost, asked: string): string {
  const byAddress =
    origin.kind === 'entries' && origin.entries.some(({ addresses }) => addresses.includes(asked))
  return byAddress ? asked : host
}
