/** Commands about a mesh that runs, and the program around all commands. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFile, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import test from 'ava'

import { statusJson, statusLines } from '#deploy/cli/commands/ca-status.ts'
import { loadCommands } from '#deploy/cli/commands/index.ts'
import { init } from '#deploy/cli/commands/init.ts'
import { logs } from '#deploy/cli/commands/logs.ts'
import { isWell, status } from '#deploy/cli/commands/status.ts'
import { parseDuration } from '#deploy/cli/duration.ts'
import { systemClock } from '#deploy/run/system-clock.ts'
import { listenAdmin } from '#deploy/standalone/admin-server.ts'
import { faultLines } from '#deploy/standalone/last-good.ts'
import { openStateDir } from '#deploy/standalone/state-dir.ts'
import type { KeptProcess } from '#deploy/standalone/kept-process.ts'
import { askedView, type MeshStatus } from '#deploy/standalone/status.ts'
import { readManifests } from '#policy/index.ts'
import { FakeClock } from '#test/fakes/fake-clock.ts'
import { runCommand } from '#test/fakes/fake-io.ts'
import { LAUNCHER, temporary, until } from '#test/process/mesh.ts'

const uid = process.getuid?.() ?? 0

/** All is well. */
const WELL: MeshStatus = {
  trustDomain: 'td.example',
  state: '/s',
  processes: [{ name: 'ca', state: 'ready', pid: 7, restarts: 0 }],
  workloads: [
    {
      namespace: 'n',
      name: 'web',
      spiffeId: 'spiffe://td.example/ns/n/sa/web',
      ready: true,
      certificate: {
        serial: 'ab12',
        issuedAt: '2026-01-01T00:00:00Z',
        notAfter: '2026-01-01T01:00:00Z',
        remainingSeconds: 1800,
        rotations: 3,
        bundleGeneration: 2,
      },
      connected: true,
      configuration: [{ name: 'inbound/n/web', desired: 'v2', applied: 'v2' }],
      app: { name: 'app', state: 'ready', pid: 8, restarts: 1, lastExit: 'it exited with code 3' },
    },
  ],
  manifests: [],
  unread: [],
}

const [WEB] = WELL.workloads
const REJECTED = {
  name: 'x',
  desired: 'v2',
  applied: 'v1',
  rejected: { version: 'v2', reason: 'no' },
}

const AMISS: Readonly<Record<string, MeshStatus>> = {
  'a process that waits': {
    ...WELL,
    processes: [{ name: 'ca', state: 'waiting', restarts: 2, lastExit: 'it was ended by SIGKILL' }],
  },
  'a CA that signs nothing': {
    ...WELL,
    processes: [
      {
        name: 'ca',
        state: 'ready',
        restarts: 0,
        health: { ready: false, reasons: ['nothing is signed: the root ended'] },
      },
    ],
  },
  'a workload that is not ready': { ...WELL, workloads: [{ ...WEB!, ready: false }] },
  'a workload that was revoked': {
    ...WELL,
    workloads: [{ ...WEB!, revoked: { kind: 'spiffe-id', value: WEB!.spiffeId } }],
  },
  'a rejected bundle': { ...WELL, workloads: [{ ...WEB!, configuration: [REJECTED] }] },
  'a database that is away': {
    ...WELL,
    unread: [{ policy: 'n/roles', why: 'connect ECONNREFUSED', kept: true }],
  },
  'a manifest with a fault': {
    ...WELL,
    manifests: readManifests([{ path: 'a.yaml', text: 'kind: Nonsense' }]).documents,
  },
}

async function shownStatus(mesh: MeshStatus, output: string) {
  await using folder = await temporary()
  await using state = await openStateDir(join(folder.path, 's'), { pid: process.pid, uid, env: {} })
  await using _ = await listenAdmin(
    state.sockets,
    { '/status': () => mesh },
    { uid, log: () => {} },
  )
  return await runCommand(status, { uid, options: { state: state.path, output } })
}

test('status shows what there is to know, when each certificate was rotated last too (users §1.1.11), and exits 0 when all is well', async (t) => {
  const { exitCode, out } = await shownStatus(WELL, 'text')
  t.is(exitCode, 0)
  for (const fact of [
    'td.example',
    'ca       ready, pid 7',
    'spiffe://td.example/ns/n/sa/web',
    'certificate ab12, 30 minutes left, rotated 3 times, last at 2026-01-01T00:00:00Z, bundle generation 2',
    'inbound/n/web: v2 in force',
    'restarted once, last: it exited with code 3',
  ]) {
    t.true(out.includes(fact), fact)
  }
  t.deepEqual(JSON.parse((await shownStatus(WELL, 'json')).out), WELL)
})

for (const [what, mesh] of Object.entries(AMISS)) {
  test(`status exits 1 on ${what}`, async (t) => {
    t.false(isWell(mesh))
    const { exitCode, out } = await shownStatus(mesh, 'text')
    t.is(exitCode, 1)
    for (const line of mesh.manifests.flatMap(faultLines)) t.true(out.includes(line))
    for (const { name, health } of mesh.processes)
      for (const why of health?.reasons ?? [])
        t.true(out.includes(`${name}       not ready\n    ${why}\n`))
    for (const { revoked } of mesh.workloads) {
      if (revoked) t.true(out.includes(`(redoubt ca revoke ${revoked.value} --undo gives it back)`))
    }
    for (const { policy, why } of mesh.unread)
      t.true(out.includes(`CasbinPolicy ${policy}: ${why}\nits last`))
  })
}

test('users §1.1.14, §1.1.15, §1.2.27: status tells what the health of CA and agent has to say, and that one does not answer', async (t) => {
  const clock = new FakeClock()
  const answers = Promise.withResolvers<unknown>()
  const process: KeptProcess = {
    name: 'agent',
    firstReady: Promise.resolve(),
    state: () => 'ready',
    child: () => undefined,
    restarts: () => 0,
    lastExit: () => undefined,
    call: (name) => (name === 'health' ? answers.promise : Promise.reject(new Error(name))),
    stop: async () => {},
  }
  const waiting = askedView(process, clock)
  await clock.advance(2000)
  t.deepEqual((await waiting).health, { ready: false, reasons: ['it does not answer'] })

  const health = { ready: true, reasons: ['the root ends soon'] }
  answers.resolve(health)
  const agent = await askedView(process, clock)
  t.deepEqual(agent.health, health)
  const { exitCode, out } = await shownStatus({ ...WELL, processes: [agent] }, 'text')
  t.is(exitCode, 0, 'a warning is no fault')
  t.regex(out, /agent {4}ready\n {4}the root ends soon\n/)

  for (const [clockOffsetMs, said] of [
    [40, "its clock is the CA's"],
    [1240, "its clock is 1.2 s behind the CA's"],
    [-12_000, "its clock is 12 s ahead of the CA's"],
  ] as const) {
    const processes = [{ ...agent, health: { ready: true, reasons: [], clockOffsetMs } }]
    const shown = await shownStatus({ ...WELL, processes }, 'text')
    t.true(shown.out.includes(`agent    ready, ${said}\n`), shown.out)
  }
  const ca = { ...agent, name: 'ca', health: { ready: true, reasons: [], clockOffsetMs: -2000 } }
  const ofCa = await shownStatus({ ...WELL, processes: [ca] }, 'text')
  t.true(
    ofCa.out.includes("ca       ready, its clock is 2 s ahead of the API server's\n"),
    ofCa.out,
  )

  const ended = { ...process, call: () => Promise.reject(new Error('it has ended')) }
  t.is((await askedView(ended, clock)).health, undefined)
})

test('status says that there is no mesh', async (t) => {
  await t.throwsAsync(runCommand(status, { uid, options: { state: '/no/mesh' } }), {
    message: /^Cannot ask the mesh on \/no\/mesh: none runs there; start one/,
  })
})

async function logsFolder(path: string): Promise<string> {
  const folder = join(path, 'logs')
  await mkdir(folder)
  await writeFile(join(folder, 'ca.log'), 'c1\n')
  await writeFile(
    join(folder, 'n.web.app.log'),
    Array.from({ length: 60 }, (_, n) => `a${n}\n`).join(''),
  )
  await writeFile(join(folder, 'n.web.sidecar.log'), 's1\ns2\n')
  await writeFile(join(folder, 'n.web.access.log'), '{"path":"/"}\n')
  await writeFile(join(folder, 'n.webshop.app.log'), 'other\n')
  return folder
}

test('logs prints the newest lines of a workload, and of no other', async (t) => {
  await using folder = await temporary()
  await logsFolder(folder.path)
  const show = async (args: readonly string[], options: Readonly<Record<string, unknown>>) =>
    (await runCommand(logs, { arguments: args, options: { state: folder.path, ...options } })).out
  t.is(
    await show(['n/web'], { lines: '2' }),
    [
      'n.web.access: {"path":"/"}',
      'n.web.app: a58',
      'n.web.app: a59',
      'n.web.sidecar: s1',
      'n.web.sidecar: s2',
    ].join('\n'),
  )
  t.is(await show(['n/web'], { app: true, lines: '1' }), 'a59')
  t.is(await show(['n/web'], { access: true }), '{"path":"/"}')
  t.is(await show(['ca'], {}), 'c1')
  t.false((await show([], {})).includes('"path"'))
  await t.throwsAsync(show(['n/we'], {}), {
    message: /^Cannot find logs of n\/we: there are n\/web, ca/,
  })
})

test('logs --follow prints what is written, also after the file was cut', async (t) => {
  await using folder = await temporary()
  const file = join(await logsFolder(folder.path), 'ca.log')
  const out: string[] = []
  const ended = new AbortController()
  const input = { arguments: ['ca'], options: { state: folder.path, follow: true, lines: '1' } }
  const io = { clock: systemClock, env: {}, cwd: '/', out: (line: string) => void out.push(line) }
  const following = logs.run(
    { ...io } as unknown as Parameters<typeof logs.run>[0],
    input,
    ended.signal,
  )
  await until(() => out.length === 1 || undefined)
  await appendFile(file, 'c2\nhal')
  await until(() => out.length === 2 || undefined)
  await appendFile(file, 'f\n')
  await until(() => out.length === 3 || undefined)
  await writeFile(file, 'n\n')
  await until(() => out.length === 4 || undefined)
  ended.abort()
  t.is(await following, 0)
  t.deepEqual(out, ['c1', 'c2', 'half', 'n'])
})

test('init writes a mesh that is valid, denies by default, and is not written twice', async (t) => {
  await using folder = await temporary()
  const { exitCode, out } = await runCommand(init, { cwd: folder.path, arguments: ['a/mesh'] })
  t.is(exitCode, 0)
  t.true(out.includes('redoubt up -f a/mesh'))
  const written = join(folder.path, 'a', 'mesh')
  const files = await Promise.all(
    (await readdir(written))
      .filter((name) => name.endsWith('.yaml'))
      .map(async (name) => ({ path: name, text: await readFile(join(written, name), 'utf8') })),
  )
  const { intent, documents } = readManifests(files)
  t.deepEqual(documents.flatMap(faultLines), [])
  t.is(intent.workloads.length, 2)
  t.true(intent.authorizationPolicies.some(({ policy }) => policy.rules?.length === 0))
  await t.throwsAsync(runCommand(init, { cwd: folder.path, arguments: ['a/mesh'] }), {
    message: 'Cannot write a mesh into a/mesh: it is not empty',
  })
  await t.throwsAsync(runCommand(init, { cwd: folder.path, arguments: ['a/mesh/hello.js'] }), {
    message: 'Cannot write a mesh into a/mesh/hello.js: it is a file',
  })
  t.true((await stat(join(written, 'hello.js'))).isFile())
})

for (const [written, ms] of [
  ['20s', 20_000],
  ['500ms', 500],
  ['1.5m', 90_000],
  ['1h', 3_600_000],
] as const) {
  test(`parseDuration() reads ${written}`, (t) => t.is(parseDuration(written), ms))
}

for (const written of ['', '20', 's', '-1s', '1w', '1s1s']) {
  test(`parseDuration() refuses ${JSON.stringify(written)}`, (t) => {
    t.throws(() => parseDuration(written), { message: /^Cannot read the duration/ })
  })
}

test('every command has a summary and two examples that call it', async (t) => {
  const all = await loadCommands('')
  t.true(all.length >= 10)
  for (const { name, summary, examples } of all) {
    t.regex(summary, /^[a-z].*[^.]$/, name)
    for (const { what, command } of examples) {
      t.regex(what, /^[A-Z].*[^.]$/, name)
      t.true(command.includes(`redoubt ${name}`), `${name}: ${command}`)
    }
  }
})

/** What an option takes, where it is not the same in every command that has it. */
const TAKES_ANOTHER: readonly string[] = [
  'cert verify --bundle <[domain=]file>', // the roots of other trust domains, too
  'cert convert --to <format>',
  ...['ca issue --out <dir>', 'cert request --out <dir>'], // several files
  ...['ca log prove --since <file>', 'ca log verify --since <file>'], // a head, whenever it was
]

test('an option means the same in every command, and a duration is a <duration>', async (t) => {
  const takes = new Map<string, string>()
  for (const { name, options = [] } of await loadCommands('')) {
    for (const { flags, summary } of options) {
      const [, long = '', value = ''] = /(--[a-z0-9-]+)( <[^>]+>)?$/.exec(flags) ?? []
      t.true(long !== '', `${name}: ${flags}`)
      t.notRegex(value, /<(seconds|ms|count|number)>/, `${name} ${flags}: ${summary}`)
      if (TAKES_ANOTHER.includes(`${name} ${long}${value}`)) continue
      t.is(takes.get(long) ?? value, value, `${name} ${flags}`)
      takes.set(long, value)
    }
  }
})

async function redoubt(...args: readonly string[]) {
  const child = spawn(process.execPath, [LAUNCHER, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  const [out, err] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close'),
  ])
  return { code: child.exitCode, out, err }
}

test('help is an answer (0), a wrong word is none (2), and every help ends with its examples', async (t) => {
  const help = await redoubt('--help')
  t.is(help.code, 0)
  for (const { name } of await loadCommands('')) {
    t.true(help.out.includes(`  ${name.split(' ')[0]} `), name)
  }
  const up = await redoubt('up', '--help')
  t.is(up.code, 0)
  t.regex(up.out, /\nExamples:\n {2}# .*\n {2}\$ redoubt up .*\n {2}# .*\n {2}\$ redoubt up .*\n+$/)
  const token = (await redoubt('ca', 'token', '--help')).out.replace(/\s+/g, ' ')
  t.regex(token, /--scope <spiffe-id> [^-]* \(required\) \(repeatable\) --ttl/)
  t.notRegex(token, /\(default: none\)/)
  const wrong = await redoubt('upp')
  t.deepEqual([wrong.code, wrong.out], [2, ''])
  t.regex(wrong.err, /unknown command 'upp'\n\(Did you mean up\?\)/)
})

test('users §1.3.31: ca status tells what is revoked until when, and how many more there are', (t) => {
  const untilMs = BigInt(Date.UTC(2026, 5, 1, 1))
  const denials = [
    { kind: 'serial', value: 'ab12', untilMs },
    { kind: 'spiffe-id', value: 'spiffe://td.example/web', untilMs: 0n },
  ]
  const status = {
    ...{ trustDomain: 'td.example', generation: 3n, ready: true, reasons: [], authorities: [] },
    ...{ rotation: undefined, subscribers: [], jwtKeys: [], replicas: [] },
    ...{ denials, denialCount: 5n },
  }
  const now = () => Temporal.Instant.from('2026-06-01T00:00:00Z')
  t.deepEqual(statusLines(status, { now, colour: false } as never).slice(-3), [
    '  revoked certificate ab12  until 2026-06-01T01:00:00Z (in 1 h)',
    '  revoked identity spiffe://td.example/web  until that is undone',
    '  and 3 more that were revoked before',
  ])
  const until = '2026-06-01T01:00:00Z'
  t.like(statusJson(status), {
    denials: [
      { kind: 'serial', value: 'ab12', until },
      { kind: 'spiffe-id', value: 'spiffe://td.example/web', until: null },
    ],
    denialCount: 5,
  })
})

test('ca status tells which CAs there are, which answers, and which has gone when', (t) => {
  const at = (seconds: number) => BigInt(Date.UTC(2026, 5, 1) + seconds * 1000)
  const status = {
    ...{ trustDomain: 'prod.example', generation: 3n, ready: true, reasons: [], authorities: [] },
    ...{ rotation: undefined, subscribers: [], jwtKeys: [], denials: [], denialCount: 0n },
    replicas: [
      {
        ...{ address: '10.0.0.1:15012', alive: true, self: true },
        ...{ startedAtMs: at(0), seenAtMs: at(3598) },
      },
      {
        ...{ address: '10.0.0.2:15012', alive: false, self: false },
        ...{ startedAtMs: at(0), seenAtMs: at(3400) },
      },
    ],
  }
  const now = () => Temporal.Instant.fromEpochMilliseconds(Number(at(3600)))
  const lines = statusLines(status, { now, colour: false } as never)
  t.deepEqual(lines.slice(1, 3), [
    '  replica there 10.0.0.1:15012, which answers',
    '  replica gone  10.0.0.2:15012, last seen 3 min 20 s ago',
  ])
  const { replicas } = statusJson(status) as { replicas: unknown }
  t.deepEqual(replicas, [
    {
      ...{ address: '10.0.0.1:15012', alive: true, self: true },
      ...{ startedAt: '2026-06-01T00:00:00Z', seenAt: '2026-06-01T00:59:58Z' },
    },
    {
      ...{ address: '10.0.0.2:15012', alive: false, self: false },
      ...{ startedAt: '2026-06-01T00:00:00Z', seenAt: '2026-06-01T00:56:40Z' },
    },
  ])
})
