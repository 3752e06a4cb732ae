/**
 * There is one reading of YAML, the `yaml` package's. What is read by the shorter way must be what that package
 * reads: the same documents, values, order of keys and lines, without a fault. Where the two could differ, a
 * policy would mean one thing to whoever checked it and another to the mesh.
 */
import test from 'ava'
import * as fc from 'fast-check'
import { existsSync, globSync, readFileSync } from 'node:fs'

import { readPlainYaml } from '#policy/dialects/plain-yaml.ts'
import { readDocuments, readExactly } from '#policy/dialects/read-document.ts'
import { cpuStopwatch } from '../../fakes/cpu-time.ts'

/** Whether the shorter way was taken; throws where it was and the two differ. */
function agrees(text: string): boolean {
  const plain = readPlainYaml(text)
  if (plain === undefined) return false
  const exact = readExactly(text).map(({ line, value, faults }) => ({ line, value, faults }))
  const [ours, theirs] = [plain.map((one) => ({ ...one, faults: [] })), exact].map((one) =>
    JSON.stringify(one),
  )
  if (ours !== theirs)
    throw new Error(`${JSON.stringify(text)} is read as ${ours}, by yaml as ${theirs}`)
  return true
}

/** Runs {@link agrees} on every text of up to `length` pieces; says how many there were, and how many were plain. */
function allTexts(pieces: readonly string[], length: number) {
  const counts = { all: 0, plain: 0 }
  const extend = (text: string, left: number): void => {
    counts.all += 1
    if (agrees(text)) counts.plain += 1
    if (left > 0) for (const piece of pieces) extend(text + piece, left - 1)
  }
  extend('', length)
  return counts
}

const SOAK = Number(process.env['REDOUBT_SOAK'] ?? 0)

test('every short text over the signs of YAML is read as yaml reads it, or left to it', (t) => {
  const signs = Array.from('a1:-# \n"\'[]{},&*!|>?%@~.\t\\')
  const { all, plain } = allTexts(signs, 3 + SOAK)
  t.log(`${all} texts, ${plain} of them plain`)
  t.true(plain > 200)
})

test('every short text over pieces of manifests is read as yaml reads it, or left to it', (t) => {
  const pieces = ['a: ', 'b:', '\n', '\n  ', '- ', 'x', ' # c', '"k": ', '[', ']', '{', '}', ', ']
  const { all, plain } = allTexts([...pieces, '---'], 4 + SOAK)
  t.log(`${all} texts, ${plain} of them plain`)
  t.true(plain > 1000)
})

test('marks of documents behind blanks, and directives, are for yaml to judge', (t) => {
  for (const text of ['      ---\na:\n', 'a: b\n ---\nc: d\n', 'a:\n  ---\n', '  %x\n---\na:\n']) {
    t.false(agrees(text), text)
  }
})

const WORDS = [
  ...[
    'x',
    'yes',
    'NO',
    'on',
    'y',
    'null',
    'Null',
    '~',
    'true',
    'True',
    'FALSE',
    'tRue',
    'nan',
    '.nan',
    '.inf',
    '-.INF',
  ],
  ...[
    '0',
    '7',
    '007',
    '-1',
    '+1',
    '1_000',
    '0o7',
    '0O7',
    '0b1',
    '0x1F',
    '0xg',
    '1e3',
    '1E+3',
    '1.',
    '.5',
    '1.50',
    '1.2.3',
  ],
  ...[
    '999999999999999',
    '9999999999999999',
    '12345678901234567890',
    '1e400',
    '1e',
    '10.0.0.0/8',
    '10.0.0.1',
    '::1',
    'fe80::/10',
  ],
  ...[
    '2001-12-14',
    '2001-12-14t21:59:43.10-05:00',
    '12:30:45',
    '190:20:30',
    '<<',
    '=',
    '*',
    '*a',
    '&a',
    '&a x',
    '!x',
    '!!str 1',
  ],
  ...[
    '/a/{*}',
    '/a/{**}/b',
    '/a*',
    '$(x)',
    '(x)',
    'a:b',
    'a:b:',
    'a: b',
    'a::b',
    'a:',
    ':a',
    'a#b',
    'a #b',
    '#',
    'a, b',
    'a]',
  ],
  ...[
    '"x"',
    '"a: b"',
    '"# x"',
    '"a\\nb"',
    '"a\\"',
    '"',
    '""',
    "'x'",
    "'it''s'",
    "''",
    "'\\'",
    '"é"',
    'é',
    '"x" y',
    '"x"y',
    '- x',
    '-',
    '-x',
  ],
  ...[
    '[]',
    '{}',
    '[a, b]',
    '[a,b]',
    '[a, ]',
    '[a: b]',
    '{a: b}',
    '{a:b}',
    '{a}',
    '{a: }',
    '{"a":1}',
    '{"a" :1}',
    '{a: [b, {c: d}]}',
    '[[a]]',
  ],
  ...[
    '|',
    '>-',
    '|\n    x',
    '? x',
    '?x',
    '%x',
    '@x',
    '`x`',
    '\t',
    'x\ty',
    'x\n   y',
    '"x\n   y"',
    '[a,\n b]',
    'spiffe://a/ns/b/sa/c',
    '__proto__',
  ],
  ...[
    'constructor',
    'a'.repeat(300),
    'x '.repeat(5),
    '\u2028',
    '\u00a0',
    '\ufeff',
    '\r',
    '😀',
    '---',
    '...',
    '{__proto__: x}',
  ],
]
const KEYS = [
  'a',
  'b',
  'a',
  'toString',
  '1',
  '"1"',
  "'q'",
  '"q"',
  'null',
  'True',
  'yes',
  'a.b/c-d',
  '<<',
  '__proto__',
  '"__proto__"',
  'é',
  'a b',
  '? a',
  'x'.repeat(300),
  '',
  '&k a',
  '"a: b"',
  '[a]',
  '- a',
  '-a',
  '.a',
  '0x1',
  '1e3',
]
const TAILS = ['', '', '', '', ' ', '  # c', ' #', '# c', ' — x', '\r', ' # —', '\t', ' x']
const BREAKS = [
  '\n',
  '\n',
  '\n',
  '\n',
  '\n',
  '\n\n',
  '\n# c\n',
  '\n      # c\n',
  '\r\n',
  '\n---\n',
  '\n--- \n',
  '\n--- # c\n',
  '\n--- x\n',
  '\n...\n',
  '\n%YAML 1.1\n---\n',
  '\n ---\n',
]

const line = fc
  .record({
    indent: fc.oneof({ weight: 6, arbitrary: fc.constantFrom(0, 2, 4, 6) }, fc.nat(7)),
    dashes: fc.constantFrom('', '', '', '- ', '- ', '-  ', '- - ', '-'),
    key: fc.option(
      fc.oneof(
        { weight: 3, arbitrary: fc.constantFrom('a', 'b', 'c', 'd', 'e') },
        fc.constantFrom(...KEYS),
      ),
      { freq: 6 },
    ),
    colon: fc.constantFrom(':', ': ', ': ', ': ', ':  ', ' : '),
    value: fc.option(fc.constantFrom(...WORDS), { freq: 2 }),
    tail: fc.constantFrom(...TAILS),
    next: fc.constantFrom(...BREAKS),
  })
  .map(({ indent, dashes, key, colon, value, tail, next }) => {
    const keyed = key === null ? '' : `${key}${colon}`
    return `${' '.repeat(indent)}${dashes}${keyed}${value ?? ''}${tail}${next}`
  })

/** Texts that are mostly well-formed: values written down as whoever writes manifests would. */
const value = fc.letrec<{ value: unknown; text: string; list: unknown; map: unknown }>((tie) => ({
  value: fc.oneof({ maxDepth: 4, depthSize: 'small' }, tie('text'), tie('list'), tie('map')),
  text: fc.constantFrom(...WORDS.filter((word) => !word.includes('\n'))),
  list: fc.array(tie('value'), { maxLength: 3 }),
  map: fc.dictionary(fc.constantFrom('a', 'b', 'c', 'k8s.io/d', '"q"'), tie('value'), {
    maxKeys: 3,
  }),
})).value

function written(of: unknown, indent: number, style: number): string {
  const pad = ' '.repeat(indent)
  if (typeof of === 'string') return ` ${of}\n`
  if (Array.isArray(of))
    return of.length === 0
      ? ' []\n'
      : `\n${of.map((one) => `${pad}${style & 1 ? '' : '  '}-${inItem(written(one, indent + (style & 1 ? 2 : 4), style))}`).join('')}`
  const entries = Object.entries(of as object)
  return entries.length === 0
    ? ' {}\n'
    : `\n${entries.map(([key, one]) => `${pad}${key}:${written(one, indent + 2, style)}`).join('')}`
}

/** A map begins beside its dash. */
function inItem(text: string): string {
  return text.startsWith('\n') ? text.replace(/^\n +/, ' ') : text
}

const runs = (numRuns: number): { numRuns: number } => ({ numRuns: numRuns * (SOAK > 0 ? 50 : 1) })

test('lines put together at random are read as yaml reads them, or left to it', (t) => {
  let plain = 0
  const text = fc.array(line, { maxLength: 7 }).map((lines) => lines.join(''))
  fc.assert(
    fc.property(text, (one) => {
      if (agrees(one)) plain += 1
    }),
    runs(20_000),
  )
  t.log(`${plain} were plain`)
  t.true(plain > 500)
})

test('values written down in both styles are read as yaml reads them, or left to it', (t) => {
  let plain = 0
  const text = fc.tuple(value, fc.nat(1)).map(([one, style]) => `m:${written(one, 2, style)}`)
  fc.assert(
    fc.property(text, (one) => {
      if (agrees(one)) plain += 1
    }),
    runs(3000),
  )
  t.log(`${plain} were plain`)
  t.true(plain > 300)
})

const MANIFESTS = [
  ...globSync(['deploy/samples/**/*.yaml', 'test/fixtures/dialects/**/*.in.yaml']).map((path) =>
    readFileSync(path, 'utf8'),
  ),
  ...(existsSync('../shared/conformance/istio-validation.jsonl')
    ? readFileSync('../shared/conformance/istio-validation.jsonl', 'utf8').trim().split('\n')
    : []
  ).map((one) => JSON.stringify((JSON.parse(one) as { manifest: unknown }).manifest)),
]

test('samples, fixtures and Istio’s own cases are read as yaml reads them, and mostly the shorter way', (t) => {
  const plain = MANIFESTS.filter(agrees).length
  t.log(`${plain} of ${MANIFESTS.length}`)
  t.true(plain > MANIFESTS.length * 0.7)
})

test('manifests with a few characters changed are read as yaml reads them, or left to it', (t) => {
  const short = MANIFESTS.filter(({ length }) => length < 4000)
  const edit = fc.record({
    at: fc.nat(999_999).map((millionths) => millionths / 1_000_000),
    cut: fc.nat(2),
    put: fc.oneof(
      { weight: 2, arbitrary: fc.constantFrom('', 'x', '0', 'true', '  ', '\n', '# ', ', ') },
      fc.constantFrom(...WORDS, ...BREAKS, ':', '"', '-', '- ', '{', '}', '[', ']', '#'),
    ),
  })
  let plain = 0
  const property = fc.property(
    fc.constantFrom(...short),
    fc.array(edit, { minLength: 1, maxLength: 2 }),
    (text, edits) => {
      const changed = edits.reduce((now, { at, cut, put }) => {
        const from = Math.floor(at * now.length)
        return now.slice(0, from) + put + now.slice(from + cut)
      }, text)
      plain += agrees(changed) ? 1 : 0
    },
  )
  fc.assert(property, runs(3000))
  t.log(`${plain} were plain`)
  t.true(plain > 200)
})

const HOSTILE: readonly (readonly [string, string])[] = [
  ['an anchor and its alias', 'a: &x [1]\nb: *x\n'],
  ['a merge key', 'a: &x {b: c}\nd:\n  <<: *x\n'],
  ['a key twice', 'a: 1\nb: 2\na: 3\n'],
  ['a key twice in brackets', 'a: {b: 1, "b": 2}\n'],
  ['a key that is a number beside the same text', '1: a\n"1": b\n'],
  ['__proto__', '"__proto__": {a: b}\n'],
  ['a tab', 'a:\tb\n'],
  ['carriage returns', 'a: b\r\nc: d\r\n'],
  ['a byte order mark', '\ufeffa: b\n'],
  ['a directive', '%YAML 1.1\n---\na: yes\n'],
  ['a tag', 'a: !!binary aGk=\n'],
  ['an octal number', 'a: 0o7\n'],
  ['a number with a leading zero', 'a: 010\n'],
  ['a large number', 'a: 12345678901234567890\n'],
  ['a text over two lines', 'a: b\n  c\n'],
  ['a bad indentation', 'a:\n    b: 1\n  c: 2\n'],
  ['a comment in brackets, before their comma', 'a: ["b"\n# c\n, d]\n'],
  ['a comment in brackets, before their end', 'a: {b: "c"\n# d\n\n  }\n'],
  ['an end mark', 'a: b\n...\nc: d\n'],
  ['a cycle', '&a [*a]\n'],
  ['a key too long to be one', `${'x'.repeat(1025)}: b\n`],
  [
    'more levels than any manifest has',
    `${Array.from({ length: 70 }, (_, at) => `${' '.repeat(at)}a:`).join('\n')}\n`,
  ],
]

for (const [what, text] of HOSTILE) {
  test(`${what} is left to yaml`, (t) => {
    t.is(readPlainYaml(text), undefined)
  })
}

test('YAML 1.1 is not spoken: yes, no, on and off are texts, on either way', (t) => {
  for (const text of [
    'a: yes\nb: no\nc: on\nd: off\ny: n\n',
    'a: yes # é\t\nb: no\nc: on\nd: off\ny: n\n',
  ]) {
    t.deepEqual(readDocuments(text)[0]?.value, { a: 'yes', b: 'no', c: 'on', d: 'off', y: 'n' })
  }
})

test('a line is told for what was read the shorter way, too', (t) => {
  const [, document] = readDocuments(
    'a: b\n---\n# c\nspec:\n  rules:\n    - to: [x]\n    - from: y\n',
  )
  t.is(document?.line, 4)
  t.is(document?.lineOf(['spec', 'rules', 1, 'from']), 7)
  t.is(document?.lineOf(['spec', 'rules', 9]), 5)
})

test('long and deep texts are read in time that grows with their length', (t) => {
  const workedMs = cpuStopwatch()
  const list = `[${'"abcdefgh", '.repeat(200_000)}x]`
  for (const text of [
    `a: ${list}`,
    `{"a": ${list}}`,
    `a: ${'x:x '.repeat(500_000)}`,
    `a: ${'1'.repeat(2_000_000)}x`,
    '- a: b\n'.repeat(200_000),
    `a: "${'x'.repeat(2_000_000)}`,
    '['.repeat(5000),
    '{a: '.repeat(5000),
  ])
    readPlainYaml(text)
  const ms = workedMs()
  t.true(ms < 5000, `${ms} ms`)
})
