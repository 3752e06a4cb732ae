/** The sample as `redoubt up` runs it: one mesh for all tests of this file, which run one after the other. */
import { cp, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join, relative } from 'node:path'
import anyTest, { type TestFn } from 'ava'

import type { Command } from '#deploy/cli/command.ts'
import { caIssue } from '#deploy/cli/commands/ca-issue.ts'
import { caList } from '#deploy/cli/commands/ca-list.ts'
import { caLogProve } from '#deploy/cli/commands/ca-log-prove.ts'
import { caRevoke } from '#deploy/cli/commands/ca-revoke.ts'
import { caStatus } from '#deploy/cli/commands/ca-status.ts'
import { authzCheck } from '#deploy/cli/commands/authz-check.ts'
import { agent } from '#deploy/cli/commands/agent.ts'
import { caToken } from '#deploy/cli/commands/ca-token.ts'
import { certVerify } from '#deploy/cli/commands/cert-verify.ts'
import { certInspect } from '#deploy/cli/commands/cert-inspect.ts'
import { status } from '#deploy/cli/commands/status.ts'
import type { MeshStatus } from '#deploy/standalone/status.ts'
import { runCommand } from '#test/fakes/fake-io.ts'
import { startSlowness } from '#test/fakes/slowness.ts'
import { listeningOf } from './listening.ts'
import { ask, processesOf, startMesh, temporary, type TestMesh, until } from './mesh.ts'

interface Context {
  readonly mesh: TestMesh
  /** 15 s, as far as the machine was calm. */
  readonly readyLimitMs: number
  readonly sample: string
  readonly state: string
  readonly cleanup: AsyncDisposableStack
}

const test = anyTest as TestFn<Context>

const SAMPLE = join(import.meta.dirname, '../../deploy/samples/qotm')

test.before(async (t) => {
  const cleanup = new AsyncDisposableStack()
  const folder = cleanup.use(await temporary()).path
  const sample = join(folder, 'qotm')
  const state = join(folder, 'state')
  await cp(SAMPLE, sample, { recursive: true })
  const text = await readFile(join(sample, 'mesh.yaml'), 'utf8')
  // Half of a life is time enough for an agent to come back on a machine that is busy, and to be waited for here.
  await writeFile(join(sample, 'mesh.yaml'), text.replace('leafTtl: 16s', 'leafTtl: 20s'))
  const slowness = startSlowness()
  const mesh = cleanup.use(await startMesh(['-f', sample, '--state', state]))
  t.context = { mesh, readyLimitMs: 15_000 * slowness(), sample, state, cleanup }
})

test.after.always((t) => t.context.cleanup?.disposeAsync())

test.serial('up is ready in under 15 s, and every address of the ready line answers', async (t) => {
  const { mesh, readyLimitMs } = t.context
  t.log(`ready after ${Math.round(mesh.readyMs)} ms`)
  t.true(mesh.readyMs < readyLimitMs)
  const { ca, policy, agent, workloads, notReady } = mesh.ready
  t.deepEqual(notReady, [])
  t.deepEqual(workloads.map(({ name }) => name).sort(), [
    'edge',
    'intruder',
    'qotm-v1',
    'qotm-v2',
    'quotes-db',
  ])
  const tcp = [
    ca.address,
    policy.address,
    ...workloads.flatMap(({ inbound = {}, app }) => [
      ...Object.values(inbound),
      ...Object.values(app),
    ]),
  ]
  for (const address of tcp) t.true(await accepts(address), address)
  t.true(await accepts(agent.socket), agent.socket)
  for (const address of [ca.metrics, policy.metrics, agent.metrics]) {
    t.regex((await ask(address, { path: '/metrics' })).body, /^# TYPE redoubt_/m, address)
  }
  for (const { metrics = '', readiness = '', admin = '' } of workloads) {
    t.is((await ask(metrics, { path: '/stats/prometheus' })).status, 200)
    t.is((await ask(readiness, { path: '/healthz/ready' })).status, 200)
    t.is((await ask(admin, { path: '/config_dump' })).status, 200)
  }
  t.regex(await readFile(ca.bundle, 'utf8'), /BEGIN CERTIFICATE/)
  const { keys } = JSON.parse(await readFile(ca.document, 'utf8')) as { keys: { use: string }[] }
  t.deepEqual(new Set(keys.map(({ use }) => use)), new Set(['x509-svid', 'jwt-svid']))
})

test.serial('each process listens where SECURITY.md says, and nowhere else', async (t) => {
  const { mesh, state } = t.context
  const { ca, policy, agent: own, workloads } = mesh.ready
  const { processes, workloads: running } = await statusOf(state)
  const listensAt = (name: string) =>
    listeningOf(processes.find((process) => process.name === name)?.pid ?? 0)
  t.deepEqual(listensAt('ca'), [ca.address, ca.metrics].sort())
  t.deepEqual(listensAt('policy'), [policy.address, policy.metrics].sort())
  t.deepEqual(listensAt('agent'), [own.socket, own.metrics].sort())
  for (const { name, inbound = {}, outbound = '', ...at } of workloads) {
    const { sidecar } = running.find((one) => one.name === name) ?? {}
    if (!sidecar) continue
    const { admin = '', metrics = '', readiness = '' } = at
    const told = [...Object.values(inbound), outbound, admin, metrics, readiness]
    const real = listeningOf(sidecar.pid ?? 0)
    t.deepEqual([...new Set(told)].sort(), [...new Set(real)], name)
    t.true(
      real.every((address) => address.startsWith('127.')),
      name,
    )
  }
})

/** PKCS#8 of P-256 as it begins: in PEM, in base64 without it, in DER. */
const PRIVATE_KEY = [
  Buffer.from('PRIVATE KEY'),
  Buffer.from('AgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg'),
  Buffer.from('301306072a8648ce3d020106082a8648ce3d030107046d306b0201010420', 'hex'),
]

test.serial('keys of agent, policy server, sidecars and workloads are on no disk', async (t) => {
  const { state } = t.context
  const files = await readdir(state, { recursive: true, withFileTypes: true })
  const withKey: string[] = []
  for (const file of files.filter((one) => one.isFile())) {
    const path = join(file.parentPath, file.name)
    const bytes = await readFile(path).catch(() => Buffer.alloc(0)) // renamed meanwhile
    if (PRIVATE_KEY.some((begin) => bytes.includes(begin))) withKey.push(relative(state, path))
  }
  t.true(withKey.length > 0, 'the CA has its keys')
  t.deepEqual(
    withKey.filter((path) => !path.startsWith('ca/')),
    [],
  )
})

test.serial('a request from edge goes through two sidecars to qotm', async (t) => {
  const { status: code, body } = await ask(t.context.mesh.workload('edge').outbound ?? '', {
    path: '/quote',
    headers: { host: 'qotm' },
  })
  t.is(code, 200)
  t.regex(body, /"version":"v[12]"/)
})

test.serial('a request without mTLS to an inbound port gets no answer', async (t) => {
  for (const { inbound = {} } of t.context.mesh.ready.workloads) {
    await t.throwsAsync(ask(inbound['8080'] ?? '', { path: '/healthz' }))
  }
})

test.serial('an edit of a policy is enforced in under 1 s, in both directions', async (t) => {
  const { mesh, sample } = t.context
  const file = join(sample, 'policy.yaml')
  const strict = await readFile(file, 'utf8')
  const open = strict.replace('sa/qotm]', 'sa/qotm, cluster.local/ns/qotm/sa/intruder]')
  t.not(open, strict)
  const intruder = mesh.workload('intruder').outbound ?? ''
  const asked = { path: '/quotes/random', headers: { host: 'quotes-db' } }
  const tookMs: number[] = []
  const slowness = startSlowness()
  for (const [text, expected] of [
    [open, 200],
    [strict, 403],
    [open, 200],
    [strict, 403],
  ] as const) {
    const startedMs = performance.now()
    await writeFile(file, text)
    await until(async () => (await ask(intruder, asked)).status === expected || undefined)
    tookMs.push(Math.round(performance.now() - startedMs))
  }
  t.log(`enforced after ${tookMs.join(', ')} ms`)
  t.true(Math.max(...tookMs) < 1000 * slowness())
})

test.serial('a manifest with a fault is told, and its last good text stays in force', async (t) => {
  const { mesh, sample, state } = t.context
  const file = join(sample, 'policy.yaml')
  const good = await readFile(file, 'utf8')
  const from = mesh.events().length
  // The fault is in one document; the file as a whole, with its other changes, is not taken.
  await writeFile(
    file,
    good.replace('sa/intruder', 'sa/nobody').replace('action: DENY', 'action: DENI'),
  )
  const rejected = await mesh.event(({ event }) => event === 'rejected', { from })
  t.regex(rejected.detail, /policy\.yaml:\d+: .*\/spec\/action: .*DENI/)

  const shown = await runCommand(status, { ...inMesh(), options: { state, output: 'json' } })
  t.is(shown.exitCode, 1)
  const { manifests } = JSON.parse(shown.out) as MeshStatus
  t.is(manifests[0]?.errors[0]?.pointer, '/spec/action')
  const refused = await ask(mesh.workload('intruder').outbound ?? '', {
    path: '/quote',
    headers: { host: 'qotm' },
  })
  t.is(refused.status, 403)

  await writeFile(file, good)
  await until(async () => {
    const again = await runCommand(status, { ...inMesh(), options: { state, output: 'json' } })
    return again.exitCode === 0 || undefined
  })
})

test.serial('the owner of a mesh administers its CA: ca status, ca issue, ca list', async (t) => {
  const { state } = t.context
  const run = async (command: Command, options: Readonly<Record<string, unknown>>) => {
    const world = { ...inMesh(), options: { state, output: 'json', ...options } }
    const { exitCode, out } = await runCommand(command, world)
    t.is(exitCode, 0)
    return JSON.parse(out)
  }
  const { authorities } = await run(caStatus, {})
  t.like(authorities[0], { kind: 'root', state: 'active' })
  t.true(authorities[1].liveLeaves >= 5)
  const id = 'spiffe://cluster.local/ns/ops/sa/debug'
  const dir = join(state, 'debug')
  const { serial } = await run(caIssue, { id, ttl: '10m', out: dir })
  const listed = await run(caList, { id })
  t.like(listed.certificates[0], { serial, subject: id, life: 'asked' })
  t.regex(listed.certificates[0].requestedBy, /\/sa\/redoubt-admin$/)
  const inspected = await runCommand(certInspect, {
    ...inMesh(),
    arguments: [join(dir, 'cert.pem')],
    options: { bundle: join(dir, 'bundle.pem'), output: 'json' },
  })
  t.is(JSON.parse(inspected.out).chain.verified, true)
  t.is((await stat(join(dir, 'key.pem'))).mode & 0o777, 0o600)
  await t.throwsAsync(run(caIssue, { id: 'spiffe://else/ns/a/sa/b', out: dir }), {
    message: /vouches for "cluster.local" only \(CA_NOT_ADMITTED\)$/,
  })
})

test.serial('no file of the state is for others to read but the trust bundle', async (t) => {
  const { state } = t.context
  const entries = await readdir(state, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile())
  const paths = files.map(({ parentPath, name }) => join(parentPath, name))
  const modes = await Promise.all(paths.map(async (path) => (await stat(path)).mode & 0o777))
  const open = paths.filter((_, at) => modes[at] !== 0o600)
  t.deepEqual(open.map((path) => relative(state, path)).toSorted(), ['bundle.json', 'bundle.pem'])
  for (const name of ['ca/ledger.db', 'logs/qotm.edge.access.log', 'logs/supervisor.log']) {
    t.true(paths.includes(join(state, name)), name)
  }
})

test.serial('ca log prove says in one line that a certificate is not in the ledger', async (t) => {
  const world = { ...inMesh(), arguments: ['abcd'], options: { state: t.context.state } }
  const { exitCode, out, err } = await runCommand(caLogProve, world)
  t.deepEqual([exitCode, out], [1, ''])
  t.regex(err, /has no certificate with the serial abcd: it was not issued here, or its row was/)
})

test.serial('ca token lets an agent in that is not of this mesh’s own, once', async (t) => {
  const { state, mesh } = t.context
  const id = 'spiffe://cluster.local/machine/db-1'
  const out = join(state, 'remote-token')
  const scope = ['spiffe://cluster.local/ns/db/*']
  const options = { state, id, scope, ttl: '10m', out, output: 'json' }
  const told = await runCommand(caToken, { ...inMesh(), options })
  t.like(JSON.parse(told.out), { agentId: id, file: out })
  t.is((await stat(out)).mode & 0o777, 0o600)
  t.false(told.out.includes((await readFile(out, 'utf8')).trim()), 'the token is in the file alone')
  const joining = {
    ca: mesh.ready.ca.address,
    trustBundle: mesh.ready.ca.bundle,
    ...{ id, joinTokenFile: out, socket: join(state, 'remote.sock'), for: '100ms' },
    ...{ user: ['0=spiffe://cluster.local/ns/db/sa/pg'], metrics: '127.0.0.1:0', output: 'json' },
  }
  const run = () => runCommand(agent, { ...inMesh(), options: joining })
  t.like(JSON.parse((await run()).out), { ready: true, agentId: id })
  await t.throwsAsync(run(), { message: /CA_TOKEN_REFUSED: .* unknown, used or expired/ })
})

test.serial(
  'ca revoke is in force at the sidecars within 2 s, on connections that are open too, and --undo gives it back',
  async (t) => {
    const { mesh, state } = t.context
    const edge = mesh.workload('edge')
    const asked = async (): Promise<number> => {
      const request = { path: '/quote', headers: { host: 'qotm' } }
      return (await ask(edge.outbound ?? '', request)).status
    }
    const revoke = async (options: Readonly<Record<string, unknown>>) => {
      const world = { ...inMesh(), arguments: [edge.spiffeId] }
      const done = await runCommand(caRevoke, {
        ...world,
        options: { state, ...options },
      })
      t.is(done.exitCode, 0, done.err)
      return done.out
    }
    const shown = async (command: Command, options: object = {}) =>
      JSON.parse(
        (await runCommand(command, { ...inMesh(), options: { state, output: 'json', ...options } }))
          .out,
      )
    const workload = { workload: 'qotm/edge' }
    const told = async () => ({
      denials: (await shown(caStatus)).denials.map(({ value }: { value: string }) => value),
      revoked: ((await shown(status)) as MeshStatus).workloads.flatMap(({ name, revoked }) =>
        revoked ? [name] : [],
      ),
      inspected: (await shown(certInspect, workload)).chain.error,
      verified: (await shown(certVerify, workload)).reason,
    })
    t.is(await asked(), 200)
    t.regex(await revoke({}), /^✔ spiffe:\S+\/edge is revoked/)
    const slowness = startSlowness()
    const startMs = performance.now()
    await until(async () => ((await asked()) === 503 ? true : undefined))
    const tookMs = performance.now() - startMs
    t.log(`in force ${Math.round(tookMs)} ms after the command had answered`)
    t.true(tookMs < 2000 * slowness())
    t.is(await asked(), 503, 'and it stays so')
    const other = { path: '/quotes/1', headers: { host: 'quotes-db' } }
    t.is((await ask(mesh.workload('qotm-v1').outbound ?? '', other)).status, 200, 'others go on')
    t.deepEqual(await told(), {
      denials: [edge.spiffeId],
      revoked: ['edge'],
      inspected: `denied: the spiffe-id ${edge.spiffeId} is on the deny-list`,
      verified: 'denied',
    })
    t.regex(await revoke({ undo: true }), /^✔ spiffe:\S+\/edge is trusted again/)
    await until(async () => ((await asked()) === 200 ? true : undefined))
    const nothing = { denials: [], revoked: [], inspected: null, verified: undefined }
    t.deepEqual(await told(), nothing)
  },
)

test.serial('cert inspect shows what a running sidecar serves, verified', async (t) => {
  const { exitCode, out } = await runCommand(certInspect, {
    ...inMesh(),
    options: { workload: 'qotm/qotm-v1', state: t.context.state, output: 'json' },
  })
  const { certificates, chain } = JSON.parse(out)
  t.is(certificates[0].spiffeId, 'spiffe://cluster.local/ns/qotm/sa/qotm')
  t.is(chain.verified, true)
  t.is(exitCode, 0, out)
})

/** Twenty attempts: who, at which service, how. */
const ATTEMPTS = ['edge', 'intruder', 'qotm-v1', 'quotes-db'].flatMap((from) => [
  { from, host: 'qotm', method: 'GET', path: '/quote' },
  { from, host: 'qotm', method: 'POST', path: '/quote' },
  { from, host: 'qotm', method: 'GET', path: '/quote/../admin' },
  { from, host: 'quotes-db', method: 'GET', path: '/quotes/%72andom' },
  { from, host: 'edge', method: 'GET', path: '/stats' },
])

test.serial('authz check agrees with the running sidecars on twenty requests', async (t) => {
  const { mesh, sample } = t.context
  const decided: string[] = []
  for (const { from, host, method, path } of ATTEMPTS) {
    const caller = mesh.workload(from)
    const headers = { host }
    const real = await ask(caller.outbound ?? '', { method, path, headers })
    const said = await runCommand(authzCheck, {
      ...inMesh(),
      options: {
        file: [sample],
        to: `qotm/${host === 'qotm' ? 'qotm-v1' : host}`,
        from: caller.spiffeId,
        host,
        method,
        path,
        output: 'json',
      },
    })
    const { decision } = JSON.parse(said.out) as { decision: string }
    const what = `${from} ${method} ${host}${path}: ${decision}`
    t.is(decision === 'deny', real.status === 403, `${what}, but the answer is ${real.status}`)
    decided.push(decision)
  }
  t.is(decided.length, 20)
  t.deepEqual([...new Set(decided)].sort(), ['allow', 'deny'])
})

for (const victim of ['ca', 'agent', 'policy']) {
  test.serial(
    `kill -9 of the ${victim} loses no request, and rotation goes on (identity-standards §5.10)`,
    async (t) => {
      const { mesh, state } = t.context
      const before = await statsOf(mesh)
      const pid = (await statusOf(state)).processes.find(({ name }) => name === victim)?.pid ?? 0
      const from = mesh.events().length
      t.true(pid > 1)
      process.kill(pid, 'SIGKILL')
      await mesh.event(
        ({ event, facts }) => event === 'restarted' && facts?.['process'] === victim,
        {
          from,
        },
      )
      const restarted = mesh.events().length
      for (const { namespace, name } of mesh.ready.workloads) {
        const workload = `${namespace}/${name}`
        await mesh.event((one) => one.event === 'rotated' && one.workload === workload, {
          from: restarted,
        })
      }
      const after = await statsOf(mesh)
      t.is(after.lost - before.lost, 0, JSON.stringify(after.failures))
      t.true(after.requests > before.requests)
      const policy = await until(async () => {
        const { workloads } = await statusOf(state)
        return workloads.every(({ connected }) => connected) || undefined
      })
      t.true(policy)
    },
  )
}

test.serial('an app that dies is started anew on its port', async (t) => {
  const { mesh } = t.context
  const { appPid = 0, app } = mesh.workload('intruder')
  const from = mesh.events().length
  process.kill(appPid, 'SIGKILL')
  await mesh.event(({ event, workload }) => event === 'exited' && workload === 'qotm/intruder', {
    from,
  })
  await mesh.event(({ event, workload }) => event === 'restarted' && workload === 'qotm/intruder', {
    from,
  })
  t.is((await ask(app['8080'] ?? '', { path: '/healthz' })).status, 200)
})

test.serial(
  'SIGTERM ends everything within 3 s, with exit code 0 and no process left',
  async (t) => {
    const { mesh } = t.context
    const { pid } = mesh.child
    t.true((await processesOf(mesh.mark, pid)).length >= 14)
    const slowness = startSlowness()
    const startedMs = performance.now()
    mesh.child.kill('SIGTERM')
    t.is(await mesh.exited, 0)
    const tookMs = performance.now() - startedMs
    t.log(`ended after ${Math.round(tookMs)} ms`)
    t.true(tookMs < 3000 * slowness())
    t.deepEqual(await processesOf(mesh.mark, pid), [])
    t.is(mesh.err(), '')
  },
)

interface Stats {
  readonly requests: number
  readonly lost: number
  readonly failures: Readonly<Record<string, number>>
}

async function statsOf(mesh: TestMesh): Promise<Stats> {
  const { body } = await ask(mesh.workload('edge').app['8080'] ?? '', { path: '/stats' })
  return JSON.parse(body) as Stats
}

async function statusOf(state: string): Promise<MeshStatus> {
  const shown = await runCommand(status, { ...inMesh(), options: { state, output: 'json' } })
  return JSON.parse(shown.out) as MeshStatus
}

function inMesh() {
  return { uid: process.getuid?.() ?? 0, env: process.env, cwd: process.cwd() }
}

async function accepts(address: string): Promise<boolean> {
  const at = address.lastIndexOf(':')
  const socket = address.startsWith('/')
    ? connect(address)
    : connect(Number(address.slice(at + 1)), address.slice(0, at))
  return new Promise((resolve) => {
    socket.on('connect', () => resolve(true))
    socket.on('error', () => resolve(false))
  }).finally(() => socket.destroy()) as Promise<boolean>
}
