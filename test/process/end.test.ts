/** How a mesh begins and ends at its edges: who may start it, what stops it, what it leaves behind. */
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'

import { startSlowness } from '#test/fakes/slowness.ts'
import {
  ask,
  LAUNCHER,
  processesOf,
  type RedoubtOptions,
  startMesh,
  startRedoubt,
  temporary,
  type TestMesh,
  until,
} from './mesh.ts'

/** An app that listens, and has a child of its own that a kill of the app alone would leave behind. */
const APP = `
const { spawn } = require('node:child_process')
const { createServer } = require('node:http')
spawn('sleep', ['300'], { stdio: 'ignore' })
createServer((request, response) => response.end(JSON.stringify(process.env)))
  .listen(process.env.PORT, '127.0.0.1')
process.on('SIGTERM', () => process.exit(0))
`

function workload(name: string, spec = ''): string {
  return `
apiVersion: redoubt.io/v1alpha1
kind: Workload
metadata: { name: ${name}, namespace: team, labels: { app: ${name} } }
spec:
  serviceAccount: ${name}
  ports: [{ name: http, port: 8080 }, { name: side-door, port: 9090 }]
  run: { command: [node, app.js] }
${spec}
`
}

/** A directory of manifests with one workload, \`web\`. */
async function smallMesh(folder: string, text: string = workload('web')): Promise<string> {
  const manifests = join(folder, 'mesh')
  await mkdir(manifests)
  await writeFile(join(manifests, 'app.js'), APP)
  await writeFile(join(manifests, 'web.yaml'), text)
  return manifests
}

async function startSmall(folder: string, options: RedoubtOptions = {}): Promise<TestMesh> {
  const manifests = await smallMesh(folder)
  return startMesh(['-f', manifests, '--state', join(folder, 'state')], options)
}

/** Waits until nothing is left of a mesh. */
async function untilGone({ mark }: TestMesh, supervisor: number): Promise<void> {
  await until(async () => ((await processesOf(mark, supervisor)).length === 0 ? true : undefined))
}

test.serial(
  'an app finds its ports and its sidecar in its environment, and nothing of npm',
  async (t) => {
    await using folder = await temporary()
    await using mesh = await startSmall(folder.path, { env: { npm_config_x: 'y' } })
    const { app, outbound } = mesh.workload('web')
    const env = JSON.parse((await ask(app['8080'] ?? '')).body) as Record<string, string>
    t.is(app['8080'], `127.0.0.1:${env['PORT']}`)
    t.is(env['PORT_HTTP'], env['PORT'])
    t.is(app['9090'], `127.0.0.1:${env['PORT_SIDE_DOOR']}`)
    t.is(env['http_proxy'], `http://${outbound}`)
    t.is(env['HTTP_PROXY'], env['http_proxy'])
    t.is(env['ALL_PROXY'], `socks5h://${outbound}`)
    t.is(env['no_proxy'], 'localhost,127.0.0.1,::1')
    t.is(outbound, env['REDOUBT_OUTBOUND'])
    t.is(env['npm_config_x'], undefined)
  },
)

test.serial('workloads come, change and go while the mesh runs', async (t) => {
  await using folder = await temporary()
  await using _ = await startSmall(folder.path)
  const file = join(folder.path, 'mesh', 'api.yaml')
  const meshFile = join(folder.path, 'state', 'mesh.json')
  const seen = async (): Promise<readonly { name: string; pid: number; appPid: number }[]> =>
    JSON.parse(await readFile(meshFile, 'utf8')).workloads
  const find = async (name: string) => (await seen()).find((one) => one.name === name)

  await writeFile(file, workload('api'))
  const added = await until(() => find('api'))
  t.true(added.pid > 0 && added.appPid > 0)
  await writeFile(file, workload('api', '  sourceAddress: 127.0.0.9'))
  const changed = await until(async () => {
    const now = await find('api')
    return now && now.pid !== added.pid ? now : undefined
  })
  t.throws(() => process.kill(added.appPid, 0))
  await writeFile(file, '')
  await until(async () => ((await find('api')) ? undefined : true))
  t.throws(() => process.kill(changed.pid, 0))
  t.truthy(await find('web'))
})

test.serial('a node that slept past its own certificate is let in again', async (t) => {
  await using folder = await temporary()
  const mesh = `
apiVersion: redoubt.io/v1alpha1
kind: Mesh
metadata: { name: mesh }
spec: { certificates: { leafTtl: 3s, maxLeafTtl: 3s } }
---${workload('web')}`
  const manifests = await smallMesh(folder.path, mesh)
  await using running = await startMesh(['-f', manifests, '--state', join(folder.path, 'state')])
  const processes = await processesOf(running.mark, running.ready.pid)
  const agent = processes.find(([, command]) => command.includes('run/agent.ts'))?.[0]
  if (agent === undefined) return t.fail('the mesh has no agent')

  process.kill(agent, 'SIGSTOP')
  await sleep(5000)
  const from = running.events().length
  process.kill(agent, 'SIGCONT')
  const rotated = await running.event(({ event }) => event === 'rotated', {
    from,
  })
  t.is(rotated.workload, 'team/web')
  const log = await readFile(join(folder.path, 'state', 'logs', 'ca.log'), 'utf8')
  t.is(log.split('agent-attested').length - 1, 2)
})

test.serial('Ctrl-C at a terminal ends a mesh whose wrapper ends first', async (t) => {
  await using folder = await temporary()
  // sh is the wrapper: SIGINT reaches the whole group, as from a terminal.
  const command = ['setsid', 'sh', '-c', `"$0" "$@"; true`, process.execPath, LAUNCHER] as const
  await using mesh = await startSmall(folder.path, { command: [...command] })
  const { pid } = mesh.ready
  process.kill(-(mesh.child.pid ?? 0), 'SIGINT')
  await mesh.exited
  await untilGone(mesh, pid)
  t.pass('no process is left')
})

test.serial('SIGTERM to npm, which tells nobody, ends the mesh within 3 s', async (t) => {
  await using folder = await temporary()
  const manifests = await smallMesh(folder.path)
  await writeFile(
    join(folder.path, 'package.json'),
    JSON.stringify({ scripts: { mesh: `node ${LAUNCHER}` } }),
  )
  await using mesh = await startMesh(['-f', manifests, '--state', join(folder.path, 'state')], {
    cwd: folder.path,
    command: ['npm', 'run', '--silent', 'mesh', '--'],
    env: { PATH: `${join(process.execPath, '..')}:${process.env['PATH']}` },
  })
  const { pid } = mesh.ready
  t.not(pid, mesh.child.pid)
  const slowness = startSlowness()
  const startedMs = performance.now()
  mesh.child.kill('SIGTERM')
  await untilGone(mesh, pid)
  const tookMs = performance.now() - startedMs
  t.log(`ended after ${Math.round(tookMs)} ms`)
  t.true(tookMs < 3500 * slowness())
})

test.serial(
  'kill -9 of the supervisor leaves nothing, and the next mesh takes its state over',
  async (t) => {
    await using folder = await temporary()
    const state = join(folder.path, 'state')
    await using mesh = await startSmall(folder.path)
    const { pid, ca } = mesh.ready
    const bundle = await readFile(ca.bundle, 'utf8')
    t.true((await processesOf(mesh.mark, pid)).length >= 7)
    process.kill(pid, 'SIGKILL')
    await untilGone(mesh, pid)

    await using next = await startMesh(['-f', join(folder.path, 'mesh'), '--state', state])
    t.is(await readFile(next.ready.ca.bundle, 'utf8'), bundle)
  },
)

/** Runs a command that is to fail at its start, and gives its one line. */
async function refusal(args: readonly string[], options: RedoubtOptions = {}): Promise<string> {
  const run = startRedoubt(args, options)
  const code = await run.exited
  if (code === 0) throw new Error('it started')
  if (run.out.length > 0) throw new Error(`it printed ${run.out.join('\n')}`)
  return run.err()
}

test.serial('a second mesh on the same state is refused in one line', async (t) => {
  await using folder = await temporary()
  await using mesh = await startSmall(folder.path)
  const state = join(folder.path, 'state')
  const line = await refusal(['up', '-f', join(folder.path, 'mesh'), '--state', state])
  t.is(
    line,
    `redoubt: Cannot use the state directory ${state}: another mesh runs on it (pid ${mesh.ready.pid}); stop it, or choose another with --state DIR\n`,
  )
})

test.serial('what cannot work is refused in one line', async (t) => {
  await using folder = await temporary()
  const manifests = await smallMesh(folder.path)
  const state = join(folder.path, 'state')

  const below = join(manifests, 'app.js', 'state')
  t.is(
    await refusal(['up', '-f', manifests, '--state', below]),
    `redoubt: Cannot use the state directory ${below}: part of the path is a file; choose another with --state DIR\n`,
  )
  t.regex(
    await refusal(['up', '-f', join(folder.path, 'nowhere'), '--state', state]),
    /^redoubt: Cannot read manifests from .*nowhere: there is no such file or directory\n$/,
  )
  await using taken = createServer().listen(0, '127.0.0.1')
  await until(() => (taken.listening ? true : undefined))
  const { port } = taken.address() as AddressInfo
  await writeFile(join(manifests, 'web.yaml'), workload('web', `  proxy: { outbound: ${port} }`))
  const line = await refusal(['up', '-f', manifests, '--state', state])
  t.regex(line, new RegExp(`^redoubt: [^\\n]*${port}[^\\n]*\\n$`))

  await writeFile(
    join(manifests, 'web.yaml'),
    workload('web').replace('serviceAccount', 'serviceAcount'),
  )
  t.regex(
    await refusal(['up', '-f', manifests, '--state', state]),
    /^redoubt: Cannot start the mesh: [^\n]*web\.yaml:\d+: Workload web at \/spec\/serviceAcount: [^\n]*serviceAccount[^\n]*\n$/,
  )
  await writeFile(join(manifests, 'web.yaml'), workload('web').replace('node,', 'no-such-program,'))
  t.regex(
    await refusal(['up', '-f', manifests, '--state', state]),
    /^redoubt: Cannot start the app of team\/web: there is no program "no-such-program"[^\n]*\n$/,
  )
})

/** A Node that says something else of itself; what it starts is not told to. */
function pretending(code: string): readonly [string, ...string[]] {
  return [process.execPath, '--import', `data:text/javascript,${code}`, LAUNCHER]
}

const OLD = `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '20.1.0' } })`

test.serial(
  'the launcher of an older Node starts the one that npm installed, and passes its end on',
  async (t) => {
    const told = startRedoubt(['--version'], { command: pretending(OLD) })
    t.is(await told.exited, 0)
    t.regex(told.out[0] ?? '', /^\d+\.\d+\.\d+$/)
    const wrong = startRedoubt(['up'], { command: pretending(OLD) })
    t.is(await wrong.exited, 2)
    t.regex(wrong.err(), /required option '-f, --file <path>'/)
  },
)

test.serial('the launcher of an older Node passes signals on', async (t) => {
  await using folder = await temporary()
  await using mesh = await startSmall(folder.path, { command: pretending(OLD) })
  t.not(mesh.ready.pid, mesh.child.pid)
  mesh.child.kill('SIGTERM')
  t.is(await mesh.exited, 0)
  t.deepEqual(await processesOf(mesh.mark, mesh.ready.pid), [])
})

for (const [what, code, line] of [
  [
    'another system',
    `Object.defineProperty(process, 'platform', { value: 'darwin' })`,
    /^redoubt: cannot run on darwin \w+: Linux on x64 or arm64 is needed\n$/,
  ],
  [
    'another libc',
    `process.report.getReport = () => ({ header: {} })`,
    /^redoubt: cannot run on this Linux: it has no glibc \(musl is not supported\)\n$/,
  ],
] as const) {
  test.serial(`the launcher refuses ${what} in one line`, async (t) => {
    t.regex(await refusal(['--version'], { command: pretending(code) }), line)
  })
}
