import { createHash } from 'node:crypto'
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { type SpiffeId, serviceAccountOf } from '#ca/spiffe/index.ts'
import type { Connection, Decide } from '#policy/model/index.ts'
import { formatAddress } from '../config.ts'
import type { Edge } from '../telemetry/edge.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import type { TrustedPeer } from '../tls/verify-peer.ts'
import { deciderOf, type PortRules } from './inbound-port.ts'

/** Who is at the other end of an accepted connection, as far as is known. */
export interface Peer {
  readonly connection: Connection
  /** Whom the caller met. */
  readonly own: SpiffeId
  /** The line that tells the app who called, with its CRLF; a constant of the connection. */
  readonly forwardedCert: string
  /** Whether the connection is TLS that ends here. */
  readonly isSecure: boolean
  readonly remoteAddress: string
  readonly localAddress: string
  /** What requests of it are counted under; another one when the configuration is. */
  readonly edge: (rules: PortRules | undefined, protocol?: 'http' | 'grpc') => Edge
  /** Decides what comes on it: one for each configuration, however many streams it has. */
  readonly decide: (rules: PortRules) => Decide
}

export interface PeerOptions {
  readonly own: SpiffeId
  readonly port: number
  readonly telemetry: Telemetry
}

/** A peer whose certificate was verified. */
export function peerOf(socket: TLSSocket, { id, leaf }: TrustedPeer, options: PeerOptions): Peer {
  const sni = typeof socket.servername === 'string' ? socket.servername.toLowerCase() : undefined
  const hash = createHash('sha256').update(leaf).digest('hex')
  const connection = { ...addressesOf(socket), destinationPort: options.port, peer: id, sni }
  return {
    connection,
    own: options.own,
    forwardedCert: `x-forwarded-client-cert: By=${options.own};Hash=${hash};Subject="";URI=${id}\r\n`,
    isSecure: true,
    ...endsOf(socket),
    edge: edgeOf(id, options),
    decide: decideOf(connection),
  }
}

/** A caller in plaintext, or in TLS that is not ours to open: nobody. `sni`: what it asked for there. */
export function plaintextPeer(
  socket: Socket,
  options: PeerOptions & { readonly sni: string | undefined },
): Peer {
  const { port, sni } = options
  const connection = { ...addressesOf(socket), destinationPort: port, peer: undefined, sni }
  return {
    connection,
    own: options.own,
    forwardedCert: '',
    isSecure: false,
    ...endsOf(socket),
    edge: edgeOf(undefined, options),
    decide: decideOf(connection),
  }
}

/** Narrowed to the connection once for each configuration. */
function decideOf(connection: Connection): Peer['decide'] {
  let known: { readonly rules: PortRules; readonly decide: Decide } | undefined
  return (rules) => {
    if (known?.rules !== rules) known = { rules, decide: deciderOf(rules, connection) }
    return known.decide
  }
}

/** Looked up once for a connection and configuration; requests only count. */
function edgeOf(id: SpiffeId | undefined, { own, telemetry }: PeerOptions): Peer['edge'] {
  const account = id && serviceAccountOf(id)
  const make = (rules: PortRules | undefined, protocol: 'http' | 'grpc'): Edge => {
    const service = rules?.service
    return telemetry.edge({
      reporter: 'destination',
      ...(account === undefined ? {} : { source: account }),
      sourcePrincipal: id,
      ...(rules === undefined ? {} : { destination: rules.configuration.bundle.workload }),
      destinationPrincipal: id === undefined ? undefined : own,
      ...(service === undefined ? {} : { service }),
      protocol,
      security: id === undefined ? 'none' : 'mutual_tls',
    })
  }
  const known: Partial<Record<'http' | 'grpc', { rules: PortRules | undefined; edge: Edge }>> = {}
  return (rules, protocol = 'http') => {
    const before = known[protocol]
    if (before !== undefined && before.rules === rules) return before.edge
    const edge = make(rules, protocol)
    known[protocol] = { rules, edge }
    return edge
  }
}

function endsOf(socket: Socket): Pick<Peer, 'remoteAddress' | 'localAddress'> {
  return {
    remoteAddress: formatAddress(plain(socket.remoteAddress), socket.remotePort ?? 0),
    localAddress: formatAddress(plain(socket.localAddress), socket.localPort ?? 0),
  }
}

function addressesOf(socket: Socket): Pick<Connection, 'sourceIp' | 'destinationIp'> {
  return { sourceIp: plain(socket.remoteAddress), destinationIp: plain(socket.localAddress) }
}

/** An IPv4 address that came through a dual-stack socket is an IPv4 address. */
function plain(address: string | undefined): string {
  return (address ?? '').replace(/^::ffff:/, '')
}
