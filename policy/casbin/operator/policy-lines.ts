/** Lines of an operator's policy: `p, alice, /orders, GET` and `g, alice, admin`, as Casbin's files have them. */
import type { TextFault } from './fault.ts'
import type { OperatorModel } from './model-text.ts'

/** The definition that a line is of, then its columns. */
export type PolicyRow = readonly string[]

/** Lines in one policy; Casbin looks at one after another (reference §4.10: 0.4 µs and more each). */
export const MAX_LINES = 10_000
const MAX_VALUE = 1024

export type LinesReading =
  | { readonly kind: 'read'; readonly rows: readonly PolicyRow[] }
  | { readonly kind: 'faulty'; readonly faults: readonly TextFault[] }

const MAX_FAULTS = 20

/** Reads comma-separated text; a column with a comma stands in double quotes, `#` begins a comment line. */
export function readPolicyLines(text: string, model: OperatorModel): LinesReading {
  const faults: TextFault[] = []
  const rows: PolicyRow[] = []
  for (const [index, raw] of text.split(/\r?\n/).entries()) {
    const line = index + 1
    const trimmed = raw.trim()
    if (trimmed === '' || trimmed.startsWith('#')) continue
    const row = splitColumns(trimmed)
    const message = row === undefined ? 'a quoted column does not end' : rowFault(row, model)
    if (message !== undefined) faults.push({ line, message })
    else if (row !== undefined) rows.push(row)
    if (rows.length > MAX_LINES) {
      return { kind: 'faulty', faults: [{ line, message: `it has more than ${MAX_LINES} lines` }] }
    }
    if (faults.length >= MAX_FAULTS) break
  }
  return faults.length > 0 ? { kind: 'faulty', faults } : { kind: 'read', rows }
}

/** What is wrong with rows that come as columns, if anything; `line` counts them from 1. */
export function refuseLines(
  rows: readonly PolicyRow[],
  model: OperatorModel,
): TextFault | undefined {
  if (rows.length > MAX_LINES) {
    return { line: MAX_LINES + 1, message: `there are more than ${MAX_LINES} lines` }
  }
  for (const [index, row] of rows.entries()) {
    const message = rowFault(row, model)
    if (message !== undefined) return { line: index + 1, message }
  }
  return undefined
}

/**
 * A line with a column too few or too many, or an empty one, is refused: Casbin would take the first
 * for shorter, and an empty column would equal whatever a request does not have.
 */
function rowFault([kind = '', ...values]: PolicyRow, model: OperatorModel): string | undefined {
  const wanted = kind === 'p' ? model.policy.length : model.roles.get(kind)
  if (wanted === undefined) {
    const known = ['p', ...model.roles.keys()].join(', ')
    return `it begins with ${JSON.stringify(kind)}, expected one of ${known}`
  }
  if (values.length !== wanted) return `${kind} has ${values.length} columns, expected ${wanted}`
  const wrong = values.findIndex((value) => value === '' || value.length > MAX_VALUE)
  if (wrong >= 0)
    return `column ${wrong + 1} of ${kind} is empty or longer than ${MAX_VALUE} characters`
  const priority = kind === 'p' ? values[model.policy.indexOf('priority')] : undefined
  if (priority !== undefined && !/^\d{1,9}$/.test(priority)) {
    return `the priority is ${JSON.stringify(priority)}, expected a whole number`
  }
  const eft = kind === 'p' ? model.policy.indexOf('eft') : -1
  const effect = values[eft]
  return effect === undefined || effect === 'allow' || effect === 'deny'
    ? undefined
    : `the effect is ${JSON.stringify(effect)}, expected allow or deny`
}

function splitColumns(line: string): PolicyRow | undefined {
  const columns: string[] = []
  const COLUMN = /\s*(?:"((?:[^"]|"")*)"\s*(?=,|$)|([^,"]*)(?=,|$))(,|$)/y
  for (;;) {
    const found = COLUMN.exec(line)
    if (found === null) return undefined
    const [, quoted, plain = '', end] = found
    columns.push(quoted === undefined ? plain.trim() : quoted.replaceAll('""', '"'))
    if (end === '') return columns
  }
}
