/**
 * Connections that say where they want to go before they say what they speak: CONNECT and SOCKS5.
 * HTTP inside goes the way of all requests; anything else is carried as opaque bytes.
 */
import type { Socket } from 'node:net'
import { detectProtocol } from '../capture/detect.ts'
import { peek } from '../capture/peek.ts'
import type { Authority } from '../http/path.ts'
import type { Dial } from '../mesh/http1.ts'
import type { OpenConnections } from '../stack/open-connections.ts'
import { joinSockets } from '../stack/tunnel.ts'
import type { EdgeLabels } from '../telemetry/edge.ts'
import type { EndpointState } from './cluster-state.ts'
import { awaitDestination, type Destination } from './destination.ts'
import { type OutboundDeps, OutboundRequests } from './requests.ts'
import { pickDestination } from './split.ts'

export interface ConnectDeps extends OutboundDeps {
  readonly connections: OpenConnections
}

/**
 * Milliseconds to wait for the client's first bytes where the port does not say what it speaks; a
 * client that says nothing waits for a server that speaks first.
 */
const DETECT_TIMEOUT_MS = 100
/** Endpoints tried for one opaque connection. */
const MAX_DIALS = 3

/** Carries a connection to `authority` whose client has been told that it is connected. */
export function carryTo(
  socket: Socket,
  authority: Authority,
  deps: ConnectDeps,
  head: Buffer,
): void {
  socket.pause()
  socket.on('error', () => {})
  awaitDestination(deps.find(authority.host, authority.port), deps.clock, (destination) => {
    if (destination === undefined) return void socket.destroy()
    const { bundle } = destination
    if (bundle.kind === 'unknown') return carryOut(socket, authority, deps, head)
    const { protocol } = bundle
    if (protocol === 'http') return serve(socket, authority, deps, head)
    if (protocol === 'tcp' || protocol === 'tls')
      return carry(socket, destination, deps, { head, spoken: 'other' })
    if (head.length > 0) socket.unshift(head)
    peek(socket, {
      wheel: deps.wheel,
      timeoutMs: DETECT_TIMEOUT_MS,
      detect: detectProtocol,
      otherwise: 'other',
      onDetected(detected, bytes) {
        if (detected === 'http1') serve(socket, authority, deps, bytes)
        else {
          const spoken = detected === 'http2' ? 'http2' : 'other'
          carry(socket, destination, deps, { head: bytes, spoken })
        }
      },
    })
    socket.resume()
  })
}

function serve(socket: Socket, captured: Authority, deps: ConnectDeps, head: Buffer): void {
  deps.connections.serve(
    socket,
    (connection) => new OutboundRequests(deps, connection, captured),
    head,
  )
}

function carryOut(
  socket: Socket,
  { host, port }: Authority,
  deps: ConnectDeps,
  head: Buffer,
): void {
  if (!deps.allowsAny()) return void socket.destroy()
  const { labels } = deps.edges.toNowhere()
  join(socket, [{ dial: deps.hops.dialHost(host, port), labels }], deps, head)
}

function carry(
  socket: Socket,
  destination: Destination,
  deps: ConnectDeps,
  { head, spoken }: { readonly head: Buffer; readonly spoken: 'http2' | 'other' },
): void {
  const route = destination.pickRoute(OPAQUE)
  if (route?.action.kind !== 'forward') return void socket.destroy()
  const { cluster } = pickDestination(route.action.split, deps.random)
  if (cluster === undefined) return void socket.destroy()
  const tried: EndpointState[] = []
  const ways: Way[] = []
  for (let attempt = 0; attempt < Math.min(MAX_DIALS, cluster.endpoints.length); attempt += 1) {
    const endpoint = cluster.pick(tried)
    if (endpoint === undefined) break
    tried.push(endpoint)
    const { labels } = deps.edges.toEndpoint(cluster, endpoint)
    ways.push({ dial: deps.hops.dialOpaque(cluster, endpoint, spoken), labels })
  }
  join(socket, ways, deps, head)
}

/** What a route can see of bytes that nobody reads. */
const OPAQUE = {
  method: '',
  target: '/',
  authority: '',
  fields: { first: () => undefined, values: () => [] },
} as const

/** Somewhere to go, and what is counted under if it is gone to. */
interface Way {
  readonly dial: Dial
  readonly labels: EdgeLabels
}

/** Dials one after another until one answers, then joins. */
function join(socket: Socket, ways: readonly Way[], deps: ConnectDeps, head: Buffer): void {
  const [way, ...others] = ways
  if (way === undefined) return void socket.destroy()
  const giveUp = way.dial(
    ({ socket: upstream }) => {
      socket.removeListener('close', onClose)
      if (head.length > 0) upstream.write(head)
      const remove = deps.connections.addTunnel(() => socket.destroy())
      const count = deps.telemetry.openTunnel(way.labels)
      joinSockets(socket, upstream, ({ sent, received }) => {
        remove()
        count({ fromDownstream: sent, toDownstream: received })
      })
    },
    () => {
      socket.removeListener('close', onClose)
      join(socket, others, deps, head)
    },
  )
  const onClose = (): void => giveUp()
  socket.once('close', onClose)
}
