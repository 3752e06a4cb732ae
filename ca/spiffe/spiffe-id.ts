/**
 * SPIFFE IDs, the names that workloads prove.
 *
 * @see SPIFFE-ID §2 — https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md
 */
import { CaError } from '../error.ts'

declare const brand: unique symbol

/** A trust domain name, e.g. `prod.example`. */
export type TrustDomain = string & { readonly [brand]: 'TrustDomain' }

/** A valid SPIFFE ID, e.g. `spiffe://prod.example/ns/pay/sa/api`. Only {@link parseSpiffeId} makes one. */
export type SpiffeId = string & { readonly [brand]: 'SpiffeId' }

/** The account a mesh identity names: `spiffe://<trust domain>/ns/<namespace>/sa/<serviceAccount>`. */
export interface ServiceAccount {
  readonly namespace: string
  readonly serviceAccount: string
}

/** Bytes; every implementation must accept this much and should emit no more (SPIFFE-ID §2.3). */
export const MAX_SPIFFE_ID_BYTES = 2048

/** Bytes of a trust domain (RFC 3986 §3.2.2's limit on hosts, by SPIFFE-ID §2.1). */
const MAX_TRUST_DOMAIN_BYTES = 255

const SCHEME = 'spiffe://'
const TRUST_DOMAIN = /^[a-z0-9._-]{1,255}$/
const PATH_SEGMENT = /^[A-Za-z0-9._-]+$/

/** All of it at once; what it does not match is looked at piece by piece, to say what is wrong. */
const WHOLE = /^spiffe:\/\/[a-z0-9._-]{1,255}(?:\/(?!\.{1,2}(?:\/|$))[A-Za-z0-9._-]+)*$/

/**
 * Parses the text of one URI SAN.
 *
 * Upper-case schemes and trust domains are refused, although §2.4 lets a parser fold them:
 * two spellings of one identity would let a policy match the one and miss the other.
 *
 * @throws {CaError} `CA_ID_INVALID`
 */
export function parseSpiffeId(text: string): SpiffeId {
  if (text.length <= MAX_SPIFFE_ID_BYTES && WHOLE.test(text)) return text as SpiffeId
  const fail = (why: string): never => {
    throw new CaError('CA_ID_INVALID', `Cannot parse SPIFFE ID ${quoted(text)}: ${why}`)
  }
  if (text.length > MAX_SPIFFE_ID_BYTES) fail(`it is longer than ${MAX_SPIFFE_ID_BYTES} bytes`)
  if (!text.startsWith(SCHEME)) fail('its scheme is not spiffe')

  const [trustDomain = '', ...segments] = text.slice(SCHEME.length).split('/')
  if (trustDomain === '') fail('its trust domain is empty')
  if (trustDomain.length > MAX_TRUST_DOMAIN_BYTES) {
    fail(`its trust domain is longer than ${MAX_TRUST_DOMAIN_BYTES} bytes`)
  }
  if (!TRUST_DOMAIN.test(trustDomain)) fail('its trust domain has a character outside [a-z0-9._-]')

  for (const segment of segments) {
    if (segment === '') fail('its path has an empty segment')
    if (segment === '.' || segment === '..') fail('its path has a relative segment')
    if (!PATH_SEGMENT.test(segment)) fail('its path has a character outside [A-Za-z0-9._-]')
  }
  return text as SpiffeId
}

/** In quotes; one that is too long to be an ID is cut, so that nobody fills our logs with it. */
function quoted(text: string): string {
  return JSON.stringify(text.length > MAX_SPIFFE_ID_BYTES ? `${text.slice(0, 64)}…` : text)
}

/**
 * Parses a trust domain name (SPIFFE-ID §2.1), without scheme or path.
 *
 * @throws {CaError} `CA_ID_INVALID`
 */
export function parseTrustDomain(text: string): TrustDomain {
  if (TRUST_DOMAIN.test(text)) return text as TrustDomain
  throw new CaError(
    'CA_ID_INVALID',
    `Cannot parse trust domain ${JSON.stringify(text)}: it must be 1 to 255 characters of [a-z0-9._-]`,
  )
}

/** The trust domain that vouches for `id`. */
export function trustDomainOf(id: SpiffeId): TrustDomain {
  const end = id.indexOf('/', SCHEME.length)
  return id.slice(SCHEME.length, end === -1 ? undefined : end) as TrustDomain
}

/** The identity of a service account. @throws {CaError} `CA_ID_INVALID` */
export function serviceAccountId(
  trustDomain: TrustDomain,
  { namespace, serviceAccount }: ServiceAccount,
): SpiffeId {
  return parseSpiffeId(`${SCHEME}${trustDomain}/ns/${namespace}/sa/${serviceAccount}`)
}

/** The account `id` names, or `undefined` when its path is not `/ns/<namespace>/sa/<account>`. */
export function serviceAccountOf(id: SpiffeId): ServiceAccount | undefined {
  const [, ns, namespace, sa, serviceAccount, ...rest] = id.slice(SCHEME.length).split('/')
  if (ns !== 'ns' || sa !== 'sa' || rest.length > 0) return undefined
  if (namespace === undefined || serviceAccount === undefined) return undefined
  return { namespace, serviceAccount }
}
