/**
 * Random pairs of manifests and requests: Casbin, the plain evaluator and a running sidecar agree. The
 * manifests are read as files are, the bundle goes over as bytes, the requests go through sockets.
 */
import { isDeepStrictEqual } from 'node:util'
import test from 'ava'
import fc from 'fast-check'
import { compileTokenRules } from '#ca/jwt/request/index.ts'
import { parseSpiffeId } from '#ca/spiffe/index.ts'
import { evaluateAuthorization } from '#policy/evaluate/index.ts'
import { type CheckQuery, type CheckResult, type Intent, readManifests } from '#policy/index.ts'
import {
  DESTINATION_IP,
  openRunningSidecar,
  type Seen,
  type SidecarRequest,
} from '#test/fakes/running-sidecar.ts'
import { randomSeed } from '#test/fakes/random-seed.ts'
import type { Attempted } from '../../policy/check/check.ts'
import { settle } from '../../policy/check/settle.ts'
import { createTokenPreparer } from '../../policy/check/tokens.ts'
import { unfold } from '../policy/random-authorization.ts'
import { manifests, PORTS, request } from './manifests.ts'

const SEED = randomSeed()
const SETS = Number(process.env['REDOUBT_PAIRS_SETS'] ?? 1000)
const REQUESTS = 20
/** Every so many sets go through the sidecar as well. */
const SAMPLE = 10

const tokens = {
  compile: (rules: Parameters<typeof compileTokenRules>[0]) =>
    compileTokenRules(rules, { now: () => Temporal.Now.instant() }),
  keySetOf: () => undefined,
}

test('Casbin, the plain evaluator and a running sidecar agree', async (t) => {
  await using sidecar = await openRunningSidecar(Object.values(PORTS))
  const made = fc.tuple(
    manifests,
    fc.array(request, { minLength: REQUESTS, maxLength: REQUESTS, size: 'max' }),
  )
  const counts: Record<string, number> = {}
  const count = (what: string): void => {
    counts[what] = (counts[what] ?? 0) + 1
  }
  let index = 0
  for (const [text, requests] of fc.sample(made, { seed: SEED, numRuns: SETS })) {
    const { intent, documents } = readManifests([{ path: 'set.yaml', text }])
    for (const { valid } of documents) count(valid ? 'manifests' : 'manifests refused')
    const prepare = createTokenPreparer(intent, tokens)
    const isSampled = index % SAMPLE === 0
    index += 1
    if (isSampled) await sidecar.apply(intent)
    for (const one of requests) {
      const query = queryOf(one)
      const prepared = await prepare(query)
      count('pairs')
      const where = () => `seed ${SEED}: ${JSON.stringify(one)}\n${text}`
      if (prepared.kind === 'attempt' && !bothAgree(prepared, intent)) {
        return t.fail(`Casbin and the plain evaluator differ, ${where()}`)
      }
      const result = prepared.kind === 'settled' ? prepared.result : settle(prepared.attempt, query)
      count(`${result.decision} ${result.reason}`)
      // No provider can be asked here: what it would say is not ours to tell.
      if (!isSampled || result.reason === 'needs-provider') continue
      count('through the sidecar')
      const seen = await sidecar.send(one)
      const ours = verdictOf(result)
      if (!isDeepStrictEqual(ours, verdictOfSeen(seen))) {
        return t.fail(`${JSON.stringify({ seen, result })}, ${where()}`)
      }
    }
  }
  t.log(`seed ${SEED}: ${JSON.stringify(counts)}`)
  t.is(counts['pairs'], SETS * REQUESTS)
  t.true((counts['through the sidecar'] ?? 0) > (SETS * REQUESTS) / SAMPLE / 2)
  t.true(
    (counts['manifests'] ?? 0) > (counts['manifests refused'] ?? 0),
    'most manifests are valid',
  )
  for (const what of [
    'allow allowed-by-policy',
    'deny denied-by-policy',
    'deny no-allow-matched',
    'deny token-refused',
    'deny mtls-required',
    'deny ambiguous-path',
  ]) {
    t.true((counts[what] ?? 0) > SETS / 50, `${what} must occur`)
  }
})

/** On the request as it came, and as its token left it. */
function bothAgree({ attempt, bundle }: Attempted, { mesh }: Intent): boolean {
  const { trustDomain, trustDomainAliases } = mesh
  const plain = evaluateAuthorization({
    ...bundle,
    policies: bundle.authorization,
    trustDomain,
    trustDomainAliases,
  })(attempt.connection)
  const casbin = attempt.engine(attempt.connection)
  const states = [attempt.http, ...(attempt.token ? [attempt.token.before] : [])]
  return states.every((http) => isDeepStrictEqual(unfold(casbin(http)), unfold(plain(http))))
}

function queryOf(given: SidecarRequest): CheckQuery {
  const { from, port, protocol, method, path, host, headers = [], srcIp, sni } = given
  const lines = Map.groupBy(headers, ([name]) => name.toLowerCase())
  return {
    to: { namespace: 'app', name: 'web-1', port },
    from: from === 'none' ? undefined : parseSpiffeId(from),
    protocol: protocol === 'tcp' ? 'tcp' : 'http1',
    ...(method === undefined ? {} : { method }),
    ...(path === undefined ? {} : { path }),
    ...(host === undefined ? {} : { host }),
    headers: Object.fromEntries(
      [...lines].map(([name, some]) => [name, some.map(([, value]) => value)]),
    ),
    ...(srcIp === undefined ? {} : { sourceIp: srcIp }),
    destinationIp: DESTINATION_IP,
    ...(from === 'none' || sni === undefined ? {} : { sni }),
  }
}

interface Verdict {
  readonly isAllowed: boolean
  readonly status: number | null
}

function verdictOf({ decision, status }: CheckResult): Verdict {
  const isAllowed = decision === 'allow'
  return { isAllowed, status: isAllowed ? null : status }
}

function verdictOfSeen({ kind, status, forwardedPath }: Seen): Verdict {
  const isAllowed = kind === 'tcp' || forwardedPath !== undefined
  return { isAllowed, status: isAllowed || kind === 'closed' ? null : (status ?? null) }
}
