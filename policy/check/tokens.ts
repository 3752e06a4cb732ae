/**
 * Tokens in the request of a query. What verifies them is given: `policy` judges no signature, and the
 * command line has it from where a sidecar does.
 */
import type { KeySetOf } from '../assemble/token-rules.ts'
import type { Claims, HttpAttributes, InboundBundle, Intent, TokenRule } from '../model/index.ts'
import { type Attempted, createPreparer, type Prepared } from './check.ts'
import type { CheckQuery, CheckResult } from './query.ts'
import { settle } from './settle.ts'

export interface TokenRequest {
  readonly method: string
  /** Origin form, with its query. */
  readonly target: string
  /** The lines of header `name` (lower case). */
  readonly header: (name: string) => readonly string[]
}

/** What becomes of a request's tokens. */
export type TokenOutcome =
  | {
      readonly kind: 'passed'
      readonly claims: Claims | undefined
      /** Headers that policies do not see, lower case. */
      readonly dropped: readonly string[]
      /** What policies see of these instead, lower case. */
      readonly added: readonly { readonly name: string; readonly value: string }[]
    }
  | {
      readonly kind: 'refused'
      /** `keys-missing`: there was nothing to verify it with. */
      readonly reason: string
      readonly status: 401 | 403
      readonly message: string
    }

export interface Tokens {
  readonly compile: (
    rules: readonly TokenRule[],
  ) => (request: TokenRequest) => TokenOutcome | Promise<TokenOutcome>
  /** Keys that rules name by URI. */
  readonly keySetOf: KeySetOf
}

/** As `createChecker`, with the tokens of each request verified. */
export function createTokenChecker(
  intent: Intent,
  tokens: Tokens,
): (query: CheckQuery) => Promise<CheckResult> {
  const prepare = createTokenPreparer(intent, tokens)
  return async (query) => {
    const prepared = await prepare(query)
    return prepared.kind === 'settled' ? prepared.result : settle(prepared.attempt, query)
  }
}

/** Turns queries into attempts whose tokens are settled. */
export function createTokenPreparer(
  intent: Intent,
  { compile, keySetOf }: Tokens,
): (query: CheckQuery) => Promise<Prepared> {
  const prepare = createPreparer(intent, keySetOf)
  const compiled = new WeakMap<InboundBundle, ReturnType<Tokens['compile']>>()
  return async (query) => {
    const prepared = prepare(query)
    if (prepared.kind === 'settled') return prepared
    const { attempt, bundle, target } = prepared
    const { http } = attempt
    if (http === undefined || bundle.tokenRules.length === 0) return prepared
    const authenticate = compiled.get(bundle) ?? compile(bundle.tokenRules)
    compiled.set(bundle, authenticate)
    const { method, header } = http
    const request = { method, target, header }
    // Claims that are given stand for a token, and for no other.
    const outcome = await authenticate(query.claims ? { ...request, ...NO_TOKEN } : request)
    return withOutcome(prepared, http, outcome)
  }
}

const NO_TOKEN = { target: '/', header: () => [] }

function withOutcome(
  prepared: Attempted,
  before: HttpAttributes,
  outcome: TokenOutcome,
): Attempted {
  const { attempt } = prepared
  if (outcome.kind === 'refused') {
    return { ...prepared, attempt: { ...attempt, token: { before, refused: outcome } } }
  }
  const dropped = new Set(outcome.dropped)
  const added = Map.groupBy(outcome.added, ({ name }) => name)
  const after: HttpAttributes = {
    ...before,
    header(name) {
      const own = added.get(name)?.map(({ value }) => value)
      return own ?? (dropped.has(name) ? [] : before.header(name))
    },
    claims: before.claims ?? outcome.claims,
  }
  return {
    ...prepared,
    attempt: { ...attempt, http: after, token: { before, refused: undefined } },
  }
}
