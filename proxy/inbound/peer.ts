import { createHash } from 'node:crypto'
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { type SpiffeId, serviceAccountOf } from '#ca/spiffe/index.ts'
import type { Connection } from '#policy/model/index.ts'
import { formatAddress } from '../config.ts'
import type { Edge } from '../telemetry/edge.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import type { TrustedPeer } from '../tls/verify-peer.ts'
import type { PortRules } from './inbound-port.ts'

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
  readonly edge: (rules: PortRules | undefined) => Edge
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
  return {
    connection: { ...addressesOf(socket), destinationPort: options.port, peer: id, sni },
    own: options.own,
    forwardedCert: `x-forwarded-client-cert: By=${options.own};Hash=${hash};Subject="";URI=${id}\r\n`,
    isSecure: true,
    ...endsOf(socket),
    edge: edgeOf(id, options),
  }
}

/** A caller in plaintext, or in TLS that is not ours to open: nobody. `sni`: what it asked for there. */
export function plaintextPeer(
  socket: Socket,
  options: PeerOptions & { readonly sni: string | undefined },
): Peer {
  return {
    connection: {
      ...addressesOf(socket),
      destinationPort: options.port,
      peer: undefined,
      sni: options.sni,
    },
    own: options.own,
    forwardedCert: '',
    isSecure: false,
    ...endsOf(socket),
    edge: edgeOf(undefined, options),
  }
}

/** Looked up once for a connection and configuration; requests only count. */
function edgeOf(id: SpiffeId | undefined, { own, telemetry }: PeerOptions): Peer['edge'] {
  const account = id && serviceAccountOf(id)
  let known: { readonly rules: PortRules | undefined; readonly edge: Edge } | undefined
  return (rules) => {
    if (known !== undefined && known.rules === rules) return known.edge
    const service = rules?.service
    const edge = telemetry.edge({
      reporter: 'destination',
      ...(account === undefined ? {} : { source: account }),
      sourcePrincipal: id,
      ...(rules === undefined ? {} : { destination: rules.configuration.bundle.workload }),
      destinationPrincipal: id === undefined ? undefined : own,
      ...(service === undefined ? {} : { service }),
      protocol: 'http',
      security: id === undefined ? 'none' : 'mutual_tls',
    })
    known = { rules, edge }
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
