/**
 * `npm run test:oracle [-- --seed N --sets N --areas N --requests N --only SET]`: random policies and requests,
 * decided by Istio's own code and a real Envoy (`../shared/oracle`), by our decision code and by a running
 * sidecar. `--only` asks one set of the seed alone. Other arguments go to ava; the totals are ava's.
 */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { promisify } from 'node:util'

import { randomSeed } from '#test/fakes/random-seed.ts'

const ORACLE = resolve(process.env['REDOUBT_SHARED'] ?? '../shared', 'oracle')

// On stderr: stdout belongs to ava, which may speak TAP there.
const say = (text: string): void => void process.stderr.write(`${text}\n`)

/** Where the oracle's programs are, or why it cannot be asked. */
async function prepare(): Promise<Readonly<Record<string, string>>> {
  if (!existsSync(`${ORACLE}/setup.sh`)) {
    return { REDOUBT_ORACLE_MISSING: `there is no ${ORACLE}` }
  }
  try {
    // The first time it compiles Istio, for as long as a gate may wait; the next run goes on from there.
    const bounded = ['--kill-after=5', '1080', `${ORACLE}/setup.sh`]
    const { stdout } = await promisify(execFile)('timeout', bounded)
    return { REDOUBT_ORACLE_BIN: `${stdout.trim()}/bin`, REDOUBT_ORACLE_SOURCE: ORACLE }
  } catch (cause) {
    return { REDOUBT_ORACLE_MISSING: `it could not be built: ${(cause as Error).message}` }
  }
}

/** Takes `--seed` and the like with their values out of `args`. */
function takeOptions(args: string[], defaults: Readonly<Record<string, number | ''>>) {
  return Object.fromEntries(
    Object.entries(defaults).map(([name, value]) => {
      const at = args.indexOf(`--${name}`)
      const given = at < 0 ? value : (args.splice(at, 2)[1] ?? '')
      if (value !== '' && !/^\d{1,10}$/.test(`${given}`)) {
        say(`Cannot take --${name} ${given}: it is no whole number`)
        process.exit(2)
      }
      return [`REDOUBT_ORACLE_${name.toUpperCase()}`, String(given)]
    }),
  )
}

const args = process.argv.slice(2).filter((one) => one !== '--')
const options = takeOptions(args, {
  ...{ seed: randomSeed(), sets: 200, requests: 40 },
  ...{ areas: 120, only: '' as const },
})
const found = await prepare()
const missing = found['REDOUBT_ORACLE_MISSING']
if (missing) say(`ORACLE NOT TO BE HAD, its tests are skipped: ${missing}`)
else {
  const seed = options['REDOUBT_ORACLE_SEED']
  say(`oracle: seed ${seed}; again: npm run test:oracle -- --seed ${seed}`)
}

const ava = spawn('ava', ['--config', 'test/oracle/ava.config.js', ...args], {
  stdio: 'inherit',
  env: { ...process.env, ...options, ...found },
})
const [code] = (await once(ava, 'exit')) as [number | null]
process.exitCode = code ?? 1
