import { CaError } from '../error.ts'
import type { JwtKey } from '../jwt/jwt-svid-keys.ts'
import { type SpiffeId, type TrustDomain, trustDomainOf } from '../spiffe/index.ts'
import { findPath } from './chain.ts'
import { type Denies, findDenied } from './deny-list.ts'
import { type Certificate, readCertificate } from './certificate.ts'
import { keyIdOf } from './key-id.ts'
import { readIssuer } from './known-issuers.ts'
import { judgeLeaf, type PeerRefusal, refuse } from './leaf-rules.ts'
import { MAX_CHAIN } from './peer-chain.ts'

/** What one trust domain vouches with. Bundles of different domains are never merged (SPIFFE bundle §4). */
export interface TrustBundle {
  readonly trustDomain: TrustDomain
  /**
   * Other names of the domain, as `trustDomainAliases` says: leaves of these lead to the same roots,
   * unless a bundle of their own is there.
   */
  readonly aliases?: readonly TrustDomain[]
  /** Only grows. */
  readonly generation: number
  /** DER of each root. None: every SVID of the domain is refused. */
  readonly roots: readonly Uint8Array[]
  /** What verifies JWT-SVIDs. Left out: not known here; none: every token of the domain is refused. */
  readonly jwtKeys?: readonly JwtKey[]
  /** Key identifiers, lower-case hex, of issuing CAs whose leaves are to be renewed at once; for agents. */
  readonly renewKeys?: readonly string[]
  /**
   * Bundles of the domains that this one is federated with, as its CA hands them out; for agents. Each
   * vouches for its own domain alone: none is ever merged with another.
   */
  readonly federated?: readonly TrustBundle[]
  /** What this bundle no longer vouches for, whatever its roots signed. Left out: nothing is denied. */
  readonly denies?: Denies | undefined
}

/** Who a peer is, or why it is nobody. */
export type PeerVerdict =
  | {
      readonly kind: 'ok'
      readonly id: SpiffeId
      /** Lower-case hex. */
      readonly serial: string
      /** When the leaf runs out; connections should not outlive it by much. */
      readonly notAfter: Temporal.Instant
      /** See `keyIdOf`; of the leaf, and of each CA above it up to the root. */
      readonly keyIds: readonly string[]
    }
  | { readonly kind: 'refused'; readonly reason: PeerRefusal; readonly detail: string }

/**
 * Verifies an X509-SVID and its chain: the one check between a TLS handshake and the first byte.
 *
 * The leaf must be a well-formed SVID, in time at `now`, lead by valid signatures to a root of
 * *its own* trust domain's bundle, and not be on the deny-list by its serial, its name or a key of
 * that path. Never throws on what a peer sends, and never consults OpenSSL's clock, stores or name
 * checks; OpenSSL only does the arithmetic of signatures.
 *
 * @param chain - DER, leaf first; further certificates in any order.
 * @param role - What the peer is in this handshake; names the extended key usage that must hold
 *   all the way down.
 * @see X509-SVID §5, RFC 5280 §6
 */
export function verifySvid(
  chain: readonly Uint8Array[],
  bundles: readonly TrustBundle[],
  now: Temporal.Instant,
  role: 'client' | 'server',
): PeerVerdict {
  if (chain.length === 0) return refuse('no-certificate', 'the peer sent no certificate')
  if (chain.length > MAX_CHAIN) {
    return refuse('chain-too-long', `the chain has ${chain.length} certificates`)
  }
  const certificates = readAll(chain)
  if (typeof certificates === 'string') return refuse('malformed', certificates)
  const [leaf, ...others] = certificates
  if (!leaf) return refuse('no-certificate', 'the peer sent no certificate')

  const id = judgeLeaf(leaf)
  if (typeof id !== 'string') return id
  const domain = trustDomainOf(id)
  const bundle = bundleFor(bundles, domain)
  if (!bundle) {
    return refuse('unknown-trust-domain', `there is no bundle for "${domain}"`)
  }
  const path = findPath(leaf, { others, bundle, domain, now, role })
  if (path.kind === 'refused') return path
  const { serial, notAfter } = leaf
  const peer = { id, serial, notAfter, keyIds: path.certificates.map(keyIdOf) }
  const denied = findDenied(bundle.denies, peer, now)
  if (denied) return refuse('denied', `the ${denied.kind} ${denied.value} is on the deny-list`)
  return { kind: 'ok', ...peer }
}

function bundleFor(bundles: readonly TrustBundle[], domain: TrustDomain): TrustBundle | undefined {
  return (
    bundles.find(({ trustDomain }) => trustDomain === domain) ??
    bundles.find(({ aliases }) => aliases?.includes(domain))
  )
}

function readAll(chain: readonly Uint8Array[]): readonly Certificate[] | string {
  try {
    return chain.map((der, index) => (index === 0 ? readCertificate(der) : readIssuer(der)))
  } catch (cause) {
    if (!(cause instanceof CaError)) throw cause
    return cause.message
  }
}

/**
 * What of a peer that was verified before has been denied since: the same rule as at its handshake, for
 * connections that are open. Constant time.
 */
export function deniedBy(
  bundles: readonly TrustBundle[],
  peer: PeerVerdict & { readonly kind: 'ok' },
  now: Temporal.Instant,
): ReturnType<typeof findDenied> {
  const denying = bundleFor(bundles, trustDomainOf(peer.id))
  return findDenied(denying?.denies, peer, now)
}
