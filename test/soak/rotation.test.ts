import test from 'ava'

import { rotateUnderLoad } from '../process/rotation-run.ts'

const SECONDS = 60

test.serial(
  'users §1.1.1: 60 s of real time in which leaves rotate every 5 s and the root is rotated lose no request',
  async (t) => {
    t.timeout(240_000)
    const run = await rotateUnderLoad({ leafTtl: '10s', callers: 8, seconds: SECONDS })
    for (const [step, code, out] of run.commands) t.is(code, 0, `ca rotate ${step}: ${out}`)
    t.deepEqual(run.lost.slice(0, 10), [])
    t.true(run.answered > 1000, `${run.answered} requests`)
    for (const [workload, count] of Object.entries(run.rotations)) {
      t.true(count >= SECONDS / 10, `${workload} rotated ${count} times`)
    }
    const certificates = Object.entries(run.rotations).map(([name, count]) => `${name} ${count}`)
    t.log(`${run.answered} requests, none lost; certificates: ${certificates.join(', ')}`)
  },
)
