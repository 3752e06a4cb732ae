/** What administrators ask over the wire: who is one, and the answers. */
import type { sendUnaryData, ServerUnaryCall } from '@grpc/grpc-js'

import type { Live } from '#core/live.ts'
import type { Log } from '#core/log.ts'
import type { Administrator } from '../admin/administrator.ts'
import { type IssueForDeps, issueFor } from '../admin/issue-for.ts'
import { listCertificates } from '../admin/list-certificates.ts'
import { type CrlDeps, exportCrls } from '../admin/crl.ts'
import { revoke } from '../admin/revoke.ts'
import {
  ROTATE_STEPS,
  rotate,
  type RotateDeps,
  type RotateStep,
  type StepOutcome,
  taint,
} from '../admin/rotate.ts'
import type { CaStatus } from '../admin/status.ts'
import { CaError } from '../error.ts'
import type {
  AdministrationServer,
  IssueForRequest,
  IssueForResponse,
  ListCertificatesRequest,
  ListCertificatesResponse,
  StepResponse,
} from '../proto/gen/admin.ts'
import type { SpiffeId } from '../spiffe/index.ts'
import type { TrustBundle } from '../x509/index.ts'
import { listToProto, statusToProto, stepToProto } from './admin-to-proto.ts'
import type { PeerOf } from './calls.ts'
import { type LogCallDeps, prune, readLog } from './log-calls.ts'
import type { CaMetrics } from './metrics.ts'
import { bufferOf, bundleToProto, callErrorFrom, svidToProto } from './to-proto.ts'

/** What answering administrators needs. */
export interface AdminCallDeps extends IssueForDeps, LogCallDeps, RotateDeps, CrlDeps {
  readonly log: Log
  readonly metrics: CaMetrics
  readonly denials: RotateDeps['denials'] & CrlDeps['denials']
  readonly bundle: Live<TrustBundle>
  readonly status: () => Promise<CaStatus>
  readonly isAdministrator: (id: SpiffeId) => boolean
  readonly peerOf: PeerOf
}

export function administrationCalls(deps: AdminCallDeps): AdministrationServer {
  return {
    status: (call, callback) =>
      answer(deps, call, callback, async () => statusToProto(await deps.status())),
    listCertificates: (call, callback) => answer(deps, call, callback, list),
    issueFor: (call, callback) => answer(deps, call, callback, issue),
    readLog: (call, callback) => answer(deps, call, callback, readLog),
    pruneLedger: (call, callback) => answer(deps, call, callback, prune),
    rotate: (call, callback) =>
      answer(deps, call, callback, (_, by, { step, force }) =>
        stepped(deps, rotate(deps, by, { step: rotateStep(step), force })),
      ),
    taint: (call, callback) =>
      answer(deps, call, callback, (_, by, { keyId }) => stepped(deps, taint(deps, by, keyId))),
    revoke: (call, callback) =>
      answer(deps, call, callback, (_, by, request) => stepped(deps, revoke(deps, by, request))),
    exportCrls: (call, callback) =>
      answer(deps, call, callback, async () => ({ crls: (await exportCrls(deps)).map(bufferOf) })),
  }
}

async function stepped(deps: AdminCallDeps, step: Promise<StepOutcome>): Promise<StepResponse> {
  const outcome = await step
  if (outcome.notYet) deps.metrics.refused(outcome.notYet.code)
  return stepToProto(outcome, await deps.status())
}

function rotateStep(text: string): RotateStep {
  const step = ROTATE_STEPS.find((each) => each === text)
  if (step) return step
  throw new CaError(
    'CA_ROTATION_REFUSED',
    `Cannot rotate: the step is ${JSON.stringify(text.slice(0, 32))}, expected ${ROTATE_STEPS.join(', ')}`,
  )
}

async function list(
  { queries, now }: AdminCallDeps,
  _by: Administrator,
  request: ListCertificatesRequest,
): Promise<ListCertificatesResponse> {
  const query = { ...request, before: Number(request.before) }
  return listToProto(await listCertificates(queries, query, now()), request.limit)
}

async function issue(
  deps: AdminCallDeps,
  by: Administrator,
  { spiffeId, csr: csrDer, ttlSeconds }: IssueForRequest,
): Promise<IssueForResponse> {
  const svid = await issueFor(deps, by, { spiffeId, csrDer, ttlSeconds })
  deps.metrics.issued(1)
  return { svid: svidToProto(svid), bundle: bundleToProto(deps.bundle.current) }
}

function answer<Request, Response>(
  deps: AdminCallDeps,
  call: Pick<ServerUnaryCall<Request, Response>, 'request' | 'getPeer' | 'getPath'>,
  callback: sendUnaryData<Response>,
  respond: (deps: AdminCallDeps, by: Administrator, request: Request) => Promise<Response>,
): void {
  const respondTo = async (): Promise<Response> =>
    respond(deps, await authenticate(deps, call), call.request)
  respondTo().then(
    (response) => callback(null, response),
    (cause: unknown) => {
      note(deps, call.getPath(), cause)
      callback(callErrorFrom(cause))
    },
  )
}

/**
 * Who calls: somebody whose certificate names an administrator and holds now. Where the connection
 * comes from proves nothing.
 *
 * @throws {CaError} `CA_CALLER_UNKNOWN`, `CA_NOT_ADMINISTRATOR`, `CA_CERTIFICATE_TAINTED`
 */
async function authenticate(
  { peerOf, now, isAdministrator }: AdminCallDeps,
  call: { readonly getPeer: () => string },
): Promise<Administrator> {
  const refuse = (why: string) =>
    new CaError('CA_CALLER_UNKNOWN', `Cannot answer the caller: ${why}`)
  const peer = await peerOf(call.getPeer())
  if (!peer) throw refuse("it showed no certificate, expected an administrator's")
  if (Temporal.Instant.compare(now(), peer.notAfter) > 0) {
    throw refuse(`the certificate of "${peer.id}" ended at ${peer.notAfter}`)
  }
  if (isAdministrator(peer.id)) return { name: peer.id, serial: peer.serial }
  throw new CaError(
    'CA_NOT_ADMINISTRATOR',
    `Cannot answer the caller: "${peer.id}" is not an administrator`,
  )
}

function note({ log, metrics }: AdminCallDeps, call: string, cause: unknown): void {
  if (!(cause instanceof CaError)) {
    return log('error', 'ca-call-failed', { call, detail: String(cause) })
  }
  metrics.refused(cause.code)
  log('warn', 'ca-refused', { call, reason: cause.code, detail: cause.message })
}
