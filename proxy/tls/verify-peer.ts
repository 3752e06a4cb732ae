import type { SpiffeId, TrustDomain } from '#ca/spiffe/index.ts'
import { type PeerSocket, type PeerVerdict, peerChain, verifySvid } from '#ca/x509/index.ts'
import type { Svid } from '#agent/client/index.ts'

/** As much of a TLS socket as judging its peer needs. */
export interface JudgedSocket extends PeerSocket {
  readonly isSessionReused: () => boolean
}

/** A peer that may not talk to us, and why. */
export interface UntrustedPeer {
  readonly kind: 'refused'
  readonly reason: string
  readonly detail: string
}

/** Who the peer is, and the leaf that says so. */
export type TrustedPeer = Extract<PeerVerdict, { kind: 'ok' }> & { readonly leaf: Uint8Array }

export interface PeerExpectation {
  /** Ours: its bundles judge the peer. */
  readonly svid: Svid
  /** Other names of our trust domain, whose leaves our own bundle judges. @default none */
  readonly aliases?: readonly TrustDomain[]
  readonly now: Temporal.Instant
  /** What the peer is in this handshake. */
  readonly role: 'client' | 'server'
  /** Who it may be; left out: anyone whom a bundle vouches for. */
  readonly identities?: readonly SpiffeId[]
}

/**
 * The one check between a handshake and the first byte, in both directions. Our sockets let OpenSSL
 * accept any certificate, so that a refusal can be told with its reason; nothing may read from or
 * write to a socket that this has not passed.
 */
export function verifyPeer(
  socket: JudgedSocket,
  { svid, aliases, now, role, identities }: PeerExpectation,
): TrustedPeer | UntrustedPeer {
  if (socket.isSessionReused()) {
    return { kind: 'refused', reason: 'session-resumed', detail: 'the session was resumed' }
  }
  const chain = peerChain(socket)
  const verdict = verifySvid(chain, bundlesOf(svid, aliases), now, role)
  if (verdict.kind === 'refused') return verdict
  if (identities !== undefined && !identities.includes(verdict.id)) {
    const wanted = identities.join(', ')
    const detail = `the peer is ${verdict.id}, wanted ${wanted === '' ? 'nobody' : `one of ${wanted}`}`
    return { kind: 'refused', reason: 'identity-not-expected', detail }
  }
  return { ...verdict, leaf: chain[0] ?? new Uint8Array(0) }
}

/** The first bundle is our own. */
function bundlesOf({ bundles }: Svid, aliases: readonly TrustDomain[] = []): Svid['bundles'] {
  const [own, ...others] = bundles
  return own === undefined || aliases.length === 0 ? bundles : [{ ...own, aliases }, ...others]
}

/** Milliseconds until `notAfter`; the place where civil time becomes elapsed time. */
export function lifeMs(notAfter: Temporal.Instant, now: Temporal.Instant): number {
  return Math.max(0, notAfter.epochMilliseconds - now.epochMilliseconds)
}
