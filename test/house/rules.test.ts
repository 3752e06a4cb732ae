/** Conventions of the project's own source, which is read once for all of them. */
import test from 'ava'

import {
  documentationFindings,
  fileLengthFindings,
  functionLengthFindings,
  functionLengths,
  indexFindings,
  LONG_FILE,
  LONG_FUNCTION,
  processFindings,
} from './rules.ts'
import { readSource, readSources } from './source.ts'

const sources = readSources()

// What a folder promises is documented where it is declared.

test('an index.ts is a table of contents: named re-exports and nothing else', (t) => {
  t.deepEqual(sources.flatMap(indexFindings), [])
})

test('every function, class and constant that a folder exports has a doc comment', (t) => {
  t.deepEqual(documentationFindings(sources), [])
})

for (const text of [
  "export * from './a.ts'",
  "export * as a from './a.ts'",
  'export const a = 1',
  'a()',
]) {
  test(`indexFindings() refuses ${JSON.stringify(text)}`, (t) => {
    t.is(indexFindings(readSource('ca/index.ts', text)).length, 1)
  })
}

const index = readSource('ca/index.ts', "export { A, b } from './a.ts'")

test('documentationFindings() finds a function and a class without a comment', (t) => {
  const bare = readSource(
    'ca/a.ts',
    'export class A {}\nexport function b() {}\nexport const c = 1',
  )
  t.deepEqual(documentationFindings([index, bare]), [
    'ca/a.ts:1 exports A to other folders: expected a doc comment',
    'ca/a.ts:2 exports b to other folders: expected a doc comment',
  ])
})

test('documentationFindings() is content with a sentence each', (t) => {
  const text = '/** An a. */\nexport class A {}\n\n/** Says b. */\nexport async function b() {}\n'
  t.deepEqual(documentationFindings([index, readSource('ca/a.ts', text)]), [])
})

// Length.

test(`a file of more than ${LONG_FILE} lines says why in its header`, (t) => {
  t.deepEqual(sources.flatMap(fileLengthFindings), [])
})

test(`no function has more than ${LONG_FUNCTION} lines`, (t) => {
  t.deepEqual(sources.flatMap(functionLengthFindings), [])
})

test('the median function has at most 10 lines', (t) => {
  const lengths = sources.flatMap(functionLengths).map(({ lines }) => lines)
  const median = lengths.sort((a, b) => a - b)[lengths.length >> 1] ?? 0
  t.true(median <= 10, `it has ${median}`)
})

test('fileLengthFindings() finds a long file, and forgives it with a reason', (t) => {
  const body = 'export const a = 1\n'.repeat(1) + '//\n'.repeat(LONG_FILE)
  t.is(fileLengthFindings(readSource('ca/a.ts', body)).length, 1)
  t.deepEqual(fileLengthFindings(readSource('ca/a.ts', `/** Long because it is. */\n${body}`)), [])
})

test('functionLengthFindings() finds a long function', (t) => {
  const text = `export function a() {\n${'  //\n'.repeat(LONG_FUNCTION)}}\n`
  t.deepEqual(functionLengthFindings(readSource('ca/a.ts', text)), [
    `ca/a.ts:1 has a function of ${LONG_FUNCTION + 2} lines: expected at most ${LONG_FUNCTION}`,
  ])
})

// The process.

/** Entry points, and the sample's apps, which are programs of their own and no part of the mesh. */
const ENTRY = /^deploy\/(run\/[^/]+|cli\/main|samples\/.+)\.ts$/

test('only entry points touch the process', (t) => {
  t.deepEqual(sources.filter(({ path }) => !ENTRY.test(path)).flatMap(processFindings), [])
})

for (const use of [
  'const { env } = process.env',
  'process.exit(1)',
  "import process from 'node:process'",
  "import { argv } from 'node:process'",
]) {
  test(`processFindings() refuses ${use}`, (t) => {
    t.is(processFindings(readSource('ca/serve/a.ts', use)).length, 1)
  })
}

test('processFindings() allows a field or an argument of that name', (t) => {
  for (const text of [
    'export const run = (child: { process: number }) => child.process',
    'export const run = (process: { pid: number }) => process.pid',
    'export const run = ({ process }: { process: { pid: number } }) => process.pid',
    'export function run(list: { pid: number }[]) { for (const process of list) process.pid }',
  ]) {
    t.deepEqual(processFindings(readSource('ca/serve/a.ts', text)), [], text)
  }
})
