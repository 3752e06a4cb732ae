import { explainAuthorization, type PolicyExplanation } from '../evaluate/index.ts'
import type { Intent } from '../model/index.ts'
import { type Attempted, createPreparer } from './check.ts'
import type { CheckQuery, CheckResult } from './query.ts'
import { settle } from './settle.ts'
import { createTokenPreparer, type Tokens } from './tokens.ts'

/** A result, with what became of every rule of every policy that applies to the workload. */
export interface CheckExplanation extends CheckResult {
  /** Empty when no policy was asked. */
  readonly policies: readonly PolicyExplanation[]
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
  return { ...settle(attempt, query), policies }
}
