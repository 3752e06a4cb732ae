/** VirtualServices to routes of one client, host and port (istio-semantics §5.2–§5.8). */
import type { RetryPolicy, Route, RouteMatch } from '../model/bundle.ts'
import type { Intent, WorkloadInstance } from '../model/intent.ts'
import type {
  HttpDestination,
  HttpMatch,
  HttpRoute,
  RetryIntent,
  VirtualService,
} from '../model/traffic.ts'
import { lookupOf } from './lookup.ts'
import { bySpecificity, hostMatches, isExportedTo, selects } from './select.ts'

const DEFAULT_RETRY_ON = [
  'connect-failure',
  'refused-stream',
  'unavailable',
  'cancelled',
  'retriable-status-codes',
]
const DEFAULT_ATTEMPTS = 2
const DEFAULT_BACKOFF_MS = 25

/**
 * The VirtualService for `host` as sidecars in `namespace` see it: exact hosts before wildcards;
 * then private before exported by name before public; then the oldest. It wins entirely.
 */
export function findVirtualService(
  intent: Intent,
  host: string,
  namespace: string,
): VirtualService | undefined {
  const { virtualServices, virtualWildcards } = lookupOf(intent)
  const wildcards = virtualWildcards
    .filter((known) => hostMatches(known, host))
    .toSorted(bySpecificity)
  for (const pattern of [host, ...wildcards]) {
    const [first] = visibleIn(namespace, virtualServices.get(pattern))
    if (first) return first
  }
  return undefined
}

/** Those that `namespace` may see of `services`, which come oldest first: private before exported by name before public. */
export function visibleIn(
  namespace: string,
  services: readonly VirtualService[] = [],
): readonly VirtualService[] {
  return services
    .filter(({ exportTo }) => isExportedTo(exportTo, namespace))
    .toSorted((a, b) => reach(a) - reach(b))
}

/** 0 private, 1 exported by name, 2 public. */
function reach({ exportTo, namespace }: VirtualService): number {
  if (exportTo.includes('*')) return 2
  return exportTo.length === 1 && exportTo[0] === namespace ? 0 : 1
}

export interface RouteContext {
  readonly client: WorkloadInstance
  /** `mesh`, or the gateway that takes the request as `namespace/name`. */
  readonly gateway: string
  /** Service port that the client addressed; of a gateway, its server's. */
  readonly port: number
  readonly mesh: Intent['mesh']
  /** Name of the cluster that a destination means. */
  readonly clusterOf: (destination: Pick<HttpDestination, 'host' | 'port' | 'subset'>) => string
}

/** Routes in order, ending at the first that takes every request. */
export function readRoutes(http: readonly HttpRoute[], context: RouteContext): readonly Route[] {
  const routes: Route[] = []
  for (const route of http) {
    const blocks = route.match?.flatMap((block) => matchFor(block, context))
    // Every block was for other clients or ports.
    if (route.match && blocks?.length === 0) continue
    const catchAll = !blocks || blocks.some(isCatchAll)
    routes.push({
      name: route.name ?? '',
      ...(blocks ? { match: blocks } : {}),
      action: actionOf(route, context),
      ...(route.headers ? { headers: route.headers } : {}),
    })
    if (catchAll) break
  }
  return routes
}

/** One route to `host` itself. */
export function defaultRoute(host: string, { port, mesh, clusterOf }: RouteContext): Route {
  return {
    name: 'default',
    action: {
      kind: 'forward',
      destinations: [{ cluster: clusterOf({ host, port }), weight: 1 }],
      retry: retryPolicy(undefined, mesh.defaultRetry),
    },
  }
}

/** The block without what depends on the client, or nothing when that does not hold. */
function matchFor(
  block: HttpMatch,
  { client, port, gateway }: RouteContext,
): readonly RouteMatch[] {
  const { port: wantedPort, sourceLabels, sourceNamespace, gateways, ...match } = block
  if (wantedPort !== undefined && wantedPort !== port) return []
  if (gateways) return gateways.includes(gateway) ? [match] : []
  if (sourceNamespace !== undefined && sourceNamespace !== client.namespace) return []
  return selects(sourceLabels, client.labels) ? [match] : []
}

/** Takes every request: no condition but, at most, on a path that any path meets. */
export function isCatchAll(block: RouteMatch): boolean {
  const conditions = Object.keys(block).filter(
    (field) => !['name', 'uri', 'ignoreUriCase'].includes(field),
  )
  const { uri } = block
  if (conditions.length > 0) return false
  if (uri === undefined) return true
  return uri.kind === 'prefix'
    ? ['', '/'].includes(uri.value)
    : uri.kind === 'regex' && uri.value === '.*'
}

function actionOf({ action }: HttpRoute, { mesh, clusterOf }: RouteContext): Route['action'] {
  if (action.kind !== 'forward') return action
  const { destinations, retry, ...rest } = action
  // A single destination's weight says nothing; among several, 0 is nothing.
  const taken =
    destinations.length === 1 ? destinations : destinations.filter(({ weight }) => weight > 0)
  return {
    ...rest,
    destinations: taken.map((destination) => ({
      cluster: clusterOf(destination),
      weight: destinations.length === 1 ? 1 : destination.weight,
      ...(destination.headers ? { headers: destination.headers } : {}),
    })),
    retry: retryPolicy(retry, mesh.defaultRetry),
  }
}

/** The route's own retries, else the mesh's, else §5.8's default. */
export function retryPolicy(
  own: RetryIntent | undefined,
  ofMesh: RetryIntent | undefined,
): RetryPolicy {
  const {
    attempts,
    perTryTimeoutMs,
    retryOn = DEFAULT_RETRY_ON,
    backoffMs = DEFAULT_BACKOFF_MS,
  } = own ?? ofMesh ?? { attempts: DEFAULT_ATTEMPTS }
  return {
    attempts,
    ...(perTryTimeoutMs === undefined ? {} : { perTryTimeoutMs }),
    retryOn: attempts === 0 ? [] : retryOn,
    backoffMs,
  }
}
