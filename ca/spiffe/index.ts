export type { ServiceAccount, SpiffeId, TrustDomain } from './spiffe-id.ts'
export {
  MAX_SPIFFE_ID_BYTES,
  parseSpiffeId,
  parseTrustDomain,
  serviceAccountId,
  serviceAccountOf,
  trustDomainOf,
} from './spiffe-id.ts'
