/** Whatever is written ends in a report, in bounded time: nothing throws, nothing runs away. */
import test from 'ava'
import * as fc from 'fast-check'
import { globSync, readFileSync } from 'node:fs'

import { readDocuments } from '#policy/dialects/read-document.ts'
import { readManifests } from '#policy/index.ts'
import { cpuStopwatch } from '../../fakes/cpu-time.ts'

type Path = readonly (string | number)[]

const MANIFESTS = globSync('test/fixtures/dialects/**/*.in.yaml')
  .flatMap((path) => readDocuments(readFileSync(path, 'utf8')))
  .map(({ value }) => value)

function pathsOf(value: unknown, path: Path = []): readonly Path[] {
  if (typeof value !== 'object' || value === null) return [path]
  const below: [string | number, unknown][] = Array.isArray(value)
    ? [...value.entries()]
    : Object.entries(value)
  return [path, ...below.flatMap(([key, child]) => pathsOf(child, [...path, key]))]
}

function withValue(root: unknown, path: Path, value: unknown): unknown {
  if (path.length === 0) return value
  const copy = structuredClone(root)
  const parent = path.slice(0, -1).reduce<unknown>((at, key) => (at as never)[key], copy)
  ;(parent as Record<string | number, unknown>)[path.at(-1) ?? ''] = value
  return copy
}

const PLACES = MANIFESTS.flatMap((manifest) =>
  pathsOf(manifest).map((path) => ({ manifest, path })),
)
const anything = fc.oneof(
  fc.constantFrom(null, true, 0, -1, 1.5, 1e300, '', '*', '%', '[', '\u0000', [], {}, [null], [[]]),
  fc.constantFrom('x'.repeat(100_000), { a: { b: { c: {} } } }, Array(1000).fill({})),
  fc.anything({ maxDepth: 3, withNullPrototype: false }),
)

test(`any value at any of ${PLACES.length} places of any kind ends in a report`, (t) => {
  const place = fc.constantFrom(...PLACES)
  t.notThrows(() =>
    fc.assert(
      fc.property(place, anything, ({ manifest, path }, value) => {
        const text = JSON.stringify(withValue(manifest, path, value)) ?? ''
        const { documents } = readManifests([{ path: 'x', text }])
        for (const { valid, errors } of documents) {
          if (valid !== (errors.length === 0)) throw new Error('a fault without a verdict')
          if (errors.some(({ line }) => line < 1)) throw new Error('a fault without a line')
        }
      }),
      { numRuns: 200 },
    ),
  )
})

test('any text ends in a report', (t) => {
  const text = fc.oneof(
    fc.string({
      unit: fc.constantFrom('{', '[', '"', ':', '-', '&a', '*a', '\n', ' ', '#', '!', 'x'),
    }),
    fc.string({ unit: 'binary', maxLength: 200 }),
  )
  t.notThrows(() =>
    fc.assert(fc.property(text, (one) => void readManifests([{ path: 'x', text: one }]))),
  )
})

const RUNAWAYS: readonly (readonly [string, string])[] = [
  ['ten million characters', `a: ${'x'.repeat(10_000_000)}`],
  ['a cycle', 'a: &a { b: *a }'],
  ['a cycle through a list', '&a [*a]'],
  [
    'a bomb',
    Array.from({ length: 12 }, (_, at) =>
      at === 0 ? 'a0: &a0 [x, x]' : `a${at}: &a${at} [${`*a${at - 1}, `.repeat(9)}]`,
    ).join('\n'),
  ],
  ['deep nesting', '['.repeat(100_000)],
  ['deep blocks', Array.from({ length: 3000 }, (_, at) => `${' '.repeat(at)}a:`).join('\n')],
]

for (const [what, text] of RUNAWAYS) {
  test(`${what} ends in a clear error, soon (users §2.2.30)`, (t) => {
    const workedMs = cpuStopwatch()
    const [report] = readManifests([{ path: 'x', text }]).documents
    const ms = workedMs()
    t.false(report?.valid)
    t.regex(report?.errors[0]?.message ?? '', /Cannot read|nested|expected/)
    t.true(ms < 8000, `${Math.round(ms)} ms`)
  })
}

test('a pattern that would run for ever elsewhere is compiled and run in linear time', (t) => {
  const value = `%${'a('.repeat(5000)}`
  const text = JSON.stringify({
    apiVersion: 'networking.istio.io/v1',
    kind: 'VirtualService',
    metadata: { name: 'a' },
    spec: {
      hosts: ['a'],
      http: [
        {
          match: [{ uri: { regex: `(a+)+${'b?'.repeat(200)}$` } }],
          headers: {
            request: { set: { a: value, b: `%A(${'"a",'.repeat(5000)}`, c: '\\"'.repeat(9000) } },
          },
          route: [{ destination: { host: `${'a-'.repeat(120)}a` } }],
        },
      ],
    },
  })
  const workedMs = cpuStopwatch()
  const [report] = readManifests([{ path: 'x', text }]).documents
  t.false(report?.valid)
  t.true(workedMs() < 4000)
})

test('1,000 documents are judged without much work', (t) => {
  const files = Array.from({ length: 1000 }, (_, at) => ({
    path: `${at}.yaml`,
    text: JSON.stringify(MANIFESTS[at % MANIFESTS.length]),
  }))
  const workedMs = cpuStopwatch()
  const { documents } = readManifests(files)
  const ms = Math.round(workedMs())
  t.is(documents.length, 1000)
  t.log(`${ms} ms`)
  t.true(ms < 10_000)
})
