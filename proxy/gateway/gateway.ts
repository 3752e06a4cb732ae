/**
 * A door into the mesh: one port that strangers connect to. What comes is decided on as at a sidecar's inbound
 * side, and what is let through is routed as at its outbound side.
 */
import type { Socket } from 'node:net'
import type { Live } from '#core/live.ts'
import { listen, type Listener } from '../capture/listen.ts'
import { peek } from '../capture/peek.ts'
import type { GatewayListener } from '../config.ts'
import { InboundRequests } from '../inbound/forward.ts'
import { type InboundDeps, noteAnswers } from '../inbound/inbound.ts'
import { rulesOfPort } from '../inbound/inbound-port.ts'
import { type Peer, plaintextPeer } from '../inbound/peer.ts'
import type { OutboundDeps } from '../outbound/requests.ts'
import type { CompiledGateway, CompiledServer } from './compile.ts'
import { EdgeRequests } from './edge-requests.ts'
import { RoutedRequests } from './routed-requests.ts'

export interface GatewayDeps extends InboundDeps {
  readonly gateway: Live<CompiledGateway | undefined>
  /** How requests go on into the mesh. */
  readonly outbound: Omit<OutboundDeps, 'find' | 'onConnect' | 'allowsAny'>
}

/** Milliseconds for a client to say anything at all (istio-semantics §7.4). */
const FIRST_BYTES_MS = 15_000

/** Opens one port of a gateway. */
export function listenGateway(
  { port, listen: address }: GatewayListener,
  deps: GatewayDeps,
): Promise<Listener> {
  const { connections, wheel, random, nowMs, telemetry, gateway } = deps
  const rules = rulesOfPort(port, deps.configuration)
  const requests = {
    upstream: { host: '', cluster: '' },
    rules,
    random,
    nowMs,
    telemetry,
    ask: deps.ask,
    onAnswer: noteAnswers(deps),
  }
  const serversOf = (): readonly CompiledServer[] => gateway.current?.listeners.get(port) ?? []
  const outboundTo = (serverOf: () => CompiledServer | undefined): OutboundDeps => ({
    ...deps.outbound,
    find: (host) => following(() => serverOf()?.destinationOf(host)),
    allowsAny: () => false,
    // The inbound half refuses it.
    onConnect: (connection) => connection.breakOff(),
  })
  const plaintext = outboundTo(() => serversOf()[0])

  function serve(socket: Socket, peer: Peer, outbound: OutboundDeps, head: Buffer): void {
    const { sourceIp } = peer.connection
    const scheme = peer.isSecure ? 'https' : 'http'
    connections.serve(
      socket,
      (connection) => {
        const app = new RoutedRequests(outbound, connection)
        const inner = new InboundRequests({ ...requests, app }, peer, connection)
        return new EdgeRequests({ sourceIp, scheme, random }, connection, inner)
      },
      head,
    )
  }

  function accept(socket: Socket): void {
    if (rules() === undefined || serversOf().length === 0) return void socket.destroy()
    const heard = connections.accept(socket)
    peek<'spoken' | 'silent'>(socket, {
      wheel,
      timeoutMs: FIRST_BYTES_MS,
      detect: () => 'spoken',
      otherwise: 'silent',
      onDetected(detected, head) {
        heard()
        if (detected === 'silent') return void socket.destroy()
        const options = { own: deps.svid.current.id, port, telemetry, sni: undefined }
        serve(socket, plaintextPeer(socket, options), plaintext, head)
      },
    })
  }

  return listen(address, accept)
}

/** What `read` gives now; nobody waits for it, since a request comes only where there is some. */
function following<T>(read: () => T): Live<T> {
  return {
    get current() {
      return read()
    },
    async *changes() {
      yield read()
    },
  }
}
