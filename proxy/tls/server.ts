import type { Socket } from 'node:net'
import { createServer, type TLSSocket } from 'node:tls'
import type { Svid } from '#agent/client/index.ts'
import type { TrustDomain } from '#ca/spiffe/index.ts'
import type { Live } from '#core/live.ts'
import { contextOptions } from './parameters.ts'
import { type TrustedPeer, type UntrustedPeer, verifyPeer } from './verify-peer.ts'
import type { WatchedPeers } from './watch-peers.ts'

export interface TlsTerminatorOptions {
  readonly svid: Live<Svid>
  /** Other names of our trust domain, as they are now. */
  readonly aliases: () => readonly TrustDomain[]
  readonly now: () => Temporal.Instant
  /** What is spoken inside, best first; asked at each handshake. */
  readonly alpn: () => readonly string[]
  readonly peers: WatchedPeers
  /** The handshake is done and the peer verified; nothing has been read. */
  readonly onPeer: (socket: TLSSocket, peer: TrustedPeer) => void
  /** The connection is closed already. */
  readonly onRefused: (socket: Socket, why: Omit<UntrustedPeer, 'kind'>) => void
}

/** Milliseconds for a handshake. */
const HANDSHAKE_TIMEOUT_MS = 10_000

/**
 * Takes TLS off accepted connections. It never listens itself, so that one port can have TLS and
 * plaintext; a connection may be given with bytes already read put back (`unshift`).
 */
export function createTlsTerminator(options: TlsTerminatorOptions): (socket: Socket) => void {
  const { svid, aliases, alpn, now, peers, onPeer, onRefused } = options
  let shown = svid.current
  const server = createServer({
    ...contextOptions(shown),
    requestCert: true,
    // `verifyPeer` judges, below: OpenSSL would refuse without saying whom or why.
    rejectUnauthorized: false,
    ALPNCallback: ({ protocols }) => alpn().find((name) => protocols.includes(name)),
    handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
    allowHalfOpen: true,
  })
  server.on('secureConnection', (socket) => {
    const peer = verifyPeer(socket, {
      svid: svid.current,
      aliases: aliases(),
      now: now(),
      role: 'client',
    })
    if (peer.kind === 'ok') {
      peers.add(socket, peer)
      return onPeer(socket, peer)
    }
    socket.on('error', () => {})
    socket.destroy()
    onRefused(socket, peer)
  })
  server.on('tlsClientError', (cause: NodeJS.ErrnoException, socket) => {
    socket.destroy()
    onRefused(socket, { reason: 'handshake-failed', detail: cause.code ?? cause.message })
  })
  return (socket) => {
    if (svid.current !== shown) {
      shown = svid.current
      server.setSecureContext(contextOptions(shown))
    }
    server.emit('connection', socket)
  }
}
