/** The CA's calls, from authenticated caller to answer. */
import type { sendUnaryData, ServerDuplexStream, ServerUnaryCall } from '@grpc/grpc-js'

import type { Clock } from '#core/clock.ts'
import type { Attestor } from '../attest/evidence.ts'
import type { AgentRegistry, KnownAgent } from '../attest/join-token.ts'
import type { KubernetesAttestor } from '../attest/kubernetes.ts'
import { CaError } from '../error.ts'
import { type IssueDeps, issueBatch } from '../issue/issue-batch.ts'
import { type IssueJwtDeps, issueJwts } from '../issue/issue-jwt.ts'
import type {
  AttestRequest,
  AttestResponse,
  Bundle,
  BundleAck,
  CertificateAuthorityServer,
  ChallengeResponse,
  IssueJwtRequest,
  IssueJwtResponse,
  IssueRequest,
  IssueResponse,
} from '../proto/gen/ca.ts'
import { denyChangesSince } from '../x509/index.ts'
import { type BundleStreamDeps, streamBundles } from './bundles.ts'
import { attestationFromProto, csrRequestsFromProto, jwtRequestsFromProto } from './from-proto.ts'
import type { VerifiedPeer } from './listen-tls.ts'
import type { CaMetrics } from './metrics.ts'
import {
  bundleToProto,
  callErrorFrom,
  issueResultToProto,
  jwtResultToProto,
  svidToProto,
} from './to-proto.ts'

/**
 * The peer of the connection that a call came on, from `call.getPeer()`; nobody if it had no certificate.
 * Rejects with `CA_CALLER_UNKNOWN` or `CA_CERTIFICATE_TAINTED` if it is not to be answered any more.
 */
export type PeerOf = (connection: string) => Promise<VerifiedPeer | undefined>

/** What answering needs. */
export interface CallDeps extends IssueDeps, IssueJwtDeps, BundleStreamDeps {
  readonly clock: Clock
  readonly agents: AgentRegistry
  readonly attestor: Attestor
  /** Judges tokens of a cluster that this CA was told of. */
  readonly kubernetes: KubernetesAttestor | undefined
  readonly metrics: CaMetrics
  readonly peerOf: PeerOf
  /** Aborts when the CA closes; streams end then. */
  readonly closing: AbortSignal
}

export function caCalls(deps: CallDeps): CertificateAuthorityServer {
  return {
    attest: (call, callback) => answer(deps, call, callback, attest),
    challenge: (call, callback) => answer(deps, call, callback, challenge),
    issue: (call, callback) => answer(deps, call, callback, issue),
    issueJwt: (call, callback) => answer(deps, call, callback, issueJwt),
    bundles: (call) => {
      bundles(deps, call).catch((cause: unknown) => {
        note(deps, 'bundles', cause)
        call.emit('error', callErrorFrom(cause))
      })
    },
  }
}

async function attest(deps: CallDeps, { request }: Call<AttestRequest>): Promise<AttestResponse> {
  const { attestor, metrics, now, bundle, denials, log } = deps
  try {
    const { evidence, csrDer } = attestationFromProto(request)
    const agent = await attestor.attest(evidence, csrDer)
    const own = { spiffeId: agent.id, csrDer, ttlSeconds: 0 }
    const [svid] = await issueBatch(deps, agent, [own])
    if (svid === undefined || svid instanceof CaError) throw svid
    metrics.issued(1)
    metrics.attested('ok')
    const { kind } = evidence
    log('info', 'agent-attested', { agent: agent.id, kind, serial: svid.serial })
    const all = denyChangesSince(denials.list.current, 0, now())
    return { svid: svidToProto(svid), bundle: bundleToProto(bundle.current, all) }
  } catch (cause) {
    metrics.attested('refused')
    throw cause
  }
}

async function challenge({ attestor }: CallDeps): Promise<ChallengeResponse> {
  return { challenge: Buffer.from(attestor.challenge()) }
}

async function issue(deps: CallDeps, call: Call<IssueRequest>): Promise<IssueResponse> {
  const { metrics, clock } = deps
  const startMs = clock.nowMs()
  const caller = await authenticate(deps, call)
  const results = await issueBatch(deps, caller, csrRequestsFromProto(call.request))
  for (const result of results) {
    if (result instanceof CaError) noteRefusal(deps, 'issue', result)
    else metrics.issued(1)
  }
  metrics.batch((clock.nowMs() - startMs) / 1000)
  return { results: results.map(issueResultToProto) }
}

async function issueJwt(deps: CallDeps, call: Call<IssueJwtRequest>): Promise<IssueJwtResponse> {
  const caller = await authenticate(deps, call)
  const results = await issueJwts(deps, caller, jwtRequestsFromProto(call.request))
  for (const result of results) {
    if (result instanceof CaError) noteRefusal(deps, 'issueJwt', result)
    else deps.metrics.jwtsIssued(1)
  }
  return { results: results.map(jwtResultToProto) }
}

/** Follows the trust until either side ends the stream. */
async function bundles(deps: CallDeps, call: ServerDuplexStream<BundleAck, Bundle>): Promise<void> {
  const ended = new AbortController()
  for (const event of ['end', 'cancelled', 'error', 'close']) call.on(event, () => ended.abort())
  const { id } = await authenticate(deps, call)
  const { notAfter = deps.now(), keyIds = [] } = (await deps.peerOf(call.getPeer())) ?? {}
  const signal = AbortSignal.any([ended.signal, deps.closing])
  await streamBundles(deps, call, { id, notAfter, keyIds }, signal)
  call.end()
}

/**
 * Who calls: an agent that once proved its node and shows its certificate. The certificate was
 * verified when the connection was made and may have run out since.
 *
 * @throws {CaError} `CA_CALLER_UNKNOWN`, `CA_CERTIFICATE_TAINTED`
 */
async function authenticate(
  { peerOf, agents, now }: Pick<CallDeps, 'peerOf' | 'agents' | 'now'>,
  call: { readonly getPeer: () => string },
): Promise<KnownAgent> {
  const refuse = (why: string) =>
    new CaError('CA_CALLER_UNKNOWN', `Cannot answer the caller: ${why}`)
  const peer = await peerOf(call.getPeer())
  if (!peer) throw refuse('it showed no certificate, expected that of an agent')
  if (Temporal.Instant.compare(now(), peer.notAfter) > 0) {
    throw refuse(`the certificate of "${peer.id}" ended at ${peer.notAfter}, connect again`)
  }
  const agent = await agents.find(peer.id)
  if (!agent) throw refuse(`"${peer.id}" is not an agent that has proved its node`)
  return agent
}

type Call<Request> = Pick<ServerUnaryCall<Request, unknown>, 'request' | 'getPeer'>

function answer<Request, Response>(
  deps: CallDeps,
  call: ServerUnaryCall<Request, Response>,
  callback: sendUnaryData<Response>,
  respond: (deps: CallDeps, call: Call<Request>) => Promise<Response>,
): void {
  respond(deps, call).then(
    (response) => callback(null, response),
    (cause: unknown) => {
      note(deps, respond.name, cause)
      callback(callErrorFrom(cause))
    },
  )
}

function note(deps: CallDeps, call: string, cause: unknown): void {
  if (cause instanceof CaError) noteRefusal(deps, call, cause)
  else deps.log('error', 'ca-call-failed', { call, detail: String(cause) })
}

function noteRefusal({ log, metrics }: CallDeps, call: string, { code, message }: CaError): void {
  metrics.refused(code)
  log('warn', 'ca-refused', { call, reason: code, detail: message })
}
