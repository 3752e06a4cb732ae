/** What administrators are told, on the wire. */
import { type ListedCertificate, pageSize } from '../admin/list-certificates.ts'
import { FOR_EVER } from '../admin/revoke.ts'
import type { StepOutcome } from '../admin/rotate.ts'
import type { AuthorityStatus, CaStatus } from '../admin/status.ts'
import type { JwtKeyStatus } from '../keys/jwt-keyring.ts'
import type {
  AuthorityStatus as AuthorityMessage,
  CaStatus as StatusMessage,
  JwtKeyStatus as JwtKeyMessage,
  LedgerRow,
  ListCertificatesResponse,
  ReplicaStatus as ReplicaMessage,
  StepResponse,
  SubscriberStatus,
} from '../proto/gen/admin.ts'
import type { ReplicaStatus } from './board.ts'
import { refusalToProto } from './to-proto.ts'
import type { Subscriber } from './subscribers.ts'

/** Entries of the deny-list in one status; how many there are is told besides. */
const TOLD_DENIALS = 100

export function statusToProto(status: CaStatus): StatusMessage {
  const { authorities, generation, rotation, subscribers, replicas, jwtKeys, denials, ...rest } =
    status
  return {
    ...rest,
    generation: BigInt(generation),
    authorities: authorities.map(authorityToProto),
    rotation: rotation && {
      phase: rotation.phase,
      fromKeyId: rotation.from,
      toKeyId: rotation.to,
      startedAtMs: BigInt(rotation.startedAt.epochMilliseconds),
    },
    subscribers: subscribers.map(subscriberToProto),
    replicas: replicas.map(replicaToProto),
    jwtKeys: jwtKeys.map(jwtKeyToProto),
    denials: denials.slice(-TOLD_DENIALS).map(({ kind, value, until }) => ({
      kind,
      value,
      untilMs: until.equals(FOR_EVER) ? 0n : BigInt(until.epochMilliseconds),
    })),
    denialCount: BigInt(denials.length),
  }
}

function replicaToProto({ startedAt, seenAt, ...rest }: ReplicaStatus): ReplicaMessage {
  return {
    ...rest,
    startedAtMs: BigInt(startedAt.epochMilliseconds),
    seenAtMs: BigInt(seenAt.epochMilliseconds),
  }
}

function jwtKeyToProto(key: JwtKeyStatus): JwtKeyMessage {
  const { keyId, state, createdAt, activeAt, notAfter } = key
  return {
    keyId,
    state,
    createdAtMs: BigInt(createdAt.epochMilliseconds),
    activeAtMs: BigInt(activeAt.epochMilliseconds),
    notAfterMs: BigInt(notAfter.epochMilliseconds),
  }
}

function subscriberToProto(subscriber: Subscriber): SubscriberStatus {
  const { id, kind, name, generation, connected } = subscriber
  return { id, kind, name, generation: BigInt(generation), connected }
}

/** What has become of a step, with the state of the CA afterwards. */
export function stepToProto(
  { notYet, laggards, leaves }: StepOutcome,
  status: CaStatus,
): StepResponse {
  return {
    notYet: notYet && refusalToProto(notYet),
    laggards: laggards.map(subscriberToProto),
    leaves: leaves.rows.map(rowToProto),
    leafCount: BigInt(leaves.count),
    replacedCount: BigInt(leaves.replaced),
    status: statusToProto(status),
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
    life: row.life ?? '',
  }
}
