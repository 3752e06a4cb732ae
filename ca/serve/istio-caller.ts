/** Who calls Istio's certificate service (istio-semantics §15.3). */
import type { Metadata } from '@grpc/grpc-js'

import type { KubernetesAttestor } from '../attest/kubernetes.ts'
import { CaError, type CaErrorCode } from '../error.ts'
import type { SpiffeId } from '../spiffe/index.ts'
import type { PeerOf } from './calls.ts'
import type { VerifiedPeer } from './listen-tls.ts'

export interface IstioCallerDeps {
  readonly now: () => Temporal.Instant
  readonly peerOf: PeerOf
  /** Judges bearer tokens; left out: there is no cluster that is believed. */
  readonly kubernetes: KubernetesAttestor | undefined
}

interface Call {
  readonly getPeer: () => string
  readonly metadata: Metadata
  readonly request: { readonly metadata?: Readonly<Record<string, unknown>> | undefined }
}

/**
 * The name to issue for: that of the certificate by which the caller was let in, valid still; else
 * that of the service account whose token it shows. Nobody gets a name but its own.
 *
 * @throws {CaError} `CA_CALLER_UNKNOWN`, `CA_CREDENTIAL_UNSUPPORTED`, `CA_NOT_ADMITTED`,
 *   `CA_EVIDENCE_REFUSED`, `CA_REVIEW_UNAVAILABLE`, `CA_CERTIFICATE_TAINTED`
 */
export async function istioCaller(deps: IstioCallerDeps, call: Call): Promise<SpiffeId> {
  const peer = await deps.peerOf(call.getPeer())
  const id = peer ? nameOf(peer, deps.now()) : await accountOf(deps, call.metadata)
  const impersonated = call.request.metadata?.['ImpersonatedIdentity']
  if (impersonated !== undefined && impersonated !== '') {
    throw refused(
      'CA_NOT_ADMITTED',
      `"${id}" asks for ${JSON.stringify(impersonated)}, expected nobody's name but its own`,
    )
  }
  return id
}

function nameOf({ id, notAfter }: VerifiedPeer, now: Temporal.Instant): SpiffeId {
  if (Temporal.Instant.compare(now, notAfter) <= 0) return id
  throw refused('CA_CALLER_UNKNOWN', `the certificate of "${id}" ended at ${notAfter}`)
}

const BEARER = /^Bearer +(\S+)$/i

async function accountOf({ kubernetes }: IstioCallerDeps, metadata: Metadata): Promise<SpiffeId> {
  const [header] = metadata.get('authorization')
  if (header === undefined) {
    throw refused('CA_CALLER_UNKNOWN', 'it showed no certificate, expected one of the mesh')
  }
  const [, token] = BEARER.exec(String(header)) ?? []
  if (!kubernetes || token === undefined) {
    throw refused(
      'CA_CREDENTIAL_UNSUPPORTED',
      'it showed a credential that nobody here can judge, expected a certificate of the mesh',
    )
  }
  return kubernetes.identify(token, String(metadata.get('clusterid')[0] ?? ''))
}

function refused(code: CaErrorCode, why: string): CaError {
  return new CaError(code, `Cannot authenticate the caller: ${why}`)
}
