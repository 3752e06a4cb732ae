import type { Svid } from '#agent/client/index.ts'
import type { TrustDomain } from '#ca/spiffe/index.ts'
import type { Live } from '#core/live.ts'
import type { DestinationBundle } from '#policy/model/index.ts'
import { parseAddress } from '../config.ts'
import { plainDial, tlsDial } from '../mesh/dial.ts'
import type { Hop } from '../mesh/hop.ts'
import { type Dial, Http1Hop } from '../mesh/http1.ts'
import type { TimerWheel } from '../stack/timer-wheel.ts'
import { ALPN, clientContexts } from '../tls/parameters.ts'
import type { WatchedPeers } from '../tls/watch-peers.ts'
import type { ClusterState, EndpointState } from './cluster-state.ts'

export interface HopDeps {
  readonly svid: Live<Svid>
  /** Other names of our trust domain, as they are now. */
  readonly aliases: () => readonly TrustDomain[]
  readonly now: () => Temporal.Instant
  readonly nowMs: () => number
  readonly peers: WatchedPeers
  readonly wheel: TimerWheel
  readonly sourceAddress: string | undefined
}

/** The ways out of a sidecar, each opened when first used. */
export interface Hops {
  /** To one endpoint of a cluster; kept in it. */
  readonly toEndpoint: (
    cluster: ClusterState,
    endpoint: EndpointState,
    protocol: Extract<DestinationBundle, { kind: 'known' }>['protocol'],
  ) => Hop
  /** To a host outside the mesh, in plaintext. */
  readonly toHost: (host: string, port: number) => Hop
  /** One connection for bytes that are not read here, to an endpoint; a sidecar there is told if they are HTTP/2. */
  readonly dialOpaque: (
    cluster: ClusterState,
    endpoint: EndpointState,
    spoken: 'http2' | 'other',
  ) => Dial
  readonly dialHost: (host: string, port: number) => Dial
  /** Closes the ways to hosts outside the mesh; those to endpoints belong to their clusters. */
  readonly close: () => void
}

/** Hosts outside the mesh whose connections are kept. */
const MAX_HOSTS = 256
const HOST_CONNECT_TIMEOUT_MS = 10_000
const HOST_IDLE_MS = 60_000

/** Makes {@link Hops}. */
export function createHops(deps: HopDeps): Hops {
  const { wheel, nowMs, sourceAddress } = deps
  const { svid, aliases, now, peers } = deps
  const tls = { svid, aliases, now, peers, contextOf: clientContexts() }
  const hosts = new Map<string, Hop>()

  function dialEndpoint(
    { cluster }: ClusterState,
    { endpoint }: EndpointState,
    alpn: string,
  ): Dial {
    const target = { ...parseAddress(endpoint.address), sourceAddress }
    const limits = { wheel, connectTimeoutMs: cluster.connectionPool.connectTimeoutMs }
    if (endpoint.tls === 'none') return plainDial(target, limits)
    const { identities } = endpoint
    return tlsDial(tls, { ...target, sni: cluster.sni, alpn, identities }, limits)
  }

  function dialHost(host: string, port: number): Dial {
    return plainDial(
      { host, port, sourceAddress },
      { wheel, connectTimeoutMs: HOST_CONNECT_TIMEOUT_MS },
    )
  }

  return {
    dialHost,
    close() {
      for (const hop of hosts.values()) hop.close()
      hosts.clear()
    },
    dialOpaque: (cluster, endpoint, spoken) =>
      dialEndpoint(cluster, endpoint, spoken === 'http2' ? ALPN.http2 : ALPN.tcp),
    toEndpoint(cluster, endpoint, protocol) {
      if (endpoint.hop !== undefined) return endpoint.hop
      const isOpaque = protocol === 'tcp' || protocol === 'tls'
      const pool = cluster.cluster.connectionPool
      endpoint.hop = new Http1Hop({
        dial: dialEndpoint(cluster, endpoint, isOpaque ? ALPN.tcp : ALPN.http1),
        wheel,
        nowMs,
        maxConnections: pool.maxConnections,
        maxPending: pool.maxPendingRequests,
        maxRequestsPerConnection: pool.maxRequestsPerConnection,
        idleTimeoutMs: pool.idleTimeoutMs,
      })
      return endpoint.hop
    },
    toHost(host, port) {
      const key = `${host}:${port}`
      const known = hosts.get(key)
      if (known !== undefined) return known
      const [oldest] = hosts
      if (hosts.size >= MAX_HOSTS && oldest !== undefined) {
        oldest[1].close()
        hosts.delete(oldest[0])
      }
      const hop = new Http1Hop({
        dial: dialHost(host, port),
        wheel,
        nowMs,
        maxConnections: Number.MAX_SAFE_INTEGER,
        maxPending: Number.MAX_SAFE_INTEGER,
        maxRequestsPerConnection: 0,
        idleTimeoutMs: HOST_IDLE_MS,
      })
      hosts.set(key, hop)
      return hop
    },
  }
}
