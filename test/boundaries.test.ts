/** The architecture: who may import whom, what computes only, and who touches the process. */
import { readFileSync } from 'node:fs'

import test from 'ava'

import {
  boundaryFindings,
  importCycles,
  PURE,
  purityFindings,
  resolveImport,
} from './house/rules.ts'
import { readSource, readSources } from './house/source.ts'

const { dependencies } = JSON.parse(readFileSync('package.json', 'utf8')) as {
  dependencies: Record<string, string>
}
const packages = new Set(Object.keys(dependencies))
const sources = readSources()

test('every import stays inside the table of who may import whom', (t) => {
  t.deepEqual(
    sources.flatMap((source) => boundaryFindings(source, packages)),
    [],
  )
})

test('what runs has no import cycle', (t) => {
  t.deepEqual(importCycles(sources), [])
})

test('a sidecar that is no gateway loads nothing of one, and nothing of HTTP/2 before it meets any', (t) => {
  const byPath = new Map(sources.map((source) => [source.path, source]))
  const loaded = new Set<string>()
  const visit = (path: string): void => {
    if (loaded.has(path)) return
    loaded.add(path)
    for (const { isValue, specifier } of byPath.get(path)?.imports ?? []) {
      if (isValue && /^[.#]/.test(specifier)) visit(resolveImport(path, specifier))
    }
  }
  visit('proxy/index.ts')
  t.true(loaded.has('proxy/inbound/forward.ts'))
  t.deepEqual(
    [...loaded].filter((path) => /^proxy\/(gateway|streams)\//.test(path)),
    [],
  )
})

test('pure folders take time, chance and the world as arguments', (t) => {
  t.deepEqual(sources.filter(({ path }) => PURE.test(path)).flatMap(purityFindings), [])
})

/** Each row is source that breaks one rule, and a word of what is said about it. */
const forbidden: readonly (readonly [path: string, text: string, said: string])[] = [
  ['ca/core/a.ts', `import { join } from 'node:path'`, 'imports nothing'],
  ['ca/core/a.ts', `import { z } from 'zod'`, 'no packages'],
  ['ca/issue/a.ts', `import { run } from '#policy/index.ts'`, 'ca may not'],
  ['policy/serve/a.ts', `import { verifySvid } from '#ca/x509/index.ts'`, 'policy may not'],
  ['policy/serve/a.ts', `import type { Ca } from '#ca/index.ts'`, 'policy may not'],
  ['agent/a.ts', `import { compile } from '#policy/casbin/index.ts'`, 'agent may not'],
  ['proxy/a.ts', `import { sign } from '#ca/issue/index.ts'`, 'proxy may not'],
  ['proxy/a.ts', `export { parse } from '#ca/spiffe/spiffe-id.ts'`, 'entered by its index'],
  ['proxy/a/b.ts', `import { x } from '../../ca/spiffe/index.ts'`, 'climbs out'],
  ['ca/x509/a.ts', `import {\n  readFile,\n} from 'node:fs'`, 'pure folder'],
  ['ca/x509/a.ts', `import { X } from '@peculiar/x509'`, 'no packages'],
  ['ca/issue/a.ts', `import { X } from '@peculiar/x509'`, 'its place'],
  ['ca/issue/a.ts', `import { X } from 'left-pad'`, 'not among our dependencies'],
  ['ca/issue/a.ts', `import { X } from 'fs'`, 'expected node:fs'],
  ['policy/model/a.ts', `import './b.ts'`, 'no side effect'],
]

for (const [path, text, said] of forbidden) {
  test(`boundaryFindings() refuses ${JSON.stringify(text)} in ${path}`, (t) => {
    const [finding = '', ...others] = boundaryFindings(readSource(path, text), packages)
    t.true(finding.includes(said), finding)
    t.deepEqual(others, [])
  })
}

for (const effect of [
  'Math.random()',
  'Date.now()',
  'new Date()',
  'Temporal.Now.instant()',
  'setTimeout(f, 1)',
  "fetch('http://x')",
  "await import('./x.ts')",
  'process.env',
  'console.log(1)',
  'crypto.randomUUID()',
]) {
  test(`purityFindings() refuses ${effect}`, (t) => {
    t.is(purityFindings(readSource('ca/x509/a.ts', `export const a = ${effect}`)).length, 1)
  })
}

test('purityFindings() refuses randomBytes and allows createHash', (t) => {
  const draws = "import { randomBytes } from 'node:crypto'"
  t.is(purityFindings(readSource('ca/x509/a.ts', draws)).length, 1)
  t.deepEqual(purityFindings(readSource('a.ts', "import { createHash } from 'node:crypto'")), [])
})

test('purityFindings() reads code, not words or the names of fields', (t) => {
  const text = '/** Not Date.now(). */\nexport const a = { fetch: 1, b: "Math.random()" }.fetch'
  t.deepEqual(purityFindings(readSource('ca/x509/a.ts', text)), [])
})

test('importCycles() finds a cycle of values and forgives one of types', (t) => {
  const a = readSource('ca/a.ts', `import { b } from './b.ts'`)
  t.deepEqual(importCycles([a, readSource('ca/b.ts', `import { a } from './a.ts'`)]), [
    'ca/a.ts → ca/b.ts → ca/a.ts',
  ])
  t.deepEqual(importCycles([a, readSource('ca/b.ts', `import type { A } from './a.ts'`)]), [])
})
