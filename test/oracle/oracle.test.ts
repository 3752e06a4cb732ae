/**
 * Random sets of policies, and requests at their boundaries: Istio's control plane and a real Envoy
 * decide, our decision code decides, and a running sidecar decides. They agree.
 */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import test from 'ava'
import { CaError } from '#ca/index.ts'
import type { CheckResult } from '#policy/index.ts'
import {
  type OracleAnswer,
  type OracleCase,
  type OracleRequest,
  type OracleSetNote,
  readCase,
  withToken,
} from './cases.ts'
import { createDecide, type Decide } from './decide.ts'
import { DIFFERENCES } from './differences.ts'
import { openRunningSidecar, type Seen } from '#test/fakes/running-sidecar.ts'

const bin = process.env['REDOUBT_ORACLE_BIN']
const source = process.env['REDOUBT_ORACLE_SOURCE']
const number = (name: string, other: number) =>
  Number(process.env[`REDOUBT_ORACLE_${name}`] ?? other)
const SEED = number('SEED', 1)
const SETS = number('SETS', 200)
const REQUESTS = number('REQUESTS', 40)
const TITLE = 'Istio and Envoy, our decision code and a running sidecar agree'

if (bin && source) test.serial(TITLE, compare)
else {
  const why = process.env['REDOUBT_ORACLE_MISSING'] ?? 'use npm run test:oracle'
  test.skip(`${TITLE} (SKIPPED: ${why})`, (t) => t.fail())
}

async function compare(t: import('ava').ExecutionContext): Promise<void> {
  const cases = await generate()
  const { answers, notes } = await askOracle(cases)
  t.log(`seed ${SEED}: ${cases.length} sets, ${answers.size} answers`)
  await using sidecar = await openRunningSidecar(cases[0]?.ports ?? [])
  const tally = createTally()
  for (const one of cases) {
    const note = notes.get(one.id)
    if (note?.setError) {
      tally.count('sets that the oracle could not load')
      continue
    }
    const { intent, refused } = readCase(one)
    const skipped = (note?.skipped ?? []).map(({ kind, name }) => `${kind}/${name}`)
    t.deepEqual(refused.toSorted(), skipped.toSorted(), `what validation refuses of ${one.id}`)
    const decide = createDecide(intent)
    await sidecar.apply(intent)
    await Promise.all(
      one.requests.map(async (request) => {
        const theirs = answers.get(`${one.id}/${request.id}`)
        if (theirs === undefined || theirs.decision === 'error') return tally.count('oracle errors')
        const decided = await decideOrUndefined(decide, request)
        const pair = { request, theirs, decided, set: one.id }
        if (isDecidable(request)) {
          const ours = decided && verdictOf(decided)
          tally.note('decision code', pair, ours ?? NOBODY)
        }
        const { protocol } = request
        if ((protocol === 'http/1.1' || protocol === 'tcp') && isSendable(request, decided)) {
          const seen = await sidecar.send({ ...request, ...withToken(request), protocol })
          tally.note('sidecar', pair, verdictOfSeen(seen))
        }
      }),
    )
  }
  t.log(JSON.stringify(tally.counts))
  for (const { name } of DIFFERENCES) t.log(`${name}: ${tally.counts[name] ?? 0}`)
  t.deepEqual(tally.faults.slice(0, 5), [], `${tally.faults.length} differ; seed ${SEED}`)
  const total = SETS * REQUESTS
  t.true((tally.counts['decision code'] ?? 0) > total * 0.9, 'most are decided by our code')
  t.true((tally.counts['sidecar'] ?? 0) > total * 0.5, 'half of them go through the sidecar')
  t.true((tally.counts['oracle errors'] ?? 0) < total * 0.01, 'the oracle answers')
  t.true((tally.counts['sets that the oracle could not load'] ?? 0) < SETS * 0.05)
}

/** Most of all kinds of policies; a seventh of PeerAuthentications alone, which are rare otherwise. */
async function generate(): Promise<readonly OracleCase[]> {
  const alone = Math.floor(SETS / 7)
  const parts = [
    ['mix', SETS - alone, SEED],
    ['pa', alone, (SEED + 1) >>> 0],
  ] as const
  const made = await Promise.all(
    parts.map(([kind, sets, seed]) =>
      promisify(execFile)(
        process.execPath,
        [
          `${source}/gen/gen.mjs`,
          ...['--kind', kind, '--seed', `${seed}`],
          ...['--sets', `${sets}`, '--requests', `${REQUESTS}`],
        ],
        { maxBuffer: 2 ** 30 },
      ),
    ),
  )
  return made.flatMap(({ stdout }) =>
    stdout
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as OracleCase),
  )
}

async function askOracle(cases: readonly OracleCase[]) {
  const child = spawn(`${bin}/oracle-eval`, ['eval', '-'], { stdio: ['pipe', 'pipe', 'inherit'] })
  const ended = once(child, 'close')
  child.stdin.end(cases.map((one) => JSON.stringify(one)).join('\n'))
  const answers = new Map<string, OracleAnswer>()
  const notes = new Map<string, OracleSetNote>()
  for await (const line of createInterface({ input: child.stdout })) {
    const read = JSON.parse(line) as OracleAnswer | OracleSetNote
    if ('decision' in read) answers.set(`${read.set}/${read.id}`, read)
    else notes.set(read.set, read)
  }
  await ended
  return { answers, notes }
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

/** No CA of ours signs what is no SPIFFE ID; and HTTP/2 is not spoken by a sidecar yet. */
function isSendable({ from }: OracleRequest, decided: CheckResult | undefined): boolean {
  return decided !== undefined || /^(nocert|badca)/.test(from)
}

/** What both sides can be compared by: let through, or the status of the refusal (`null`: there is none). */
interface Verdict {
  readonly isAllowed: boolean
  readonly status: number | null
  readonly path?: string | null
}

const NOBODY: Verdict = { isAllowed: false, status: null }

function verdictOf({ decision, status, normalizedPath }: CheckResult): Verdict {
  return decision === 'allow'
    ? { isAllowed: true, status: null, path: normalizedPath }
    : { isAllowed: false, status }
}

function verdictOfSeen({ kind, status, forwardedPath }: Seen): Verdict {
  if (kind === 'closed') return NOBODY
  const isAllowed = kind === 'tcp' || forwardedPath !== undefined
  return { isAllowed, status: isAllowed ? null : (status ?? null) }
}

function verdictOfTheirs({ decision, status, chain, forwardedPath }: OracleAnswer): Verdict {
  if (decision !== 'allow') return { isAllowed: false, status: status ?? null }
  const path = chain === 'http' ? forwardedPath?.replace(/\?.*/, '') : undefined
  return { isAllowed: true, status: null, ...(path === undefined ? {} : { path }) }
}

function createTally() {
  const counts: Record<string, number> = {}
  const faults: object[] = []
  const count = (what: string): void => {
    counts[what] = (counts[what] ?? 0) + 1
  }
  return {
    counts,
    faults,
    count,
    note(
      who: string,
      pair: {
        readonly set: string
        readonly request: OracleRequest
        readonly theirs: OracleAnswer
        readonly decided: CheckResult | undefined
      },
      ours: Verdict,
    ): void {
      count(who)
      const theirs = verdictOfTheirs(pair.theirs)
      const agrees = ours.isAllowed === theirs.isAllowed && ours.status === theirs.status
      // The path that policies saw is the one that Envoy sends on.
      const isSamePath = !theirs.path || !ours.path || ours.path === theirs.path
      if (agrees && isSamePath) return
      const difference = DIFFERENCES.find(({ explains }) => explains(pair))
      if (difference) count(difference.name)
      else faults.push({ who, ours, ...pair })
    },
  }
}
