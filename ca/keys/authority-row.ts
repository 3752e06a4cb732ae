import type { CertificateRow } from '../issue/database.ts'
import { BACKDATE_SECONDS } from '../issue/template.ts'
import type { Authority } from './authority.ts'

/** The ledger's row for a CA certificate: the CA's own are recorded like any other. */
export function authorityRow(
  { certificate }: Authority,
  kind: 'root' | 'issuing',
  issuer: Authority,
): CertificateRow {
  const { serial, der, notBefore, notAfter, uriSans } = certificate
  return {
    serial,
    kind,
    subject: uriSans[0] ?? '',
    issuer_serial: issuer.certificate.serial,
    issued_at: notBefore.epochMilliseconds + BACKDATE_SECONDS * 1000,
    not_before: notBefore.epochMilliseconds,
    not_after: notAfter.epochMilliseconds,
    requested_by: 'self',
    life: null,
    der,
  }
}
