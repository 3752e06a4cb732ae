import { X509Certificate } from 'node:crypto'

import { trustDomainOf } from '../spiffe/index.ts'
import { type Denies, type TrustBundle, verifySvid } from '../x509/index.ts'
import type { CertificateReport } from './describe.ts'
import { readId } from './findings/finding.ts'

/** Whether a chain leads to a root, as `redoubt cert inspect --output json` prints it. */
export interface ChainReport {
  /** `null`: nothing to verify against was known, so that it is neither true nor false. */
  readonly verified: boolean | null
  /** Subject of the root that it leads to; `null` when it leads to none. */
  readonly trustAnchor: string | null
  /** Why it is not verified. */
  readonly error: string | null
}

/** What a chain is judged by: roots, and the trust domain they are for if it is known. */
export interface Anchors {
  readonly trustDomain?: TrustBundle['trustDomain']
  /** DER. */
  readonly roots: readonly Uint8Array[]
  /** What is trusted no longer although they vouch for it. Left out: not known, nothing is denied. */
  readonly denies?: Denies | undefined
}

/**
 * Judges the first leaf among `reports`, or the first authority where there is no leaf, with the
 * rest as its chain. A leaf is judged as a sidecar would; an authority, which is nobody's identity,
 * by signatures and dates alone.
 */
export function judgeChain(
  chain: readonly Uint8Array[],
  reports: readonly CertificateReport[],
  anchors: Anchors | undefined,
  now: Temporal.Instant,
): ChainReport {
  if (!anchors) return unknown('no trust bundle is known to verify it against')
  const leafAt = reports.findIndex(({ ca }) => !ca)
  const leaf = reports[leafAt]
  if (!leaf) return judgeAuthority(chain, anchors, now)
  const id = readId(leaf.spiffeId ?? '')
  if (typeof id !== 'string') return refused('spiffe-id: it is no SVID: see the findings')
  const path = [...chain.slice(leafAt), ...chain.slice(0, leafAt)]
  const trustDomain = anchors.trustDomain ?? trustDomainOf(id)
  const verify = (roots: readonly Uint8Array[]) =>
    verifySvid(path, [{ ...anchors, trustDomain, generation: 0, roots }], now, 'server')
  const verdict = verify(anchors.roots)
  if (verdict.kind === 'refused') return refused(`${verdict.reason}: ${verdict.detail}`)
  const anchor = anchors.roots.find((root) => verify([root]).kind === 'ok')
  return { verified: true, trustAnchor: anchor ? subjectOf(anchor) : null, error: null }
}

/** An authority is verified when it is a root, or when roots and the chain's others signed it. */
function judgeAuthority(
  chain: readonly Uint8Array[],
  { roots }: Anchors,
  now: Temporal.Instant,
): ChainReport {
  const [first, ...others] = chain.map((der) => new X509Certificate(der))
  const trusted = roots.map((der) => new X509Certificate(der))
  for (let at = first, steps = 0; at && steps <= others.length; steps += 1) {
    if (!isInTime(at, now)) return refused(`expired: ${subjectOf(at.raw)} is not valid now`)
    const { raw } = at
    if (trusted.some((root) => root.raw.equals(raw))) return anchored(raw)
    const root = trusted.find((issuer) => isIssuedBy(at, issuer))
    if (root)
      return isInTime(root, now)
        ? anchored(root.raw)
        : refused('expired: the root is not valid now')
    at = others.find((issuer) => isIssuedBy(at, issuer))
  }
  return refused('untrusted-issuer: no certificate in the chain or the bundle issued it')
}

function isIssuedBy(certificate: X509Certificate | undefined, issuer: X509Certificate): boolean {
  if (!certificate || certificate === issuer || !certificate.checkIssued(issuer)) return false
  try {
    return certificate.verify(issuer.publicKey)
  } catch {
    return false // a key that OpenSSL does not know
  }
}

function isInTime({ validFromDate, validToDate }: X509Certificate, now: Temporal.Instant): boolean {
  const at = now.epochMilliseconds
  return validFromDate.getTime() <= at && at <= validToDate.getTime()
}

function subjectOf(der: Uint8Array): string {
  const { subject, subjectAltName, fingerprint256 } = new X509Certificate(der)
  return subject?.replaceAll('\n', ', ') || subjectAltName || fingerprint256
}

function anchored(der: Uint8Array): ChainReport {
  return { verified: true, trustAnchor: subjectOf(der), error: null }
}

function refused(error: string): ChainReport {
  return { verified: false, trustAnchor: null, error }
}

function unknown(error: string): ChainReport {
  return { verified: null, trustAnchor: null, error }
}
