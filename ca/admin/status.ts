import type { Database } from '../issue/database.ts'
import type { Authority } from '../keys/authority.ts'
import { skiOf } from '../keys/authority.ts'
import type { TrustDomain } from '../spiffe/index.ts'
import type { TrustBundle } from '../x509/index.ts'
import { countLiveLeaves } from './list-certificates.ts'

/** What becomes of a key of the CA, in this order; a tainted one was suspected meanwhile. */
export type AuthorityState = 'prepared' | 'active' | 'old' | 'tainted' | 'revoked'

/** A root or an issuing CA, as administrators see it. */
export interface AuthorityStatus {
  readonly kind: 'root' | 'issuing'
  readonly state: AuthorityState
  /** Lower-case hex of the subject key identifier. */
  readonly keyId: string
  /** Lower-case hex. */
  readonly serial: string
  /** A root's own. */
  readonly issuerKeyId: string
  readonly notBefore: Temporal.Instant
  readonly notAfter: Temporal.Instant
  /** When a prepared one is to be used. */
  readonly activeAt?: Temporal.Instant
  /** Leaves that have not ended and chain to it. */
  readonly liveLeaves: number
}

/** The CA, as administrators see it. */
export interface CaStatus {
  readonly trustDomain: TrustDomain
  /** Of the trust bundle. */
  readonly generation: number
  readonly ready: boolean
  readonly reasons: readonly string[]
  readonly authorities: readonly AuthorityStatus[]
}

export interface StatusDeps {
  readonly queries: Database
  readonly now: () => Temporal.Instant
  readonly bundle: { readonly current: TrustBundle }
  readonly root: Authority
  readonly signer: () => { readonly authority: Authority }
  readonly health: () => { readonly ready: boolean; readonly reasons: readonly string[] }
}

/** Reads the state of the CA. */
export async function readStatus(deps: StatusDeps): Promise<CaStatus> {
  const { queries, now, bundle, root, health } = deps
  const issuing = deps.signer().authority
  const counts = await countLiveLeaves(queries, [issuing.certificate.serial], now())
  const live = counts.get(issuing.certificate.serial) ?? 0
  const { trustDomain, generation } = bundle.current
  return {
    trustDomain,
    generation,
    ...health(),
    authorities: [
      authorityStatus('root', root, root, live),
      authorityStatus('issuing', issuing, root, live),
    ],
  }
}

function authorityStatus(
  kind: 'root' | 'issuing',
  authority: Authority,
  issuer: Authority,
  liveLeaves: number,
): AuthorityStatus {
  const { serial, notBefore, notAfter } = authority.certificate
  const hex = ({ certificate }: Authority) => Buffer.from(skiOf(certificate)).toString('hex')
  return {
    kind,
    state: 'active',
    keyId: hex(authority),
    serial,
    issuerKeyId: hex(issuer),
    notBefore,
    notAfter,
    liveLeaves,
  }
}
