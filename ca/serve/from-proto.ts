/** The wire's requests as the domain's. Every field is absent until proved otherwise. */
import type { Evidence } from '../attest/evidence.ts'
import { CaError, type CaErrorCode } from '../error.ts'
import type { CsrRequest } from '../issue/admit.ts'
import type { JwtRequest } from '../issue/issue-jwt.ts'
import type {
  AttestRequest,
  BundleAck,
  IssueJwtRequest,
  IssueRequest,
  Subscriber as SubscriberMessage,
} from '../proto/gen/ca.ts'
import { parseSpiffeId } from '../spiffe/index.ts'
import type { Acknowledgement, ProcessReport } from './subscribers.ts'

/** CSRs in one call. */
export const MAX_BATCH = 500

/** @throws {CaError} `CA_CSR_REJECTED` if there is none, or more than {@link MAX_BATCH} */
export function csrRequestsFromProto({ csrs }: IssueRequest): readonly CsrRequest[] {
  assertBatch(csrs.length, 'CA_CSR_REJECTED')
  return csrs.map(({ spiffeId, csr, ttlSeconds }) => ({ spiffeId, csrDer: csr, ttlSeconds }))
}

/** @throws {CaError} `CA_JWT_INVALID` if there is none, or more than {@link MAX_BATCH} */
export function jwtRequestsFromProto({ requests }: IssueJwtRequest): readonly JwtRequest[] {
  assertBatch(requests.length, 'CA_JWT_INVALID')
  return requests
}

function assertBatch(count: number, code: CaErrorCode): void {
  if (count > 0 && count <= MAX_BATCH) return
  throw new CaError(
    code,
    `Cannot issue: the call has ${count} requests, expected 1 to ${MAX_BATCH}`,
  )
}

/** What an agent that is not known yet asks with. */
export interface Attestation {
  readonly evidence: Evidence
  readonly csrDer: Uint8Array
}

/** @throws {CaError} `CA_EVIDENCE_REFUSED` unless there is evidence of exactly one kind */
export function attestationFromProto(message: AttestRequest): Attestation {
  const { joinToken, csr: csrDer, kubernetesToken, certificate } = message
  const all: readonly Evidence[] = [
    ...(joinToken === '' ? [] : [{ kind: 'join-token', token: joinToken } as const]),
    ...(kubernetesToken === '' ? [] : [{ kind: 'kubernetes', token: kubernetesToken } as const]),
    ...(certificate ? [{ kind: 'certificate', proof: certificate } as const] : []),
  ]
  const [evidence, ...others] = all
  if (evidence && others.length === 0) return { evidence, csrDer }
  throw new CaError(
    'CA_EVIDENCE_REFUSED',
    `Cannot attest the agent: it showed ${all.length} kinds of evidence, expected one`,
  )
}

/** Characters of a name that is for people only. */
const MAX_NAME = 256

/** @throws {CaError} `CA_ID_INVALID` if a process has no SPIFFE ID */
export function acknowledgementFromProto(message: BundleAck): Acknowledgement {
  return {
    generation: Number(message.generation),
    denials: Number(message.denials),
    name: message.name.slice(0, MAX_NAME),
    processes: message.subscribers.map(processFromProto),
  }
}

function processFromProto(message: SubscriberMessage): ProcessReport {
  const number = Number(message.number)
  if (message.gone) return { kind: 'gone', number }
  return {
    kind: 'there',
    number,
    id: parseSpiffeId(message.spiffeId),
    name: message.name.slice(0, MAX_NAME),
    generation: Number(message.generation),
    denials: Number(message.denials),
  }
}
