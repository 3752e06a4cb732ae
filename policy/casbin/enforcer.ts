import { Enforcer, FunctionMap, Model, newModelFromString } from 'casbin'
import type { Action } from '../model/index.ts'
import { lineToColumns, type PolicyLine } from './lines.ts'
import type { Attempt } from './constraint.ts'
import { MODELS } from './models.ts'

/** The first line that matches an attempt, as Casbin says. Throws when a matcher function does. */
export type FindMatch = (attempt: Attempt) => PolicyLine | undefined

/** What the matchers may call, by name; each answers for an attempt and the text of one column. */
export type MatcherFunctions = Readonly<
  Record<'fromMatches' | 'toMatches' | 'whenMatches', (attempt: Attempt, column: string) => boolean>
>

/** Makes the enforcer for some lines of an action, which is never changed after: new lines are a new enforcer. */
export type CreateEnforcer = (action: Action, lines: readonly PolicyLine[]) => FindMatch

/**
 * Makes enforcers whose matchers call `functions`.
 *
 * @param matcher - stands in for that of every model; tests put `false` there
 */
export function createEnforcers(functions: MatcherFunctions, matcher?: string): CreateEnforcer {
  const functionMap = new FunctionMap()
  for (const [name, matches] of Object.entries(functions)) functionMap.addFunction(name, matches)
  const models = new Map<Action, Model>()
  const rows = createRows()
  return (action, lines) => {
    // Without lines Casbin would evaluate its matcher once against empty columns.
    if (lines.length === 0) return () => undefined
    const parsed = models.get(action) ?? parseModel(action, matcher)
    models.set(action, parsed)
    return createEnforcer(parsed, lines, functionMap, rows)
  }
}

/** Lines as Casbin takes them, one row a line however many enforcers hold it, and back. */
interface Rows {
  readonly rowOf: (line: PolicyLine) => string[]
  readonly lineOf: (row: readonly string[]) => PolicyLine | undefined
}

function createRows(): Rows {
  const rows = new Map<PolicyLine, string[]>()
  const lines = new Map<readonly string[], PolicyLine>()
  return {
    rowOf(line) {
      const known = rows.get(line)
      if (known !== undefined) return known
      const row = lineToColumns(line)
      rows.set(line, row)
      lines.set(row, line)
      return row
    },
    lineOf: (row) => lines.get(row),
  }
}

function createEnforcer(
  parsed: Model,
  lines: readonly PolicyLine[],
  functions: FunctionMap,
  { rowOf, lineOf }: Rows,
): FindMatch {
  const model = emptyCopy(parsed)
  model.addPolicies('p', 'p', lines.map(rowOf))
  const enforcer = new LineEnforcer(model, functions)
  return (attempt) => {
    const [matched, row] = enforcer.enforceExSync(attempt)
    if (!matched) return undefined
    const line = lineOf(row)
    if (line !== undefined) return line
    throw new RangeError('Cannot tell which line matched: Casbin named none of those it was given')
  }
}

/** Casbin without its built-in functions: `keyMatch`, `regexMatch` and their like decide nothing here. */
class LineEnforcer extends Enforcer {
  constructor(model: Model, functions: FunctionMap) {
    super()
    this.fm = functions
    this.setModel(model)
  }
}

function parseModel(action: Action, matcher: string | undefined): Model {
  const text = MODELS[action]
  const own = matcher === undefined ? text : text.replace(/^m = .*$/m, () => `m = ${matcher}`)
  return newModelFromString(own)
}

/** A model of the same definitions without lines: a sixth of the cost of parsing its text anew. */
function emptyCopy({ model }: Model): Model {
  const copy = new Model()
  for (const [section, definitions] of model) {
    for (const [key, { value }] of definitions) copy.addDef(section, key, value)
  }
  return copy
}
