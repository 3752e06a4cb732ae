/**
 * Every row of the specification of authorization has a test whose title begins with it: `§1.8 row 2: …`,
 * `§1.4 rows 1, 5: …`, `§0.8.9 …`; several may stand there, divided by commas.
 */
import { existsSync, globSync, readFileSync } from 'node:fs'
import test from 'ava'
import { readSemanticsRows } from './semantics-rows.ts'

const REFERENCE = '../shared/reference/istio-semantics.md'
/** `id<tab>how it begins`, so that the house holds without the reference. */
const LIST = 'test/fixtures/semantics-rows.txt'

const listed = readFileSync(LIST, 'utf8')
  .trim()
  .split('\n')
  .map((line) => line.split('\t'))

const TITLE_TEXT = /['"`](§[0-3]\.[^'"`]*)/g
const PLACE = /^§(\d\.\d+)(\.\d+| on purpose)?(?: rows? (\d+(?:, \d+)*))?(?:, (?=§)|\b)/

/** The rows that a title begins with. */
function rowsOf(title: string): readonly string[] {
  const [whole = '', section = '', item = '', numbers] = PLACE.exec(title) ?? []
  if (whole === '') return []
  const own = numbers
    ? numbers.split(', ').map((row) => `§${section} row ${row}`)
    : [`§${section}${item}`]
  return [...own, ...rowsOf(title.slice(whole.length))]
}

test('rowsOf() reads what titles begin with', (t) => {
  t.deepEqual(rowsOf('§1.8 row 2: x'), ['§1.8 row 2'])
  t.deepEqual(rowsOf('§1.4 rows 1, 12, §0.8.9: x'), ['§1.4 row 1', '§1.4 row 12', '§0.8.9'])
  t.deepEqual(rowsOf('§0.8 on purpose: x'), ['§0.8 on purpose'])
  t.deepEqual(rowsOf('§0.6 x'), ['§0.6'])
  t.deepEqual(rowsOf('identity-standards §5 x'), [])
})

test('every row of istio-semantics §0–§3 has a test', (t) => {
  const titles = globSync('test/**/*.ts')
    .filter((path) => !path.startsWith('test/house/'))
    .flatMap((path) => [...readFileSync(path, 'utf8').matchAll(TITLE_TEXT)])
    .map(([, title = '']) => title)
  const tested = new Set(titles.flatMap(rowsOf))
  t.deepEqual(
    listed.filter(([id = '']) => !tested.has(id)).map((row) => row.join(' ')),
    [],
    'rows without a test',
  )
})

if (existsSync(REFERENCE)) {
  test('the list of rows is that of the reference', (t) => {
    const rows = readSemanticsRows(readFileSync(REFERENCE, 'utf8'))
    t.deepEqual(
      listed,
      rows.map(({ id, text }) => [id, text]),
    )
    t.true(rows.length > 250)
  })
} else {
  test.skip(`SKIPPED: ${REFERENCE} is not there, so the list of rows was not held against it`, () => {})
}
