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

/** Kinds whose every verdict is Istio's. */
const EXACT = ['AuthorizationPolicy', 'PeerAuthentication', 'RequestAuthentication']

if (existsSync(FILE)) {
  const cases = readFileSync(FILE, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Case)
  const honoured = new Set(KINDS.map(({ kind }) => kind))

  for (const kind of EXACT) {
    const own = cases.filter(({ manifest }) => manifest.kind === kind)
    test(`${kind}: all ${own.length} verdicts are Istio's`, (t) => {
      t.true(own.length > 0)
      for (const { id, manifest, valid, error } of own) {
        t.is(verdict(manifest).valid, valid, `${id}: ${error}`)
      }
    })
  }

  test('what Istio warns of, in these kinds, is warned of', (t) => {
    const warned = cases.filter(({ manifest, warning }) => warning && EXACT.includes(manifest.kind))
    t.true(warned.length > 0)
    t.deepEqual(
      warned.filter(({ manifest }) => verdict(manifest).warnings.length === 0).map(({ id }) => id),
      [],
    )
  })

  test('nothing that Istio refuses is accepted, in any kind', (t) => {
    const accepted = cases.filter(({ manifest, valid }) => !valid && verdict(manifest).valid)
    t.deepEqual(
      accepted.map(({ id }) => id),
      [],
    )
  })

  test('what Istio accepts is accepted, or refused for a field that is named as not supported', (t) => {
    const unexplained = cases
      .filter(({ manifest, valid }) => valid && honoured.has(manifest.kind))
      .map(({ id, manifest }) => ({ id, report: verdict(manifest) }))
      .filter(
        ({ report }) =>
          !report.valid && !report.errors.some(({ message }) => NOT_SUPPORTED.test(message)),
      )
    t.deepEqual(
      unexplained.map(({ id, report }) => [id, report.errors.map(({ message }) => message)]),
      [],
    )
  })

  test('verdicts by kind', (t) => {
    for (const kind of new Set(cases.map(({ manifest }) => manifest.kind))) {
      const own = cases.filter(({ manifest }) => manifest.kind === kind)
      const same = own.filter(({ manifest, valid }) => verdict(manifest).valid === valid).length
      t.log(
        `${kind}: ${same} of ${own.length} verdicts are Istio's${honoured.has(kind) ? '' : ' (kind not supported)'}`,
      )
      t.true(same > 0)
    }
  })
} else {
  test.skip(`SKIPPED: ${FILE} is not there, so Istio's 905 validation cases were not tried`, () => {})
}

/** Reasons for refusing what Istio takes: each says what is not supported, so nothing is ignored. */
const NOT_SUPPORTED =
  /is not supported|are not supported|nothing else is supported|expected one of DISABLE, ISTIO_MUTUAL|neither tcp nor http is set|expected an IP address$/

function verdict(manifest: Case['manifest']) {
  const [report] = readManifests([{ path: 'case.json', text: JSON.stringify(manifest) }]).documents
  if (!report) throw new Error('no report')
  return report
}
