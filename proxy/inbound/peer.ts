import { createHash } from 'node:crypto'
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { SpiffeId } from '#ca/spiffe/index.ts'
import type { Connection } from '#policy/model/index.ts'
import type { TrustedPeer } from '../tls/verify-peer.ts'

/** Who is at the other end of an accepted connection, as far as is known. */
export interface Peer {
  readonly connection: Connection
  /** The line that tells the app who called, with its CRLF; a constant of the connection. */
  readonly forwardedCert: string
}

/** A peer whose certificate was verified. */
export function peerOf(
  socket: TLSSocket,
  { id, leaf }: TrustedPeer,
  { own, port }: { readonly own: SpiffeId; readonly port: number },
): Peer {
  const sni = typeof socket.servername === 'string' ? socket.servername.toLowerCase() : undefined
  const hash = createHash('sha256').update(leaf).digest('hex')
  return {
    connection: { ...addressesOf(socket), destinationPort: port, peer: id, sni },
    forwardedCert: `x-forwarded-client-cert: By=${own};Hash=${hash};Subject="";URI=${id}\r\n`,
  }
}

/** A caller in plaintext: nobody. */
export function plaintextPeer(socket: Socket, port: number): Peer {
  return {
    connection: { ...addressesOf(socket), destinationPort: port, peer: undefined, sni: undefined },
    forwardedCert: '',
  }
}

function addressesOf(socket: Socket): Pick<Connection, 'sourceIp' | 'destinationIp'> {
  return { sourceIp: plain(socket.remoteAddress), destinationIp: plain(socket.localAddress) }
}

/** An IPv4 address that came through a dual-stack socket is an IPv4 address. */
function plain(address: string | undefined): string {
  return (address ?? '').replace(/^::ffff:/, '')
}
