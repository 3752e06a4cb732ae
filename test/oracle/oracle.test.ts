/**
 * Random sets of policies, and requests at their boundaries: Istio's control plane and a real Envoy
 * decide, our decision code decides, and a running sidecar decides. They agree.
 */
import { writeFileSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import test from 'ava'
import { CaError } from '#ca/index.ts'
import type { CheckResult } from '#policy/index.ts'
import { type AskedOverHttp, openHttpAuthorizer } from '#test/fakes/fake-authorizers.ts'
import { openRunningSidecar, type RunningSidecar } from '#test/fakes/running-sidecar.ts'
import { PORTS } from './areas/area.ts'
import { AUTHORIZER_HOST } from './areas/custom.ts'
import { drawCases } from './areas/index.ts'
import { askOracle, generate } from './ask.ts'
import { type OracleCase, type OracleRequest, readCase, withToken } from './cases.ts'
import { createDecide, type Decide } from './decide.ts'
import { DIFFERENCES } from './differences.ts'
import { createTally, NOBODY, type Tally, verdictOf, verdictOfSeen } from './tally.ts'

const bin = process.env['REDOUBT_ORACLE_BIN']
const source = process.env['REDOUBT_ORACLE_SOURCE']
const number = (name: string, other: number) =>
  Number(process.env[`REDOUBT_ORACLE_${name}`] ?? other)
const SEED = number('SEED', 1)
const SETS = number('SETS', 200)
const REQUESTS = number('REQUESTS', 40)
/** Sets of the areas, beside those of the shared generator. */
const AREAS = number('AREAS', 120)
/** A file for all that differs, for whoever looks into it. */
const faultsFile = process.env['REDOUBT_ORACLE_FAULTS']

const TITLES = {
  shared: 'Istio and Envoy, our decision code and a running sidecar agree',
  areas:
    'they agree in each area: CUSTOM, tokens, paths, headers, hosts, peers, addresses, conditions',
}

if (bin && source) {
  test.serial(TITLES.shared, async (t) => {
    const cases = await generate(source, { seed: SEED, sets: SETS, requests: REQUESTS })
    const tally = await compare(t, bin, cases)
    const total = SETS * REQUESTS
    t.true((tally.counts['decision code'] ?? 0) > total * 0.9, 'most are decided by our code')
    t.true((tally.counts['sidecar'] ?? 0) > total * 0.5, 'half of them go through the sidecar')
  })
  test.serial(TITLES.areas, async (t) => {
    const tally = await compare(t, bin, drawCases(SEED, AREAS, REQUESTS))
    const total = AREAS * REQUESTS
    t.true((tally.counts['decision code'] ?? 0) > total * 0.6, 'most are decided by our code')
    t.true((tally.counts['sidecar'] ?? 0) > total * 0.5, 'half of them go through the sidecar')
  })
} else {
  const why = process.env['REDOUBT_ORACLE_MISSING'] ?? 'use npm run test:oracle'
  for (const title of Object.values(TITLES)) {
    test.skip(`${title} (SKIPPED: ${why})`, (t) => t.fail())
  }
}

async function compare(
  t: import('ava').ExecutionContext,
  program: string,
  cases: readonly OracleCase[],
): Promise<Tally> {
  const { answers, notes } = await askOracle(program, cases)
  t.log(`seed ${SEED}: ${cases.length} sets, ${answers.size} answers`)
  await using authorizer = await openHttpAuthorizer(sayAsTheirs)
  const places = { [`${AUTHORIZER_HOST}:80`]: authorizer.address }
  await using sidecar = await openRunningSidecar(PORTS, places)
  const tally = createTally()
  for (const one of cases) {
    const note = notes.get(one.id)
    if (note?.setError) {
      t.log(`${one.id}: ${note.setError.slice(0, 300)}`)
      tally.count('sets that the oracle could not load')
      continue
    }
    const { intent, refused } = readCase(one)
    const skipped = (note?.skipped ?? []).map(({ kind, name }) => `${kind}/${name}`)
    if (refused.toSorted().join() !== skipped.toSorted().join()) {
      tally.misjudged({ who: 'validation', set: one.id, refused, note })
      continue
    }
    const decide = createDecide(intent)
    await sidecar.apply(intent)
    const text = JSON.stringify(one.manifests)
    await Promise.all(
      one.requests.map(async (request) => {
        const theirs = answers.get(`${one.id}/${request.id}`)
        if (theirs === undefined || theirs.decision === 'error') return tally.count('oracle errors')
        await compareOne({ one, text, request, theirs, decide, sidecar }, tally)
      }),
    )
  }
  t.log(JSON.stringify(tally.counts))
  for (const { name } of DIFFERENCES) t.log(`${name}: ${tally.counts[name] ?? 0}`)
  if (faultsFile) {
    const lines = tally.faults.map((fault) => `${JSON.stringify(fault)}\n`)
    writeFileSync(faultsFile, lines.join(''))
  }
  t.deepEqual(tally.faults.slice(0, 5), [], `${tally.faults.length} differ; seed ${SEED}`)
  const total = cases.length * REQUESTS
  t.true((tally.counts['oracle errors'] ?? 0) < total * 0.01, 'the oracle answers')
  t.true((tally.counts['sets that the oracle could not load'] ?? 0) < cases.length * 0.05)
  return tally
}

/** What the oracle's authorizer does. */
function sayAsTheirs({ headers }: AskedOverHttp, response: ServerResponse): void {
  const allowed = headers['x-ext-authz'] === 'allow'
  response.writeHead(allowed ? 200 : 403, { 'x-ext-authz-result': allowed ? 'allowed' : 'denied' })
  response.end(
    allowed ? '' : 'denied by ext_authz for not found header `x-ext-authz: allow` in the request',
  )
}

interface Compared {
  readonly text: string
  readonly one: OracleCase
  readonly request: OracleRequest
  readonly theirs: Parameters<Tally['note']>[1]['theirs']
  readonly decide: Decide
  readonly sidecar: RunningSidecar
}

async function compareOne(
  { one, text, request, theirs, decide, sidecar }: Compared,
  tally: Tally,
): Promise<void> {
  const { watched = [] } = one
  const decided = await decideOrUndefined(decide, request)
  const pair = { request, theirs, decided, set: one.id, watched, text }
  // Who is asked, and what comes of it, only a sidecar knows.
  if (isDecidable(request) && decided?.reason !== 'needs-provider') {
    tally.note('decision code', pair, decided ? verdictOf(decided) : NOBODY)
  }
  if (!isSendable(request, decided)) return
  const seen = await sidecar.send({ ...request, ...withToken(request) })
  if (seen.kind === 'unsendable') tally.count('not to be sent by our client')
  else tally.note('sidecar', pair, verdictOfSeen(seen, watched))
}

async function decideOrUndefined(
  decide: Decide,
  request: OracleRequest,
): Promise<CheckResult | undefined> {
  try {
    return await decide(request)
  } catch (cause) {
    if (cause instanceof CaError && cause.code === 'CA_ID_INVALID') return undefined
    throw cause
  }
}

/** A certificate that is no good, and ALPN, are the sidecar's business alone. */
function isDecidable({ from, alpn }: OracleRequest): boolean {
  return alpn === undefined && !/^(nocert|badca)/.test(from)
}

/** No CA of ours signs what is no SPIFFE ID. */
function isSendable({ from }: OracleRequest, decided: CheckResult | undefined): boolean {
  return decided !== undefined || /^(nocert|badca)/.test(from)
}
