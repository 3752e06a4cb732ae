import test from 'ava'

import { processFindings } from './rules.ts'
import { readSource, readSources } from './source.ts'

/** Entry points, and the sample's apps, which are programs of their own and no part of the mesh. */
const ENTRY = /^deploy\/(run\/[^/]+|cli\/main|samples\/.+)\.ts$/

test('only entry points touch the process', (t) => {
  t.deepEqual(
    readSources()
      .filter(({ path }) => !ENTRY.test(path))
      .flatMap(processFindings),
    [],
  )
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
