/** One round: all sets are put to the oracle, to our decision code and to a running sidecar. */
import type { ServerResponse } from 'node:http'
import { CaError } from '#ca/index.ts'
import type { CheckResult } from '#policy/index.ts'
import { type AskedOverHttp, openHttpAuthorizer } from '#test/fakes/fake-authorizers.ts'
import { openRunningSidecar, type RunningSidecar } from '#test/fakes/running-sidecar.ts'
import { PORTS } from './areas/area.ts'
import { AUTHORIZER_HOST } from './areas/custom.ts'
import { type Answers, askOracle } from './ask.ts'
import {
  type OracleAnswer,
  type OracleCase,
  type OracleRequest,
  readCase,
  withToken,
} from './cases.ts'
import { createDecide, type Decide } from './decide.ts'
import { createTally, NOBODY, type Tally, verdictOf, verdictOfSeen } from './tally.ts'

export interface Round {
  readonly tally: Tally
  /** Sets of which the oracle did not answer something, and why. */
  readonly unanswered: ReadonlyMap<string, string>
}

/** @param program - the folder of the oracle's programs */
export async function compareRound(program: string, cases: readonly OracleCase[]): Promise<Round> {
  const asked = await askOracle(program, cases)
  await using authorizer = await openHttpAuthorizer(sayAsTheirs)
  const places = { [`${AUTHORIZER_HOST}:80`]: authorizer.address }
  await using sidecar = await openRunningSidecar(PORTS, places)
  const tally = createTally()
  const unanswered = new Map<string, string>()
  for (const one of cases) await compareSet({ one, asked, sidecar, tally, unanswered })
  return { tally, unanswered }
}

interface Going {
  readonly one: OracleCase
  readonly asked: Answers
  readonly sidecar: RunningSidecar
  readonly tally: Tally
  readonly unanswered: Map<string, string>
}

async function compareSet({ one, asked, sidecar, tally, unanswered }: Going): Promise<void> {
  const note = asked.notes.get(one.id)
  if (note?.setError) return void unanswered.set(one.id, note.setError)
  const { intent, refused } = readCase(one)
  const skipped = (note?.skipped ?? []).map(({ kind, name }) => `${kind}/${name}`)
  const [ours, theirs] = [refused.toSorted().join(), skipped.toSorted().join()]
  tally.misjudge('validation', one.id, ours, ours === theirs ? undefined : { theirs, note })
  if (ours !== theirs) return
  const decide = createDecide(intent)
  await sidecar.apply(intent)
  const text = JSON.stringify(one.manifests)
  await Promise.all(
    one.requests.map(async (request) => {
      const answer = asked.answers.get(`${one.id}/${request.id}`)
      if (answer === undefined || answer.decision === 'error') {
        return void unanswered.set(one.id, answer?.error ?? 'no answer')
      }
      await compareOne({ one, text, request, theirs: answer, decide, sidecar }, tally)
    }),
  )
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
  readonly theirs: OracleAnswer
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
  if (seen.kind === 'unsendable') tally.skip('not to be sent by our client')
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
