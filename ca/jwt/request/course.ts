/** What verified tokens make of a request (istio-semantics §3.4, §0.8.22–24). */
import { type FoundToken, type TokenRequest, withoutParameters } from './find-tokens.ts'
import { type AddedHeader, outputHeaderNames, outputHeaders } from './outputs.ts'
import type { UnverifiedToken } from './parse-token.ts'
import type { TokenClaims, TokenRule } from './token-rule.ts'

/** The answer to a request that may go on. */
export interface Passed {
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

/** A request on its way past the rules. What a token has done to it stays, whatever becomes of the others. */
export interface Course {
  /** Without the tokens that are verified and go no further. */
  readonly request: TokenRequest
  readonly answer: Passed
}

/** `rule` has verified `token`: from here on it is who the request is for. */
export function takeToken(
  { request, answer }: Course,
  rule: TokenRule,
  { place, name }: FoundToken,
  { text, claims }: UnverifiedToken,
): Course {
  const taken: Passed = {
    ...answer,
    claims: splitClaims(claims, rule.spaceDelimitedClaims),
    added: [...answer.added, ...outputHeaders(rule, text, claims)],
  }
  if (rule.forwardOriginalToken || place === 'cookie') return { request, answer: taken }
  const { method, target, header } = request
  if (place === 'header') {
    const dropped = [...answer.dropped, name]
    return { request: withoutHeaders(request, [name]), answer: { ...taken, dropped } }
  }
  const rest = withoutParameters(target, [name])
  return { request: { method, target: rest, header }, answer: { ...taken, target: rest } }
}

/** What tokens of other rules have added under the names of `rule` goes when `rule` is asked. */
export function withoutOutputs({ request, answer }: Course, rule: TokenRule): Course {
  if (answer.added.length === 0) return { request, answer }
  const names = outputHeaderNames(rule)
  const added = answer.added.filter(({ name }) => !names.includes(name))
  return { request, answer: { ...answer, added } }
}

/** `request` as one who has not said the headers `names`. */
export function withoutHeaders(request: TokenRequest, names: readonly string[]): TokenRequest {
  const { method, target, header } = request
  return { method, target, header: (name) => (names.includes(name) ? [] : header(name)) }
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
