/**
 * `npm run test:kubernetes`: builds a Kubernetes API server where it is not built yet (`../shared/lab`),
 * starts it with etcd on free ports, runs every test of this folder against it, and stops it.
 *
 * Tests find it by `REDOUBT_KUBECONFIG` and `REDOUBT_KUBECTL`, or why it is not there in
 * `REDOUBT_KUBERNETES_MISSING`. Arguments go to ava; the totals are ava's.
 */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'

const LAB = resolve(process.env['REDOUBT_SHARED'] ?? '../shared', 'lab')
const run = promisify(execFile)

// On stderr: stdout belongs to ava, which may speak TAP there.
const say = (text: string): void => void process.stderr.write(`${text}\n`)

async function freePort(): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const at = server.address()
  server.close()
  await once(server, 'close')
  return String(typeof at === 'object' ? at?.port : 0)
}

const folder = await mkdtemp(join(tmpdir(), 'redoubt-kubernetes-'))
const lab = {
  ...process.env,
  LAB_RUN: join(folder, 'lab'),
  LAB_NETNS: '',
  LAB_API_PORT: await freePort(),
  LAB_ETCD_PORT: await freePort(),
}

/** Where the API server is, or why there is none. */
async function start(): Promise<Readonly<Record<string, string>>> {
  if (!existsSync(`${LAB}/up.sh`)) return { REDOUBT_KUBERNETES_MISSING: `there is no ${LAB}` }
  try {
    // The first time it compiles, for as long as a gate may wait; the next run goes on from there.
    await run('timeout', ['--kill-after=5', '1200', `${LAB}/build.sh`, 'control'], { env: lab })
    const up = () => run(`${LAB}/up.sh`, ['--api-only'], { env: lab })
    // On a busy machine it may give up too early; it goes on with what is there.
    const { stdout } = await up().catch(up)
    const [, kubeconfig = '', bin = ''] = /KUBECONFIG=(\S+) PATH=([^:]+):/.exec(stdout) ?? []
    return { REDOUBT_KUBECONFIG: kubeconfig, REDOUBT_KUBECTL: join(bin, 'kubectl') }
  } catch (cause) {
    const [line = ''] = (cause as Error).message.trim().split('\n').slice(-1)
    return { REDOUBT_KUBERNETES_MISSING: `it did not start: ${line}` }
  }
}

const found = await start()
const missing = found['REDOUBT_KUBERNETES_MISSING']
if (missing) say(`KUBERNETES NOT TO BE HAD, its tests are skipped: ${missing}`)

const args = process.argv.slice(2)
const ava = spawn('ava', ['--config', 'test/kubernetes/ava.config.js', ...args], {
  stdio: 'inherit',
  env: { ...process.env, ...found },
})
const [code] = (await once(ava, 'exit')) as [number | null]
if (existsSync(lab.LAB_RUN)) {
  await run(`${LAB}/down.sh`, ['--purge'], { env: lab }).catch((cause) => say(String(cause)))
}
await rm(folder, { recursive: true, force: true })
process.exitCode = code ?? 1
