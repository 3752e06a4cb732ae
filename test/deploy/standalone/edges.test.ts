/** The edges of the standalone deployment, against the real system: files, locks, processes, sockets. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, readdirSync, readFileSync } from 'node:fs'
import {
  appendFile,
  chmod,
  mkdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'

import type { Live } from '#core/live.ts'
import { askMesh } from '#deploy/standalone/admin-client.ts'
import { listenAdmin } from '#deploy/standalone/admin-server.ts'
import { type Child, startChild } from '#deploy/standalone/child.ts'
import { openDirectorySource } from '#deploy/standalone/directory-source.ts'
import { openGuard } from '#deploy/standalone/guard.ts'
import { keepProcess } from '#deploy/standalone/kept-process.ts'
import type { Reading } from '#deploy/standalone/last-good.ts'
import { lockOwner, takeLock } from '#deploy/standalone/lock.ts'
import { trimLogs } from '#deploy/standalone/log-files.ts'
import { isRunning, readProcess, readStarters } from '#deploy/standalone/process-identity.ts'
import { openStateDir, socketDirOf, stateDirOf } from '#deploy/standalone/state-dir.ts'
import { systemClock } from '#deploy/run/system-clock.ts'
import { readManifests } from '#policy/index.ts'
import { FakeClock } from '#test/fakes/fake-clock.ts'
import { startSlowness } from '#test/fakes/slowness.ts'
import { temporary, until } from '#test/process/mesh.ts'

const OWN = { pid: process.pid, uid: process.getuid?.() ?? 0, env: {} }
const log = () => {}

function workload(name: string): string {
  return `apiVersion: redoubt.io/v1alpha1\nkind: Workload\nmetadata: { name: ${name} }\nspec: { ports: [{ port: 80 }] }\n`
}

async function openSource(folder: string, signal: AbortSignal): Promise<Live<Reading>> {
  const deps = { clock: systemClock, log, read: readManifests, cwd: '/' }
  return openDirectorySource([folder], deps, signal)
}

function names(source: Live<Reading>): readonly string[] {
  return source.current.intent.workloads.map(({ name }) => name)
}

test('openDirectorySource() follows edits, additions and removals', async (t) => {
  await using folder = await temporary()
  const ended = new AbortController()
  const [a, b] = [join(folder.path, 'a.yaml'), join(folder.path, 'b.yml')]
  await writeFile(a, workload('one'))
  await writeFile(join(folder.path, 'notes.txt'), 'not a manifest')
  await writeFile(join(folder.path, '.draft.yaml'), 'not: [a manifest')
  const source = await openSource(folder.path, ended.signal)
  t.deepEqual(names(source), ['one'])
  await writeFile(b, workload('two'))
  await until(() => names(source).join() === 'one,two' || undefined)
  await writeFile(`${a}.new`, workload('three'))
  await rename(`${a}.new`, a)
  await until(() => names(source).join() === 'three,two' || undefined)
  await rm(b)
  await until(() => names(source).join() === 'three' || undefined)
  ended.abort()
  t.deepEqual(source.current.faulty, [])
})

test('openDirectorySource() follows every swap of a mounted ConfigMap', async (t) => {
  await using folder = await temporary()
  const ended = new AbortController()
  // As the kubelet writes it: ..data points to a generation, the names point through ..data.
  const publish = async (generation: string, text: string): Promise<void> => {
    await mkdir(join(folder.path, generation))
    await writeFile(join(folder.path, generation, 'mesh.yaml'), text)
    await symlink(generation, join(folder.path, '..data_tmp'))
    await rename(join(folder.path, '..data_tmp'), join(folder.path, '..data'))
  }
  await publish('..g1', workload('g1'))
  await symlink('..data/mesh.yaml', join(folder.path, 'mesh.yaml'))
  const source = await openSource(folder.path, ended.signal)
  for (const generation of ['g2', 'g3', 'g4']) {
    await publish(`..${generation}`, workload(generation))
    await until(() => names(source).join() === generation || undefined)
  }
  ended.abort()
  t.deepEqual(names(source), ['g4'])
})

test('openDirectorySource() does not take a file that is truncated before it is written', async (t) => {
  await using folder = await temporary()
  const ended = new AbortController()
  const file = join(folder.path, 'a.yaml')
  await writeFile(file, workload('one'))
  const source = await openSource(folder.path, ended.signal)
  const seen: string[] = []
  const watching = (async () => {
    for await (const _ of source.changes(ended.signal)) seen.push(names(source).join())
  })()
  await truncate(file)
  await sleep(150)
  // At once: however late it is, what waits for the file to settle comes after it.
  appendFileSync(file, workload('two'))
  await until(() => names(source).join() === 'two' || undefined)
  ended.abort()
  await watching
  t.deepEqual(seen, ['one', 'two'])
})

test('openDirectorySource() refuses a path that is not there', async (t) => {
  await t.throwsAsync(openSource('/no/such/place', new AbortController().signal), {
    message: 'Cannot read manifests from /no/such/place: there is no such file or directory',
  })
})

test('openStateDir() makes a private directory, locks it, and lets it go', async (t) => {
  await using folder = await temporary()
  const path = join(folder.path, 'a', 'state')
  {
    await using state = await openStateDir(path, OWN)
    t.is((await stat(path)).mode & 0o777, 0o700)
    t.is(state.sockets, path)
    t.is((await lockOwner(path))?.pid, process.pid)
    await t.throwsAsync(openStateDir(path, OWN), {
      message: /another mesh runs on it \(pid \d+\)/,
    })
  }
  t.is(await lockOwner(path), undefined)
  await using again = await openStateDir(path, OWN)
  t.is(again.path, path)
})

for (const [what, lock] of [
  ['a process that is gone', '4194303 1\n'],
  ['a process whose pid another has now', `${process.pid} 1\n`],
  ['something unreadable', 'x'],
] as const) {
  test(`openStateDir() takes over the lock of ${what}`, async (t) => {
    await using folder = await temporary()
    await writeFile(join(folder.path, 'lock.3'), lock)
    t.is(await lockOwner(folder.path), undefined)
    await using _ = await openStateDir(folder.path, OWN)
    t.is((await lockOwner(folder.path))?.pid, process.pid)
  })
}

test('takeLock() gives a stale lock to one of many, and the next one only when it is let go', async (t) => {
  await using folder = await temporary()
  const own = readProcess(process.pid)!
  for (let round = 0; round < 20; round += 1) {
    const all = await Promise.all(Array.from({ length: 8 }, () => takeLock(folder.path, own)))
    const taken = all.flatMap((one) => (one.kind === 'taken' ? [one] : []))
    t.is(taken.length, 1)
    t.is((await lockOwner(folder.path))?.pid, process.pid)
    await taken[0]?.release()
    t.is(await lockOwner(folder.path), undefined)
  }
  t.is(readdirSync(folder.path).length, 1)
})

test('openStateDir() refuses a path below a file', async (t) => {
  await using folder = await temporary()
  await writeFile(join(folder.path, 'file'), '')
  const path = join(folder.path, 'file', 'state')
  await t.throwsAsync(openStateDir(path, OWN), {
    message: `Cannot use the state directory ${path}: part of the path is a file; choose another with --state DIR`,
  })
})

test('openStateDir() does not make a directory private that holds files of others', async (t) => {
  await using folder = await temporary()
  await chmod(folder.path, 0o755)
  await writeFile(join(folder.path, 'thesis.txt'), '')
  await t.throwsAsync(openStateDir(folder.path, OWN), { message: /it holds files of others/ })
  t.is((await stat(folder.path)).mode & 0o777, 0o755)
})

test('openStateDir() puts the logs of the mesh before aside', async (t) => {
  await using folder = await temporary()
  const path = join(folder.path, 'state')
  {
    await using _ = await openStateDir(path, OWN)
    await writeFile(join(path, 'logs', 'ca.log'), 'old')
  }
  await using _ = await openStateDir(path, OWN)
  t.deepEqual(readdirSync(join(path, 'logs')), ['ca.log.1'])
})

test('stateDirOf() asks the flag, the environment, the working directory', (t) => {
  t.is(stateDirOf('s', { REDOUBT_STATE: '/e' }, '/w'), '/w/s')
  t.is(stateDirOf(undefined, { REDOUBT_STATE: '/e' }, '/w'), '/e')
  t.is(stateDirOf(undefined, { REDOUBT_STATE: '' }, '/w'), '/w/.redoubt')
})

test('socketDirOf() moves sockets whose path would be too long for the kernel', async (t) => {
  const short = '/s'.padEnd(107 - '/admin.sock'.length, 's')
  t.is(socketDirOf(short, OWN), short)
  const long = `${short}s`
  t.regex(socketDirOf(long, OWN), /^\/tmp\/redoubt-\d+-[0-9a-f]{16}$/)
  t.regex(
    socketDirOf(long, { ...OWN, env: { XDG_RUNTIME_DIR: '/run/user/7' } }),
    /^\/run\/user\/7\//,
  )

  await using folder = await temporary()
  const deep = join(folder.path, 'd'.repeat(120))
  await using state = await openStateDir(deep, OWN)
  t.is((await stat(state.sockets)).mode & 0o777, 0o700)
  await using _ = await listenAdmin(state.sockets, { '/a': () => ({ b: 1 }) }, { ...OWN, log })
  t.deepEqual(await askMesh(deep, '/a', OWN, new AbortController().signal), { b: 1 })
})

test('openStateDir() refuses a socket directory that others can enter', async (t) => {
  await using folder = await temporary()
  const deep = join(folder.path, 'e'.repeat(120))
  const sockets = socketDirOf(deep, OWN)
  await mkdir(sockets)
  await chmod(sockets, 0o755)
  await t.throwsAsync(openStateDir(deep, OWN), { message: /is open to other users/ })
  await rm(sockets, { recursive: true })
})

test('listenAdmin() answers its owner and hangs up on anybody else', async (t) => {
  await using folder = await temporary()
  const answers = {
    '/status': () => ({ well: true }),
    '/boom': () => {
      throw new Error('Cannot say: no')
    },
  }
  await using _ = await listenAdmin(folder.path, answers, { uid: OWN.uid + 1, log })
  const socket = connect(join(folder.path, 'admin.sock'))
  socket.write('GET /status HTTP/1.1\r\nhost: a\r\n\r\n')
  let answer = ''
  socket.on('data', (data) => {
    answer += data
  })
  socket.on('error', () => {}) // A reset is a way of hanging up.
  await new Promise((resolve) => socket.on('close', resolve))
  t.is(answer, '')
})

test('askMesh() says when there is no mesh, no such thing, or a failure', async (t) => {
  await using folder = await temporary()
  const { signal } = new AbortController()
  await t.throwsAsync(askMesh(folder.path, '/status', OWN, signal), {
    message: /^Cannot ask the mesh on .*: none runs there; start one with redoubt up/,
  })
  await using state = await openStateDir(folder.path, OWN)
  await t.throwsAsync(askMesh(folder.path, '/status', OWN, signal), {
    message: /it does not answer \(ENOENT\)/,
  })
  const boom = () => {
    throw new Error('Cannot say: no')
  }
  const answers = { '/boom': boom, '/none': () => null }
  await using _ = await listenAdmin(state.sockets, answers, { ...OWN, log })
  t.is(await askMesh(folder.path, '/nothing', OWN, signal), undefined)
  t.is(await askMesh(folder.path, '/none', OWN, signal), null, 'an answer: there is none')
  await t.throwsAsync(askMesh(folder.path, '/boom', OWN, signal), { message: /Cannot say: no$/ })
})

test('readProcess() knows running processes, and isRunning() a pid that came back', async (t) => {
  const own = readProcess(process.pid)
  t.is(own?.parentPid, process.ppid)
  t.true(isRunning({ pid: process.pid, startTime: own?.startTime ?? '' }))
  t.false(isRunning({ pid: process.pid, startTime: '1' }))
  t.is(readProcess(4_194_303), undefined)
  t.true(readStarters(process.pid).some(({ pid }) => pid === process.ppid))
})

async function group(guardedBy: { add: (group: number) => void }): Promise<number> {
  const leader = spawn('sh', ['-c', 'sleep 60 & sleep 60'], { detached: true, stdio: 'ignore' })
  await once(leader, 'spawn')
  leader.unref()
  guardedBy.add(leader.pid ?? 0)
  return leader.pid ?? 0
}

/** Whether a process of the group runs; one that nobody has buried yet does not. */
function hasGroup(group: number): boolean {
  return readdirSync('/proc').some((pid) => {
    if (!/^\d+$/.test(pid) || !readProcess(Number(pid))) return false
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[2]) === group
  })
}

test('openGuard() ends the groups it was told of when it ends, but those that had ended', async (t) => {
  const guard = openGuard(process.pid)
  const [one, two] = [await group(guard), await group(guard)]
  const three = await group(guard)
  guard.remove(two)
  await guard[Symbol.asyncDispose]()
  t.deepEqual([one, two, three].map(hasGroup), [false, true, false])
  process.kill(-two, 'SIGKILL')
})

test('openGuard() replaces a guard that was killed', async (t) => {
  const guard = openGuard(process.pid)
  const one = await group(guard)
  const { pid } = guard
  process.kill(pid, 'SIGKILL')
  await until(() => (guard.pid !== pid ? true : undefined))
  t.true(hasGroup(one))
  await guard[Symbol.asyncDispose]()
  t.false(hasGroup(one))
})

const kill = (pid: number, signal: 'SIGTERM' | 'SIGKILL'): void => {
  process.kill(pid, signal)
}

test('startChild() stops a whole group, and kills what does not end by itself', async (t) => {
  await using folder = await temporary()
  await using guard = openGuard(process.pid)
  const child = await startChild(
    {
      title: 'the stubborn',
      command: ['sh', '-c', "trap '' TERM; echo up; sleep 60 & while :; do sleep 60; done"],
      env: process.env,
      cwd: folder.path,
      logFile: join(folder.path, 'log'),
    },
    { guard, kill, clock: systemClock },
  )
  await until(async () => (await readFile(join(folder.path, 'log'), 'utf8')) || undefined)
  const slowness = startSlowness()
  const startedMs = performance.now()
  await child.stop(200)
  t.true(performance.now() - startedMs < 1500 * slowness())
  t.is((await child.exited).signal, 'SIGKILL')
  t.false(hasGroup(child.pid))
})

test('startChild() says what could not be started', async (t) => {
  await using folder = await temporary()
  await using guard = openGuard(process.pid)
  const spec = {
    title: 'the app of a/b',
    env: {},
    cwd: folder.path,
    logFile: join(folder.path, 'log'),
    command: ['no-such-program'] as const,
  }
  await t.throwsAsync(
    startChild({ ...spec, command: ['no-such-program'] }, { guard, kill, clock: systemClock }),
    {
      message: `Cannot start the app of a/b: there is no program "no-such-program", or no directory ${folder.path}`,
    },
  )
})

/** A child that ends when told to. */
function fakeChild(pid: number): Child & { readonly end: (code: number) => void } {
  const exited = Promise.withResolvers<{ code: number | null; signal: null }>()
  return {
    pid,
    startTime: '1',
    exited: exited.promise,
    ready: Promise.resolve(undefined),
    call: async (name) => `${name} of ${pid}`,
    stop: async () => exited.resolve({ code: 0, signal: null }),
    end: (code) => exited.resolve({ code, signal: null }),
  }
}

test('keepProcess() starts anew with waits that grow, and begin again after a steady run', async (t) => {
  const clock = new FakeClock()
  const children: ReturnType<typeof fakeChild>[] = []
  const told: string[] = []
  const kept = keepProcess(
    {
      name: 'app',
      workload: 'n/w',
      async start() {
        children.push(fakeChild(children.length + 1))
        return children.at(-1)!
      },
      serve: async () => {},
    },
    {
      clock,
      random: () => 0.999,
      log,
      tell: ({ event, detail }) => told.push(`${event}: ${detail}`),
    },
  )
  await kept.firstReady
  t.is(await kept.call('hello'), 'hello of 1')
  for (const [index, waitMs] of [100, 200, 400, 800].entries()) {
    children.at(-1)?.end(7)
    await clock.advance(0)
    await sleep(0)
    t.is(kept.state(), 'waiting')
    await t.throwsAsync(kept.call('hello'), { message: /it is not running/ })
    await clock.advance(waitMs)
    await sleep(0)
    t.is(kept.state(), 'ready', `after ${waitMs} ms`)
    t.is(kept.restarts(), index + 1)
  }
  t.deepEqual(told.slice(0, 2), [
    'exited: the app has ended: it exited with code 7',
    'restarted: the app runs again, pid 2',
  ])
  await clock.advance(11_000)
  children.at(-1)?.end(0)
  await sleep(0)
  await clock.advance(100)
  await sleep(0)
  t.is(kept.state(), 'ready')
  await kept.stop(100)
  t.is(kept.child(), undefined)
})

test('keepProcess() rejects firstReady when the first start fails', async (t) => {
  const kept = keepProcess(
    {
      name: 'ca',
      start: () => Promise.reject(new Error('Cannot start: no')),
      serve: async () => {},
    },
    { clock: new FakeClock(), random: () => 0, log, tell: () => {} },
  )
  await t.throwsAsync(kept.firstReady, { message: 'Cannot start: no' })
  await kept.stop(0)
})

test('trimLogs() moves what a log has beyond its limit aside, under its writer', async (t) => {
  await using folder = await temporary()
  const file = join(folder.path, 'a.log')
  const clock = new FakeClock()
  const ended = new AbortController()
  await writeFile(file, Buffer.alloc(17 * 1024 * 1024, 'x'))
  const trimming = trimLogs(folder.path, { clock, log }, ended.signal)
  await clock.advance(5000)
  await until(async () => ((await stat(file)).size === 0 ? true : undefined))
  await appendFile(file, 'more\n')
  t.is((await stat(`${file}.1`)).size, 17 * 1024 * 1024)
  t.is(await readFile(file, 'utf8'), 'more\n')
  ended.abort()
  await trimming
})
