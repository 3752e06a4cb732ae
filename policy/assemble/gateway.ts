/** `gateway/<namespace>/<workload>`: where a gateway sends what comes from outside (istio-semantics §5.2, §7.4). */
import { BUNDLE_FORMAT, type Route } from '../model/bundle.ts'
import type { GatewayBundle, GatewayServer, ServerHost, VirtualHost } from '../model/gateway.ts'
import type { Intent, WorkloadInstance } from '../model/intent.ts'
import type { VirtualService } from '../model/traffic.ts'
import { type ClusterCollection, collectClusters } from './destination.ts'
import { type BoundServer, gatewayPortsOf } from './gateway-ports.ts'
import { lookupOf } from './lookup.ts'
import { isCatchAll, readRoutes, visibleIn } from './routes.ts'
import { gatewayTls } from './gateway-tls.ts'
import { bySpecificity, hostMatches } from './select.ts'

interface Assembly {
  readonly intent: Intent
  readonly client: WorkloadInstance
  readonly clusters: ClusterCollection
}

/** What the gateway on `workload` routes by; without listeners when it is none. Pure. */
export function assembleGateway(
  intent: Intent,
  instances: readonly WorkloadInstance[],
  workload: WorkloadInstance,
): GatewayBundle {
  const clusters = collectClusters(intent, instances, workload)
  const assembly = { intent, client: workload, clusters }
  const listeners = gatewayPortsOf(intent, workload).map(({ port, servers }) => {
    // In TLS each has its own table of routes, in plaintext all have one.
    const tables = servers[0]?.tls ? servers.map((one) => [one]) : [servers]
    return { port, servers: tables.map((table) => mergedServer(table, assembly)) }
  })
  return { format: BUNDLE_FORMAT, listeners, clusters: clusters.build() }
}

/** Servers that share one table of routes. */
function mergedServer(servers: readonly BoundServer[], assembly: Assembly): GatewayServer {
  const hosts = new Map<string, Route[][]>()
  const redirected = new Set<string>()
  for (const server of servers) {
    for (const { host, routes } of routedHosts(server, assembly)) {
      hosts.set(host, [...(hosts.get(host) ?? []), routes])
      if (server.httpsRedirect) redirected.add(host)
    }
  }
  for (const { host } of servers.filter((one) => one.httpsRedirect).flatMap((one) => one.hosts)) {
    if (!hosts.has(host)) redirected.add(host)
  }
  const virtualHosts = [...new Set([...hosts.keys(), ...redirected])]
    .toSorted(bySpecificity)
    .map((host): VirtualHost => {
      const routes = redirected.has(host) ? [TO_HTTPS] : concatenated(hosts.get(host) ?? [])
      return { host, routes }
    })
  const name = servers
    .slice(0, 1)
    .map(({ gateway, portName }) => `${gateway.namespace}/${gateway.name}/${portName}`)
    .join('')
  const tls = servers[0] && gatewayTls(servers[0], assembly)
  const own = servers.flatMap((one) => one.hosts.map(({ host }) => host))
  return {
    name,
    hosts: [...new Set(own)].toSorted(bySpecificity),
    ...(tls ? { tls } : {}),
    virtualHosts,
  }
}

const TO_HTTPS: Route = {
  name: 'https-redirect',
  action: { kind: 'redirect', code: 301, scheme: 'https' },
}

/** Routes of each VirtualService that names the gateway, under each host that it has in common with the server. */
function routedHosts(
  { gateway, port, hosts }: BoundServer,
  { intent, client, clusters }: Assembly,
): readonly { readonly host: string; readonly routes: Route[] }[] {
  const name = `${gateway.namespace}/${gateway.name}`
  const bound = visibleIn(client.namespace, lookupOf(intent).gatewayServices.get(name))
  const { mesh } = intent
  const context = { client, gateway: name, port, mesh, clusterOf: clusters.namedAt(port) }
  return bound.flatMap((virtual) => {
    const shared = sharedHosts(hosts, virtual)
    if (shared.length === 0) return []
    const routes = [...readRoutes(virtual.http, context)]
    return shared.map((host) => ({ host, routes }))
  })
}

/** Hosts that a server has for a VirtualService: of each pair that covers a name the narrower (§7.1, §7.4). */
export function sharedHosts(
  served: readonly ServerHost[],
  { namespace, hosts: routed }: Pick<VirtualService, 'namespace' | 'hosts'>,
): readonly string[] {
  const open = served.filter((one) => ['*', namespace].includes(one.namespace))
  const pairs = open.flatMap(({ host }) => routed.map((other) => [host, other] as const))
  const shared = pairs.flatMap(([one, other]) => {
    if (covers(other, one)) return [one]
    return covers(one, other) ? [other] : []
  })
  return [...new Set(shared)]
}

/** Whether every name that `inner` has is one of `outer`. */
function covers(outer: string, inner: string): boolean {
  if (!inner.startsWith('*')) return hostMatches(outer, inner)
  return outer.startsWith('*') && inner.slice(1).endsWith(outer.slice(1))
}

/** Routes of several VirtualServices for one host: in order, and what takes every request behind all others (§5.2). */
function concatenated(lists: readonly (readonly Route[])[]): readonly Route[] {
  const [only = [], ...others] = lists
  if (others.length === 0) return only
  // A route with several blocks is a route for each: one of them may take everything.
  const single = lists
    .flat()
    .flatMap((route) => route.match?.map((block) => ({ ...route, match: [block] })) ?? [route])
  const takesAll = ({ match }: Route): boolean => match?.every(isCatchAll) ?? true
  const last = single.find(takesAll)
  return [...single.filter((route) => !takesAll(route)), ...(last ? [last] : [])]
}
