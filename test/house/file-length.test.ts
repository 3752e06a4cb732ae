import test from 'ava'

import {
  fileLengthFindings,
  functionLengthFindings,
  functionLengths,
  LONG_FILE,
  LONG_FUNCTION,
} from './rules.ts'
import { readSource, readSources } from './source.ts'

const sources = readSources()

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
