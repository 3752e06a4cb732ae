import { globSync, readFileSync, writeFileSync } from 'node:fs'
import test from 'ava'

import { type DocumentReport, type Intent, readManifests } from '#policy/index.ts'

/** `UPDATE_GOLDEN=1 npx ava test/policy/dialects` rewrites what a reviewer then reads in the diff. */
const update = process.env['UPDATE_GOLDEN'] === '1'

/** What a reviewer wants to see: what was made, and what was said of it. */
function readable({ mesh, ...collections }: Intent, documents: readonly DocumentReport[]): unknown {
  const filled = Object.entries(collections).filter(([, objects]) => objects.length > 0)
  return {
    ...Object.fromEntries(filled),
    ...(documents.some(({ kind }) => kind === 'Mesh') ? { mesh } : {}),
    warnings: documents.flatMap(({ warnings }) => warnings),
  }
}

for (const path of globSync('test/fixtures/dialects/**/*.in.yaml').sort()) {
  const golden = path.replace('.in.yaml', '.out.json')
  test(`${path} reads as ${golden}`, (t) => {
    const { intent, documents } = readManifests([{ path, text: readFileSync(path, 'utf8') }])
    t.deepEqual(
      documents.flatMap(({ errors }) => errors),
      [],
    )
    const actual = `${JSON.stringify(readable(intent, documents), null, 2)}\n`
    if (update) writeFileSync(golden, actual)
    t.deepEqual(JSON.parse(actual), JSON.parse(readFileSync(golden, 'utf8')))
  })
}
