import type { KeyObject } from 'node:crypto'
import type { TrustBundle } from '#ca/x509/index.ts'
import type { SpiffeId } from '#ca/spiffe/index.ts'

/** A workload's identity as the agent last gave it: certificate, key, and what to judge peers by. */
export interface Svid {
  readonly id: SpiffeId
  /** DER, leaf first, without the root. */
  readonly chain: readonly Uint8Array[]
  /** The same as PEM. */
  readonly chainPem: string
  readonly key: KeyObject
  /** PKCS#8. */
  readonly keyPem: string
  /** Lower-case hex. */
  readonly serial: string
  /**
   * When it was signed. The Workload API does not say, so this is reckoned from NotBefore and the
   * CA's back-date (2 min, design.md §2).
   */
  readonly issuedAt: Temporal.Instant
  readonly notBefore: Temporal.Instant
  readonly notAfter: Temporal.Instant
  /** Its own trust domain's first. Generations count this stream's changes, from 1. */
  readonly bundles: readonly TrustBundle[]
}
