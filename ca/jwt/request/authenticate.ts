/**
 * From a request to who its tokens say it is for: one compiled function for all rules of a workload.
 *
 * The requirement is Istio's (§3.3): some rule has tokens that all verify; or no rule refuses one. A token
 * that a rule has verified goes no further, unless it is to be forwarded: not to the rules behind it either.
 */
import { type Course, type Passed, takeToken, withoutHeaders, withoutOutputs } from './course.ts'
import { findTokens, type FoundToken, tokenHeaders, type TokenRequest } from './find-tokens.ts'
import { createIssuer, type Issuer, judgeToken, type Moment, openMoment } from './judge-token.ts'
import { outputHeaderNames } from './outputs.ts'
import type { TokenReading } from './parse-token.ts'
import { TOKEN_REFUSALS, type TokenRefusal, statusOfRefusal } from './refusal.ts'
import type { TokenRule } from './token-rule.ts'

export type Authentication =
  | Passed
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
  /** A token names a key that the fetched set of this rule lacks: its issuer may have newer ones. @default nothing */
  readonly onUnknownKey?: (rule: TokenRule) => void
}

/** Compiles the rules of one workload. An empty list lets every request pass without an identity. */
export function compileTokenRules(
  rules: readonly TokenRule[],
  { now, onUnknownKey = () => {} }: AuthenticateDeps,
): Authenticate {
  const issuers = rules.map((rule) =>
    createIssuer(rule, () => {
      if (rule.keys.kind === 'fetched') onUnknownKey(rule)
    }),
  )
  const dropped = [...new Set(rules.flatMap(outputHeaderNames))]
  const hide = hiderOf(rules)
  const anonymous: Passed = {
    kind: 'passed',
    claims: undefined,
    dropped,
    added: [],
    target: undefined,
  }
  return (given) => {
    if (isPreflight(given)) return anonymous
    const request = hide(given)
    const presented = new Map(issuers.map((one) => [one, findTokens(one.rule, request)]))
    if (issuers.every((one) => presented.get(one)?.length === 0)) return anonymous
    const nowSeconds = Math.floor(now().epochMilliseconds / 1000)
    const question = { ...openMoment(nowSeconds), issuers, request, presented }
    return settle(question, { request, answer: anonymous }, [])
  }
}

/** A header that some rule answers in is gone before any looks for tokens, in it too, as in Envoy (§0.8.22). */
function hiderOf(rules: readonly TokenRule[]): (request: TokenRequest) => TokenRequest {
  const searched = new Set(rules.flatMap(tokenHeaders))
  const hidden = rules.flatMap(outputHeaderNames).filter((name) => searched.has(name))
  return hidden.length === 0 ? (request) => request : (request) => withoutHeaders(request, hidden)
}

interface Question extends Moment {
  readonly issuers: readonly Issuer[]
  readonly request: TokenRequest
  /** Tokens in the places of each rule, as the request has come. */
  readonly presented: ReadonlyMap<Issuer, readonly FoundToken[]>
}

/** What became of the tokens in one rule's places. */
type Outcome =
  | { readonly kind: 'verified' | 'absent' }
  | { readonly kind: 'refused'; readonly reason: TokenRefusal }

interface Step {
  readonly outcome: Outcome
  readonly course: Course
}

/**
 * Asks rule after rule; the first whose tokens all verify settles it. Where there is none, several rules
 * are each asked once more: tokens of others may be gone by then, and a request passes that none refuses.
 *
 * @param before - what came out so far
 */
function settle(
  question: Question,
  start: Course,
  before: readonly Outcome[],
): Authentication | Promise<Authentication> {
  const { issuers } = question
  const outcomes = [...before]
  let course = start
  const isTwice = issuers.length > 1
  for (const issuer of [...issuers, ...(isTwice ? issuers : [])].slice(before.length)) {
    const step = judgeRule(question, course, issuer)
    if (step instanceof Promise) {
      return step.then(
        (made) =>
          settledBy(made, outcomes, issuers.length) ??
          settle(question, made.course, [...outcomes, made.outcome]),
      )
    }
    const settled = settledBy(step, outcomes, issuers.length)
    if (settled !== undefined) return settled
    outcomes.push(step.outcome)
    course = step.course
  }
  return isTwice ? course.answer : refused(reasonOf(outcomes))
}

/** `undefined`: the next rule has to be asked. */
function settledBy(
  { outcome, course }: Step,
  before: readonly Outcome[],
  rules: number,
): Authentication | undefined {
  if (before.length < rules) return outcome.kind === 'verified' ? course.answer : undefined
  if (outcome.kind !== 'refused') return undefined
  return refused(reasonOf([...before.slice(0, rules), outcome]))
}

function judgeRule(question: Question, course: Course, issuer: Issuer): Step | Promise<Step> {
  const known = course.request === question.request ? question.presented.get(issuer) : undefined
  const tokens = known ?? findTokens(issuer.rule, course.request)
  const cleared = withoutOutputs(course, issuer.rule)
  if (tokens.length === 0) return { outcome: { kind: 'absent' }, course: cleared }
  return judgeAll(question, cleared, issuer, tokens)
}

/** All tokens of a rule must verify. Envoy begins with the last; the first one found is who it is. */
function judgeAll(
  question: Question,
  course: Course,
  issuer: Issuer,
  tokens: readonly FoundToken[],
): Step | Promise<Step> {
  const last = tokens.at(-1)
  if (last === undefined) return { outcome: { kind: 'verified' }, course }
  const proceed = (judged: TokenReading): Step | Promise<Step> =>
    judged.kind === 'refused'
      ? { outcome: judged, course }
      : judgeAll(
          question,
          takeToken(course, issuer.rule, last, judged.token),
          issuer,
          tokens.slice(0, -1),
        )
  const judged = judgeToken(question, issuer, last.text)
  return judged instanceof Promise ? judged.then(proceed) : proceed(judged)
}

/** Which of several refusals is told: the last that was not for another issuer, as Envoy puts it together. */
function reasonOf(outcomes: readonly Outcome[]): TokenRefusal {
  const reasons = outcomes.flatMap((one) => (one.kind === 'refused' ? [one.reason] : []))
  return reasons.findLast((reason) => reason !== 'issuer-unknown') ?? 'issuer-unknown'
}

function refused(reason: TokenRefusal): Authentication {
  const message = TOKEN_REFUSALS[reason]
  return { kind: 'refused', reason, status: statusOfRefusal(reason), message }
}

/** CORS preflights carry no token and are not asked for one. */
function isPreflight({ method, header }: TokenRequest): boolean {
  if (method !== 'OPTIONS') return false
  return isGiven(header('origin')) && isGiven(header('access-control-request-method'))
}

function isGiven(lines: readonly string[]): boolean {
  return lines.some((line) => line !== '')
}
