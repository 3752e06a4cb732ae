/**
 * Small readers for JSON that must be exactly what was agreed. They return the value they were
 * given, checked, and never copy. Hand-written because every sidecar loads them, and a schema
 * library would be a fifth of its memory.
 */
import { PolicyError } from '../error.ts'

/** Returns `value` as `T`, or throws. `at` is the JSON Pointer of `value`. */
export type Reader<T> = (value: unknown, at: string) => T

/** @throws {PolicyError} `POLICY_BUNDLE_INVALID`, always */
export function refuse(at: string, found: unknown, wanted: string): never {
  throw new PolicyError(
    'POLICY_BUNDLE_INVALID',
    `Cannot read bundle at "${at}": found ${describe(found)}, expected ${wanted}`,
    { pointer: at },
  )
}

function describe(value: unknown): string {
  if (value === undefined) return 'nothing'
  const text = JSON.stringify(value)
  return text.length > 80 ? `${text.slice(0, 77)}...` : text
}

/** A key as one segment of a JSON Pointer (RFC 6901 §3). */
export function pointerSegment(key: string): string {
  return key.replaceAll('~', '~0').replaceAll('/', '~1')
}

export const text: Reader<string> = (value, at) =>
  typeof value === 'string' ? value : refuse(at, value, 'a string')

export const bool: Reader<boolean> = (value, at) =>
  typeof value === 'boolean' ? value : refuse(at, value, 'true or false')

/** A whole number in [min, max]. */
export function whole(min: number, max: number): Reader<number> {
  return (value, at) =>
    typeof value === 'number' && Number.isSafeInteger(value) && value >= min && value <= max
      ? value
      : refuse(at, value, `a whole number from ${min} to ${max}`)
}

/** One of `words`. */
export function oneOf<const T extends string>(words: readonly T[]): Reader<T> {
  return (value, at) =>
    words.find((word) => word === value) ?? refuse(at, value, `one of ${words.join(', ')}`)
}

/** A string that `parse` accepts; what it throws becomes the reason. */
export function parsed<T extends string>(parse: (text: string) => T): Reader<T> {
  return (value, at) => {
    const written = text(value, at)
    try {
      return parse(written)
    } catch (cause) {
      return refuse(at, value, cause instanceof Error ? cause.message : String(cause))
    }
  }
}

/** A list of what `item` reads, `min` at least. */
export function list<T>(item: Reader<T>, min = 0): Reader<readonly T[]> {
  return (value, at) => {
    if (!Array.isArray(value)) return refuse(at, value, 'a list')
    if (value.length < min) return refuse(at, value, `a list of at least ${min}`)
    for (const [index, entry] of value.entries()) item(entry, `${at}/${index}`)
    return value
  }
}

function asObject(value: unknown, at: string): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>)
    : refuse(at, value, 'an object')
}

/** An object whose keys are data. */
export function map<T>(item: Reader<T>): Reader<Readonly<Record<string, T>>> {
  return (value, at) => {
    const record = asObject(value, at)
    for (const key of Object.keys(record)) item(record[key], `${at}/${pointerSegment(key)}`)
    return record as Readonly<Record<string, T>>
  }
}

interface Optional<T> {
  readonly optional: Reader<T>
}

/** A field that may be left out. `null` is not left out. */
export function optional<T>(reader: Reader<T>): Optional<T> {
  return { optional: reader }
}

/** One reader a field of `T`; optional exactly where `T`'s field is. */
export type Shape<T> = {
  readonly [K in keyof T]-?: Record<never, never> extends Pick<T, K>
    ? Optional<Exclude<T[K], undefined>>
    : Reader<T[K]>
}

/** An object with the fields of `shape` and no other. */
export function object<T>(shape: Shape<T>): Reader<T> {
  const fields = new Map(Object.entries(shape)) as Map<string, Reader<unknown> | Optional<unknown>>
  return (value, at) => {
    const record = asObject(value, at)
    for (const key of Object.keys(record)) {
      if (!fields.has(key)) {
        refuse(
          `${at}/${pointerSegment(key)}`,
          record[key],
          `no key but ${[...fields.keys()].join(', ')}`,
        )
      }
    }
    for (const [key, field] of fields) readField(record, key, field, at)
    return record as T
  }
}

function readField(
  record: Readonly<Record<string, unknown>>,
  key: string,
  field: Reader<unknown> | Optional<unknown>,
  at: string,
): void {
  const value = Object.hasOwn(record, key) ? record[key] : undefined
  if (typeof field === 'function') field(value, `${at}/${key}`)
  else if (value !== undefined) field.optional(value, `${at}/${key}`)
}

/** A union tagged by `kind`. */
export function tagged<T extends { readonly kind: string }>(
  arms: { readonly [K in T['kind']]: Reader<Extract<T, { readonly kind: K }>> },
): Reader<T> {
  const readers = new Map(Object.entries(arms)) as Map<string, Reader<T>>
  return (value, at) => {
    const { kind } = asObject(value, at)
    const arm = typeof kind === 'string' ? readers.get(kind) : undefined
    return arm
      ? arm(value, at)
      : refuse(`${at}/kind`, kind, `one of ${[...readers.keys()].join(', ')}`)
  }
}
