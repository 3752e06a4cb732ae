import type { TrustDomain } from '#ca/spiffe/index.ts'
import type { TrustBundle } from '#ca/x509/index.ts'
import type { JWTBundlesResponse, X509BundlesResponse } from '../proto/gen/workload.ts'

/** The bundles of other domains that a workload may judge peers by. */
export function federatedOf({ federated = [] }: TrustBundle): Record<string, Buffer> {
  return byDomain(federated)
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
