/** Texts of columns, compiled once each and kept for a generation. */
import type { Condition, Operation, Source } from '../model/index.ts'
import type { MatcherFunctions } from './enforcer.ts'
import { ANY, type PolicyLine } from './lines.ts'
import type { Recall } from './compile-memory.ts'
import { allOf, anyOf, type Test } from './constraint.ts'
import { compileCondition, compileOperation, compileSource } from './match.ts'

/** A line's parts as tests; `to` is one list of tests for each alternative. */
export interface LineTests {
  readonly from: readonly Test[]
  readonly to: readonly (readonly Test[])[]
  readonly when: readonly Test[]
}

/** The compiled texts of one generation. */
export interface Columns {
  readonly tests: (line: PolicyLine) => LineTests
  /** For the matchers of `*.conf`. A text that no line of this generation has faults. */
  readonly functions: MatcherFunctions
}

/**
 * Compiles every column of `lines`. Texts that several lines share are compiled once.
 *
 * @param recall - what earlier generations compiled
 */
export function compileColumns(
  lines: readonly PolicyLine[],
  recall: Recall = (_kind, _key, make) => make(),
): Columns {
  const from = new Map<string, Compiled<readonly Test[]>>()
  const to = new Map<string, Compiled<readonly (readonly Test[])[]>>()
  const when = new Map<string, Compiled<readonly Test[]>>()
  for (const line of lines) {
    const { from: who, to: what, when: further } = line
    if (!from.has(who))
      from.set(
        who,
        recall('from', who, () => compileFrom(who)),
      )
    if (!to.has(what))
      to.set(
        what,
        recall('to', what, () => compileTo(what)),
      )
    if (!when.has(further))
      when.set(
        further,
        recall('when', further, () => compileWhen(further)),
      )
  }
  return {
    tests: (line) => ({
      from: required(from, line.from).parts,
      to: required(to, line.to).parts,
      when: required(when, line.when).parts,
    }),
    functions: {
      fromMatches: (attempt, column) => required(from, column).test.meets(attempt),
      toMatches: (attempt, column) => required(to, column).test.meets(attempt),
      whenMatches: (attempt, column) => required(when, column).test.meets(attempt),
    },
  }
}

interface Compiled<Parts> {
  readonly parts: Parts
  readonly test: Test
}

function compileFrom(column: string): Compiled<readonly Test[]> {
  const parts = column === ANY ? [] : compileSource(JSON.parse(column) as Source)
  return { parts, test: allOf(parts) }
}

function compileTo(column: string): Compiled<readonly (readonly Test[])[]> {
  const operations = column === ANY ? [{}] : (JSON.parse(column) as readonly Operation[])
  const parts = operations.map(compileOperation)
  return { parts, test: anyOf(parts.map(allOf)) }
}

function compileWhen(column: string): Compiled<readonly Test[]> {
  const conditions = column === ANY ? [] : (JSON.parse(column) as readonly Condition[])
  const parts = conditions.flatMap(compileCondition)
  return { parts, test: allOf(parts) }
}

function required<T>(compiled: ReadonlyMap<string, T>, column: string): T {
  const found = compiled.get(column)
  if (found !== undefined) return found
  throw new RangeError(`Cannot match ${JSON.stringify(column)}: it is no column of this generation`)
}
