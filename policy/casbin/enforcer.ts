import { Enforcer, FunctionMap, newModelFromString } from 'casbin'
import type { Action } from '../model/index.ts'
import { lineToColumns, type PolicyLine } from './lines.ts'
import type { Attempt } from './match.ts'
import { MODELS } from './models.ts'

/** The policy and rule of the line that Casbin found. */
export interface Match {
  readonly policy: string
  readonly rule: number
}

/** The first line that matches an attempt, as Casbin says. Throws when a matcher function does. */
export type FindMatch = (attempt: Attempt) => Match | undefined

/** What the matchers may call, by name; each answers for an attempt and the text of one column. */
export type MatcherFunctions = Readonly<
  Record<'fromMatches' | 'toMatches' | 'whenMatches', (attempt: Attempt, column: string) => boolean>
>

/** Casbin without its built-in functions: `keyMatch`, `regexMatch` and their like decide nothing here. */
class LineEnforcer extends Enforcer {
  constructor(modelText: string, functions: FunctionMap) {
    super()
    this.fm = functions
    this.setModel(newModelFromString(modelText))
  }
}

/**
 * An enforcer for the lines of one action, never changed after: new lines are a new enforcer.
 *
 * Without lines Casbin would evaluate its matcher once against empty columns; here nothing matches.
 *
 * @param matcher - stands in for the model's own; tests put `false` there
 */
export function createEnforcer(
  action: Action,
  lines: readonly PolicyLine[],
  functions: MatcherFunctions,
  matcher?: string,
): FindMatch {
  if (lines.length === 0) return () => undefined
  const text = MODELS[action]
  const enforcer = new LineEnforcer(
    matcher === undefined ? text : text.replace(/^m = .*$/m, () => `m = ${matcher}`),
    functionMap(functions),
  )
  enforcer.getModel().addPolicies('p', 'p', lines.map(lineToColumns))
  return (attempt) => {
    const [matched, columns] = enforcer.enforceExSync(attempt)
    return matched ? { policy: columns[0] ?? '', rule: Number(columns[1]) } : undefined
  }
}

function functionMap(functions: MatcherFunctions): FunctionMap {
  const map = new FunctionMap()
  for (const [name, matches] of Object.entries(functions)) map.addFunction(name, matches)
  return map
}
