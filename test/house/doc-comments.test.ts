/** What a folder promises is documented where it is declared. */
import test from 'ava'

import { documentationFindings, indexFindings } from './rules.ts'
import { readSource, readSources } from './source.ts'

const sources = readSources()

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
