/**
 * Every row of what people ask of identity and of authorization, every advisory on them and every line of
 * the checklist has a test that names it: `users §1.1.8`, `users §2.1.3, §2.2.23`, `identity-standards §5.9`.
 */
import { existsSync, globSync, readFileSync } from 'node:fs'
import test from 'ava'

const USERS = '../shared/reference/users-and-performance.md'
const STANDARDS = '../shared/reference/identity-standards.md'
/** `id<tab>how it begins`, so that the house holds without the references. */
const LIST = 'test/fixtures/users-rows.txt'

const USERS_SECTIONS = ['1.1', '1.2', '1.3', '1.4', '1.5', '2.1', '2.2', '2.3']
const MAX_TEXT = 60

const listed = readFileSync(LIST, 'utf8')
  .trim()
  .split('\n')
  .map((line) => line.split('\t'))

/** The text of a section, from its heading to the next of its level. */
function section(markdown: string, heading: string): string {
  const [, after = ''] = markdown.split(`\n${heading}`)
  return after.split(/\n#{2,3} /)[0] ?? ''
}

/** Numbered points, and rows of a table that begin with a number. */
function rowsIn(text: string, prefix: string): readonly (readonly [id: string, text: string])[] {
  return [...text.matchAll(/^(?:\| )?(\d+)(?:\.| \|) (.*)$/gm)].map(
    ([, number = '', rest = '']) => [
      `${prefix}.${number}`,
      rest.replaceAll(/[`*|]/g, '').replaceAll(/\s+/g, ' ').trim().slice(0, MAX_TEXT).trim(),
    ],
  )
}

/** What a title names. */
function rowsOf(title: string): readonly string[] {
  const users = [...title.matchAll(/users (§[\d.]+(?: row \d+)?(?:, §[\d.]+)*)/g)].flatMap(
    ([, list = '']) => list.replaceAll(' row ', '.').split(', '),
  )
  const standards = [...title.matchAll(/identity-standards (§5\.\d+)/g)].map(([, id = '']) => id)
  return [...users.map((id) => `users ${id}`), ...standards.map((id) => `identity-standards ${id}`)]
}

test('rowsOf() reads what titles name', (t) => {
  t.deepEqual(rowsOf('a (users §2.1.3, §2.2.23)'), ['users §2.1.3', 'users §2.2.23'])
  t.deepEqual(rowsOf('users §1.1 row 18: b'), ['users §1.1.18'])
  t.deepEqual(rowsOf('identity-standards §5.9: c'), ['identity-standards §5.9'])
})

test('every row of users §1.1–1.5 and §2.1–2.3 and of identity-standards §5 has a test', (t) => {
  const literals = globSync('test/**/*.ts')
    .filter((path) => !path.startsWith('test/house/'))
    .flatMap((path) => [...readFileSync(path, 'utf8').matchAll(/(['"`])((?:(?!\1).)*)\1/g)])
  const tested = new Set(literals.flatMap(([, , title = '']) => rowsOf(title)))
  t.deepEqual(
    listed.filter(([id = '']) => !tested.has(id)).map((row) => row.join(' ')),
    [],
    'rows without a test',
  )
})

if (existsSync(USERS) && existsSync(STANDARDS)) {
  test('the list of rows is that of the references', (t) => {
    const users = readFileSync(USERS, 'utf8')
    const rows = [
      ...USERS_SECTIONS.flatMap((name) => rowsIn(section(users, `### ${name} `), `users §${name}`)),
      ...rowsIn(section(readFileSync(STANDARDS, 'utf8'), '## 5. '), 'identity-standards §5'),
    ]
    t.deepEqual(
      listed,
      rows.map((row) => [...row]),
    )
    t.is(rows.length, 109)
  })
} else {
  test.skip(`SKIPPED: ${USERS} is not there, so the list of rows was not held against it`, () => {})
}
