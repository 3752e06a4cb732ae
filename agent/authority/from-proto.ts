/** What the CA says, read into plain values. Every field is absent until proved otherwise. */
import { type ServiceError, status } from '@grpc/grpc-js'
import type {
  Bundle as BundleMessage,
  FederatedBundle,
  IssueResult,
  JwtResult,
  Refusal,
  Svid as SvidMessage,
} from '#ca/proto/gen/ca.ts'
import { type JwtKey, readJwtKeys } from '#ca/jwt/index.ts'
import { parseTrustDomain, type TrustDomain } from '#ca/spiffe/index.ts'
import { readCertificate, type TrustBundle } from '#ca/x509/index.ts'
import { AgentError, type AgentErrorCode } from '../error.ts'
import type { TokenAnswer } from '../jwt/issued-token.ts'
import type { SvidAnswer } from '../svid/issued-svid.ts'

/** Roots in one bundle; more would be a mistake, or an attack on every handshake. */
const MAX_ROOTS = 64

/** Keys of issuing CAs that were left; each search for one is a walk over them. */
const MAX_RENEWED = 256

/** @throws {AgentError} `AGENT_SVID_INVALID` if a field is missing or out of range */
export function svidFromProto(message: SvidMessage | undefined): SvidAnswer {
  if (!message || message.chain.length === 0) {
    throw new AgentError('AGENT_SVID_INVALID', "Cannot read the CA's answer: it has no certificate")
  }
  return {
    chain: message.chain,
    issuedAt: Temporal.Instant.fromEpochMilliseconds(Number(message.issuedAtMs)),
  }
}

/** The answer to one request, or the refusal in its place. */
export function resultFromProto({ outcome }: IssueResult): SvidAnswer | AgentError {
  if (outcome?.$case === 'svid') return svidFromProto(outcome.svid)
  if (outcome?.$case !== 'refusal') {
    return new AgentError('AGENT_SVID_INVALID', "Cannot read the CA's answer: it is empty")
  }
  return refusalFromProto(outcome.refusal, 'SVID')
}

/** The token, or the refusal in its place. */
export function tokenFromProto({ outcome }: JwtResult): TokenAnswer | AgentError {
  if (outcome?.$case === 'svid') {
    const { token, issuedAtMs } = outcome.svid
    return { token, issuedAt: Temporal.Instant.fromEpochMilliseconds(Number(issuedAtMs)) }
  }
  if (outcome?.$case !== 'refusal') {
    return new AgentError('AGENT_JWT_INVALID', "Cannot read the CA's answer: it is empty")
  }
  return refusalFromProto(outcome.refusal, 'token')
}

function refusalFromProto(
  { reason, message, retryAfterMs }: Refusal,
  what: 'SVID' | 'token',
): AgentError {
  // What asking again may help is as if the CA were away; the rest is final for whoever asked.
  const code = retryAfterMs > 0 ? 'AGENT_CA_UNAVAILABLE' : 'AGENT_ISSUE_REFUSED'
  return new AgentError(code, `Cannot get the ${what}: ${reason}: ${message}`)
}

/**
 * Reads a bundle for `trustDomain` that may follow generation `after`.
 *
 * An empty one is taken at its word: the domain's SVIDs are all revoked (SPIFFE bundle §4).
 *
 * @throws {AgentError} `AGENT_BUNDLE_INVALID` for another domain, an older generation, a root
 *   that is not a CA certificate, or keys of tokens that are no JWK Set
 */
export function bundleFromProto(
  message: BundleMessage | undefined,
  { trustDomain, after }: { readonly trustDomain: TrustDomain; readonly after: number },
): TrustBundle {
  const refused = (why: string): AgentError =>
    new AgentError('AGENT_BUNDLE_INVALID', `Cannot take the trust bundle: ${why}`)
  if (!message) throw refused('there is none')
  const generation = Number(message.generation)
  if (message.trustDomain !== trustDomain) {
    throw refused(`it is for "${message.trustDomain}", expected "${trustDomain}"`)
  }
  if (!Number.isSafeInteger(generation) || generation < after) {
    throw refused(`its generation is ${message.generation}, expected at least ${after}`)
  }
  if (message.roots.length > MAX_ROOTS) throw refused(`it has ${message.roots.length} roots`)
  if (!message.roots.every(isCaCertificate)) throw refused('a root of it is not a CA certificate')
  const { roots, renewKeys } = message
  if (renewKeys.length > MAX_RENEWED) throw refused(`it renews ${renewKeys.length} keys`)
  const federated = message.federated.map((one) => federatedFrom(one, trustDomain, refused))
  return { trustDomain, generation, roots, jwtKeys: jwtKeysFrom(message), renewKeys, federated }
}

/** Another domain's bundle; it counts no generations of its own here: ours grows with each change of it. */
function federatedFrom(
  message: FederatedBundle,
  own: TrustDomain,
  refused: (why: string) => AgentError,
): TrustBundle {
  const { roots } = message
  const trustDomain = parseTrustDomain(message.trustDomain)
  if (trustDomain === own) throw refused('it is federated with itself')
  if (roots.length > MAX_ROOTS || !roots.every(isCaCertificate)) {
    throw refused(`a root of "${trustDomain}" is not a CA certificate, or there are too many`)
  }
  return { trustDomain, generation: 1, roots, jwtKeys: jwtKeysFrom(message) }
}

function jwtKeysFrom({ jwtKeys }: Pick<BundleMessage, 'jwtKeys'>): readonly JwtKey[] {
  try {
    return readJwtKeys(jwtKeys.toString('utf8'))
  } catch (cause) {
    throw new AgentError(
      'AGENT_BUNDLE_INVALID',
      `Cannot take the trust bundle: ${(cause as Error).message}`,
      { cause },
    )
  }
}

function isCaCertificate(der: Uint8Array): boolean {
  try {
    return readCertificate(der).isCa
  } catch {
    return false // unreadable bytes are not a certificate of any kind
  }
}

/** Metadata key under which the CA says its stable reason. */
const REASON_KEY = 'redoubt-reason'

/** What each refusal means to an agent; any other status counts as the CA being away. */
const REFUSALS: Readonly<Partial<Record<status, AgentErrorCode>>> = {
  [status.UNAUTHENTICATED]: 'AGENT_NOT_ATTESTED',
  [status.PERMISSION_DENIED]: 'AGENT_ISSUE_REFUSED',
  [status.INVALID_ARGUMENT]: 'AGENT_ISSUE_REFUSED',
  [status.UNIMPLEMENTED]: 'AGENT_ISSUE_REFUSED',
}

/** A failed call to the CA. `what` goes after "Cannot". */
export function callErrorFromGrpc(cause: unknown, what: string): AgentError {
  const { code, details, metadata } = cause as Partial<ServiceError>
  const refusal = code === undefined ? undefined : REFUSALS[code]
  const reason = metadata?.get(REASON_KEY)[0]
  const why = details === undefined || details === '' ? String(cause) : details
  return new AgentError(
    refusal ?? 'AGENT_CA_UNAVAILABLE',
    `Cannot ${what}: ${reason ? `${reason}: ${why}` : why}`,
    { cause },
  )
}
