/** A JWT-SVID in words. The token itself is a secret, and no part of it that proves anything is shown. */
import { CaError } from '../error.ts'
import { type JwtKey, MAX_JWT_LENGTH, verifyJwtSvid } from '../jwt/index.ts'
import { parseStrictObject } from '../jwt/request/strict-json.ts'
import { type TrustDomain, trustDomainOf } from '../spiffe/index.ts'
import { type Finding, readId } from './findings/finding.ts'

/** A token as `redoubt cert inspect --output json` prints it. */
export interface TokenReport {
  /** `null` when its subject is none. */
  readonly spiffeId: string | null
  readonly audience: readonly string[]
  readonly algorithm: string | null
  readonly keyId: string | null
  /** RFC 3339, UTC. */
  readonly issuedAt: string | null
  readonly expiresAt: string | null
  /** Negative once it has run out. */
  readonly remainingSeconds: number | null
  /** Whether a key of its trust domain signed it; `null`: no such keys are known. */
  readonly verified: boolean | null
  /** Why it is not verified. */
  readonly error: string | null
  readonly findings: readonly Finding[]
}

interface Parts {
  readonly header: Readonly<Record<string, unknown>>
  readonly claims: Readonly<Record<string, unknown>>
  readonly now: Temporal.Instant
}

interface TokenRule extends Omit<Finding, 'message'> {
  readonly check: (parts: Parts) => string | false | undefined
}

const ALGORITHMS = /^(RS|ES|PS)(256|384|512)$/

/** Every rule for tokens. */
export const TOKEN_RULES: readonly TokenRule[] = [
  {
    rule: 'jwt-algorithm',
    severity: 'error',
    source: 'JWT-SVID §2.1',
    check: ({ header: { alg } }) =>
      !(typeof alg === 'string' && ALGORITHMS.test(alg)) &&
      `its algorithm is ${JSON.stringify(alg ?? null)}, expected RS, ES or PS with 256, 384 or 512`,
  },
  {
    rule: 'jwt-key-id',
    severity: 'warning',
    source: 'JWT-SVID §2.2',
    check: ({ header: { kid } }) =>
      (typeof kid !== 'string' || kid === '') &&
      'it does not name its key, without which some verifiers refuse it',
  },
  {
    rule: 'jwt-type',
    severity: 'error',
    source: 'JWT-SVID §2.3',
    check: ({ header: { typ } }) =>
      typ !== undefined &&
      typ !== 'JWT' &&
      typ !== 'JOSE' &&
      `its type is ${JSON.stringify(typ)}, expected "JWT" or "JOSE"`,
  },
  {
    rule: 'jwt-headers',
    severity: 'error',
    source: 'JWT-SVID §2 (no other header)',
    check: ({ header }) => {
      const other = Object.keys(header).find((name) => !['alg', 'kid', 'typ'].includes(name))
      return other !== undefined && `its header has ${JSON.stringify(other)}`
    },
  },
  {
    rule: 'jwt-subject',
    severity: 'error',
    source: 'JWT-SVID §3.1',
    check: ({ claims: { sub } }) => {
      const id = readId(typeof sub === 'string' ? sub : '')
      return typeof id === 'object' && id.fault
    },
  },
  {
    rule: 'jwt-audience',
    severity: 'error',
    source: 'JWT-SVID §3.2 (present)',
    check: ({ claims: { aud } }) =>
      audienceOf(aud).length === 0 && 'it is for nobody in particular',
  },
  {
    rule: 'jwt-one-audience',
    severity: 'info',
    source: 'JWT-SVID §3.2 (single)',
    check: ({ claims: { aud } }) =>
      audienceOf(aud).length > 1 &&
      `it is for ${audienceOf(aud).length} audiences, each of which could pass it on to the others`,
  },
  {
    rule: 'jwt-end',
    severity: 'error',
    source: 'JWT-SVID §3.3',
    check: ({ claims: { exp } }) => timeOf(exp) === undefined && 'it has no end ("exp")',
  },
  {
    rule: 'jwt-expired',
    severity: 'error',
    source: 'RFC 7519 §4.1.4',
    check: ({ claims: { exp }, now }) => {
      const end = timeOf(exp)
      return end && Temporal.Instant.compare(end, now) <= 0 && `it ran out at ${end}`
    },
  },
  {
    rule: 'jwt-not-before',
    severity: 'error',
    source: 'RFC 7519 §4.1.5',
    check: ({ claims: { nbf }, now }) => {
      const start = timeOf(nbf)
      return start && Temporal.Instant.compare(now, start) < 0 && `it is not valid before ${start}`
    },
  },
  {
    rule: 'jwt-short-life',
    severity: 'warning',
    source: 'Redoubt: lives of tokens',
    hint: 'it cannot be called back: ask for one again when it is needed',
    check: ({ claims: { exp, iat }, now }) => {
      const hours =
        timeOf(exp)
          ?.since(timeOf(iat) ?? now)
          .total('hours') ?? 0
      return hours > 1 && `it lives ${Math.round(hours)} hours, expected at most 1`
    },
  },
]

/** What a token is judged by. */
export interface TokenJudges {
  /** Left out: the token's own. */
  readonly trustDomain?: TrustDomain
  readonly jwtKeys?: readonly JwtKey[]
  /** Who it must be for; left out: whomever it is for. */
  readonly audience?: string
}

/** @throws {CaError} `CA_JWT_INVALID` if `token` is no JWS in compact form */
export function describeToken(
  token: string,
  judges: TokenJudges,
  now: Temporal.Instant,
): TokenReport {
  const [header, claims] = partsOf(token)
  const { alg, kid } = header
  const { sub, aud, iat, exp } = claims
  const id = readId(typeof sub === 'string' ? sub : '')
  const end = timeOf(exp)
  return {
    spiffeId: typeof id === 'string' ? id : null,
    audience: audienceOf(aud),
    algorithm: typeof alg === 'string' ? alg : null,
    keyId: typeof kid === 'string' ? kid : null,
    issuedAt: timeOf(iat)?.toString() ?? null,
    expiresAt: end?.toString() ?? null,
    remainingSeconds: end ? Math.floor(end.since(now).total('seconds')) : null,
    ...verdictOn(token, id, judges, now),
    findings: TOKEN_RULES.flatMap(({ check, ...rule }) => {
      const message = check({ header, claims, now })
      return message ? [{ ...rule, message }] : []
    }),
  }
}

function verdictOn(
  token: string,
  id: ReturnType<typeof readId>,
  { trustDomain, jwtKeys, audience }: TokenJudges,
  now: Temporal.Instant,
): Pick<TokenReport, 'verified' | 'error'> {
  if (!jwtKeys) return { verified: null, error: 'no keys of JWT-SVIDs are known to verify it with' }
  if (typeof id !== 'string') return { verified: false, error: 'subject: see the findings' }
  const bundle = { trustDomain: trustDomain ?? trustDomainOf(id), jwtKeys }
  const [, claims] = partsOf(token)
  const forWhom = audience ?? audienceOf(claims['aud'])[0] ?? ''
  const verdict = verifyJwtSvid(token, [bundle], forWhom, now)
  if (verdict.kind === 'ok') return { verified: true, error: null }
  return { verified: false, error: `${verdict.reason}: ${verdict.detail}` }
}

function partsOf(token: string): readonly [Parts['header'], Parts['claims']] {
  if (token.length > MAX_JWT_LENGTH) throw refused(`it has ${token.length} characters`)
  const [header, claims] = token
    .split('.')
    .slice(0, 2)
    .map((part) => parseStrictObject(Buffer.from(part, 'base64url').toString('utf8')))
  if (!header || !claims) throw refused('it is not made of JSON objects with each name once')
  return [header, claims]
}

function audienceOf(aud: unknown): readonly string[] {
  const all: readonly unknown[] = Array.isArray(aud) ? aud : [aud]
  return all.filter((one): one is string => typeof one === 'string')
}

/** Seconds since 1970, as far as the calendar goes. */
function timeOf(seconds: unknown): Temporal.Instant | undefined {
  if (typeof seconds !== 'number' || !(seconds >= 0 && seconds <= 253_402_300_799)) return undefined
  return Temporal.Instant.fromEpochMilliseconds(Math.floor(seconds) * 1000)
}

function refused(why: string): CaError {
  return new CaError('CA_JWT_INVALID', `Cannot read a token: ${why}`)
}
