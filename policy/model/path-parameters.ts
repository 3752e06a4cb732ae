/** Servers differ on whether a path's parameters (`;…`) are part of its name: they make no decision more lenient. */
import type { Decision, Denied } from './decision.ts'

/**
 * What holds of a path with parameters: `decision`, unless the one `without` them is stricter. If that asks a
 * provider that `decision` does not, or misses one, nobody is asked and CUSTOM denies; if it ends in another
 * denial, so does this one, after those it asks.
 *
 * @param ambiguous - the denial
 */
export function decisionWithParameters(
  decision: Decision,
  without: Decision,
  ambiguous: Denied,
): Decision {
  const [mine, other] = [walk(decision), walk(without)]
  const byCustom: Denied = { ...ambiguous, action: 'CUSTOM' }
  if (other.asked.some((provider) => !mine.asked.includes(provider))) return byCustom
  if (other.end.kind !== 'deny' || mine.end.kind === 'deny') return decision
  return other.end.action === 'CUSTOM' ? byCustom : endingWith(decision, ambiguous)
}

/** Whom a decision asks, and what follows if all say yes. */
function walk(decision: Decision): { readonly asked: readonly string[]; readonly end: Decision } {
  const asked: string[] = []
  let end = decision
  for (; end.kind === 'ask'; end = end.proceed()) asked.push(end.provider)
  return { asked, end }
}

function endingWith(decision: Decision, end: Denied): Decision {
  if (decision.kind !== 'ask') return end
  return { ...decision, proceed: () => endingWith(decision.proceed(), end) }
}
