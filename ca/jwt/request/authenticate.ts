/**
 * From a request to who its tokens say it is for: one compiled function for all rules of a workload.
 *
 * The requirement is Istio's (§3.3): some rule has tokens that all verify; or no rule has any.
 */
import { LRUCache } from 'lru-cache'
import { findTokens, type FoundToken, type TokenRequest, withoutParameters } from './find-tokens.ts'
import { readKeySet, type VerificationKey } from './key-set.ts'
import { type AddedHeader, outputHeaderNames, outputHeaders } from './outputs.ts'
import { parseToken, type TokenReading, type UnverifiedToken } from './parse-token.ts'
import { TOKEN_REFUSALS, type TokenRefusal, statusOfRefusal } from './refusal.ts'
import type { TokenClaims, TokenRule } from './token-rule.ts'
import { verifySignature } from './verify-token.ts'

export type Authentication =
  | {
      readonly kind: 'passed'
      /** As policies read them; `undefined`: there is no token. */
      readonly claims: TokenClaims | undefined
      /** Headers of the client's that neither policies nor the app see, lower case. */
      readonly dropped: readonly string[]
      /** Headers that the app sees, put in after all drops. */
      readonly added: readonly AddedHeader[]
      /** What is sent on instead of the target; `undefined`: the target itself. */
      readonly target: string | undefined
    }
  | {
      readonly kind: 'refused'
      readonly reason: TokenRefusal
      readonly status: 401 | 403
      /** The body of the answer. */
      readonly message: string
    }

/** A promise only when a signature has to be verified: a token seen before is answered at once. */
export type Authenticate = (request: TokenRequest) => Authentication | Promise<Authentication>

export interface AuthenticateDeps {
  readonly now: () => Temporal.Instant
}

/** Seconds that clocks may differ, as Envoy has it. */
const CLOCK_SKEW_S = 60
/** Verified tokens remembered for each rule, and the characters of one beyond which it is not. */
const MAX_REMEMBERED = 1000
const MAX_REMEMBERED_LENGTH = 4096

/** Compiles the rules of one workload. An empty list lets every request pass without an identity. */
export function compileTokenRules(
  rules: readonly TokenRule[],
  { now }: AuthenticateDeps,
): Authenticate {
  const issuers = rules.map((rule) => createIssuer(rule))
  const dropped = [...new Set(rules.flatMap(outputHeaderNames))]
  const anonymous: Authentication = {
    kind: 'passed',
    claims: undefined,
    dropped,
    added: [],
    target: undefined,
  }
  return (request) => {
    if (isPreflight(request)) return anonymous
    const presented = issuers.map((issuer) => ({
      issuer,
      tokens: findTokens(issuer.rule, request),
    }))
    if (presented.every(({ tokens }) => tokens.length === 0)) return anonymous
    const nowSeconds = Math.floor(now().epochMilliseconds / 1000)
    return settle({ nowSeconds, dropped, request, read: readOnce() }, presented, [])
  }
}

/** One rule, its keys, and the tokens that they have verified. */
interface Issuer {
  readonly rule: TokenRule
  readonly keys: readonly VerificationKey[]
  readonly verified: LRUCache<string, true>
}

function createIssuer(rule: TokenRule): Issuer {
  return { rule, keys: readKeySet(rule.keys), verified: new LRUCache({ max: MAX_REMEMBERED }) }
}

interface Question {
  readonly nowSeconds: number
  readonly read: (text: string) => TokenReading
  readonly dropped: readonly string[]
  readonly request: TokenRequest
}

/** One rule, and the tokens in its places. */
interface Presented {
  readonly issuer: Issuer
  readonly tokens: readonly FoundToken[]
}

/** What became of the tokens in one rule's places. */
type Outcome =
  /** In the order in which they were verified; the last one is who it is. */
  | { readonly kind: 'verified'; readonly tokens: readonly UnverifiedToken[] }
  | { readonly kind: 'absent' }
  | { readonly kind: 'refused'; readonly reason: TokenRefusal }

/** Asks rule after rule; the first whose tokens all verify settles it. */
function settle(
  question: Question,
  presented: readonly Presented[],
  before: readonly Outcome[],
): Authentication | Promise<Authentication> {
  const outcomes = [...before]
  for (const [at, next] of presented.entries()) {
    const outcome = judgeAll(question, next.issuer, next.tokens)
    if (outcome instanceof Promise) {
      return outcome.then((judged) =>
        judged.kind === 'verified'
          ? passed(question, next, judged.tokens)
          : settle(question, presented.slice(at + 1), [...outcomes, judged]),
      )
    }
    if (outcome.kind === 'verified') return passed(question, next, outcome.tokens)
    outcomes.push(outcome)
  }
  return refused(reasonOf(outcomes))
}

/** All tokens of a rule must verify. Envoy begins with the last; the first one found is who it is. */
function judgeAll(
  question: Question,
  issuer: Issuer,
  tokens: readonly FoundToken[],
  verified: readonly UnverifiedToken[] = [],
): Outcome | Promise<Outcome> {
  const last = tokens.at(-1)
  if (last === undefined) {
    return verified.length === 0 ? { kind: 'absent' } : { kind: 'verified', tokens: verified }
  }
  const proceed = (judged: Outcome): Outcome | Promise<Outcome> =>
    judged.kind === 'verified'
      ? judgeAll(question, issuer, tokens.slice(0, -1), [...verified, ...judged.tokens])
      : judged
  const judged = judge(question, issuer, last.text)
  return judged instanceof Promise ? judged.then(proceed) : proceed(judged)
}

function judge(
  { nowSeconds, read }: Question,
  { rule, keys, verified }: Issuer,
  text: string,
): Outcome | Promise<Outcome> {
  const reading = read(text)
  if (reading.kind === 'refused') return reading
  const { token } = reading
  const fault = faultOf(rule, token, nowSeconds)
  if (fault !== undefined) return { kind: 'refused', reason: fault }
  if (verified.has(text)) return { kind: 'verified', tokens: [token] }
  return verifySignature(token, keys).then((reason): Outcome => {
    if (reason !== undefined) return { kind: 'refused', reason }
    if (text.length <= MAX_REMEMBERED_LENGTH) verified.set(text, true)
    return { kind: 'verified', tokens: [token] }
  })
}

/** Reads each token once: several rules may look in the same place. */
function readOnce(): (text: string) => TokenReading {
  const readings = new Map<string, TokenReading>()
  return (text) => {
    const reading = readings.get(text) ?? parseToken(text)
    readings.set(text, reading)
    return reading
  }
}

/** Issuer, then time, then audience, before any signature: in Envoy's order. */
function faultOf(
  rule: TokenRule,
  token: UnverifiedToken,
  nowSeconds: number,
): TokenRefusal | undefined {
  const { issuer, audiences, notBefore, expiresAt } = token
  if (rule.issuer !== undefined && rule.issuer !== issuer) return 'issuer-unknown'
  if (notBefore > nowSeconds + CLOCK_SKEW_S) return 'not-yet-valid'
  if (expiresAt !== 0 && nowSeconds > expiresAt + CLOCK_SKEW_S) return 'expired'
  if (rule.audiences !== undefined) {
    const wanted = rule.audiences.map(audienceName)
    if (!audiences.some((one) => wanted.includes(audienceName(one)))) return 'audience-refused'
  }
  return rule.keys.kind === 'missing' ? 'keys-missing' : undefined
}

/** A scheme in front and one slash behind do not count. */
function audienceName(audience: string): string {
  return audience.replace(/^https?:\/\//, '').replace(/\/$/, '')
}

/**
 * Which of several refusals is told: that of the first rule which found a token, unless it was for
 * another issuer; then the last that was not. As Envoy puts it together.
 */
function reasonOf(outcomes: readonly Outcome[]): TokenRefusal {
  const reasons = outcomes.flatMap((one) => (one.kind === 'refused' ? [one.reason] : []))
  const [first = 'issuer-unknown'] = reasons
  if (first !== 'issuer-unknown') return first
  return reasons.findLast((reason) => reason !== 'issuer-unknown') ?? 'issuer-unknown'
}

function refused(reason: TokenRefusal): Authentication {
  const message = TOKEN_REFUSALS[reason]
  return { kind: 'refused', reason, status: statusOfRefusal(reason), message }
}

function passed(
  { dropped, request }: Question,
  { issuer: { rule }, tokens }: Presented,
  verified: readonly UnverifiedToken[],
): Authentication {
  const claims = verified.at(-1)?.claims ?? {}
  const spent = rule.forwardOriginalToken ? [] : tokens
  const headers = spent.filter(({ place }) => place === 'header').map(({ name }) => name)
  const parameters = spent.filter(({ place }) => place === 'parameter').map(({ name }) => name)
  return {
    kind: 'passed',
    claims: splitClaims(claims, rule.spaceDelimitedClaims),
    dropped: headers.length === 0 ? dropped : [...dropped, ...headers],
    added: verified.flatMap((one) => outputHeaders(rule, one.text, one.claims)),
    target: parameters.length === 0 ? undefined : withoutParameters(request.target, parameters),
  }
}

/** Named claims become lists at their spaces; one without words stays, and nested ones do (§0.8.24). */
function splitClaims(claims: TokenClaims, names: readonly string[]): TokenClaims {
  const split = names.flatMap((name) => {
    const value = Object.hasOwn(claims, name) ? claims[name] : undefined
    const words = typeof value === 'string' ? value.split(' ').filter((word) => word !== '') : []
    return words.length === 0 ? [] : [[name, words]]
  })
  return split.length === 0 ? claims : { ...claims, ...Object.fromEntries(split) }
}

/** CORS preflights carry no token and are not asked for one. */
function isPreflight({ method, header }: TokenRequest): boolean {
  if (method !== 'OPTIONS') return false
  return isGiven(header('origin')) && isGiven(header('access-control-request-method'))
}

function isGiven(lines: readonly string[]): boolean {
  return lines.some((line) => line !== '')
}
