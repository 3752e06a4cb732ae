/**
 * A short way to "nothing is wrong", which is what there is to say of nearly every manifest. zod copies a value
 * while it judges it and keeps a place for the issues of each part; to say yes takes neither. Here a schema is
 * read once into functions that walk the value: they say yes where zod would, and no where zod would not or where
 * it is not known what zod would do. What is wrong, and where, zod alone says. A test holds that zod agrees with
 * each yes.
 */
import { z } from 'zod'

import type { Report } from './schema.ts'

/** Whether zod accepts a value and gives it back as it is; where it is not known, no. */
type Judge = (value: unknown) => boolean
type Schema = z.core.$ZodType
type Check<Value> = (value: Value, report: Report) => void

const JUDGES = new WeakMap<Schema, Judge>()
/** Of schemas that were not needed yet. */
const REFINED = new WeakMap<Schema, () => Judge>()

/** Tells of a refined schema what zod does not: that it is `plain`, and `check`, which reports what is wrong. */
export function declareCheck<Value>(
  refined: Schema,
  plain: z.ZodType<Value>,
  check: Check<Value>,
): void {
  REFINED.set(refined, () => judgeRefined(judgeOf(plain), check))
}

function judgeRefined<Value>(plain: Judge, check: Check<Value>): Judge {
  let wrong = 0
  const report: Report = () => {
    wrong += 1
  }
  return (value) => {
    if (!plain(value)) return false
    wrong = 0
    check(value as Value, report)
    return wrong === 0
  }
}

/** Whether `schema` surely accepts `value`. */
export function isSurelyValid(schema: Schema, value: unknown): boolean {
  return judgeOf(schema)(value)
}

function judgeOf(schema: Schema): Judge {
  const known = JUDGES.get(schema)
  if (known !== undefined) return known
  const judge = REFINED.get(schema)?.() ?? compile(schema)
  JUDGES.set(schema, judge)
  return judge
}

function compile(schema: Schema): Judge {
  if (schema instanceof z.ZodOptional) {
    const inner = judgeOf(schema.def.innerType)
    return (value) => value === undefined || inner(value)
  }
  if (schema instanceof z.ZodNullable) {
    const inner = judgeOf(schema.def.innerType)
    return (value) => value === null || inner(value)
  }
  if (schema instanceof z.ZodUnion) {
    const options = schema.def.options.map(judgeOf)
    return (value) => options.some((option) => option(value))
  }
  if (schema instanceof z.ZodArray) return judgeArray(schema)
  if (schema instanceof z.ZodObject) return judgeObject(schema)
  if (schema instanceof z.ZodRecord) return judgeRecord(schema)
  return judgeLeaf(schema)
}

function judgeLeaf(schema: Schema): Judge {
  if (!hasChecks(schema)) {
    if (schema instanceof z.ZodUnknown) return () => true
    if (schema instanceof z.ZodBoolean) return (value) => typeof value === 'boolean'
    if (isPlainString(schema)) return (value) => typeof value === 'string'
    if (schema instanceof z.ZodEnum || schema instanceof z.ZodLiteral) {
      const values: ReadonlySet<unknown> = new Set(
        schema instanceof z.ZodEnum ? schema.options : schema.def.values,
      )
      return (value) => values.has(value)
    }
  }
  // A number or a text with a form of its own: rare, and cheap enough for zod.
  return (value) => {
    if (typeof value === 'object' || typeof value === 'function') return false
    const { success, data } = z.safeParse(schema, value)
    return success && Object.is(data, value)
  }
}

function isPlainString(schema: Schema): boolean {
  return schema instanceof z.ZodString && schema.format === null
}

function hasChecks({ _zod: { def } }: Schema): boolean {
  return def.checks !== undefined && def.checks.length > 0
}

const never: Judge = () => false

function judgeArray(schema: z.ZodArray): Judge {
  const bounds = boundsOf(schema)
  if (bounds === undefined) return never
  const { min, max } = bounds
  const element = judgeOf(schema.def.element)
  return (value) => {
    if (!Array.isArray(value) || value.length < min || value.length > max) return false
    for (const one of value) if (!element(one)) return false
    return true
  }
}

/** How many entries there may be; `undefined`: something else is asked, too. */
function boundsOf({ def }: z.ZodArray): { min: number; max: number } | undefined {
  const bounds = { min: 0, max: Number.POSITIVE_INFINITY }
  for (const check of def.checks ?? []) {
    if (check instanceof z.core.$ZodCheckMinLength)
      bounds.min = Math.max(bounds.min, check._zod.def.minimum)
    else if (check instanceof z.core.$ZodCheckMaxLength)
      bounds.max = Math.min(bounds.max, check._zod.def.maximum)
    else return undefined
  }
  return bounds
}

function judgeObject(schema: z.ZodObject): Judge {
  if (hasChecks(schema) || !(schema.def.catchall instanceof z.ZodNever)) return never
  const shape = Object.entries(schema.shape)
  const judges = new Map(shape.map(([key, field]) => [key, judgeOf(field)]))
  const required = shape.filter(([, field]) => !(field instanceof z.ZodOptional))
  const needed = new Set(required.map(([key]) => key))
  return (value) => {
    if (!isRecord(value)) return false
    let missing = needed.size
    for (const key in value) {
      if (judges.get(key)?.(value[key]) !== true) return false
      if (needed.has(key)) missing -= 1
    }
    return missing === 0
  }
}

function judgeRecord(schema: z.ZodRecord): Judge {
  if (hasChecks(schema)) return never
  const keys = judgeOf(schema.def.keyType)
  const values = judgeOf(schema.def.valueType)
  return (value) => {
    if (!isRecord(value)) return false
    for (const key in value) if (!keys(key) || !values(value[key])) return false
    return true
  }
}

/** An object as a parser makes it, without anything that is inherited. */
function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return (
    typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype
  )
}
