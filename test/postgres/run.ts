/**
 * `npm run test:postgres`: starts a PostgreSQL server of its own and runs every test of this folder
 * with it. Where there is none, it says so, and the tests are skipped. What follows `--` goes to ava.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'

import { findPostgres, startCluster } from './cluster.ts'

// On stderr: stdout belongs to ava, which may speak TAP there.
const say = (text: string): void => void process.stderr.write(`${text}\n`)

const bin = findPostgres()
if (!bin)
  say(
    'PostgreSQL: NOT TO BE HAD (no initdb; Debian: apt-get install postgresql), its tests are skipped',
  )
await using cluster = bin === undefined ? undefined : await startCluster(bin)
if (cluster) say(`PostgreSQL: ready, from ${bin}`)
const ava = spawn('ava', ['--config', 'test/postgres/ava.config.js', ...process.argv.slice(2)], {
  stdio: 'inherit',
  env: {
    ...process.env,
    ...(cluster && {
      REDOUBT_TEST_POSTGRES: cluster.url,
      REDOUBT_TEST_POSTGRES_PASSWORD: cluster.passwordFile,
      REDOUBT_TEST_POSTGRES_CA: cluster.caFile,
    }),
  },
})
const [code] = (await once(ava, 'exit')) as [number | null]
process.exitCode = code ?? 1
