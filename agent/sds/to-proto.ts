import { pemFromDer, type TrustBundle } from '#ca/x509/index.ts'
import {
  Secret,
  SPIFFECertValidatorConfig,
} from '../proto/gen/envoy/extensions/transport_sockets/tls/v3/secret.ts'
import type { Node } from '../proto/gen/envoy/config/core/v3/base.ts'
import type { Any } from '../proto/gen/google/protobuf/any.ts'
import { AgentError } from '../error.ts'
import type { WorkloadIdentity } from '../svid/watch-identity.ts'
import { DEFAULT_BUNDLE, type SecretRef } from './secrets.ts'

const TLS = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3'

/** The one resource type of SDS. */
export const SECRET_TYPE: string = `${TLS}.Secret`

/** How a client judges its peers: by Envoy's SPIFFE validator, or by a plain list of roots. */
export type Validation = 'spiffe' | 'plain'

/** A client's own word on its validation (node metadata, as SPIRE's agent reads it). */
export function validationOf(node: Node | undefined): Validation {
  const value: unknown = node?.metadata?.['disable_spiffe_cert_validation']
  return value === true || value === 'true' ? 'plain' : 'spiffe'
}

/**
 * One secret. `ROOTCA` is always a plain list of roots, which is what Istio's clients expect under
 * that name (they match names by themselves).
 *
 * @throws {AgentError} `AGENT_REQUEST_INVALID` for all bundles as one plain list: domains never merge
 */
export function secretToProto(
  { name, kind }: SecretRef,
  identity: WorkloadIdentity,
  validation: Validation,
): Any {
  const isPlain = validation === 'plain' || name === DEFAULT_BUNDLE
  const validated = isPlain ? plainValidation : spiffeValidation
  const message = (kind === 'certificate' ? certificate : validated)(name, identity)
  return { typeUrl: SECRET_TYPE, value: Buffer.from(Secret.encode(message).finish()) }
}

function certificate(name: string, { svid }: WorkloadIdentity): Secret {
  const tlsCertificate = {
    certificateChain: inline(pemFromDer('CERTIFICATE', svid.chain)),
    privateKey: inline(pemFromDer('PRIVATE KEY', svid.keyDer)),
  }
  return { name, type: { $case: 'tlsCertificate', tlsCertificate } }
}

function spiffeValidation(name: string, { bundle }: WorkloadIdentity): Secret {
  const trustDomains = bundlesUnder(name, bundle).map(({ trustDomain, roots }) => ({
    name: trustDomain,
    trustBundle: inline(rootsPem(roots)),
  }))
  const value = SPIFFECertValidatorConfig.encode({ trustDomains }).finish()
  const typedConfig = { typeUrl: `${TLS}.SPIFFECertValidatorConfig`, value: Buffer.from(value) }
  const validationContext = {
    trustedCa: undefined,
    customValidatorConfig: { name: 'envoy.tls.cert_validator.spiffe', typedConfig },
  }
  return { name, type: { $case: 'validationContext', validationContext } }
}

function plainValidation(name: string, { bundle }: WorkloadIdentity): Secret {
  if (name === 'ALL') {
    throw new AgentError(
      'AGENT_REQUEST_INVALID',
      'Cannot give "ALL": bundles of different trust domains need the SPIFFE validator, which the client disables',
    )
  }
  const [one = bundle] = bundlesUnder(name, bundle)
  const trustedCa = inline(rootsPem(one.roots))
  return {
    name,
    type: {
      $case: 'validationContext',
      validationContext: { trustedCa, customValidatorConfig: undefined },
    },
  }
}

/** The bundles that a name stands for: one domain's, or all, sorted by domain. */
function bundlesUnder(name: string, bundle: TrustBundle): readonly TrustBundle[] {
  const all = [bundle, ...(bundle.federated ?? [])]
  if (name === 'ALL') return all.toSorted((a, b) => (a.trustDomain < b.trustDomain ? -1 : 1))
  return [all.find(({ trustDomain }) => name === `spiffe://${trustDomain}`) ?? bundle]
}

function rootsPem(roots: readonly Uint8Array[]): string {
  return pemFromDer('CERTIFICATE', roots)
}

function inline(text: string) {
  return { specifier: { $case: 'inlineBytes' as const, inlineBytes: Buffer.from(text) } }
}
