/**
 * Leaves out, once for each accepted connection, the lines that this connection can never match.
 *
 * Whether a test that reads only the connection is met is settled at accept and stays so. A line
 * goes when such a test of its `from` or `when` is not met, or when each alternative of its `to` has
 * one that is not. What remains is what requests are held against.
 */
import type { Connection } from '../model/index.ts'
import type { LineTests } from './columns.ts'
import type { PolicyLine } from './lines.ts'
import type { Reads, Test } from './constraint.ts'

/** A line with what of it is settled by the connection, and what each request must still meet. */
export interface NarrowableLine {
  readonly line: PolicyLine
  readonly settled: readonly Test[]
  readonly alternatives: readonly {
    readonly settled: readonly Test[]
    readonly reads: readonly Reads[]
  }[]
  /** What `from` and `when` read of a request. */
  readonly reads: readonly Reads[]
}

/** The lines that a connection may still match. */
export interface Narrowed {
  readonly lines: readonly PolicyLine[]
  /** What they read of a request. */
  readonly reads: readonly Reads[]
  /** Equal for two connections exactly when the same lines, and the same alternatives of them, remain. */
  readonly signature: string
}

export function prepareLine(line: PolicyLine, { from, to, when }: LineTests): NarrowableLine {
  const always = [...from, ...when]
  return {
    line,
    settled: always.filter(isSettled),
    alternatives: to.map((tests) => ({
      settled: tests.filter(isSettled),
      reads: requestReads(tests),
    })),
    reads: requestReads(always),
  }
}

export function narrow(lines: readonly NarrowableLine[], connection: Connection): Narrowed {
  const attempt = { connection, http: undefined }
  const kept: PolicyLine[] = []
  const reads: Reads[] = []
  let signature = ''
  for (const [index, prepared] of lines.entries()) {
    if (!prepared.settled.every(({ meets }) => meets(attempt))) continue
    const open = prepared.alternatives.map(({ settled }) =>
      settled.every(({ meets }) => meets(attempt)),
    )
    if (!open.includes(true)) continue
    kept.push(prepared.line)
    reads.push(...prepared.reads)
    for (const [at, alternative] of prepared.alternatives.entries()) {
      if (open[at]) reads.push(...alternative.reads)
    }
    signature += `${index}${open.includes(false) ? `(${open.map(Number).join('')})` : ''},`
  }
  return { lines: kept, reads, signature }
}

function isSettled({ reads }: Test): boolean {
  return reads.every((read) => read.of === 'connection')
}

function requestReads(tests: readonly Test[]): readonly Reads[] {
  return tests.flatMap(({ reads }) => reads).filter((read) => read.of !== 'connection')
}
