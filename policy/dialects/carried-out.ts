/** What Istio takes and no mesh of ours carries out: said by the schemas, found in values. */
import { z } from 'zod'

import type { PathKey } from './pointer.ts'
import { type Finding, unwrapped } from './schema.ts'

/** What of a value that is valid would have no effect here; empty: nothing. Paths are relative to the value. */
type Judge = (value: unknown) => readonly Finding[]

/** Fields that Istio takes and no mesh of ours carries out yet, by the schema of the field. */
const NOT_CARRIED_OUT = new WeakMap<object, Judge>()

const NOT_YET = 'it is valid, and not carried out yet: no mesh starts with it'

/**
 * A field, left out or not, that is checked like any other and then reported as not carried out.
 * `when` says for which values; without it, for all.
 */
export function notYet<S extends z.ZodType>(
  schema: S,
  { hint, when }: { readonly hint?: string; readonly when?: (value: z.output<S>) => boolean } = {},
): z.ZodOptional<S> {
  const field = partly(schema, (value) =>
    when && !when(value) ? [] : [{ path: [], message: NOT_YET, hint: hint ?? 'remove it' }],
  )
  if (when === undefined) NEVER_CARRIED_OUT.add(field)
  return field
}

/** Fields of which no value is carried out. */
const NEVER_CARRIED_OUT = new WeakSet<object>()

/** Whether {@link notYet} said so of the field, whatever its value. */
export function isNotYet(schema: z.core.$ZodType): boolean {
  return NEVER_CARRIED_OUT.has(schema)
}

/** {@link notYet} for parts of a field: `judge` names them. */
export function partly<S extends z.ZodType>(
  schema: S,
  judge: (value: z.output<S>) => readonly Finding[],
): z.ZodOptional<S> {
  const field = schema.optional()
  NOT_CARRIED_OUT.set(field, (value) => judge(value as z.output<S>))
  return field
}

/** {@link partly} for a field that may not be left out. `schema` must be of that field alone. */
export function judged<S extends z.ZodType>(
  schema: S,
  judge: (value: z.output<S>) => readonly Finding[],
): S {
  NOT_CARRIED_OUT.set(schema, (value) => judge(value as z.output<S>))
  return schema
}

/** What in `value`, which `schema` accepts, is not carried out. */
export function notCarriedOut(schema: z.core.$ZodType, value: unknown): readonly Finding[] {
  const found: Finding[] = []
  const visit = (at: z.core.$ZodType, part: unknown, path: readonly PathKey[]): void => {
    if (part === undefined) return
    const findings = NOT_CARRIED_OUT.get(at)?.(part) ?? []
    for (const finding of findings) found.push({ ...finding, path: [...path, ...finding.path] })
    if (findings.some((finding) => finding.path.length === 0)) return
    const inner = unwrapped(at)
    if (inner instanceof z.ZodArray) {
      const list = part as readonly unknown[]
      for (const [index, one] of list.entries())
        visit(inner.element as z.core.$ZodType, one, [...path, index])
    } else if (inner instanceof z.ZodObject || inner instanceof z.ZodRecord) {
      for (const [key, one] of Object.entries(part as object)) {
        const below = inner instanceof z.ZodObject ? inner.shape[key] : inner.valueType
        visit(below as z.core.$ZodType, one, [...path, key])
      }
    }
  }
  if (isMarkedBelow(schema)) visit(schema, value, [])
  return found
}

/** Whether some field of the schema has a {@link Judge}: of most kinds none has, and there is nothing to look for. */
const MARKED_BELOW = new WeakMap<object, boolean>()

function isMarkedBelow(schema: z.core.$ZodType): boolean {
  const known = MARKED_BELOW.get(schema)
  if (known !== undefined) return known
  const marked = NOT_CARRIED_OUT.has(schema) || partsOf(unwrapped(schema)).some(isMarkedBelow)
  MARKED_BELOW.set(schema, marked)
  return marked
}

function partsOf(schema: z.core.$ZodType): readonly z.core.$ZodType[] {
  if (schema instanceof z.ZodArray) return [schema.element as z.core.$ZodType]
  if (schema instanceof z.ZodObject) return Object.values(schema.shape as z.core.$ZodShape)
  return schema instanceof z.ZodRecord ? [schema.valueType as z.core.$ZodType] : []
}
