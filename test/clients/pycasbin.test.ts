/** Another Casbin, with matchers from their contract alone, reaches the same decisions from the same lines. */
import { spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'

import fc from 'fast-check'

import { compileAuthorization, exportAuthorization } from '#policy/casbin/index.ts'
import type { Connection, Decision, HttpAttributes } from '#policy/model/index.ts'
import { connection, http, policies, trust } from '../policy/random-authorization.ts'
import { testWith } from './harness.ts'

const SETS = 300
const SEED = 20_261_124

/** Who is asked, in order, and what is then decided. */
function answerOf(decision: Decision): readonly string[] {
  return decision.kind === 'ask'
    ? [decision.provider, ...answerOf(decision.proceed())]
    : [decision.kind]
}

/** As the contract has an attempt. */
function attemptOf(peer: Connection, request: HttpAttributes | undefined): object {
  const { method, path, host, remoteIp, claims, header } = request ?? {}
  const headers = { 'x-a': header?.('x-a') ?? [] }
  const asked = request && {
    method,
    path,
    host: host ?? null,
    remoteIp,
    headers,
    claims: claims ?? null,
  }
  return { ...peer, peer: peer.peer ?? null, sni: peer.sni ?? null, http: asked ?? null }
}

testWith(
  'REDOUBT_PYCASBIN',
  `pycasbin decides ${SETS} random sets of policies as we do`,
  async (t, program) => {
    // What becomes of path parameters is not Casbin's to decide (MATCHERS.md).
    const request = http.filter(({ path }) => !path.includes(';'))
    const tries = fc.array(fc.tuple(connection, fc.option(request, { nil: undefined, freq: 5 })), {
      minLength: 4,
      maxLength: 4,
    })
    const sets = fc.sample(fc.tuple(policies, trust, tries), { numRuns: SETS, seed: SEED })
    const expected = sets.map(([list, domains, asked]) => {
      const engine = compileAuthorization({ policies: list, ...domains })
      return asked.map(([peer, one]) => answerOf(engine(peer)(one)))
    })
    const cases = sets.map(([list, domains, asked]) => ({
      export: exportAuthorization({ policies: list, ...domains }),
      attempts: asked.map(([peer, one]) => attemptOf(peer, one)),
    }))

    const script = `${import.meta.dirname}/pycasbin/decide.py`
    const python = spawn(program, [script], { stdio: ['pipe', 'pipe', 'inherit'] })
    python.stdin.end(JSON.stringify({ cases }))
    const answers = JSON.parse(await text(python.stdout)) as readonly (readonly string[][])[]

    for (const [at, answer] of answers.entries()) {
      t.deepEqual(answer, expected[at] as string[][], JSON.stringify(cases[at]).slice(0, 4000))
    }
    t.is(answers.length, SETS)
    const words = new Set(expected.flat(2))
    for (const word of ['allow', 'deny', 'a', 'b']) t.true(words.has(word), `${word} must occur`)
  },
)
