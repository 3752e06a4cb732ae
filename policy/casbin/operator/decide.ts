/**
 * An operator's own model and lines, as a yes or no within bounds of time: Casbin evaluates, and what it
 * is asked again is remembered. Anything that it cannot answer is no.
 */
import { Enforcer, FunctionMap, newModelFromString } from 'casbin'
import { LRUCache } from 'lru-cache'
import { type Connection, type HttpAttributes, PolicyError } from '../../model/index.ts'
import { readerOf, readObject } from './attributes.ts'
import { FUNCTIONS } from './functions.ts'
import { type OperatorModel, readOperatorModel } from './model-text.ts'
import { type PolicyRow, refuseLines } from './policy-lines.ts'
import { RoleGraph } from './role-graph.ts'

/** What is compiled. */
export interface OperatorPolicy {
  readonly model: string
  readonly lines: readonly PolicyRow[]
  /** Attributes by field of the request definition. */
  readonly request: Readonly<Record<string, string>>
  /** Milliseconds that one decision may take. */
  readonly timeMs: number
}

export interface OperatorRequest {
  readonly connection: Connection
  readonly http: HttpAttributes | undefined
}

export interface OperatorDecision {
  readonly allowed: boolean
  /** The line that decided, if one did. */
  readonly line: PolicyRow | undefined
}

export type OperatorDecide = (request: OperatorRequest) => OperatorDecision

const MAX_REMEMBERED = 4096
const MAX_KEY_LENGTH = 1024
/** Lines between two looks at the clock. */
const LINES_A_LOOK = 64

/**
 * Compiles a policy.
 *
 * @throws {PolicyError} `POLICY_RULE_INVALID` for a model or line that is not taken here
 */
export function compileOperatorPolicy(
  { model: text, lines, request, timeMs }: OperatorPolicy,
  nowMs: () => number,
): OperatorDecide {
  const reading = readOperatorModel(text, request)
  if (reading.kind === 'faulty') throw refused('model', reading.faults[0])
  const { model } = reading
  const fault = refuseLines(lines, model)
  if (fault !== undefined) throw refused('policy', fault)
  const watch = createWatch(timeMs, nowMs)
  const enforcer = createEnforcer(model, lines, watch.within)
  const hasLines = lines.some(([kind]) => kind === 'p')
  const readers = model.request.map(({ attribute }) => readValue(attribute, model))
  const remembered = new LRUCache<string, OperatorDecision>({ max: MAX_REMEMBERED })
  return ({ connection, http }) => {
    // Without lines Casbin would hold the request against empty columns, which equal what is absent.
    if (model.matcher.readsLines && !hasLines) return NO
    const values = readers.map((read) => read(connection, http))
    const key = JSON.stringify(values)
    const known = remembered.get(key)
    if (known !== undefined) return known
    watch.start()
    const [allowed, line] = enforcer.enforceExSync(...values)
    const decision = { allowed, line: line.length === 0 ? undefined : ['p', ...line] }
    if (key.length <= MAX_KEY_LENGTH) remembered.set(key, decision)
    return decision
  }
}

const NO: OperatorDecision = { allowed: false, line: undefined }

function refused(
  what: string,
  fault: { readonly line: number; readonly message: string } | undefined,
): PolicyError {
  const message = `Cannot compile the ${what} of a CasbinPolicy: line ${fault?.line}: ${fault?.message}`
  return new PolicyError('POLICY_RULE_INVALID', message)
}

type ReadValue = (connection: Connection, http: HttpAttributes | undefined) => unknown

function readValue(attribute: string, { matcher }: OperatorModel): ReadValue {
  if (attribute !== 'request') return readerOf(attribute)
  return (connection, http) => readObject(connection, http, matcher.headers)
}

/** Ends a decision that takes too long: a matcher asks it once a line. */
function createWatch(timeMs: number, nowMs: () => number) {
  let looks = 0
  let untilMs = 0
  return {
    start(): void {
      looks = 0
      untilMs = nowMs() + timeMs
    },
    within: (): boolean => {
      looks += 1
      if (looks % LINES_A_LOOK === 0 && nowMs() > untilMs) {
        throw new RangeError(`it took more than ${timeMs} ms, after ${looks} lines`)
      }
      return true
    },
  }
}

function createEnforcer(
  { request, policy, roles, effect, matcher }: OperatorModel,
  lines: readonly PolicyRow[],
  within: () => boolean,
): Enforcer {
  const roleLines = [...roles].map(
    ([name, columns]) => `${name} = ${Array(columns).fill('_').join(', ')}`,
  )
  const model = newModelFromString(
    [
      '[request_definition]',
      `r = ${request.map(({ field }) => field).join(', ')}`,
      '[policy_definition]',
      `p = ${policy.join(', ')}`,
      ...(roleLines.length === 0 ? [] : ['[role_definition]', ...roleLines]),
      '[policy_effect]',
      `e = ${effect}`,
      '[matchers]',
      'm = true',
    ].join('\n'),
  )
  const assertion = model.model.get('m')?.get('m')
  if (assertion === undefined) throw new TypeError('Casbin has no place for a matcher')
  // A matcher that says neither true nor false is no.
  assertion.value = `within() && ((${matcher.expression}) == true)`
  const priority = policy.indexOf('priority')
  for (const kind of ['p', ...roles.keys()]) {
    const rows = lines.filter(([own]) => own === kind).map(([, ...values]) => values)
    const definition = model.model.get(kind.charAt(0))?.get(kind)
    // Not by `addPolicies`, which looks for each line among all others.
    if (definition !== undefined) {
      if (kind !== 'p') definition.rm = new RoleGraph(rows)
      definition.policy = kind === 'p' && priority >= 0 ? byPriority(rows, priority) : rows
    }
  }
  const functions = new FunctionMap()
  functions.addFunction('within', within)
  for (const [name, { call }] of FUNCTIONS) functions.addFunction(name, call)
  const enforcer = new OperatorEnforcer(functions)
  enforcer.setModel(model)
  return enforcer
}

/** The smallest number first; lines of one number stay in order. */
function byPriority(rows: string[][], column: number): string[][] {
  return rows.toSorted((a, b) => Number(a[column]) - Number(b[column]))
}

/** Casbin with our functions in the place of its own. */
class OperatorEnforcer extends Enforcer {
  constructor(functions: FunctionMap) {
    super()
    this.fm = functions
  }
}
