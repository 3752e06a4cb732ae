/** Manifests of the tests' own tables: Istio's webhook and CRDs reach the verdicts that the tables state. */
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import test from 'ava'
import { type Manifest, VERDICTS } from '#test/policy/dialects/rows.ts'

const TITLE = 'the verdicts in rows.ts are those of Istio’s own validation'
const bin = process.env['REDOUBT_ORACLE_BIN']

interface Answer {
  readonly valid: boolean
  readonly webhook: boolean
  readonly crd?: string | null
  readonly unknownFields?: readonly string[] | null
  readonly warnings?: readonly string[] | null
}

/** The oracle's CEL reads numbers as floats, which rules about whole ones then refuse: no verdict of the CRD's. */
const OWN_FAULT = 'invalid data, expected int, got float64'

/** Whether that is all that the CRD has to say: faults stand in a row, each behind its field. */
function isOwnFault(crd: string): boolean {
  return crd.split(/, (?=[a-z][\w.[\]]*: )/).every((fault) => fault.includes(OWN_FAULT))
}

if (!bin) {
  const why = process.env['REDOUBT_ORACLE_MISSING'] ?? 'use npm run test:oracle'
  test.skip(`${TITLE} (SKIPPED: ${why})`, (t) => t.fail())
} else
  test(TITLE, async (t) => {
    const stated = Object.entries(VERDICTS).flatMap(([title, row]) =>
      Object.entries(row).flatMap(([verdict, manifests]) =>
        (manifests as readonly Manifest[]).map((manifest) => ({ title, verdict, manifest })),
      ),
    )
    const answers = await validate(
      bin,
      stated.map(({ manifest }) => manifest),
    )
    t.is(answers.length, stated.length)
    for (const [at, { title, verdict, manifest }] of stated.entries()) {
      const answer = answers[at]
      if (answer === undefined) continue
      const isUnsure = answer.webhook && isOwnFault(answer.crd ?? '')
      const isValid = isUnsure || (answer.valid && !answer.unknownFields?.length)
      const theirs = !isValid ? 'refused' : answer.warnings?.length ? 'warned' : 'accepted'
      t.is(verdict, theirs, `${title}: ${JSON.stringify(manifest).slice(0, 300)}`)
    }
    t.true(stated.length > 350, `${stated.length} manifests`)
  })

async function validate(program: string, manifests: readonly Manifest[]): Promise<Answer[]> {
  const folder = await mkdtemp(join(tmpdir(), 'redoubt-oracle-'))
  try {
    const file = join(folder, 'rows.yaml')
    await writeFile(file, manifests.map((one) => JSON.stringify(one)).join('\n---\n'))
    const { stdout } = await promisify(execFile)(`${program}/oracle`, ['validate', file], {
      maxBuffer: 2 ** 26,
    })
    return stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Answer)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
