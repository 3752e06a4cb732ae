/** Istio's own validation suites, as data (conformance/README.md in the shared folder). */
import test from 'ava'
import { existsSync, readFileSync } from 'node:fs'

import { KINDS } from '#policy/dialects/kinds.ts'
import { readManifests } from '#policy/index.ts'

const FILE = '../shared/conformance/istio-validation.jsonl'

interface Case {
  readonly id: string
  readonly manifest: { readonly kind: string; readonly spec?: unknown }
  readonly valid: boolean
  readonly warning: boolean
  readonly error: string | null
}

/** They change the inside of Envoy: recognised, and refused with what to use instead. */
const OF_ENVOY = ['EnvoyFilter', 'WasmPlugin', 'TrafficExtension']

if (existsSync(FILE)) {
  const cases = readFileSync(FILE, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Case)
  const honoured = cases.filter(({ manifest }) => !OF_ENVOY.includes(manifest.kind))

  test('the kinds that are read are those that Istio has cases for, and ours', (t) => {
    const known = new Set(KINDS.map(({ kind }) => kind))
    t.is(honoured.length, 840)
    t.true(honoured.every(({ manifest }) => known.has(manifest.kind)))
  })

  for (const kind of new Set(honoured.map(({ manifest }) => manifest.kind))) {
    const own = honoured.filter(({ manifest }) => manifest.kind === kind)
    test(`${kind}: all ${own.length} verdicts are Istio's`, (t) => {
      for (const { id, manifest, valid, error } of own) {
        const { valid: ours, errors } = verdict(manifest)
        t.is(ours, valid, `${id}: ${error ?? JSON.stringify(errors)}`)
      }
    })
  }

  test('what Istio warns of is warned of', (t) => {
    const warned = honoured.filter(({ valid, warning }) => valid && warning)
    t.true(warned.length > 30)
    t.deepEqual(
      warned.filter(({ manifest }) => verdict(manifest).warnings.length === 0).map(({ id }) => id),
      [],
    )
  })

  test('kinds of Envoy are refused with the reason and what to use instead', (t) => {
    for (const { id, manifest } of cases.filter((one) => OF_ENVOY.includes(one.manifest.kind))) {
      const { valid, errors } = verdict(manifest)
      t.false(valid, id)
      t.regex(errors[0]?.message ?? '', /changes the inside of Envoy/)
      t.regex(errors[0]?.hint ?? '', /^use \w/)
    }
  })
} else {
  test.skip(`SKIPPED: ${FILE} is not there, so Istio's 905 validation cases were not tried`, () => {})
}

function verdict(manifest: Case['manifest']) {
  const [report] = readManifests([{ path: 'case.json', text: JSON.stringify(manifest) }]).documents
  if (!report) throw new Error('no report')
  return report
}
