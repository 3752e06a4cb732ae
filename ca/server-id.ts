import { serviceAccountId, type SpiffeId, type TrustDomain } from './spiffe/index.ts'

/** What the CA's own certificate says, and nobody else's. */
export function serverIdOf(trustDomain: TrustDomain): SpiffeId {
  return serviceAccountId(trustDomain, {
    namespace: 'redoubt-system',
    serviceAccount: 'redoubt-ca',
  })
}
