/** Who a caller is: over a table of processes, and over the kernel's own. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect, createServer, Socket } from 'node:net'
import { join } from 'node:path'
import {
  type AgentError,
  assertPeerCredentials,
  createWorkloadRegistry,
  readPeerCredentials,
} from '#agent/index.ts'
import test from 'ava'
import { parseSpiffeId, type SpiffeId } from '#ca/spiffe/index.ts'
import { FakeClock } from '#test/fakes/fake-clock.ts'
import { realClock, temporaryDir } from '#test/ca/harness.ts'
import { type ProcessStat, parseStat, readProcess } from '../../../agent/attest/process.ts'
import { owner, type RegisteredWorkload } from '../../../agent/attest/registry.ts'
import { until } from '../harness.ts'

const api = parseSpiffeId('spiffe://prod.example/ns/pay/sa/api')
const web = parseSpiffeId('spiffe://prod.example/ns/pay/sa/web')

test('parseStat() reads pid, parent and start time, whatever the program calls itself', (t) => {
  const rest = '42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987654 1 1 1'
  for (const name of ['node', 'a b', ') R 1 1 1', '((', 'x) S 7 (y', '\n']) {
    t.deepEqual(parseStat(`7 (${name}) S 42 ${rest}`), {
      pid: 7,
      parentPid: 42,
      startTime: '987654',
    })
  }
  for (const text of ['', '7', '7 (node)', '7 (node) S 42 42', `x (node) S 42 ${rest}`]) {
    t.is(parseStat(text), undefined, JSON.stringify(text))
  }
  t.is(parseStat(`7 (node) Z 42 ${rest}`), undefined, 'a zombie is nobody')
})

/** pid 10 is the supervisor, 20 a workload, 30 its child, 40 its grandchild. */
const processes: readonly ProcessStat[] = [
  { pid: 10, parentPid: 1, startTime: '100' },
  { pid: 20, parentPid: 10, startTime: '200' },
  { pid: 30, parentPid: 20, startTime: '300' },
  { pid: 40, parentPid: 30, startTime: '400' },
]
const registered: RegisteredWorkload = { pid: 20, startTime: '200', spiffeId: api }

function ownerOf(
  pid: number,
  {
    list = [registered],
    change = [],
    firstSeen,
  }: {
    readonly list?: readonly RegisteredWorkload[]
    readonly change?: readonly ProcessStat[]
    readonly firstSeen?: string
  } = {},
): SpiffeId | undefined {
  const table = new Map([...processes, ...change].map((each) => [each.pid, each]))
  const caller = table.get(pid)
  if (!caller) throw new Error('no such process')
  return owner(
    { ...caller, startTime: firstSeen ?? caller.startTime },
    new Map(list.map((each) => [each.pid, each])),
    (each) => table.get(each),
  )?.spiffeId
}

test('owner() is the process itself, or the nearest registered one it descends from', (t) => {
  t.deepEqual(
    [20, 30, 40].map((pid) => ownerOf(pid)),
    [api, api, api],
  )
  t.is(ownerOf(10), undefined, 'not what started it')
  const inner: RegisteredWorkload = { pid: 30, startTime: '300', spiffeId: web }
  t.is(ownerOf(40, { list: [registered, inner] }), web)
  t.is(ownerOf(20, { list: [registered, inner] }), api)
})

for (const [what, found] of Object.entries({
  'a caller whose pid has passed to another process': ownerOf(30, { firstSeen: '299' }),
  'a registered pid that has passed to another process': ownerOf(20, {
    list: [{ ...registered, startTime: '199' }],
  }),
  'a child of a process that took over a registered pid': ownerOf(30, {
    list: [{ ...registered, startTime: '199' }],
  }),
  'a parent that is younger than its child': ownerOf(40, {
    change: [{ pid: 30, parentPid: 20, startTime: '401' }],
  }),
  'a descendant beyond a recycled registered one': ownerOf(40, {
    list: [registered, { pid: 30, startTime: '1', spiffeId: web }],
  }),
  'an orphan that init took in': ownerOf(40, {
    change: [{ pid: 30, parentPid: 1, startTime: '300' }],
  }),
  'a loop of parents': ownerOf(40, {
    change: [{ pid: 10, parentPid: 40, startTime: '400' }],
    list: [],
  }),
})) {
  test(`owner() is nobody for ${what}`, (t) => {
    t.is(found, undefined)
  })
}

function fakeRegistry(clock = new FakeClock()) {
  const read = (pid: number) => processes.find((each) => each.pid === pid)
  const registry = createWorkloadRegistry({
    clock,
    readPeer: () => ({ pid: 30, uid: 0, gid: 0 }),
    readProcess: read,
  })
  return { clock, registry }
}

test('identify() waits up to 1 s for a caller to be registered, and no longer', async (t) => {
  const { clock, registry } = fakeRegistry()
  const signal = new AbortController().signal
  const answers: (SpiffeId | undefined)[] = []
  const first = registry.identify(new Socket(), signal).then((id) => {
    answers.push(id)
  })
  await clock.advance(999)
  t.deepEqual(answers, [])
  registry.setWorkloads([{ ...registered, startTime: 'other' }])
  await clock.advance(0)
  t.deepEqual(answers, [], 'a list without it does not end the wait')
  await clock.advance(2)
  await first
  t.deepEqual(answers, [undefined])

  const second = registry.identify(new Socket(), signal)
  await clock.advance(500)
  registry.setWorkloads([registered])
  t.is(await second, api)
  t.is(await registry.identify(new Socket(), signal), api, 'and at once from then on')
})

test('identify() ends with its signal', async (t) => {
  const { registry } = fakeRegistry()
  const ending = new AbortController()
  const answer = registry.identify(new Socket(), ending.signal)
  ending.abort()
  t.is(await answer, undefined)
})

test('a list without a workload takes its identity away from connections that exist', async (t) => {
  const { clock, registry } = fakeRegistry()
  const socket = new Socket()
  const { signal } = new AbortController()
  t.false(registry.setWorkloads([registered]), 'nobody was taken away')
  t.is(await registry.identify(socket, signal), api)
  t.false(registry.setWorkloads([{ ...registered }, { ...registered, pid: 7 }]))
  t.true(registry.setWorkloads([]))
  const again = registry.identify(socket, signal)
  await clock.advance(1001)
  t.is(await again, undefined)
})

test('assertPeerCredentials() passes on this machine, and tells a wrong answer of the kernel', async (t) => {
  await t.notThrowsAsync(assertPeerCredentials(process.pid))
  await t.throwsAsync(assertPeerCredentials(1), {
    code: 'AGENT_PLATFORM_UNSUPPORTED',
    message: /^Cannot identify callers on this machine: .*pid/,
  })
})

test('readPeerCredentials() refuses what is not a connected Unix socket', async (t) => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  const client = connect(port, '127.0.0.1')
  await once(client, 'connect')
  const refused: Partial<AgentError> = { code: 'AGENT_PEER_UNREADABLE' }
  t.throws(() => readPeerCredentials(client), refused)
  client.destroy()
  server.close()
  t.throws(() => readPeerCredentials(new Socket()), refused)
})

/** Starts a grandchild of ours by way of a shell, which connects to `path` and waits. */
function connectFromGrandchild(path: string) {
  const script = `require('net').connect(${JSON.stringify(path)}).resume()`
  return spawn('/bin/sh', ['-c', `"$0" -e "$1" & wait`, process.execPath, script], {
    stdio: 'ignore',
    detached: true,
  })
}

test('a real grandchild of a registered process is identified; a stranger is not', async (t) => {
  await using dir = await temporaryDir()
  const registry = createWorkloadRegistry({ clock: realClock })
  const found: (SpiffeId | undefined)[] = []
  const path = join(dir.path, 's')
  const server = createServer((socket) => {
    socket.on('error', () => {})
    const { signal } = new AbortController()
    void registry.identify(socket, signal).then((id) => found.push(id))
  }).listen(path)
  await once(server, 'listening')

  const shell = connectFromGrandchild(path)
  const { pid = 0 } = shell
  const stat = readProcess(pid)
  if (!stat) return t.fail('the shell did not start')
  registry.setWorkloads([{ pid, startTime: stat.startTime, spiffeId: api }])
  await until(() => found.length === 1, 'the grandchild')
  t.deepEqual(found, [api])

  const stranger = connect(path)
  await until(() => found.length === 2, 'the stranger')
  t.deepEqual(found, [api, undefined])
  stranger.destroy()
  process.kill(-pid, 'SIGKILL')
  server.close()
})
