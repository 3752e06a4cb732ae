import { Enforcer, FunctionMap, Model, newModelFromString } from 'casbin'
import type { Action } from '../model/index.ts'
import { lineToColumns, type PolicyLine } from './lines.ts'
import type { Attempt } from './match.ts'
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
  return (action, lines) => {
    // Without lines Casbin would evaluate its matcher once against empty columns.
    if (lines.length === 0) return () => undefined
    const parsed = models.get(action) ?? parseModel(action, matcher)
    models.set(action, parsed)
    return createEnforcer(parsed, lines, functionMap)
  }
}

function createEnforcer(
  parsed: Model,
  lines: readonly PolicyLine[],
  functions: FunctionMap,
): FindMatch {
  const rows = lines.map(lineToColumns)
  const model = emptyCopy(parsed)
  model.addPolicies('p', 'p', rows)
  const enforcer = new LineEnforcer(model, functions)
  const matches = new Map(rows.map((row, index) => [row, lines[index]]))
  return (attempt) => {
    const [matched, row] = enforcer.enforceExSync(attempt)
    if (!matched) return undefined
    const match = matches.get(row)
    if (match !== undefined) return match
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
