/** No field is ever ignored: an unknown key at any object level of any kind is refused, right there. */
import test from 'ava'
import * as fc from 'fast-check'
import { globSync, readFileSync } from 'node:fs'
import { z } from 'zod'

import { KINDS } from '#policy/dialects/kinds.ts'
import { pointerFromPath } from '#policy/dialects/pointer.ts'
import { readDocuments } from '#policy/dialects/read-document.ts'
import { schemaAt } from '#policy/dialects/schema.ts'
import { readManifests } from '#policy/index.ts'

type Path = readonly (string | number)[]
type Json = Readonly<Record<string, unknown>>

/** One of each kind with every field that it has, filled with no regard to meaning. */
const COMPLETE = KINDS.map(({ group, versions: [version], kind, schema }) => ({
  ...(filled(schema) as Json),
  apiVersion: group === '' ? version : `${group}/${version}`,
  kind,
}))

const MANIFESTS: readonly Json[] = [
  ...globSync('test/fixtures/dialects/**/*.in.yaml')
    .flatMap((path) => readDocuments(readFileSync(path, 'utf8')))
    .map(({ value }) => value as Json),
  ...COMPLETE,
]

function filled(schema: z.core.$ZodType): unknown {
  if (schema instanceof z.ZodOptional) return filled(schema.unwrap() as z.ZodType)
  if (schema instanceof z.ZodArray) return [filled(schema.element as z.ZodType)]
  if (schema instanceof z.ZodRecord) return { a: filled(schema.valueType as z.ZodType) }
  if (!(schema instanceof z.ZodObject)) return 'a'
  const entries = Object.entries(schema.shape)
  return Object.fromEntries(entries.map(([key, field]) => [key, filled(field as z.ZodType)]))
}

/** What is open by nature: values are the reporter's or the API server's own. */
const OPEN = /^\/(status|metadata\/(managedFields|ownerReferences))\b/

function schemaOf(manifest: Json): z.ZodType {
  const known = KINDS.find(({ kind }) => kind === manifest['kind'])
  if (!known) throw new Error(`no kind ${manifest['kind']}`)
  return known.schema
}

/** Every object in `value` that is not a map with free keys, by path. */
function objectLevels(schema: z.ZodType, value: unknown, path: Path = []): readonly Path[] {
  if (typeof value !== 'object' || value === null || OPEN.test(pointerFromPath(path))) return []
  const entries: [string | number, unknown][] = Array.isArray(value)
    ? [...value.entries()]
    : Object.entries(value)
  const below = entries.flatMap(([key, child]) => objectLevels(schema, child, [...path, key]))
  const isMap = Array.isArray(value) || schemaAt(schema, path) instanceof z.ZodRecord
  return isMap ? below : [path, ...below]
}

/** Every object that `schema` describes, as paths with `*` for entries of lists and maps. */
function describedLevels(schema: z.core.$ZodType, path = ''): readonly string[] {
  if (schema instanceof z.ZodOptional) return describedLevels(schema.unwrap() as z.ZodType, path)
  if (schema instanceof z.ZodArray) return describedLevels(schema.element as z.ZodType, `${path}/*`)
  if (schema instanceof z.ZodRecord)
    return describedLevels(schema.valueType as z.ZodType, `${path}/*`)
  if (!(schema instanceof z.ZodObject)) return []
  const below = Object.entries(schema.shape).flatMap(([key, field]) =>
    describedLevels(field as z.ZodType, `${path}/${key}`),
  )
  return [path, ...below]
}

function withKey(value: unknown, path: Path, key: string): unknown {
  const copy = structuredClone(value)
  const at = path.reduce<unknown>(
    (part, step) => (part as Record<string | number, unknown>)[step],
    copy,
  )
  Object.defineProperty(at, key, {
    value: {},
    enumerable: true,
    configurable: true,
    writable: true,
  })
  return copy
}

/** Keys that few would think of beside those that anybody would. */
const keys = fc.oneof(
  fc.string({ minLength: 0, maxLength: 12 }),
  fc.constantFrom(
    '__proto__',
    'constructor',
    'toString',
    'hasOwnProperty',
    'a/b',
    'a~b',
    '',
    '*',
    'Spec',
  ),
)

for (const [index, manifest] of MANIFESTS.entries()) {
  const schema = schemaOf(manifest)
  const levels = objectLevels(schema, manifest)
  test(`${manifest['kind']} (${index}) refuses an unknown key at each of its ${levels.length} object levels`, (t) => {
    t.notThrows(() => {
      for (const path of levels) {
        const known = schemaAt(schema, path)
        const names = known instanceof z.ZodObject ? Object.keys(known.shape) : []
        fc.assert(
          fc.property(keys, (key) => {
            fc.pre(!names.includes(key))
            const text = JSON.stringify(withKey(manifest, path, key))
            const [report] = readManifests([{ path: 'x.json', text }]).documents
            const wanted = pointerFromPath([...path, key])
            return (
              report?.valid === false && report.errors.some(({ pointer }) => pointer === wanted)
            )
          }),
          { numRuns: 3, examples: [['__proto__'], ['unknown']] },
        )
      }
    })
  })
}

test('the manifests have every object that the schemas describe', (t) => {
  const described = KINDS.flatMap(({ kind, schema }) =>
    describedLevels(schema).map((path) => `${kind} ${path}`),
  )
  const reached = new Set(
    MANIFESTS.flatMap((manifest) => {
      const schema = schemaOf(manifest)
      return objectLevels(schema, manifest).map(
        (path) => `${manifest['kind']} ${generalised(schema, path)}`,
      )
    }),
  )
  t.true(described.length > 100)
  t.deepEqual(
    described.filter((level) => !reached.has(level)),
    [],
  )
})

function generalised(schema: z.ZodType, path: Path): string {
  return path
    .map((key, index) => {
      const parent = schemaAt(schema, path.slice(0, index))
      return parent instanceof z.ZodArray || parent instanceof z.ZodRecord ? '/*' : `/${key}`
    })
    .join('')
}
