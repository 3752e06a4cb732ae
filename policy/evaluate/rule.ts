/** Whether one rule matches, field by field, and which field first stops it (§1.2, §1.8). */
import type { AuthorizationPolicy, Condition, Operation, Rule, Source } from '../model/index.ts'
import { FIELDS, type Field, fieldOfKey, type Scene } from './fields.ts'

/** Why a rule did not match. */
export interface Miss {
  /** Where in the rule, as in the manifest: `from[0].source.principals`, `when[1].values`. */
  readonly field: string
  /** Which attribute: the field's name without `not`, or the `when` key. */
  readonly attribute: string
  /** `actual` must be none of `wanted`. */
  readonly negated: boolean
  /** What the policy wrote there. */
  readonly wanted: readonly string[]
  /** What the attempt had: none, one, or several values (header lines, a list claim). */
  readonly actual: readonly string[]
  /** `unmatched`: the values differ. The others take an ALLOW rule out whole (§1.8). */
  readonly reason: 'unmatched' | 'http-only' | 'unreadable'
}

/** `undefined`: the rule matches. */
export function firstMiss(policy: AuthorizationPolicy, rule: Rule, scene: Scene): Miss | undefined {
  const { from, to, when, all } = readRule(rule)
  const unusable =
    policy.action === 'ALLOW' ? firstOf(all, (one) => whyUnusable(one, scene)) : undefined
  return (
    unusable ??
    nearestMiss('from', from, scene) ??
    nearestMiss('to', to, scene) ??
    firstOf(when, (one) => missOf(one, scene))
  )
}

function firstOf(
  constraints: readonly Constraint[],
  why: (one: Constraint) => Miss | undefined,
): Miss | undefined {
  for (const one of constraints) {
    const found = why(one)
    if (found !== undefined) return found
  }
  return undefined
}

/** Everything that keeps the rule from matching; of several alternatives, those with the fewest. Empty: it matches. */
export function allMisses(policy: AuthorizationPolicy, rule: Rule, scene: Scene): readonly Miss[] {
  const { from, to, when, all } = readRule(rule)
  const unusable = all.flatMap((one) => whyUnusable(one, scene) ?? [])
  if (policy.action === 'ALLOW' && unusable.length > 0) return unusable
  const fewest = (part: 'from' | 'to', own: Alternatives | undefined): readonly Miss[] => {
    if (own === undefined) return []
    if (own.length === 0) return [nothing(part)]
    const misses = own.map((list) => list.flatMap((one) => missOf(one, scene) ?? []))
    return misses.reduce((best, one) => (one.length < best.length ? one : best))
  }
  return [
    ...fewest('from', from),
    ...fewest('to', to),
    ...when.flatMap((one) => missOf(one, scene) ?? []),
  ]
}

/** Of an empty list of alternatives none matches. */
function nothing(part: 'from' | 'to'): Miss {
  return {
    field: part,
    attribute: part,
    negated: false,
    wanted: [],
    actual: [],
    reason: 'unmatched',
  }
}

/** One `field` or `notField` that is set. */
interface Constraint {
  readonly path: string
  readonly attribute: string
  readonly field: Field
  readonly written: readonly string[]
  readonly negated: boolean
}

/** The constraints of each source, or of each operation. */
type Alternatives = readonly (readonly Constraint[])[]

/** A rule's constraints; `undefined` where it has no such part. */
interface RuleConstraints {
  readonly from: Alternatives | undefined
  readonly to: Alternatives | undefined
  readonly when: readonly Constraint[]
  /** All of them, in the order written. */
  readonly all: readonly Constraint[]
}

/** Rules do not change, and one is asked about many requests. */
const read = new WeakMap<Rule, RuleConstraints>()

function readRule(rule: Rule): RuleConstraints {
  const known = read.get(rule)
  if (known !== undefined) return known
  const from = rule.from?.map((source, at) => ofObject(`from[${at}].source`, source))
  const to = rule.to?.map((operation, at) => ofObject(`to[${at}].operation`, operation))
  const when = rule.when?.flatMap(ofCondition) ?? []
  const constraints = { from, to, when, all: [...(from ?? []), ...(to ?? []), when].flat() }
  read.set(rule, constraints)
  return constraints
}

function ofObject(where: string, object: Source | Operation): readonly Constraint[] {
  const fields = Object.entries(object as Readonly<Record<string, readonly string[] | undefined>>)
  return fields.flatMap(([name, written]) => {
    const negated = !Object.hasOwn(FIELDS, name)
    const attribute = negated ? `${name.charAt(3).toLowerCase()}${name.slice(4)}` : name
    const field = FIELDS[attribute]
    if (written === undefined || field === undefined) return []
    return [{ path: `${where}.${name}`, attribute, field, written, negated }]
  })
}

function ofCondition({ key, values, notValues }: Condition, at: number): readonly Constraint[] {
  const base = { attribute: key, field: fieldOfKey(key) }
  const path = `when[${at}]`
  return [
    ...(values ? [{ ...base, path: `${path}.values`, written: values, negated: false }] : []),
    ...(notValues
      ? [{ ...base, path: `${path}.notValues`, written: notValues, negated: true }]
      : []),
  ]
}

/** Of alternatives one must match; when none does, the miss of the one that got furthest. */
function nearestMiss(
  part: 'from' | 'to',
  alternatives: Alternatives | undefined,
  scene: Scene,
): Miss | undefined {
  if (alternatives === undefined) return undefined
  const misses = alternatives.map((constraints) => {
    const found = constraints.map((one) => missOf(one, scene))
    const met = found.findIndex((miss) => miss !== undefined)
    return { met, miss: found[met] }
  })
  if (misses.some(({ miss }) => miss === undefined)) return undefined
  const [nearest] = misses.toSorted((a, b) => b.met - a.met)
  return nearest === undefined ? nothing(part) : nearest.miss
}

function missOf(constraint: Constraint, scene: Scene): Miss | undefined {
  const { field, negated } = constraint
  if (field.httpOnly && scene.http === undefined) return undefined
  const written = constraint.written.filter(field.readable)
  if (written.length === 0 && constraint.written.length > 0) return undefined
  const met = written.some((value) => field.meets(value, scene))
  return met === negated ? miss(constraint, scene, 'unmatched') : undefined
}

function whyUnusable(constraint: Constraint, scene: Scene): Miss | undefined {
  const { field, written } = constraint
  if (field.httpOnly && scene.http === undefined) return miss(constraint, scene, 'http-only')
  if (!written.every(field.readable)) return miss(constraint, scene, 'unreadable')
  return undefined
}

function miss(constraint: Constraint, scene: Scene, reason: Miss['reason']): Miss {
  const { path, attribute, negated, written, field } = constraint
  return { field: path, attribute, negated, wanted: written, actual: field.seen(scene), reason }
}
