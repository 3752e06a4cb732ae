import type { TLSSocket } from 'node:tls'
import type { Svid } from '#agent/client/index.ts'
import { type DeniablePeer, findDenied } from '#ca/x509/index.ts'
import type { Live } from '#core/live.ts'
import type { Log } from '#core/log.ts'
import type { TrustedPeer } from './verify-peer.ts'

export interface WatchPeersDeps {
  /** Its bundles say what is denied. */
  readonly svid: Live<Svid>
  readonly now: () => Temporal.Instant
  readonly log: Log
}

/** The TLS connections of a sidecar, in both directions, for as long as they are open. */
export interface WatchedPeers {
  /** Counts in a connection whose peer has just been verified. */
  readonly add: (socket: TLSSocket, peer: TrustedPeer) => void
  readonly count: () => number
}

/**
 * Ends connections whose peer is put on the deny-list while they are open, requests and all: at its
 * handshake nobody knew. Only a change of the list looks at them, never a request.
 *
 * @param signal - Ends the watch.
 */
export function watchPeers(deps: WatchPeersDeps, signal: AbortSignal): WatchedPeers {
  const peers = new Map<TLSSocket, DeniablePeer>()
  void endDenied(deps, peers, signal)
  return {
    add(socket, { id, serial, keyIds }) {
      peers.set(socket, { id, serial, keyIds })
      socket.once('close', () => peers.delete(socket))
    },
    count: () => peers.size,
  }
}

async function endDenied(
  { svid, now, log }: WatchPeersDeps,
  peers: ReadonlyMap<TLSSocket, DeniablePeer>,
  signal: AbortSignal,
): Promise<void> {
  let seen = svid.current.bundles[0]?.denies
  for await (const { bundles } of svid.changes(signal)) {
    const denies = bundles[0]?.denies
    if (denies === seen) continue
    seen = denies
    let ended = 0
    for (const [socket, peer] of peers) {
      if (!findDenied(denies, peer, now())) continue
      socket.destroy()
      ended += 1
    }
    if (ended > 0) log('warn', 'denied-peers-cut-off', { connections: ended })
  }
}
