/** Certificates that an administrator asks for, and the certificate that makes one. */
import { type AdmitRules, admit } from '../issue/admit.ts'
import { type IssuedSvid, type SvidSigner, signSvid, svidRow } from '../issue/issue-svid.ts'
import { type Administrator, adminIdOf, type AuditDeps, audited } from './administrator.ts'

export interface IssueForDeps extends AuditDeps {
  readonly rules: AdmitRules
  readonly signer: () => SvidSigner
}

/** Who is to get a certificate; nothing in it is believed yet. */
export interface IssueForRequest {
  readonly spiffeId: string
  /** PKCS#10, DER. */
  readonly csrDer: Uint8Array
  /** Seconds; 0 for the default. */
  readonly ttlSeconds: number
}

/**
 * Issues a leaf for any identity of the trust domain but the CA's own and the administrator's.
 *
 * @throws {CaError} `CA_ID_INVALID`, `CA_NOT_ADMITTED`, `CA_CSR_REJECTED`, `CA_SIGNER_UNAVAILABLE`
 */
export function issueFor(
  deps: IssueForDeps,
  by: Administrator,
  request: IssueForRequest,
): Promise<IssuedSvid> {
  const { rules, signer, now, ledger } = deps
  const spiffeId = request.spiffeId.slice(0, MAX_LOGGED)
  const call = { by, action: 'issue', arguments: { spiffeId, ttlSeconds: request.ttlSeconds } }
  return audited(deps, call, async (done) => {
    const caller = { id: adminIdOf(rules.trustDomain), scope: [`spiffe://${rules.trustDomain}/*`] }
    const svid = await signSvid(signer(), admit(request, caller, rules), now())
    await ledger.record({ certificates: [svidRow(svid, by.name)], calls: [done] })
    return svid
  })
}

/** Characters of a name that was asked for; a SPIFFE ID has no more. */
const MAX_LOGGED = 2048

/** Life of an administrator's certificate: the time of a few commands. */
const ADMIN_TTL = Temporal.Duration.from({ minutes: 5 })

/**
 * Issues the administrator's own certificate. Only for callers who were known otherwise: the owner of
 * a standalone mesh, whom the kernel vouches for on `admin.sock`.
 *
 * @throws {CaError} `CA_CSR_REJECTED`, `CA_SIGNER_UNAVAILABLE`
 */
export function admitAdministrator(
  deps: IssueForDeps,
  by: Administrator,
  csrDer: Uint8Array,
): Promise<IssuedSvid> {
  const { rules, signer, now, ledger } = deps
  const adminId = adminIdOf(rules.trustDomain)
  const call = { by, action: 'admit-administrator', arguments: { spiffeId: adminId } }
  return audited(deps, call, async (done) => {
    const ttlSeconds = Math.min(ADMIN_TTL.total('seconds'), rules.maxLeafTtl.total('seconds'))
    const request = { spiffeId: adminId, csrDer, ttlSeconds }
    // The rule that keeps this name from agents is the one that is left out.
    const granted = admit(request, { id: adminId, scope: [] }, { ...rules, adminId: undefined })
    const svid = await signSvid(signer(), granted, now())
    await ledger.record({ certificates: [svidRow(svid, by.name)], calls: [done] })
    return svid
  })
}
