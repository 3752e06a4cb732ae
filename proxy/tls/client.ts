import type { Socket, SocketConstructorOpts, TcpNetConnectOpts } from 'node:net'
import { type ConnectionOptions, connect, type SecureContext, type TLSSocket } from 'node:tls'
import type { Svid } from '#agent/client/index.ts'
import type { SpiffeId, TrustDomain } from '#ca/spiffe/index.ts'
import type { Live } from '#core/live.ts'
import { lifeMs, type TrustedPeer, verifyPeer } from './verify-peer.ts'
import type { WatchedPeers } from './watch-peers.ts'

export interface TlsDialDeps {
  readonly svid: Live<Svid>
  /** Other names of our trust domain, as they are now. */
  readonly aliases: () => readonly TrustDomain[]
  readonly now: () => Temporal.Instant
  readonly peers: WatchedPeers
  /** The context that shows a certificate, made once for each. */
  readonly contextOf: (svid: Svid) => SecureContext
}

export interface TlsTarget {
  readonly host: string
  readonly port: number
  readonly sourceAddress: string | undefined
  readonly sni: string
  readonly alpn: string
  /** Who may answer: secure naming. */
  readonly identities: readonly SpiffeId[]
}

export interface TlsOutcome {
  /** `lifeMs`: until the first of the two certificates runs out. */
  readonly onOpen: (socket: TLSSocket, peer: TrustedPeer, lifeMs: number) => void
  readonly onFailure: (kind: 'connect' | 'untrusted', detail: string) => void
}

/**
 * Dials a peer sidecar. `onOpen` comes only after its certificate, its identity and the protocol have
 * been verified; nothing has been read or written by then.
 *
 * @returns the socket, to give up with `destroy()` before either callback came
 */
export function dialTls(deps: TlsDialDeps, target: TlsTarget, outcome: TlsOutcome): Socket {
  const svid = deps.svid.current
  const options: ConnectionOptions &
    Pick<TcpNetConnectOpts, 'localAddress'> &
    SocketConstructorOpts = {
    host: target.host,
    port: target.port,
    ...(target.sourceAddress === undefined ? {} : { localAddress: target.sourceAddress }),
    servername: target.sni,
    secureContext: deps.contextOf(svid),
    ALPNProtocols: [target.alpn],
    // `verifyPeer` judges, below.
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
    allowHalfOpen: true,
  }
  const socket = connect(options)
  socket.setNoDelay(true)
  const onError = (cause: NodeJS.ErrnoException): void => {
    outcome.onFailure('connect', cause.code ?? cause.message)
  }
  socket.once('error', onError)
  socket.once('secureConnect', () => {
    const now = deps.now()
    const { identities } = target
    const aliases = deps.aliases()
    // The bundles of this moment: trust may have changed since the dial began.
    const svidNow = deps.svid.current
    const peer = verifyPeer(socket, { svid: svidNow, aliases, now, role: 'server', identities })
    socket.removeListener('error', onError)
    if (peer.kind === 'ok' && socket.alpnProtocol === target.alpn) {
      deps.peers.add(socket, peer)
      const ends = [svid.notAfter, peer.notAfter].map((notAfter) => lifeMs(notAfter, now))
      return outcome.onOpen(socket, peer, Math.min(...ends))
    }
    socket.on('error', () => {})
    socket.destroy()
    if (peer.kind === 'refused') outcome.onFailure('untrusted', `${peer.reason}: ${peer.detail}`)
    else outcome.onFailure('connect', `the peer does not speak ${target.alpn}`)
  })
  return socket
}
