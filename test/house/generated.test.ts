import { execFile } from 'node:child_process'
import { globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'

import test from 'ava'

const run = promisify(execFile)
const BIN = 'node_modules/.bin'
const folders = [...new Set(globSync('*/proto/**/*.proto').map((path) => path.split('/')[0] ?? ''))]

/** Text of every file below `root`, by its path from there. */
function readTree(root: string): Record<string, string> {
  const files = globSync('**/*.ts', { cwd: root }).sort()
  return Object.fromEntries(files.map((file) => [file, readFileSync(join(root, file), 'utf8')]))
}

test('npm run generate knows every folder that has a protocol', (t) => {
  const { scripts } = JSON.parse(readFileSync('package.json', 'utf8')) as {
    scripts: { generate: string }
  }
  const [, listed = ''] = /for d in ([^;]+);/.exec(scripts.generate) ?? []
  t.deepEqual(listed.split(' ').sort(), folders.sort())
})

for (const folder of folders) {
  test(`${folder}/proto/gen is what the generator makes of ${folder}/proto`, async (t) => {
    const out = mkdtempSync(join(tmpdir(), 'redoubt-generate-'))
    t.teardown(() => rmSync(out, { recursive: true }))
    // The generator finds its plugin on the PATH, which `npm test` has set and an editor has not.
    const PATH = `${join(dirname(dirname(import.meta.dirname)), BIN)}:${dirname(process.execPath)}`
    const template = 'deploy/proto/buf.gen.yaml'
    await run(
      join(BIN, 'buf'),
      ['generate', `${folder}/proto`, '--template', template, '-o', out],
      {
        env: { ...process.env, PATH },
      },
    )
    t.deepEqual(readTree(`${folder}/proto/gen`), readTree(join(out, 'gen')))
  })
}
