/**
 * Random sets of policies, and requests at their boundaries: Istio's control plane and a real Envoy
 * decide, our decision code decides, and a running sidecar decides. They agree.
 */
import { writeFileSync } from 'node:fs'
import test from 'ava'
import { drawCases } from './areas/index.ts'
import { generate } from './ask.ts'
import type { OracleCase } from './cases.ts'
import { DIFFERENCES } from './differences.ts'
import { report } from './report.ts'
import { compareTwice } from './rounds.ts'

const bin = process.env['REDOUBT_ORACLE_BIN']
const source = process.env['REDOUBT_ORACLE_SOURCE']
const number = (name: string, other: number) =>
  Number(process.env[`REDOUBT_ORACLE_${name}`] ?? other)
const SEED = number('SEED', 1)
const SETS = number('SETS', 200)
const REQUESTS = number('REQUESTS', 40)
/** Sets of the areas, beside those of the shared generator. */
const AREAS = number('AREAS', 120)
/** One set alone, for whoever looks into it. */
const only = process.env['REDOUBT_ORACLE_ONLY'] || undefined
/** A file for all that differs. */
const faultsFile = process.env['REDOUBT_ORACLE_FAULTS']

const TITLES = {
  shared: 'Istio and Envoy, our decision code and a running sidecar agree',
  areas:
    'they agree in each area: CUSTOM, tokens, paths, headers, hosts, peers, addresses, conditions',
}

if (bin && source) {
  if (faultsFile) writeFileSync(faultsFile, '')
  test.serial(TITLES.shared, async (t) => {
    const cases = await generate(source, { seed: SEED, sets: SETS, requests: REQUESTS })
    await compare(t, bin, cases, { code: 0.9, sidecar: 0.95 })
  })
  test.serial(TITLES.areas, async (t) => {
    await compare(t, bin, drawCases(SEED, AREAS, REQUESTS), { code: 0.6, sidecar: 0.95 })
  })
} else {
  const why = process.env['REDOUBT_ORACLE_MISSING'] ?? 'use npm run test:oracle'
  for (const title of Object.values(TITLES)) {
    test.skip(`${title} (SKIPPED: ${why})`, (t) => t.fail())
  }
}

/** Which part of the requests our decision code has to decide, and which the sidecar. */
interface Share {
  readonly code: number
  readonly sidecar: number
}

async function compare(
  t: import('ava').ExecutionContext,
  program: string,
  all: readonly OracleCase[],
  share: Share,
): Promise<void> {
  const cases = only === undefined ? all : all.filter(({ id }) => id === only)
  if (cases.length === 0) return void t.true(only !== undefined || all.length === 0)
  const { counts, faults, unsteady, unanswered } = await compareTwice(program, cases)
  const total = cases.length * REQUESTS
  t.log(`seed ${SEED}: ${cases.length} sets, ${total} requests; ${JSON.stringify(counts)}`)
  for (const { name } of DIFFERENCES) if (counts[name]) t.log(`${name}: ${counts[name]}`)
  for (const line of unsteady) t.log(line)
  for (const [set, why] of unanswered) t.log(`${set}: the oracle cannot say: ${why.slice(0, 300)}`)
  if (faultsFile) {
    const lines = faults.map((fault) => `${JSON.stringify(fault)}\n`)
    writeFileSync(faultsFile, lines.join(''), { flag: 'a' })
  }
  t.is(faults.length, 0, faults.length === 0 ? '' : report(faults, SEED))
  t.true(unsteady.length < total * 0.002 + 1, 'the oracle says the same again')
  t.true(unanswered.size < cases.length * 0.05 + 1, 'the oracle answers')
  if (only !== undefined) return
  t.true((counts['decision code'] ?? 0) > total * share.code, 'most are decided by our code')
  t.true((counts['sidecar'] ?? 0) > total * share.sidecar, 'nearly all go through the sidecar')
}
