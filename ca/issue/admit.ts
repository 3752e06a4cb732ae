/** Where a certificate request is refused: who asks, for which name, with which key, for how long. */
import { CaError } from '../error.ts'
import { parseSpiffeId, type SpiffeId, type TrustDomain, trustDomainOf } from '../spiffe/index.ts'
import { verifyCsr } from '../x509/index.ts'
import type { SvidRequest } from './template.ts'

/** A request as it came: nothing in it is believed yet. */
export interface CsrRequest {
  readonly spiffeId: string
  /** PKCS#10, DER. Only its key is read, and only after its signature. */
  readonly csrDer: Uint8Array
  /** Seconds; 0 for the default. */
  readonly ttlSeconds: number
}

/** An authenticated caller. */
export interface Caller {
  readonly id: SpiffeId
  /** Exact IDs, or prefixes that end in `/*`. */
  readonly scope: readonly string[]
}

/** What the CA itself allows, whoever asks. */
export interface AdmitRules {
  readonly trustDomain: TrustDomain
  /** The CA's own name, which nobody else gets. */
  readonly serverId: SpiffeId
  /** The administrator's name, which no agent gets either; `undefined` where it may be had. */
  readonly adminId: SpiffeId | undefined
  /** Exact time: no days or larger. */
  readonly leafTtl: Temporal.Duration
  readonly maxLeafTtl: Temporal.Duration
  /** Whether a name is on the deny-list. Left out: none is. */
  readonly isDenied?: (id: SpiffeId) => boolean
}

/** Those that concern names alone. */
type NameRules = Pick<AdmitRules, 'trustDomain' | 'serverId' | 'adminId' | 'isDenied'>

/**
 * What to issue for `request`. The cheap refusals come first: a caller without the right to a name
 * buys no signature check.
 *
 * @throws {CaError} `CA_ID_INVALID`, `CA_NOT_ADMITTED`, `CA_CSR_REJECTED`
 */
export function admit(request: CsrRequest, caller: Caller, rules: AdmitRules): SvidRequest {
  const spiffeId = parseSpiffeId(request.spiffeId)
  assertMayHave(spiffeId, caller, rules)
  const { publicKeyDer, key } = verifyCsr(request.csrDer)
  if (key.type === 'ec' && key.curve === 'P-521') {
    throw new CaError(
      'CA_CSR_REJECTED',
      'Cannot take a certificate request: its key is P-521, expected P-256, P-384, RSA or Ed25519',
    )
  }
  return { spiffeId, publicKeyDer, ...grantedLife(request.ttlSeconds, rules) }
}

/**
 * Whether `caller` may have `id`, in a certificate or in a token.
 *
 * @throws {CaError} `CA_NOT_ADMITTED`
 */
export function assertMayHave(
  id: SpiffeId,
  caller: Caller,
  { trustDomain, serverId, adminId, isDenied }: NameRules,
): void {
  const refuse = (why: string): never => {
    throw new CaError('CA_NOT_ADMITTED', `Cannot issue "${id}" to "${caller.id}": ${why}`)
  }
  if (trustDomainOf(id) !== trustDomain) refuse(`this CA vouches for "${trustDomain}" only`)
  if (id === `spiffe://${trustDomain}`) refuse('it names a trust domain, expected a workload')
  if (id === serverId) refuse('it is the name of the CA itself')
  if (id === adminId)
    refuse('it is the name of the administrator, which only the owner of the mesh gets')
  if (id !== caller.id && !isInScope(id, caller.scope))
    refuse('it is not in the scope of the caller')
  if (isDenied?.(id)) refuse('it is on the deny-list')
}

/** Whether `id` is one of `scope`, or below a prefix in it. A prefix ends in `/*` and covers whole segments. */
export function isInScope(id: SpiffeId, scope: readonly string[]): boolean {
  return scope.some((entry) =>
    entry.endsWith('/*') ? id.startsWith(entry.slice(0, -1)) : id === entry,
  )
}

function grantedLife(
  seconds: number,
  { leafTtl, maxLeafTtl }: AdmitRules,
): Required<Pick<SvidRequest, 'ttl' | 'life'>> {
  if (seconds === 0) return { ttl: leafTtl, life: 'default' }
  const ttl = Temporal.Duration.from({ seconds })
  return Temporal.Duration.compare(ttl, maxLeafTtl) > 0
    ? { ttl: maxLeafTtl, life: 'maximum' }
    : { ttl, life: 'asked' }
}
