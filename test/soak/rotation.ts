/**
 * `npm run test:rotation`: 60 s of real time in which certificates rotate every 5 s and the root is
 * rotated by command, under load without a lost request.
 */
import { rotateUnderLoad } from '#test/process/rotation-run.ts'

const SECONDS = 60

const run = await rotateUnderLoad({ leafTtl: '10s', callers: 8, seconds: SECONDS })
const faults = [
  ...run.commands.flatMap(([step, code, out]) =>
    code === 0 ? [] : [`ca rotate ${step} ended with ${code}: ${out}`],
  ),
  ...run.lost.slice(0, 10).map((what) => `lost a request: ${what}`),
  ...(run.answered < 1000 ? [`only ${run.answered} requests were answered`] : []),
  ...Object.entries(run.rotations).flatMap(([workload, count]) =>
    count < SECONDS / 10 ? [`${workload} rotated ${count} times only`] : [],
  ),
]
for (const [workload, count] of Object.entries(run.rotations)) {
  console.log(`${workload}: ${count} certificates`)
}
console.log(`${run.answered} requests answered, ${run.lost.length} lost, root rotated`)
for (const fault of faults) console.error(fault)
console.log(`${faults.length === 0 ? 1 : 0} passed, ${faults.length} failed`)
process.exitCode = faults.length === 0 ? 0 : 1
