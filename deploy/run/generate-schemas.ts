#!/usr/bin/env node
/** `npm run generate:schemas`: CRDs, JSON Schemas and reference pages from the schemas of manifests. */
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'

import { publishSchemas } from '#policy/publish/index.ts'

const OUT = join(import.meta.dirname, '../schemas')

await rm(OUT, { recursive: true, force: true })
for (const [name, text] of publishSchemas()) {
  const path = join(OUT, name)
  await mkdir(dirname(path), { recursive: true })
  await writeFile(path, text)
}
