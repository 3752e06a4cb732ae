import { explainAuthorization, type PolicyExplanation } from '../evaluate/index.ts'
import type { InboundBundle, Intent } from '../model/index.ts'
import { type Attempted, createPreparer } from './check.ts'
import type { CheckQuery, CheckResult } from './query.ts'
import { nearestMiss, ruleSentence } from './sentence.ts'
import { settle } from './settle.ts'
import { createTokenPreparer, type Tokens } from './tokens.ts'

/** A result, with what became of every rule of every policy that applies to the workload. */
export interface CheckExplanation extends CheckResult {
  /** Empty when no policy was asked. */
  readonly policies: readonly PolicyExplanation[]
  /** The rule that decided, or the nearest miss, in words; left out where no rule has a part in it. */
  readonly sentence?: string
}

/** As `check`, and why: what `redoubt authz explain` prints. */
export function explain(intent: Intent, query: CheckQuery): CheckExplanation {
  const prepared = createPreparer(intent)(query)
  if (prepared.kind === 'settled') return { ...prepared.result, policies: [] }
  return explained(prepared, query)
}

/** As {@link explain}, with the tokens of the request verified. */
export async function explainWithTokens(
  intent: Intent,
  query: CheckQuery,
  tokens: Tokens,
): Promise<CheckExplanation> {
  const prepared = await createTokenPreparer(intent, tokens)(query)
  if (prepared.kind === 'settled') return { ...prepared.result, policies: [] }
  return explained(prepared, query)
}

function explained({ attempt, bundle }: Attempted, query: CheckQuery): CheckExplanation {
  const input = { ...bundle, policies: bundle.authorization }
  const policies = explainAuthorization(input, attempt.connection, attempt.http)
  const result = settle(attempt, query)
  const sentence = sentenceOf(result, bundle, policies)
  return { ...result, policies, ...(sentence === undefined ? {} : { sentence }) }
}

function sentenceOf(
  { policy: decider, rule: at, reason }: CheckResult,
  { authorization }: InboundBundle,
  policies: readonly PolicyExplanation[],
): string | undefined {
  if (reason === 'no-allow-matched') return nearestMiss(policies)
  const found = authorization.find(({ namespace, name }) => `${namespace}/${name}` === decider)
  const rule = at === null ? undefined : found?.rules[at]
  return rule && ruleSentence(decider ?? '', at ?? 0, rule)
}
