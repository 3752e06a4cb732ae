/** Who may administer the CA, and the row of the log that each of their calls leaves. */
import { CaError } from '../error.ts'
import type { CallRow } from '../issue/database.ts'
import type { Ledger } from '../issue/ledger.ts'
import { serviceAccountId, type SpiffeId, type TrustDomain } from '../spiffe/index.ts'

/** Somebody who has proved to be an administrator. */
export interface Administrator {
  /** For the log: a SPIFFE ID, or `uid:1000` for the owner of a mesh on this machine. */
  readonly name: string
  /** Of the certificate that proved it; left out for the owner of a mesh on this machine. */
  readonly serial?: string
}

/**
 * The administrator's name in every trust domain. No agent gets a certificate for it: only the owner
 * of a standalone mesh does, through {@link Ca.admitAdministrator}.
 */
export function adminIdOf(trustDomain: TrustDomain): SpiffeId {
  return serviceAccountId(trustDomain, {
    namespace: 'redoubt-system',
    serviceAccount: 'redoubt-admin',
  })
}

export interface AuditDeps {
  readonly ledger: Ledger
  readonly now: () => Temporal.Instant
}

/** An administrative call before its outcome is known. */
export interface AdminCall {
  readonly by: Administrator
  /** What for, e.g. `issue`. */
  readonly action: string
  /** Its arguments, bounded and without secrets. */
  readonly arguments: Readonly<Record<string, unknown>>
}

/**
 * Runs a call that changes something, so that it is a row of the log whatever comes of it.
 *
 * @param run - Records the row that it is given in the same commit as its change. If it throws a
 *   {@link CaError} instead, the refusal is recorded here.
 */
export async function audited<Result>(
  { ledger, now }: AuditDeps,
  call: AdminCall,
  run: (done: CallRow) => Promise<Result>,
): Promise<Result> {
  try {
    return await run(callRow(call, 'done', now()))
  } catch (cause) {
    if (cause instanceof CaError) await ledger.record({ calls: [callRow(call, cause.code, now())] })
    throw cause
  }
}

/** The row of a call with its outcome: `done`, or the reason of its refusal. */
export function callRow(
  { by, action, arguments: given }: AdminCall,
  outcome: string,
  now: Temporal.Instant,
): CallRow {
  const { name: caller, serial } = by
  const detail = JSON.stringify(serial === undefined ? given : { ...given, certificate: serial })
  return { at: now.epochMilliseconds, caller, action, detail, outcome }
}
