import type { TrustDomain } from '#ca/spiffe/index.ts'
import type { TrustBundle } from '#ca/x509/index.ts'
import type {
  JWTBundlesResponse,
  X509BundlesResponse,
  X509SVIDResponse,
} from '../proto/gen/workload.ts'
import type { WorkloadIdentity } from '../svid/watch-identity.ts'

/** The whole state of one workload: one SVID, which is its default identity. */
export function identityToProto({ svid, bundle }: WorkloadIdentity): X509SVIDResponse {
  return {
    svids: [
      {
        spiffeId: svid.id,
        x509Svid: Buffer.concat(svid.chain),
        x509SvidKey: Buffer.from(svid.keyDer),
        bundle: Buffer.concat(bundle.roots),
        hint: '',
      },
    ],
    crl: [],
    federatedBundles: byDomain(bundle.federated ?? []),
  }
}

/** Every bundle a workload may judge peers by, under the SPIFFE ID of its trust domain. */
export function bundlesToProto(bundle: TrustBundle): X509BundlesResponse {
  return { crl: [], bundles: byDomain([bundle, ...(bundle.federated ?? [])]) }
}

function byDomain(bundles: readonly TrustBundle[]): Record<string, Buffer> {
  return Object.fromEntries(
    bundles.map(({ trustDomain, roots }) => [`spiffe://${trustDomain}`, Buffer.concat(roots)]),
  )
}

/** The keys of tokens of each trust domain: JWK Sets that have no other keys. */
export function jwtBundlesToProto(
  sets: readonly (readonly [TrustDomain, jwks: string])[],
): JWTBundlesResponse {
  return {
    bundles: Object.fromEntries(
      sets.map(([trustDomain, jwks]) => [`spiffe://${trustDomain}`, Buffer.from(jwks)]),
    ),
  }
}
