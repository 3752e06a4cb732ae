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
    federatedBundles: {},
  }
}

/** Every bundle a workload may judge peers by, under the SPIFFE ID of its trust domain. */
export function bundlesToProto({ trustDomain, roots }: TrustBundle): X509BundlesResponse {
  return { crl: [], bundles: { [`spiffe://${trustDomain}`]: Buffer.concat(roots) } }
}

/** The keys of tokens of one trust domain: a JWK Set that has no other keys. */
export function jwtBundlesToProto(trustDomain: TrustDomain, jwks: string): JWTBundlesResponse {
  return { bundles: { [`spiffe://${trustDomain}`]: Buffer.from(jwks) } }
}
