/** Finding a path from a leaf to a root (RFC 5280 §6, with X509-SVID §4 for what may sign). */
import { CaError } from '../error.ts'
import type { TrustDomain } from '../spiffe/index.ts'
import { type Certificate, readCertificate, sameBytes } from './certificate.ts'
import type { Denies } from './deny-list.ts'
import { keyIdOf } from './key-id.ts'
import { isIssuedBy, rememberIssuers } from './known-issuers.ts'
import { type Refusal, refuse } from './leaf-rules.ts'
import { meetsConstraints } from './name-constraints.ts'
import { OID } from './oid.ts'

/** What a path is looked for with. */
export interface PathInput {
  /** What came with the leaf, in any order. */
  readonly others: readonly Certificate[]
  readonly bundle: {
    readonly trustDomain: TrustDomain
    readonly roots: readonly Uint8Array[]
    readonly denies?: Denies | undefined
  }
  /** Of the leaf; the bundle's own, or one that it vouches for. */
  readonly domain: TrustDomain
  readonly now: Temporal.Instant
  readonly role: 'client' | 'server'
}

/** Signatures checked for one peer; a chain of look-alike issuers must not buy more arithmetic than this. */
const MAX_SIGNATURES = 16

/** Certificates from a leaf to a root, both included. */
export interface Path {
  readonly kind: 'path'
  readonly certificates: readonly Certificate[]
}

/**
 * Looks for a path from `leaf` to a root of the bundle on which every certificate is in time, every
 * issuer may sign and none has a key that is denied. Returns what was wrong with the longest attempt
 * if there is none.
 */
export function findPath(leaf: Certificate, input: PathInput): Path | Refusal {
  const roots = input.bundle.roots.flatMap((der) => readRoot(der) ?? [])
  const search: Search = { ...input, leaf, roots, budget: { signatures: MAX_SIGNATURES } }
  return judgeTime(leaf, 'leaf', input.now) ?? climb(search, [leaf])
}

interface Search extends PathInput {
  readonly leaf: Certificate
  readonly roots: readonly Certificate[]
  readonly budget: { signatures: number }
}

/**
 * Roots come from a bundle again and again as the same arrays; each is read once. One that cannot
 * be read vouches for nobody.
 */
function readRoot(der: Uint8Array): Certificate | undefined {
  if (!READ_ROOTS.has(der)) READ_ROOTS.set(der, readOrSkip(der))
  return READ_ROOTS.get(der)
}

const READ_ROOTS = new WeakMap<Uint8Array, Certificate | undefined>()

function readOrSkip(der: Uint8Array): Certificate | undefined {
  try {
    return readCertificate(der)
  } catch (cause) {
    if (cause instanceof CaError) return undefined
    throw cause
  }
}

/** The whole path when some issuer of the last of `path` leads to a root; the deepest refusal otherwise. */
function climb(search: Search, path: readonly [Certificate, ...Certificate[]]): Path | Refusal {
  const subject = path.at(-1) ?? path[0]
  let deepest = refuse('untrusted-issuer', 'no certificate in the chain or the bundle issued it')
  for (const [issuers, areRoots] of [
    [search.roots, true],
    [search.others, false],
  ] as const) {
    for (const issuer of issuers) {
      if (path.includes(issuer) || !mayHaveIssued(issuer, subject)) continue
      const found = judgeStep(search, path, issuer) ?? goOn(search, [...path, issuer], areRoots)
      if (found.kind === 'path') return found
      if (deepest.reason === 'untrusted-issuer') deepest = found
    }
  }
  return deepest
}

function goOn(
  search: Search,
  path: readonly [Certificate, ...Certificate[]],
  isComplete: boolean,
): Path | Refusal {
  if (!isComplete) return climb(search, path)
  rememberIssuers(path.slice(1, -1))
  return { kind: 'path', certificates: path }
}

/** By name and key identifier: cheap, and decides nothing but which signatures are worth checking. */
function mayHaveIssued(issuer: Certificate, { issuer: name, aki }: Certificate): boolean {
  if (!sameBytes(issuer.subject, name)) return false
  return !aki || !issuer.ski || sameBytes(aki, issuer.ski)
}

function judgeStep(
  { leaf, bundle, domain, now, role, budget }: Search,
  path: readonly Certificate[],
  issuer: Certificate,
): Refusal | undefined {
  const fault =
    judgeIssuer(issuer, path, bundle.trustDomain, role) ?? judgeTime(issuer, 'an issuer', now)
  if (fault) return fault
  if (bundle.denies?.('key-id', keyIdOf(issuer), now)) {
    return refuse('denied', `the key-id ${keyIdOf(issuer)} of an issuer is on the deny-list`)
  }
  const { nameConstraints } = issuer
  const names = { ...leaf, trustDomain: domain }
  if (nameConstraints && !meetsConstraints(nameConstraints, names)) {
    return refuse('name-constraint', 'an issuer may not sign for this name')
  }
  budget.signatures -= 1
  if (budget.signatures < 0) return refuse('chain-too-long', 'too many issuers could have signed')
  const subject = path.at(-1)
  return subject && isIssuedBy(subject, issuer)
    ? undefined
    : refuse('bad-signature', 'a signature in the chain is not by its issuer')
}

function judgeIssuer(
  issuer: Certificate,
  path: readonly Certificate[],
  trustDomain: TrustDomain,
  role: 'client' | 'server',
): Refusal | undefined {
  const { isCa, keyUsage, pathLength, extendedKeyUsage, unknownCritical, uriSans } = issuer
  if (!isCa) return refuse('issuer-not-ca', 'an issuer is not a CA certificate')
  if (!keyUsage?.includes('keyCertSign')) {
    return refuse('issuer-not-ca', 'an issuer may not sign certificates')
  }
  const below = path.slice(1).filter(({ subject, issuer: by }) => !sameBytes(subject, by)).length
  if (pathLength !== undefined && below > pathLength) {
    return refuse('path-length', `${below} CAs follow one that allows ${pathLength}`)
  }
  if (extendedKeyUsage && !extendedKeyUsage.some((usage) => SUFFICES[role].includes(usage))) {
    return refuse('extended-key-usage', `an issuer may not sign for TLS ${role}s`)
  }
  if (unknownCritical.length > 0) {
    return refuse(
      'unknown-critical-extension',
      `an issuer has the critical extension ${unknownCritical[0]}, which is not understood`,
    )
  }
  return judgeIssuerName(uriSans, trustDomain)
}

const SUFFICES: Readonly<Record<'client' | 'server', readonly string[]>> = {
  client: [OID.clientAuth, OID.anyExtendedKeyUsage],
  server: [OID.serverAuth, OID.anyExtendedKeyUsage],
}

/** A signing certificate needs no SPIFFE ID; one that it has must be its trust domain's, without a path. */
function judgeIssuerName(
  uriSans: readonly string[],
  trustDomain: TrustDomain,
): Refusal | undefined {
  const isOwn = uriSans.every((uri) => uri === `spiffe://${trustDomain}`)
  return uriSans.length <= 1 && isOwn
    ? undefined
    : refuse('spiffe-id', 'an issuer has a name that is not its trust domain')
}

function judgeTime(
  { notBefore, notAfter }: Certificate,
  which: string,
  now: Temporal.Instant,
): Refusal | undefined {
  if (Temporal.Instant.compare(now, notBefore) < 0) {
    return refuse('not-yet-valid', `${which} is valid from ${notBefore}, and it is ${now}`)
  }
  if (Temporal.Instant.compare(now, notAfter) > 0) {
    return refuse('expired', `${which} was valid until ${notAfter}, and it is ${now}`)
  }
  return undefined
}
