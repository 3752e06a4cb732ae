/** How an agent hears what is denied, tells its processes, and what it does about itself. */
import { once } from 'node:events'
import { Server, ServerCredentials, status } from '@grpc/grpc-js'
import test from 'ava'
import { openSvid } from '#agent/client/index.ts'
import { TrustClient, TrustUpdate } from '#agent/proto/gen/trust.ts'
import { SpiffeWorkloadAPIService } from '#agent/proto/gen/workload.ts'
import { type DenyKind, NO_DENIALS } from '#ca/x509/index.ts'
import {
  agentId,
  attestedClient,
  failureOf,
  newCsr,
  realClock,
  startCa,
  temporaryDir,
  trustDomain,
  workloadId,
} from '#test/ca/harness.ts'
import { FakeClock } from '#test/fakes/fake-clock.ts'
import { denyChangesFromProto, denyChangesToProto } from '../../agent/trust/deny-changes.ts'
import { createFollowers } from '../../agent/trust/followers.ts'
import { createTrust } from '../../agent/trust/trust.ts'
import { createUpdates } from '../../agent/trust/updates.ts'
import { type AgentStory, startStory, until, WorkloadClient } from './harness.ts'
import { credentials, Metadata } from '@grpc/grpc-js'

const NOW = Temporal.Instant.from('2026-11-21T12:00:00Z')

const CALL = { at: 0, caller: 'admin', action: 'revoke', detail: '', outcome: 'done' } as const

function deny(story: AgentStory, kind: DenyKind, value: string): Promise<number> {
  const call = { ...CALL, detail: value }
  return story.ca().denials.deny([{ kind, value, until: story.now().add({ hours: 1 }) }], call)
}

test('an SVID that is revoked is served no more, and replaced at once', async (t) => {
  await using story = await startStory()
  using client = new WorkloadClient(story.agent)
  const heard = client.svids()
  await until(() => heard.messages.length === 1)
  await deny(story, 'serial', story.rotations[0]?.serial ?? '')
  await until(() => heard.messages.length === 2, 'its successor')
  t.is(story.rotations.length, 2)
  t.not(story.rotations[1]?.serial, story.rotations[0]?.serial)
  t.is(story.clock.nowMs(), 0, 'no clock had to move')
})

test('users §1.3.34: a workload whose identity is revoked hears PermissionDenied at once, and gets it back when that is undone', async (t) => {
  await using story = await startStory()
  using client = new WorkloadClient(story.agent)
  const heard = client.svids()
  await until(() => heard.messages.length === 1)
  await deny(story, 'spiffe-id', workloadId)
  await until(() => heard.failure() !== undefined, 'its end')
  t.is(heard.failure()?.code, status.PERMISSION_DENIED)
  t.deepEqual([heard.messages.length, story.agent.held().length], [1, 0])
  t.is(story.clock.nowMs(), 0, 'no clock had to move')
  t.regex(await story.agent.metrics(), /^redoubt_agent_deny_list_entries 1$/m)
  await story.ca().denials.lift([{ kind: 'spiffe-id', value: workloadId }], CALL)
  await until(() => story.agent.denials.current.entries.every(({ lifted }) => lifted), 'it')
  t.regex(await story.agent.metrics(), /^redoubt_agent_deny_list_entries 0$/m)
  const again = client.svids()
  await until(() => again.messages.length === 1)
})

test('an agent whose own certificate is revoked has to prove its node again, and can', async (t) => {
  await using story = await startStory()
  const { current } = story.agent.node
  const serial = current.kind === 'attested' ? current.svid.serial : ''
  await until(() => story.ca().subscribers().length === 1, 'the agent to follow')
  await deny(story, 'serial', serial)
  await until(() => story.agent.node.current.kind === 'unattested', 'the agent to hear of it')
  t.deepEqual(story.agent.health().reasons, [
    `the node is not attested: its certificate was revoked (the serial ${serial} is on the deny-list); attest again with a join token or other evidence`,
  ])
  await story.agent.attest(await story.token())
  using client = new WorkloadClient(story.agent)
  const heard = client.svids()
  await until(() => heard.messages.length === 1)
  t.true(story.agent.health().ready)
})

for (const [what, kind, says] of [
  [
    'its certificate',
    'serial',
    /^its certificate was revoked \(the serial \w+ is on the deny-list\); attest again with a join token/,
  ],
  [
    'its identity',
    'spiffe-id',
    /^its identity was revoked \(the spiffe-id \S+ is on the deny-list\): nobody has it until that is undone/,
  ],
] as const) {
  test(`an agent that was away while ${what} was revoked says so, and what to do`, async (t) => {
    await using story = await startStory({ leafTtl: 'PT20M' })
    const { current } = story.agent.node
    const serial = current.kind === 'attested' ? current.svid.serial : ''
    await until(() => story.ca().subscribers().length === 1, 'the agent to follow')
    await story.stopCa()
    await story.startCa()
    await deny(story, kind, kind === 'serial' ? serial : agentId)
    t.is(story.agent.node.current.kind, 'attested', 'nobody has told it yet')
    const reason = () => {
      const { current: now } = story.agent.node
      return now.kind === 'unattested' ? now.reason : ''
    }
    for (let turns = 0; reason() === '' && turns < 40; turns += 1) await story.pass(250)
    t.regex(reason(), says)
    t.deepEqual(story.agent.health().reasons, [`the node is not attested: ${reason()}`])
    if (kind === 'spiffe-id') return
    await story.agent.attest(await story.token())
    t.true(story.agent.health().ready)
  })
}

test('users §1.3.34: taint renews the agent itself and its workloads before revoke, and nobody is without a certificate', async (t) => {
  await using story = await startStory()
  using client = new WorkloadClient(story.agent)
  const heard = client.svids()
  await until(() => heard.messages.length === 1)
  const unattested = () => story.log.filter(({ event }) => event === 'node-unattested').length
  const keyOf = () => {
    const { current } = story.agent.node
    return current.kind === 'attested' ? current.svid.keyIds[1] : undefined
  }
  const { keyId = '' } = story.ca().authorities.book.current.authorities[1] ?? {}
  t.is(keyOf(), keyId)
  await story.ca().taint({ name: 'uid:1000' }, keyId)
  await until(() => story.agent.bundle.current.renewKeys?.includes(keyId) ?? false)
  await story.pass(2000)
  await until(() => keyOf() !== keyId && story.rotations.length === 2, 'both')
  const entry = { kind: 'key-id', value: keyId, until: story.now().add({ hours: 1 }) } as const
  const call = { at: 0, caller: 'admin', action: 'revoke', detail: keyId, outcome: 'done' }
  await story.ca().denials.deny([entry], call)
  await story.pass(2000)
  t.deepEqual([unattested(), story.rotations.length], [0, 2])
  t.true(story.agent.health().ready)
})

test('the CA answers nobody who is denied, and ends what is open once they could hear why', async (t) => {
  const clock = new FakeClock()
  await using running = await startCa({}, { clock })
  using agent = await attestedClient(running.ca)
  const stream = agent.client.raw.bundles()
  stream.write({ generation: 0n, denials: 0n, name: 'node', subscribers: [] })
  await once(stream, 'data')
  const call = { at: 0, caller: 'admin', action: 'revoke', detail: '', outcome: 'done' }
  const until = Temporal.Now.instant().add({ hours: 1 })
  const told = once(stream, 'data')
  const ended = once(stream, 'error')
  const entry = { kind: 'spiffe-id', value: agent.svid.spiffeId, until } as const
  await running.ca.denials.deny([entry], call)
  const [{ denials }] = (await told) as [{ denials: Parameters<typeof denyChangesFromProto>[0] }]
  t.is(denyChangesFromProto(denials).entries[0]?.value, agent.svid.spiffeId)
  const asked = agent.client.issue({ spiffeId: workloadId, csr: newCsr() })
  t.like(await failureOf(asked), { code: status.UNAUTHENTICATED, reason: 'CA_CALLER_UNKNOWN' })
  await clock.advance(250)
  await ended
})

test('openSvid() resolves when it is known what is denied, and not before', async (t) => {
  await using story = await startStory()
  await deny(story, 'serial', 'ab')
  const ending = new AbortController()
  const deps = { ...story.deps, socketPath: story.agent.socketPath, clock: realClock }
  const svid = await openSvid(deps, ending.signal)
  t.true(svid.current.bundles[0]?.denies?.('serial', 'ab', story.now()))
  const first = svid.current
  await deny(story, 'serial', 'cd')
  await until(() => svid.current !== first)
  t.is(svid.current.serial, first.serial)
  t.true(svid.current.bundles[0]?.denies?.('serial', 'cd', story.now()))
  await story.agent[Symbol.asyncDispose]()
  t.true(svid.current.bundles[0]?.denies?.('serial', 'ab', story.now()), 'nothing is forgotten')
  ending.abort()
})

test('openSvid() goes on with an agent of somebody else, who does not tell what is denied, and says so', async (t) => {
  await using story = await startStory()
  await using dir = await temporaryDir()
  using client = new WorkloadClient(story.agent)
  const heard = client.svids()
  await until(() => heard.messages.length === 1)
  const server = new Server()
  const [response] = heard.messages
  server.addService(SpiffeWorkloadAPIService, {
    fetchX509Svid: (call: { write: (message: unknown) => void }) => call.write(response),
  } as never)
  const socketPath = `${dir.path}/other.sock`
  await new Promise((resolve) =>
    server.bindAsync(`unix:${socketPath}`, ServerCredentials.createInsecure(), resolve),
  )
  const ending = new AbortController()
  const events: string[] = []
  const log = (_: string, event: string) => void events.push(event)
  const svid = await openSvid({ ...story.deps, log, socketPath, clock: realClock }, ending.signal)
  t.is(svid.current.bundles[0]?.denies, undefined)
  t.deepEqual(events, ['deny-list-unknown'])
  ending.abort()
  server.forceShutdown()
})

test('the trust stream is for the processes of this node only, and with the header', async (t) => {
  await using story = await startStory()
  const ask = async (metadata: Metadata): Promise<number> => {
    const client = new TrustClient(`unix:${story.agent.socketPath}`, credentials.createInsecure())
    const call = client.follow(metadata)
    call.write({ generation: 0n, denials: 0n, name: '' })
    const outcome = await Promise.race([
      once(call, 'data').then(() => status.OK),
      new Promise<number>((resolve) =>
        call.on('error', (cause) => resolve((cause as unknown as { code: number }).code)),
      ),
    ])
    call.on('error', () => {})
    call.cancel()
    client.close()
    return outcome
  }
  const header = new Metadata()
  header.set('workload.spiffe.io', 'true')
  t.is(await ask(header), status.OK)
  t.is(await ask(new Metadata()), status.INVALID_ARGUMENT)
  story.callersAre(undefined)
  t.is(await ask(header), status.PERMISSION_DENIED)
})

test('changes of the deny-list that are not in order leave the last good list in force', (t) => {
  const trust = createTrust(
    { trustDomain, generation: 1, roots: [] },
    { now: () => NOW, log: () => {} },
  )
  const until = NOW.add({ hours: 1 })
  const entry = (value: string, generation: number) =>
    ({ kind: 'serial', value, until, generation, lifted: false }) as const
  trust.take(trust.bundle.current, { base: 0, generation: 3, entries: [entry('ab', 3)] })
  const gap = { base: 7, generation: 8, entries: [entry('cd', 8)] }
  t.throws(() => trust.take(trust.bundle.current, gap), { code: 'AGENT_BUNDLE_INVALID' })
  t.is(trust.denials.current.generation, 3)
  t.true(trust.current().denies?.('serial', 'ab', NOW))
  t.false(trust.current().denies?.('serial', 'cd', NOW))

  const [good] = denyChangesToProto({ base: 0, generation: 1, entries: [entry('ab', 1)] }).entries
  t.truthy(good)
  for (const change of [{ kind: 'ip-address' }, { value: 'not hex' }, { kind: '' }]) {
    const entries = good ? [{ ...good, ...change }] : []
    t.throws(() => denyChangesFromProto({ base: 0n, generation: 1n, entries }), {
      code: 'AGENT_BUNDLE_INVALID',
    })
  }
  t.deepEqual(denyChangesFromProto(undefined), { base: 0, ...NO_DENIALS })
})

test('all who have come as far are told the same bytes, and what has changed or ended is not in them', (t) => {
  let now = NOW
  const first = { trustDomain, generation: 1, roots: [Uint8Array.of(1)] }
  const trust = createTrust(first, { now: () => now, log: () => {} })
  const updates = createUpdates({ trust, now: () => now })
  const entry = (value: string, generation: number, seconds: number) => {
    const until = NOW.add({ seconds })
    return { kind: 'serial', value, until, generation, lifted: false } as const
  }
  const told = (since: number) => {
    const { bytes, denials } = updates(since)
    const message = TrustUpdate.decode(bytes)
    const values = message.denials?.entries.map(({ value }) => value)
    return [Number(message.generation), denials, values]
  }
  t.deepEqual(told(0), [1, 0, []])
  t.is(updates(0), updates(0), 'encoded once')
  const entries = [entry('0a', 1, 60), entry('0b', 2, 30)]
  trust.take(first, { base: 0, generation: 2, entries })
  t.deepEqual(told(0), [1, 2, ['0a', '0b']])
  t.deepEqual(told(1), [1, 2, ['0b']])
  t.deepEqual(told(0), [1, 2, ['0a', '0b']])
  t.is(updates(0), updates(0))
  now = NOW.add({ seconds: 30 })
  t.deepEqual(told(0), [1, 2, ['0a']], 'one has ended')
  trust.take({ ...first, generation: 2, roots: [] }, { base: 2, generation: 2, entries: [] })
  t.deepEqual(told(0), [2, 2, ['0a']])
})

test('reports say all at first, then what has changed, and what changed twice once', async (t) => {
  const followers = createFollowers()
  const ending = new AbortController()
  const reports = followers.reports(ending.signal)
  const next = async () => (await reports.next()).value ?? []
  t.deepEqual(await next(), [])
  using first = followers.open(workloadId)
  const second = followers.open(workloadId)
  first.hear('a', { generation: 1, denials: 0 })
  first.hear('a', { generation: 1, denials: 1 })
  second.hear('b', { generation: 1, denials: 1 })
  const news = await next()
  t.deepEqual(
    news.map(({ number, follower }) => [number, follower?.name, follower?.denials]),
    [
      [1, 'a', 1],
      [2, 'b', 1],
    ],
  )
  second[Symbol.dispose]()
  t.deepEqual(await next(), [{ number: 2, follower: undefined }])
  t.is(followers.list().length, 1)
  const brief = followers.open(workloadId)
  brief.hear('c', { generation: 1, denials: 1 })
  brief[Symbol.dispose]()
  const late = followers.reports(ending.signal)
  t.deepEqual(
    (await late.next()).value?.map(({ number }) => number),
    [1],
    'a later one hears all',
  )
  first.hear('a', { generation: 2, denials: 1 })
  for (const one of [reports, late]) {
    const { value } = await one.next()
    t.deepEqual(
      value?.map(({ number, follower }) => [number, follower?.generation]),
      [[1, 2]],
    )
  }
  ending.abort()
})
