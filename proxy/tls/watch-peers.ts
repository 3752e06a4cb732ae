import type { TLSSocket } from 'node:tls'
import type { Svid } from '#agent/client/index.ts'
import { trustDomainOf } from '#ca/spiffe/index.ts'
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

type WatchedPeer = DeniablePeer & Pick<TrustedPeer, 'id'>

/** The TLS connections of a sidecar, in both directions, for as long as they are open. */
export interface WatchedPeers {
  /** Counts in a connection whose peer has just been verified. */
  readonly add: (socket: TLSSocket, peer: TrustedPeer) => void
  readonly count: () => number
}

/**
 * Ends connections, requests and all, whose peer is put on the deny-list while they are open, or whose
 * trust domain is federated with no longer: at its handshake nobody knew. Only a change of the list
 * or of the domains looks at them, never a request.
 *
 * @param signal - Ends the watch.
 */
export function watchPeers(deps: WatchPeersDeps, signal: AbortSignal): WatchedPeers {
  const peers = new Map<TLSSocket, WatchedPeer>()
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
  peers: ReadonlyMap<TLSSocket, WatchedPeer>,
  signal: AbortSignal,
): Promise<void> {
  let seen = seenIn(svid.current)
  for await (const current of svid.changes(signal)) {
    const before = seen
    seen = seenIn(current)
    const left = new Set(before.foreign.filter((name) => !seen.foreign.includes(name)))
    if (seen.denies === before.denies && left.size === 0) continue
    let ended = 0
    for (const [socket, peer] of peers) {
      if (!left.has(trustDomainOf(peer.id)) && !findDenied(seen.denies, peer, now())) continue
      socket.destroy()
      ended += 1
    }
    if (ended > 0) log('warn', 'denied-peers-cut-off', { connections: ended })
  }
}

function seenIn({ bundles: [own, ...others] }: Svid) {
  return { denies: own?.denies, foreign: others.map(({ trustDomain }) => trustDomain) }
}
