/** What the plain evaluator says of a request: every example is put to it before it is told. */
import type { CheckQuery, CheckResult } from '../check/index.ts'
import { createPreparer, type Prepared } from '../check/check.ts'
import { settle } from '../check/settle.ts'
import { evaluateAuthorization } from '../evaluate/index.ts'
import type { Decision, Intent } from '../model/index.ts'
import type { Verdict } from './judge.ts'

/** The verdict on one request, and the answer that `authz check` gives. */
export interface Confirmation {
  readonly verdict: Verdict
  readonly result: CheckResult
}

/** Decides requests plainly. */
export type Confirm = (query: CheckQuery) => Confirmation

/** A {@link Confirm} for one intent. */
export function createConfirm(intent: Intent): Confirm {
  const prepare = createPreparer(intent)
  return (query) => {
    const prepared = prepare(query)
    if (prepared.kind === 'settled') {
      const { result } = prepared
      return { verdict: result.decision === 'allow' ? 'allow' : 'deny', result }
    }
    const engine = plainEngine(prepared)
    const { connection, http } = prepared.attempt
    const verdict = verdictOf(engine(connection)(http), query)
    return { verdict, result: settle({ ...prepared.attempt, engine }, query) }
  }
}

function plainEngine({ bundle }: Extract<Prepared, { readonly kind: 'attempt' }>) {
  return evaluateAuthorization({ ...bundle, policies: bundle.authorization })
}

/** A provider's yes that leads to a denial is a denial, whatever it says. */
function verdictOf(decision: Decision, { providers = {} }: CheckQuery): Verdict {
  const asked: string[] = []
  let at = decision
  while (at.kind === 'ask') {
    const answer = Object.hasOwn(providers, at.provider) ? providers[at.provider] : undefined
    if (answer === 'deny') return 'deny'
    if (answer === undefined) asked.push(at.provider)
    at = at.proceed()
  }
  if (at.kind === 'deny') return at.reason === 'ambiguous-path' ? 'ambiguous' : 'deny'
  return asked.length === 0 ? 'allow' : `ask ${asked.join()}`
}
