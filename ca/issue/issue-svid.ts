import { randomBytes, sign, X509Certificate } from 'node:crypto'

import { CaError } from '../error.ts'
import type { SpiffeId } from '../spiffe/index.ts'
import { signedDer } from '../x509/algorithm.ts'
import type { CertificateRow } from './database.ts'
import type { Ledger } from './ledger.ts'
import { selfCheck } from './self-check.ts'
import {
  compileTemplate,
  planSvid,
  SERIAL_BYTES,
  type SvidRequest,
  type SvidTemplate,
} from './template.ts'
import { type Authority, skiOf } from '../keys/authority.ts'

/** A leaf that is in the ledger and may be handed out. */
export interface IssuedSvid {
  readonly spiffeId: SpiffeId
  /** DER, leaf first, without the root. */
  readonly chain: readonly Uint8Array[]
  /** Lower-case hex. */
  readonly serial: string
  /** Serial of the issuing CA, the same way. */
  readonly issuerSerial: string
  readonly issuedAt: Temporal.Instant
  readonly notBefore: Temporal.Instant
  readonly notAfter: Temporal.Instant
}

/** Signs leaves of one issuing CA. Making one costs a parse of the issuer; signing then only concatenates. */
export interface SvidSigner {
  readonly authority: Authority
  /**
   * The leaf for a template, checked.
   *
   * @throws {CaError} `CA_SVID_SELF_CHECK_FAILED`
   */
  readonly seal: (template: SvidTemplate) => Uint8Array
}

export function createSvidSigner(authority: Authority): SvidSigner {
  const { certificate, key, signer } = authority
  const { algorithmDer, hash } = signer
  const encode = compileTemplate({
    algorithmDer,
    name: certificate.subject,
    ski: skiOf(certificate),
  })
  const x509 = new X509Certificate(certificate.der)
  const issuer = { certificate, x509, publicKey: x509.publicKey }
  return {
    authority,
    seal(template) {
      const tbs = encode(template)
      const leafDer = signedDer(tbs, signer, sign(hash, tbs, key))
      const faults = selfCheck(leafDer, template, issuer)
      if (faults.length === 0) return leafDer
      throw new CaError(
        'CA_SVID_SELF_CHECK_FAILED',
        `Cannot issue an SVID for "${template.spiffeId}": ${faults.join('; ')}`,
      )
    },
  }
}

/**
 * Signs one leaf; not yet in the ledger, so not yet to be handed out.
 *
 * @throws {CaError} `CA_SIGNER_UNAVAILABLE` if the issuing CA has ended, `CA_SVID_SELF_CHECK_FAILED`
 */
export function signSvid(
  { authority, seal }: SvidSigner,
  request: SvidRequest,
  issuedAt: Temporal.Instant,
): IssuedSvid {
  const { certificate } = authority
  if (Temporal.Instant.compare(issuedAt, certificate.notAfter) >= 0) {
    throw new CaError(
      'CA_SIGNER_UNAVAILABLE',
      `Cannot issue an SVID: the issuing CA ended at ${certificate.notAfter}`,
    )
  }
  const entropy = randomBytes(SERIAL_BYTES)
  const template = planSvid(request, issuedAt, entropy, certificate.notAfter)
  const leafDer = seal(template)
  return {
    spiffeId: template.spiffeId,
    chain: [leafDer, certificate.der],
    serial: serialText(entropy),
    issuerSerial: certificate.serial,
    issuedAt,
    notBefore: template.notBefore,
    notAfter: template.notAfter,
  }
}

/** Lower-case hex without leading zero bytes: the form in which certificates and ledger are compared. */
export function serialText(serial: Uint8Array): string {
  const hex = Buffer.from(serial).toString('hex')
  return hex.replace(/^(00)+(?=..)/, '')
}

/** Puts leaves in the ledger. Only what has been through here may leave the CA. */
export function recordSvids(
  ledger: Ledger,
  svids: readonly IssuedSvid[],
  requestedBy: SpiffeId,
): Promise<void> {
  return ledger.record({ certificates: svids.map((svid) => rowOf(svid, requestedBy)) })
}

function rowOf(svid: IssuedSvid, requestedBy: SpiffeId): CertificateRow {
  return {
    serial: svid.serial,
    kind: 'leaf',
    subject: svid.spiffeId,
    issuer_serial: svid.issuerSerial,
    issued_at: svid.issuedAt.epochMilliseconds,
    not_before: svid.notBefore.epochMilliseconds,
    not_after: svid.notAfter.epochMilliseconds,
    requested_by: requestedBy,
    der: svid.chain[0] ?? new Uint8Array(),
  }
}
