/** The wire's requests as the domain's. Every field is absent until proved otherwise. */
import { CaError } from '../error.ts'
import type { CsrRequest } from '../issue/admit.ts'
import type { AttestRequest, IssueRequest } from '../proto/gen/ca.ts'

/** CSRs in one call. */
export const MAX_BATCH = 500

/** @throws {CaError} `CA_CSR_REJECTED` if there is none, or more than {@link MAX_BATCH} */
export function csrRequestsFromProto({ csrs }: IssueRequest): readonly CsrRequest[] {
  if (csrs.length === 0 || csrs.length > MAX_BATCH) {
    throw new CaError(
      'CA_CSR_REJECTED',
      `Cannot issue: the call has ${csrs.length} requests, expected 1 to ${MAX_BATCH}`,
    )
  }
  return csrs.map(({ spiffeId, csr, ttlSeconds }) => ({ spiffeId, csrDer: csr, ttlSeconds }))
}

/** What an agent that is not known yet asks with. */
export interface Attestation {
  readonly joinToken: string
  readonly csrDer: Uint8Array
}

export function attestationFromProto({ joinToken, csr }: AttestRequest): Attestation {
  return { joinToken, csrDer: csr }
}
