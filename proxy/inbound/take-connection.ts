/** What becomes of an accepted connection once it has shown what it speaks. */
import type { Socket } from 'node:net'
import type { InboundDetected } from '../capture/detect-inbound.ts'
import type { OpenConnections } from '../stack/open-connections.ts'
import type { ServerConnection } from '../stack/server-connection.ts'
import type { TimerWheel } from '../stack/timer-wheel.ts'
import type { AppSessionOptions } from '../streams/app-session.ts'
import { type InboundDeps, InboundRequests } from './forward.ts'
import { isHttp2App, type PortRules } from './inbound-port.ts'
import type { CarryOpaque } from './opaque.ts'
import type { Peer } from './peer.ts'

/** A connection that has shown what it speaks. */
export interface Taken {
  readonly peer: Peer
  readonly rules: PortRules
  /** Milliseconds until its certificate runs out; `undefined`: it has none. */
  readonly life?: number
  /** What has been read of it. */
  readonly head?: Buffer
}

export interface TakeDeps {
  readonly connections: OpenConnections
  readonly wheel: TimerWheel
  readonly requests: InboundDeps
  /** Where the app is, when it speaks HTTP/2. */
  readonly app: AppSessionOptions
  readonly carryOpaque: CarryOpaque
}

/** Goes on with a connection. What is neither version of HTTP is opaque, TLS that is not ours to open too. */
export type TakeConnection = (kind: InboundDetected['kind'], socket: Socket, taken: Taken) => void

const NOTHING: Buffer = Buffer.alloc(0)

export function createTaker(deps: TakeDeps): TakeConnection {
  const { connections, wheel, requests, carryOpaque } = deps

  function takeRequests(socket: Socket, { peer, life, head }: Taken): void {
    const sink = (connection: ServerConnection): InboundRequests =>
      new InboundRequests(requests, peer, connection)
    endAfter(life, socket, connections.serve(socket, sink, head))
  }

  /** Most sidecars meet no HTTP/2, and then nothing of it is loaded. */
  function takeStreams(socket: Socket, { peer, rules, life, head = NOTHING }: Taken): void {
    // What happens to it meanwhile is told by 'close'.
    socket.on('error', () => {})
    const options = { peer, isAppHttp2: isHttp2App(rules), head }
    import('../streams/serve-streams.ts').then(
      ({ serveStreams }) => {
        if (!socket.destroyed) endAfter(life, socket, serveStreams(socket, options, deps))
      },
      () => socket.destroy(),
    )
  }

  /** A certificate is judged when a connection begins; this is the end of what it said. */
  function endAfter(life: number | undefined, socket: Socket, connection: Expiring): void {
    if (life === undefined) return
    const timer = wheel.timer(() => connection.expire())
    timer.set(life)
    socket.once('close', timer.clear)
  }

  return (kind, socket, taken) => {
    if (kind === 'http') takeRequests(socket, taken)
    else if (kind === 'http2') takeStreams(socket, taken)
    else carryOpaque(socket, taken.peer, taken.rules, taken.head)
  }
}

interface Expiring {
  readonly expire: () => void
}
