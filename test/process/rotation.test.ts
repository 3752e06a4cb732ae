import test from 'ava'

import { rotateUnderLoad } from './rotation-run.ts'

test('users §1.2.20: redoubt ca rotate start, promote, finish change the root of a running mesh and lose no request', async (t) => {
  const run = await rotateUnderLoad({ leafTtl: '6s', callers: 3, seconds: 1 })
  t.deepEqual(
    run.commands.map(([step, code]) => [step, code]),
    [
      ['start', 0],
      ['promote', 0],
      ['finish', 0],
    ],
    JSON.stringify(run.commands),
  )
  t.deepEqual(run.lost, [])
  t.true(run.answered > 50, `${run.answered} requests`)
  t.log(`${run.answered} requests, none lost`)
  const [before, after] = run.bundles
  t.not(before, after)
  t.is(after.match(/BEGIN CERTIFICATE/g)?.length, 1)
  const states = run.commands.map(([, , out]) =>
    JSON.parse(out).status.authorities.map(
      ({ kind, state }: Record<string, string>) => `${kind} ${state}`,
    ),
  )
  t.deepEqual(states, [
    ['root active', 'issuing active', 'root prepared', 'issuing prepared'],
    ['root old', 'issuing old', 'root active', 'issuing active'],
    ['root revoked', 'issuing revoked', 'root active', 'issuing active'],
  ])
})
