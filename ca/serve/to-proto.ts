/** The domain's answers as the wire's. */
import { Metadata, type ServiceError, status } from '@grpc/grpc-js'

import { CaError, type CaErrorCode } from '../error.ts'
import type { IssuedSvid } from '../issue/issue-svid.ts'
import type { IssuedJwtSvid } from '../jwt/jwt-svid-sign.ts'
import { jwtKeysText } from '../jwt/jwt-svid-keys.ts'
import type {
  Bundle,
  DenyChanges as DenyChangesMessage,
  IssueResult,
  JwtResult,
  Refusal,
  Svid,
} from '../proto/gen/ca.ts'
import type { DenyChanges, TrustBundle } from '../x509/index.ts'

export function svidToProto({ spiffeId, chain, issuedAt, notAfter }: IssuedSvid): Svid {
  return {
    spiffeId,
    chain: chain.map(bufferOf),
    issuedAtMs: BigInt(issuedAt.epochMilliseconds),
    notAfterMs: BigInt(notAfter.epochMilliseconds),
  }
}

export function bundleToProto(bundle: TrustBundle, denials?: DenyChanges): Bundle {
  const { trustDomain, generation, roots, jwtKeys, renewKeys = [], federated = [] } = bundle
  return {
    trustDomain,
    generation: BigInt(generation),
    roots: roots.map(bufferOf),
    jwtKeys: Buffer.from(jwtKeysText(jwtKeys ?? [])),
    renewKeys,
    federated: federated.map((foreign) => ({
      trustDomain: foreign.trustDomain,
      roots: foreign.roots.map(bufferOf),
      jwtKeys: Buffer.from(jwtKeysText(foreign.jwtKeys ?? [])),
    })),
    denials: denials && denyChangesToProto(denials),
  }
}

function denyChangesToProto({ base, generation, entries }: DenyChanges): DenyChangesMessage {
  return {
    base: BigInt(base),
    generation: BigInt(generation),
    entries: entries.map(({ kind, value, until, generation: since, lifted }) => ({
      kind,
      value,
      lifted,
      untilMs: BigInt(until.epochMilliseconds),
      generation: BigInt(since),
    })),
  }
}

/** One result of a batch. A refusal is an answer, not a failure of the call. */
export function issueResultToProto(result: IssuedSvid | CaError): IssueResult {
  if (!(result instanceof CaError)) {
    return { outcome: { $case: 'svid', svid: svidToProto(result) } }
  }
  return { outcome: { $case: 'refusal', refusal: refusalToProto(result) } }
}

/** One token of a batch, or the refusal in its place. */
export function jwtResultToProto(result: IssuedJwtSvid | CaError): JwtResult {
  if (result instanceof CaError) {
    return { outcome: { $case: 'refusal', refusal: refusalToProto(result) } }
  }
  const { token, issuedAt, expiresAt } = result
  const svid = {
    token,
    issuedAtMs: BigInt(issuedAt.epochMilliseconds),
    expiresAtMs: BigInt(expiresAt.epochMilliseconds),
  }
  return { outcome: { $case: 'svid', svid } }
}

/** A refusal that is an answer. */
export function refusalToProto(refusal: CaError): Refusal {
  const { code: reason, message } = refusal
  return { reason, message, retryAfterMs: retryAfterOf(refusal) }
}

/** Metadata key under which a failed call says the code of its {@link CaError}. */
export const REASON_KEY = 'redoubt-reason'

/** Metadata key of the milliseconds after which asking again may help; left out where it will not. */
export const RETRY_KEY = 'redoubt-retry-after-ms'

/** A failed call. A cause that nobody foresaw says nothing of itself. */
export function callErrorFrom(cause: unknown): Partial<ServiceError> {
  if (!(cause instanceof CaError)) return { code: status.INTERNAL, details: 'internal error' }
  const metadata = new Metadata()
  const { status: code } = ANSWERS[cause.code]
  const retryAfterMs = retryAfterOf(cause)
  metadata.set(REASON_KEY, cause.code)
  if (retryAfterMs > 0) metadata.set(RETRY_KEY, String(retryAfterMs))
  return { code, details: cause.message, metadata }
}

function retryAfterOf({ code, retryAfterMs }: CaError): number {
  return retryAfterMs ?? ANSWERS[code].retryAfterMs
}

interface Answer {
  readonly status: status
  /** 0: asking again will not help. */
  readonly retryAfterMs: number
}

const ANSWERS: Readonly<Record<CaErrorCode, Answer>> = {
  CA_ID_INVALID: { status: status.INVALID_ARGUMENT, retryAfterMs: 0 },
  CA_DER_INVALID: { status: status.INVALID_ARGUMENT, retryAfterMs: 0 },
  CA_CSR_REJECTED: { status: status.INVALID_ARGUMENT, retryAfterMs: 0 },
  CA_NOT_ADMITTED: { status: status.PERMISSION_DENIED, retryAfterMs: 0 },
  CA_CALLER_UNKNOWN: { status: status.UNAUTHENTICATED, retryAfterMs: 0 },
  CA_TOKEN_REFUSED: { status: status.UNAUTHENTICATED, retryAfterMs: 0 },
  CA_EVIDENCE_REFUSED: { status: status.UNAUTHENTICATED, retryAfterMs: 0 },
  CA_CERTIFICATE_TAINTED: { status: status.UNAUTHENTICATED, retryAfterMs: 0 },
  CA_REVIEW_UNAVAILABLE: { status: status.UNAVAILABLE, retryAfterMs: 1000 },
  CA_FEDERATION_INVALID: { status: status.FAILED_PRECONDITION, retryAfterMs: 0 },
  CA_CONFIG_INVALID: { status: status.FAILED_PRECONDITION, retryAfterMs: 0 },
  CA_STATE_UNUSABLE: { status: status.UNAVAILABLE, retryAfterMs: 1000 },
  CA_LISTEN_FAILED: { status: status.UNAVAILABLE, retryAfterMs: 1000 },
  CA_SIGNER_UNAVAILABLE: { status: status.UNAVAILABLE, retryAfterMs: 1000 },
  CA_SVID_SELF_CHECK_FAILED: { status: status.INTERNAL, retryAfterMs: 0 },
  CA_JWT_INVALID: { status: status.INVALID_ARGUMENT, retryAfterMs: 0 },
  CA_CREDENTIAL_UNSUPPORTED: { status: status.UNAUTHENTICATED, retryAfterMs: 0 },
  CA_DENIAL_INVALID: { status: status.INVALID_ARGUMENT, retryAfterMs: 0 },
  CA_ROTATION_REFUSED: { status: status.FAILED_PRECONDITION, retryAfterMs: 0 },
  CA_ROTATION_NOT_YET: { status: status.FAILED_PRECONDITION, retryAfterMs: 1000 },
  CA_NOT_ADMINISTRATOR: { status: status.PERMISSION_DENIED, retryAfterMs: 0 },
  CA_RATE_LIMITED: { status: status.RESOURCE_EXHAUSTED, retryAfterMs: 1000 },
  CA_BACKUP_INVALID: { status: status.FAILED_PRECONDITION, retryAfterMs: 0 },
  CA_LOG_INVALID: { status: status.FAILED_PRECONDITION, retryAfterMs: 0 },
}

/** The same bytes. */
export function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
}
