/** The rows of the specification that are about validation (istio-semantics §0–§3). */
import test from 'ava'
import { readManifests } from '#policy/index.ts'
import { type Manifest, VERDICTS } from './rows.ts'

function report(manifest: Manifest) {
  const text = JSON.stringify(manifest)
  const [first] = readManifests([{ path: 'row.json', text }]).documents
  if (!first) throw new Error('no report')
  return first
}

for (const [title, { accepted = [], warned = [], refused = [] }] of Object.entries(VERDICTS)) {
  test(title, (t) => {
    for (const manifest of [...accepted, ...warned]) {
      const { valid, errors, warnings } = report(manifest)
      t.true(valid, `${JSON.stringify(manifest)}: ${JSON.stringify(errors)}`)
      if (warned.includes(manifest)) t.true(warnings.length > 0, JSON.stringify(manifest))
    }
    for (const manifest of refused) {
      const { valid, errors } = report(manifest)
      t.false(valid, JSON.stringify(manifest).slice(0, 300))
      t.true(errors.every(({ pointer, message }) => /^(\/|$)/.test(pointer) && message !== ''))
    }
  })
}
