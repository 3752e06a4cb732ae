/**
 * `npm run test:clients`: gets the programs of others that it can, says which it cannot and why, and
 * runs every test of this folder with them. What follows `--` goes to ava; the totals are ava's.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'

import { PROGRAMS } from './programs.ts'

// On stderr: stdout belongs to ava, which may speak TAP there.
const say = (text: string): void => void process.stderr.write(`${text}\n`)

const found: Record<string, string> = {}
for (const { variable, title, get } of PROGRAMS) {
  if (process.env[variable]) continue
  const startMs = performance.now()
  try {
    found[variable] = await get()
    say(`${title}: ready after ${((performance.now() - startMs) / 1000).toFixed(1)} s`)
  } catch (cause) {
    found[`${variable}_MISSING`] = (cause as Error).message
    say(`${title}: NOT TO BE HAD, its tests are skipped: ${(cause as Error).message}`)
  }
}

const ava = spawn('ava', ['--config', 'test/clients/ava.config.js', ...process.argv.slice(2)], {
  stdio: 'inherit',
  env: { ...process.env, ...found },
})
const [code] = (await once(ava, 'exit')) as [number | null]
process.exitCode = code ?? 1
