/**
 * What differs is asked about again. A difference is one that comes twice; what a busy machine, or the
 * oracle's client that gave up waiting, makes of an answer does not. An answer of ours that changes is a
 * fault, whatever the oracle says.
 */
import type { OracleCase } from './cases.ts'
import { compareRound, type Round } from './compare.ts'
import type { Fault } from './tally.ts'

export interface Comparison {
  readonly counts: Readonly<Record<string, number>>
  readonly faults: readonly Fault[]
  /** What the oracle said once and not again. */
  readonly unsteady: readonly string[]
  /** Sets of which it did not answer something twice, and why. */
  readonly unanswered: ReadonlyMap<string, string>
}

export async function compareTwice(
  program: string,
  cases: readonly OracleCase[],
): Promise<Comparison> {
  const first = await compareRound(program, cases)
  const { counts, faults } = first.tally
  const doubtful = new Set([...faults.values()].map(({ at }) => at.split('/', 1)[0]))
  const open = cases.filter(({ id }) => doubtful.has(id) || first.unanswered.has(id))
  if (open.length === 0) return { counts, faults: [], unsteady: [], unanswered: new Map() }
  const again = await compareRound(program, open)
  return { counts, ...confirm(first, again), unanswered: again.unanswered }
}

/** What both rounds say of each fault of one of them. */
export function confirm(
  first: Pick<Round, 'tally' | 'unanswered'>,
  again: Pick<Round, 'tally' | 'unanswered'>,
): Pick<Comparison, 'faults' | 'unsteady'> {
  const confirmed: Fault[] = []
  const unsteady: string[] = []
  const all = new Map([...first.tally.faults, ...again.tally.faults])
  for (const [key, fault] of all) {
    const [then, now] = [first.tally.said.get(key), again.tally.said.get(key)]
    const isLost = then === undefined || now === undefined
    const isBoth = first.tally.faults.has(key) && again.tally.faults.has(key)
    if (isBoth) confirmed.push(fault)
    else if (isLost) confirmed.push({ ...fault, changed: 'the oracle answered once alone' })
    else if (then !== now) confirmed.push({ ...fault, changed: `${then}, then ${now}` })
    else unsteady.push(`${key}: the oracle answered otherwise when asked again`)
  }
  return { faults: confirmed, unsteady }
}
