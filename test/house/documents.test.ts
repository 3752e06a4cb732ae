/** README.md and SECURITY.md say what is so: what they name exists. */
import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

import test from 'ava'

const README = readFileSync('README.md', 'utf8')
const SECURITY = readFileSync('SECURITY.md', 'utf8')
const documents = [
  'README.md',
  'SECURITY.md',
  '.github/CONTRIBUTING.md',
  ...globSync('{ca,agent,proxy,policy,deploy,test}/**/README.md'),
]

for (const path of documents) {
  test(`${path} links to what exists`, (t) => {
    const links = [...readFileSync(path, 'utf8').matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)]
      .map(([, target = '']) => target)
      .filter((target) => !/^\w+:/.test(target))
    t.deepEqual(
      links.filter((target) => !existsSync(join(dirname(path), target))),
      [],
    )
  })
}

/** `| question | [`file`](file) | `function` |` */
const MAP_ROW = /^\| ([^|]+) \| \[`([^`]+)`\]\(\2\) \| `(\w+)` \|$/gm

/** What someone who has never seen the code must find at once. */
const ASKED = [
  /CSR is refused/,
  /becomes Casbin lines/,
  /retry is decided/,
  /peer certificate is verified/,
]

test('README.md maps questions to functions that their files export', (t) => {
  const rows = [...README.matchAll(MAP_ROW)]
  for (const question of ASKED)
    t.true(
      rows.some(([, text = '']) => question.test(text)),
      `${question}`,
    )
  for (const [, , file = '', name] of rows) {
    const source = readFileSync(file, 'utf8')
    t.regex(
      source,
      new RegExp(`^export (async )?function\\*? ${name}\\b`, 'm'),
      `${name} in ${file}`,
    )
  }
})

test('README.md and SECURITY.md name npm scripts and commands that exist', (t) => {
  const { scripts } = JSON.parse(readFileSync('package.json', 'utf8')) as {
    scripts: Record<string, string>
  }
  const text = README + SECURITY + readFileSync('.github/CONTRIBUTING.md', 'utf8')
  const named = [...text.matchAll(/npm run ([\w:]+)/g)].map(([, name = '']) => name)
  t.deepEqual(
    named.filter((name) => !(name in scripts)),
    [],
  )
  const commands = [
    ...text.matchAll(
      /(?:npx redoubt|`redoubt) ([a-z]+(?: log(?= (?:head|prove|prune|verify)))?)(?: (backup|check|convert|crl|diff|explain|export|head|inspect|issue|learn|list|prove|prune|request|restore|revoke|rollout|rotate|status|taint|test|token|verify))?/g,
    ),
  ]
  const missing = commands
    .map(
      ([, noun = '', verb]) =>
        `deploy/cli/commands/${[...noun.split(' '), verb ?? []].flat().join('-')}.ts`,
    )
    .filter((file) => !existsSync(file))
  t.deepEqual(missing, [])
})

/** `| claim | [`test/…`](test/…): title |`; a title that varies is written as its source has it. */
const CLAIM_ROW = /^\| ([^|]+) \| \[`(test\/[^`]+)`\]\(\2\): (.+) \|$/gm

test('SECURITY.md defends each claim by a test that exists', (t) => {
  const rows = [...SECURITY.matchAll(CLAIM_ROW)]
  t.true(rows.length >= 15, `${rows.length} claims`)
  for (const [, claim, file = '', title = ''] of rows) {
    t.true(readFileSync(file, 'utf8').includes(title), `${claim}: ${file} has no "${title}"`)
  }
  const all = SECURITY.split('\n').filter((line) => line.includes('`test/') && line.startsWith('|'))
  t.is(rows.length, all.length, 'every row with a test is read')
})
