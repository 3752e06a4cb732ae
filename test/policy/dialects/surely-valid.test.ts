/**
 * What is wrong with a manifest, zod says. The shorter way to "nothing" must never say so where zod finds
 * something: a policy that is refused when it is checked would be taken where it is loaded.
 */
import test from 'ava'
import * as fc from 'fast-check'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import { z } from 'zod'

import { findKind } from '#policy/dialects/kinds.ts'
import { readDocuments } from '#policy/dialects/read-document.ts'
import { fields, text } from '#policy/dialects/schema.ts'
import { isSurelyValid } from '#policy/dialects/surely-valid.ts'

type Verdict = 'surely valid' | 'valid' | 'refused'

/** What is said of `value`; throws where the shorter way says yes and zod does not, or would change it. */
function judge(schema: z.ZodType, value: unknown): Verdict {
  const surely = isSurelyValid(schema, value)
  const { success, data } = schema.safeParse(value)
  if (surely && !(success && isDeepStrictEqual(data, value)))
    throw new Error(`${JSON.stringify(value)} is taken as valid, and zod says otherwise`)
  return surely ? 'surely valid' : success ? 'valid' : 'refused'
}

function judgeManifest(value: unknown): Verdict | undefined {
  const { apiVersion, kind } = Object(value) as Readonly<Record<string, unknown>>
  if (typeof apiVersion !== 'string' || typeof kind !== 'string') return undefined
  const found = findKind(apiVersion, kind)
  return found.kind === 'found' ? judge(found.definition.schema, value) : undefined
}

const CASES = '../shared/conformance/istio-validation.jsonl'
const MANIFESTS: readonly unknown[] = [
  ...globSync(['deploy/samples/**/*.yaml', 'test/fixtures/dialects/**/*.in.yaml'])
    .toSorted()
    .flatMap((path) => readDocuments(readFileSync(path, 'utf8')).map(({ value }) => value)),
  ...(existsSync(CASES) ? readFileSync(CASES, 'utf8').trim().split('\n') : []).map(
    (line) => (JSON.parse(line) as { manifest: unknown }).manifest,
  ),
].filter((value) => judgeManifest(value) !== undefined)

const SOAK = Number(process.env['REDOUBT_SOAK'] ?? 0)

test('of samples, fixtures and Istio’s own cases all that zod accepts is found valid the shorter way', (t) => {
  const verdicts = MANIFESTS.map(judgeManifest)
  const slow = MANIFESTS.filter((_, index) => verdicts[index] === 'valid')
  t.deepEqual(slow, [])
  const count = (wanted: Verdict) => verdicts.filter((verdict) => verdict === wanted).length
  t.log(`${count('surely valid')} valid, ${count('refused')} refused`)
  t.true(count('surely valid') > 40 && count('refused') > 20)
})

/** Paths to every value below `value`. */
function pathsOf(value: unknown, path: readonly string[] = []): readonly (readonly string[])[] {
  if (typeof value !== 'object' || value === null) return [path]
  return [path, ...Object.entries(value).flatMap(([key, one]) => pathsOf(one, [...path, key]))]
}

type Edit = (parent: Record<string, unknown>, key: string) => void

/** `value` with the value at `path` edited. */
function editAt(value: unknown, path: readonly string[], edit: Edit): unknown {
  const root = { root: structuredClone(value) }
  const keys = ['root', ...path]
  const parent = keys
    .slice(0, -1)
    .reduce<unknown>((at, key) => Reflect.get(at as object, key), root)
  edit(parent as Record<string, unknown>, keys.at(-1) ?? '')
  return root.root
}

/** What YAML can say; it has no `undefined`. */
const PUT: readonly unknown[] = [
  ...[
    '',
    'x',
    '*',
    '80',
    '1s',
    'cluster.local/ns/a/sa/b',
    'STRICT',
    'ALLOW',
    '/a/{*}',
    '/a/{b}',
    '10.0.0.0/8',
  ],
  ...[0, 1, -1, 1.5, 80, 1e300, Number.NaN, true, false, null],
  ...[[], {}, [[]], [{}], ['x'], ['x', ''], [null], { x: 'y' }, { name: 'x' }, { x: 1 }],
]
const KEYS = ['x', 'spec', 'name', 'rules', 'values', 'constructor', 'toString', '', '0']

const edit: fc.Arbitrary<Edit> = fc.oneof(
  fc.constantFrom(...PUT).map(
    (put): Edit =>
      (parent, key) => {
        parent[key] = structuredClone(put)
      },
  ),
  fc.constant<Edit>((parent, key) => {
    if (Array.isArray(parent)) parent.splice(Number(key), 1)
    else delete parent[key]
  }),
  fc.tuple(fc.constantFrom(...KEYS), fc.constantFrom(...PUT)).map(([added, put]): Edit => {
    return (parent, key) => {
      const at = parent[key]
      if (typeof at !== 'object' || at === null) return
      Reflect.set(at, Array.isArray(at) ? at.length : added, structuredClone(put))
    }
  }),
  fc.constant<Edit>((parent, key) => {
    const list = parent[key]
    if (Array.isArray(list)) parent[key] = Array.from({ length: 20 }, () => list).flat()
  }),
)

test('a manifest changed at random is never found valid where zod refuses it', (t) => {
  const counts: Record<Verdict, number> = { 'surely valid': 0, valid: 0, refused: 0 }
  const step = fc.record({ at: fc.nat(999_999).map((millionths) => millionths / 1_000_000), edit })
  const property = fc.property(
    fc.constantFrom(...MANIFESTS),
    fc.array(step, { minLength: 1, maxLength: 3 }),
    (manifest, steps) => {
      const changed = steps.reduce<unknown>((value, { at, edit: change }) => {
        const paths = pathsOf(value)
        return editAt(value, paths[Math.floor(at * paths.length)] ?? [], change)
      }, manifest)
      const verdict = judgeManifest(changed)
      if (verdict !== undefined) counts[verdict] += 1
    },
  )
  fc.assert(property, { numRuns: 3000 * (SOAK > 0 ? 50 : 1) })
  t.log(counts)
  t.true(counts['surely valid'] > 100 && counts.refused > 500)
})

const name = z.string()
const odd = text((written) => (written.length % 2 === 0 ? 'it is even' : undefined))

/** A schema, with values that it takes and values that it does not. */
const SCHEMAS: readonly (readonly [string, z.ZodType, readonly unknown[], readonly unknown[]])[] = [
  ['a text', name, ['', 'x'], [1, null, undefined, ['x']]],
  ['a text with a check', odd, ['x'], ['', 'xx', 1]],
  ['a text with a length', name.min(1).max(2), ['x'], ['', 'xxx', 1]],
  ['a checked text with a length', odd.max(2), [], ['xxx', 'xx']],
  ['a time', z.iso.datetime({ offset: true }), ['2026-11-21T20:00:00Z'], ['2026', 1]],
  ['a number', z.number(), [0, -1.5], ['0', Number.NaN, Number.POSITIVE_INFINITY]],
  ['a whole number within bounds', z.int().min(1).max(3), [1, 3], [0, 4, 1.5, '1']],
  ['a word', z.enum(['a', 'b']), ['a'], ['c', '', null]],
  ['a literal', z.literal('a'), ['a'], ['b', undefined]],
  [
    'a list within bounds',
    z.array(name).min(1).max(2),
    [['x'], ['x', 'y']],
    [[], ['x', 'y', 'z'], [1], 'x', { 0: 'x' }],
  ],
  [
    'a field that may be left out',
    fields({ a: name.optional() }),
    [{}, { a: 'x' }],
    [{ b: 'x' }, { a: null }, [], null],
  ],
  [
    'a field that may not',
    fields({ a: name, b: z.unknown() }),
    [{ a: 'x', b: null }],
    [{}, { a: 'x' }, { b: 1 }],
  ],
  ['a field whose name is inherited', fields({ toString: name }), [{ toString: 'x' }], [{}]],
  [
    'a field that may be null',
    fields({ a: name.nullable() }),
    [{ a: null }, { a: 'x' }],
    [{}, { a: 1 }],
  ],
  ['one of two', z.union([name, z.int()]), ['x', 1], [1.5, null]],
  ['labels', z.record(name, name), [{}, { a: 'x', toString: 'y' }], [{ a: 1 }, [], null]],
  ['labels with checked names', z.record(odd, name), [{ a: 'x' }], [{ ab: 'x' }]],
  [
    'a check of the whole',
    fields({ a: name.optional() }, { check: ({ a }, report) => a === 'x' && report(['a'], 'x') }),
    [{ a: 'y' }, {}],
    [{ a: 'x' }, { b: 'y' }],
  ],
]

for (const [what, schema, taken, refused] of SCHEMAS) {
  test(`${what} is judged as zod judges it`, (t) => {
    for (const value of taken) t.is(judge(schema, value), 'surely valid', JSON.stringify(value))
    for (const value of refused) t.is(judge(schema, value), 'refused', JSON.stringify(value))
  })
}

const UNKNOWN: readonly (readonly [string, z.ZodType, unknown])[] = [
  ['a default', z.object({ a: name.default('x') }).strict(), {}],
  ['a transformation', z.strictObject({ a: name.transform(Number) }), { a: '1' }],
  ['trimming', z.strictObject({ a: name.trim() }), { a: ' x ' }],
  ['what is coerced', z.strictObject({ a: z.coerce.number() }), { a: '1' }],
  ['a refinement that nobody told of', z.strictObject({ a: name }).refine(() => true), { a: 'x' }],
  ['a refined list', z.array(name).refine(() => true), ['x']],
  ['fields that are let through', z.looseObject({ a: name }), { a: 'x', b: 'y' }],
  ['fields that are dropped', z.object({ a: name }), { a: 'x', b: 'y' }],
  [
    'an intersection',
    z.intersection(z.object({ a: name }), z.object({ b: name })),
    { a: 'x', b: 'x' },
  ],
]

for (const [what, schema, value] of UNKNOWN) {
  test(`${what} is left to zod`, (t) => {
    t.is(judge(schema, value), 'valid')
    t.is(judge(fields({ deep: z.array(schema).optional() }), { deep: [value] }), 'valid')
    t.is(judge(fields({ deep: z.array(schema).optional() }), {}), 'surely valid')
  })
}
