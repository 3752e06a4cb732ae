/** What administrators are told, on the wire. */
import { type ListedCertificate, pageSize } from '../admin/list-certificates.ts'
import type { AuthorityStatus, CaStatus } from '../admin/status.ts'
import type {
  AuthorityStatus as AuthorityMessage,
  CaStatus as StatusMessage,
  LedgerRow,
  ListCertificatesResponse,
} from '../proto/gen/admin.ts'

export function statusToProto({ authorities, generation, ...status }: CaStatus): StatusMessage {
  return {
    ...status,
    generation: BigInt(generation),
    authorities: authorities.map(authorityToProto),
  }
}

function authorityToProto(authority: AuthorityStatus): AuthorityMessage {
  const { notBefore, notAfter, activeAt, liveLeaves, ...rest } = authority
  return {
    ...rest,
    notBeforeMs: BigInt(notBefore.epochMilliseconds),
    notAfterMs: BigInt(notAfter.epochMilliseconds),
    activeAtMs: BigInt(activeAt?.epochMilliseconds ?? 0),
    liveLeaves: BigInt(liveLeaves),
  }
}

/** A page of rows; a full one may have a next. */
export function listToProto(
  rows: readonly ListedCertificate[],
  limit: number,
): ListCertificatesResponse {
  const isFull = rows.length === pageSize(limit)
  return { rows: rows.map(rowToProto), next: BigInt(isFull ? (rows.at(-1)?.log_index ?? 0) : 0) }
}

function rowToProto(row: ListedCertificate): LedgerRow {
  return {
    logIndex: BigInt(row.log_index),
    serial: row.serial,
    kind: row.kind,
    subject: row.subject,
    issuerSerial: row.issuer_serial,
    issuedAtMs: BigInt(row.issued_at),
    notBeforeMs: BigInt(row.not_before),
    notAfterMs: BigInt(row.not_after),
    requestedBy: row.requested_by,
  }
}
