import { CaError } from '../error.ts'
import { parseSpiffeId, type SpiffeId, trustDomainOf } from '../spiffe/index.ts'
import type { Certificate } from './certificate.ts'
import { OID } from './oid.ts'

/** Stable reasons for which a peer is not who it must be. */
export type PeerRefusal =
  | 'no-certificate'
  | 'chain-too-long'
  | 'malformed'
  | 'spiffe-id'
  | 'leaf-is-ca'
  | 'key-usage'
  | 'extended-key-usage'
  | 'unknown-critical-extension'
  | 'unknown-trust-domain'
  | 'not-yet-valid'
  | 'expired'
  | 'untrusted-issuer'
  | 'issuer-not-ca'
  | 'path-length'
  | 'name-constraint'
  | 'bad-signature'
  | 'denied'

/** A rule that was not kept. */
export interface Refusal {
  readonly kind: 'refused'
  readonly reason: PeerRefusal
  /** One clause for people: what is so, and what was wanted. */
  readonly detail: string
}

/** Makes a {@link Refusal}. */
export function refuse(reason: PeerRefusal, detail: string): Refusal {
  return { kind: 'refused', reason, detail }
}

/**
 * The SPIFFE ID of a leaf that keeps every rule of X509-SVID §2–§5.2 that the leaf alone can keep,
 * or the first rule that it breaks. Time and trust are judged elsewhere.
 */
export function judgeLeaf(leaf: Certificate): SpiffeId | Refusal {
  return judgeUse(leaf) ?? judgeName(leaf)
}

function judgeUse(leaf: Certificate): Refusal | undefined {
  const { isCa, keyUsage, keyUsageIsCritical, extendedKeyUsage, unknownCritical } = leaf
  if (isCa) return refuse('leaf-is-ca', 'the leaf is a CA certificate, which must not authenticate')
  if (!keyUsage || !keyUsageIsCritical) {
    return refuse('key-usage', 'the leaf has no critical key usage')
  }
  if (keyUsage.includes('keyCertSign') || keyUsage.includes('cRLSign')) {
    return refuse('key-usage', 'the leaf may sign certificates or revocation lists')
  }
  if (!keyUsage.includes('digitalSignature')) {
    return refuse('key-usage', 'the leaf may not make digital signatures')
  }
  if (extendedKeyUsage && !BOTH_ROLES.every((usage) => extendedKeyUsage.includes(usage))) {
    return refuse('extended-key-usage', 'the leaf is not for both TLS servers and TLS clients')
  }
  if (unknownCritical.length > 0) {
    return refuse(
      'unknown-critical-extension',
      `the leaf has the critical extension ${unknownCritical[0]}, which is not understood`,
    )
  }
  return undefined
}

const BOTH_ROLES = [OID.serverAuth, OID.clientAuth]

function judgeName({ uriSans, subjectIsEmpty, sanIsCritical }: Certificate): SpiffeId | Refusal {
  const [uri = '', ...others] = uriSans
  if (uriSans.length === 0 || others.length > 0) {
    return refuse('spiffe-id', `the leaf has ${uriSans.length} URI names, expected exactly one`)
  }
  if (subjectIsEmpty && !sanIsCritical) {
    return refuse('spiffe-id', 'the leaf has no subject and its alternative name is not critical')
  }
  try {
    const id = parseSpiffeId(uri)
    if (id.length === `spiffe://${trustDomainOf(id)}`.length) {
      return refuse('spiffe-id', `${id} names a trust domain, expected a workload`)
    }
    return id
  } catch (cause) {
    if (!(cause instanceof CaError)) throw cause
    return refuse('spiffe-id', cause.message)
  }
}
