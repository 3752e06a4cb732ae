/**
 * How this folder uses zod: strict objects that know which fields exist elsewhere but not here,
 * and faults with a pointer, a line and a hint made from zod's issues.
 */
import { z } from 'zod'

import type { Fault } from '../model/intent.ts'
import { type PathKey, pointerFromPath } from './pointer.ts'
import { suggest } from './suggest.ts'
import { declareCheck, isSurelyValid } from './surely-valid.ts'

/** Fields that a kind has in its own project and that we do not honour, by object schema. */
const NOT_HONOURED = new WeakMap<object, readonly string[]>()

/** Reports one fault of a value that is well-formed but wrong. `path` is relative to the value. */
export type Report = (path: readonly PathKey[], message: string, hint?: string) => void

export interface FieldsOptions<Value> {
  /** Real fields of the kind that are refused because they would have no effect. */
  readonly notHonoured?: readonly string[]
  /** What no field alone can say. Runs when every field has its shape. */
  readonly check?: (value: Value, report: Report) => void
}

/** An object with the fields of `shape` and no other. */
export function fields<S extends z.core.$ZodLooseShape>(
  shape: S,
  { notHonoured = [], check }: FieldsOptions<z.output<z.ZodObject<S, z.core.$strict>>> = {},
): z.ZodObject<S, z.core.$strict> {
  const plain = z.strictObject(shape)
  const checked = check
    ? plain.superRefine((value, context) => check(value, reportTo(context)))
    : plain
  if (check) declareCheck(checked, plain, check)
  NOT_HONOURED.set(checked, notHonoured)
  return checked
}

export interface Finding {
  readonly path: readonly PathKey[]
  readonly message: string
  readonly hint?: string | undefined
}

/** A string with a check of its own: `check` says what is wrong, or nothing. */
export function text(check: (written: string) => string | undefined): z.ZodString {
  const plain = z.string()
  const checked = plain.superRefine((written, context) => {
    const wrong = check(written)
    if (wrong !== undefined) context.addIssue({ code: 'custom', message: wrong })
  })
  declareCheck(checked, plain, (written, report) => {
    const wrong = check(written)
    if (wrong !== undefined) report([], wrong)
  })
  return checked
}

/** A {@link Report} into a zod refinement. */
export function reportTo(context: z.core.$RefinementCtx): Report {
  return (path, message, hint) =>
    context.addIssue({ code: 'custom', path: [...path], message, params: { hint } })
}

/** What is wrong with `value` under `schema`; empty when nothing is. */
export function faultsOf(
  schema: z.ZodType,
  value: unknown,
  lineOf: (path: readonly PathKey[]) => number,
): readonly Fault[] {
  if (isSurelyValid(schema, value)) return []
  const result = schema.safeParse(value)
  if (result.success) return []
  const { issues } = result.error
  // An object that has a field too many is judged as a whole once that is gone.
  const unfinished = new Set(
    issues.flatMap(({ code, path }) => (code === 'unrecognized_keys' ? [pathKey(path)] : [])),
  )
  const isPremature = (path: readonly PropertyKey[]): boolean =>
    unfinished.has(pathKey(path)) ||
    (valueAt(value, path) === undefined && unfinished.has(pathKey(path.slice(0, -1))))
  return issues
    .filter(({ code, path }) => code !== 'custom' || !isPremature(path))
    .flatMap((issue) => findingsOf(issue, schema, value))
    .map(({ path, message, hint }) => ({
      pointer: pointerFromPath(path),
      line: lineOf(path),
      message,
      ...(hint === undefined ? {} : { hint }),
    }))
    .sort((a, b) => a.line - b.line)
}

function pathKey(path: readonly PropertyKey[]): string {
  return JSON.stringify(path)
}

function findingsOf(issue: z.core.$ZodIssue, schema: z.ZodType, root: unknown): readonly Finding[] {
  const path = issue.path.map((key) => (typeof key === 'number' ? key : String(key)))
  if (issue.code === 'unrecognized_keys') {
    const object = schemaAt(schema, path)
    return issue.keys.map((key) => ({ path: [...path, key], ...unknownField(key, object) }))
  }
  const found = valueAt(root, path)
  switch (issue.code) {
    case 'invalid_type': {
      const quoted = issue.expected === 'string' && ['number', 'boolean'].includes(typeof found)
      const hint = quoted ? `quote it: "${found}"` : undefined
      return [{ path, message: wrongType(issue.expected, found), hint }]
    }
    case 'custom':
      return [{ path, message: issue.message, hint: issue.params?.['hint'] as string | undefined }]
    case 'invalid_value': {
      const known = issue.values.map(String)
      const meant = typeof found === 'string' ? suggest(found, known) : undefined
      const wanted =
        known.length === 1 ? `${known[0]}: nothing else is supported` : `one of ${known.join(', ')}`
      const message = `found ${show(found)}, expected ${wanted}`
      return [{ path, message, hint: meant && `did you mean ${JSON.stringify(meant)}?` }]
    }
    case 'too_small':
      return [{ path, message: `${sizeOf(found)}, expected at least ${issue.minimum}` }]
    case 'too_big':
      return [{ path, message: `${sizeOf(found)}, expected at most ${issue.maximum}` }]
    case 'invalid_union':
      return [{ path, message: `found ${show(found)}, expected ${unionOf(issue.errors)}` }]
    default:
      return [{ path, message: issue.message }]
  }
}

/** Says that `found` is not of zod's type `expected`. */
export function wrongType(expected: string, found: unknown): string {
  const wanted = EXPECTED[expected] ?? expected
  if (found === undefined) return `it is missing: expected ${wanted}`
  if (found === null) return `it has no value: expected ${wanted}, or leave the field out`
  return `found ${show(found)}, expected ${wanted}`
}

const EXPECTED: Readonly<Record<string, string>> = {
  string: 'a string',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'an object',
  record: 'an object',
}

function unionOf(errors: readonly (readonly z.core.$ZodIssue[])[]): string {
  return errors
    .flat()
    .map((issue) =>
      'expected' in issue ? (EXPECTED[issue.expected] ?? issue.expected) : issue.message,
    )
    .join(' or ')
}

function sizeOf(found: unknown): string {
  if (Array.isArray(found)) return `it has ${found.length} entries`
  if (typeof found === 'string')
    return found === '' ? 'it is empty' : `it has ${found.length} characters`
  if (typeof found === 'object') return `it has ${Object.keys(found ?? {}).length} entries`
  return `found ${show(found)}`
}

/** A value as a message shows it, on one line and short. */
export function show(value: unknown): string {
  const json = JSON.stringify(value) ?? String(value)
  return json.length > 60 ? `${json.slice(0, 57)}...` : json
}

function unknownField(
  key: string,
  object: z.ZodType | undefined,
): { message: string; hint?: string } {
  if (object && NOT_HONOURED.get(object)?.includes(key)) {
    return {
      message: `the field ${JSON.stringify(key)} is not supported, and would be ignored if it were let through`,
      hint: 'remove it',
    }
  }
  const known = object instanceof z.ZodObject ? Object.keys(object.shape) : []
  const meant = suggest(key, known)
  return {
    message: `unknown field ${JSON.stringify(key)}`,
    hint: meant
      ? `did you mean ${JSON.stringify(meant)}?`
      : `known here: ${known.join(', ') || 'nothing'}`,
  }
}

/** The schema that judged the value at `path`, seen through optional fields. */
export function schemaAt(schema: z.ZodType, path: readonly PathKey[]): z.ZodType | undefined {
  let at: z.core.$ZodType | undefined = unwrapped(schema)
  for (const key of path) {
    if (at instanceof z.ZodObject) at = at.shape[key] as z.core.$ZodType | undefined
    else if (at instanceof z.ZodArray) at = at.element as z.core.$ZodType
    else if (at instanceof z.ZodRecord) at = at.valueType as z.core.$ZodType
    else return undefined
    at = at && unwrapped(at)
  }
  return at as z.ZodType | undefined
}

/** Without the wrapper that lets a field be left out. */
export function unwrapped(schema: z.core.$ZodType): z.core.$ZodType {
  return schema instanceof z.ZodOptional ? unwrapped(schema.unwrap() as z.core.$ZodType) : schema
}

function valueAt(root: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (at, key) =>
      typeof at === 'object' && at !== null ? (at as Record<PropertyKey, unknown>)[key] : undefined,
    root,
  )
}
