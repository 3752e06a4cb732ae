/** The Workload API as a stranger's client meets it: real socket, real CA, a clock that the test moves. */
import { createPrivateKey, createPublicKey, X509Certificate } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import { status } from '@grpc/grpc-js'
import test from 'ava'
import { parseSpiffeId } from '#ca/spiffe/index.ts'
import { verifySvid } from '#ca/x509/index.ts'
import { write } from '../../agent/write.ts'
import { splitDer } from '../../agent/client/split-der.ts'
import { agentId, trustDomain, workloadId } from '#test/ca/harness.ts'
import type { DiscoveryResponse } from '#agent/proto/gen/envoy/service/discovery/v3/discovery.ts'
import { hear, sdsClient, securityHeader, startStory, until, WorkloadClient } from './harness.ts'
import { openRawCall, rawCall } from '#test/fakes/raw-grpc.ts'

const otherId = parseSpiffeId('spiffe://prod.example/ns/pay/sa/other')

test('FetchX509SVID gives certificate, PKCS#8 key and bundle that fit together', async (t) => {
  await using story = await startStory()
  using client = new WorkloadClient(story.agent)
  const heard = client.svids()
  await until(() => heard.messages.length > 0, 'the first response')

  const { svids, crl, federatedBundles } = heard.newest()
  t.is(svids.length, 1)
  t.deepEqual([crl, federatedBundles], [[], {}])
  const [svid] = svids
  if (!svid) return t.fail('no SVID')
  t.is(svid.spiffeId, workloadId)
  const chain = splitDer(svid.x509Svid)
  const bundle = { trustDomain, generation: 1, roots: splitDer(svid.bundle) }
  const verdict = verifySvid(chain, [bundle], story.now(), 'client')
  t.is(verdict.kind === 'ok' && verdict.id, workloadId)
  const key = createPrivateKey({ key: svid.x509SvidKey, format: 'der', type: 'pkcs8' })
  const leaf = new X509Certificate(chain[0] ?? Buffer.alloc(0))
  t.true(leaf.checkPrivateKey(key))
})

for (const [what, metadata] of Object.entries({
  'no header': undefined,
  'the header in another case': securityHeader('True'),
  'the header with another value': securityHeader('1'),
})) {
  test(`the Workload API refuses ${what} with InvalidArgument before it looks at the caller (identity-standards §5.6)`, async (t) => {
    let looked = 0
    await using story = await startStory({
      identify: async () => {
        looked += 1
        return undefined
      },
    })
    using client = new WorkloadClient(story.agent)
    const { Metadata } = await import('@grpc/grpc-js')
    for (const heard of [
      client.svids(metadata ?? new Metadata()),
      client.bundles(metadata ?? new Metadata()),
    ]) {
      await until(() => heard.failure() !== undefined)
      t.is(heard.failure()?.code, status.INVALID_ARGUMENT)
      t.regex(heard.failure()?.details ?? '', /workload\.spiffe\.io/)
    }
    t.is(looked, 1) // at the connection itself, and for neither call
  })
}

for (const method of ['FetchWITSVID', 'FetchWITBundles']) {
  test(`identity-standards §5.6: ${method} is Unimplemented, whoever asks`, async (t) => {
    await using story = await startStory()
    using client = new WorkloadClient(story.agent)
    const bytes = () => Buffer.alloc(0)
    const path = `/SpiffeWorkloadAPI/${method}`
    const stream = client.raw.makeServerStreamRequest(path, bytes, bytes, {}, securityHeader())
    const heard = hear(stream)
    await until(() => heard.failure() !== undefined)
    t.is(heard.failure()?.code, status.UNIMPLEMENTED)
  })
}

test('the Workload API refuses a caller that nobody registered with PermissionDenied', async (t) => {
  await using story = await startStory()
  story.callersAre(undefined)
  using client = new WorkloadClient(story.agent)
  for (const heard of [client.svids(), client.bundles()]) {
    await until(() => heard.failure() !== undefined)
    t.is(heard.failure()?.code, status.PERMISSION_DENIED)
    t.deepEqual(heard.messages, [])
  }
  t.deepEqual(story.agent.held(), [])
})

test('an identity outside the scope of the node is refused with PermissionDenied', async (t) => {
  await using story = await startStory({ scope: [workloadId] })
  story.callersAre(otherId)
  using client = new WorkloadClient(story.agent)
  const heard = client.svids()
  await until(() => heard.failure() !== undefined)
  t.is(heard.failure()?.code, status.PERMISSION_DENIED)
  t.regex(heard.failure()?.details ?? '', /CA_NOT_ADMITTED/)

  story.callersAre(workloadId)
  const again = client.svids()
  await until(() => again.messages.length === 1)
  t.is(again.newest().svids[0]?.spiffeId, workloadId)
})

test('a caller that lost its identity gets PermissionDenied at the next push, and no certificate', async (t) => {
  await using story = await startStory()
  using client = new WorkloadClient(story.agent)
  const heard = client.svids()
  await until(() => heard.messages.length === 1)
  story.callersAre(undefined)
  await story.pass(9000)
  await until(() => heard.failure() !== undefined)
  t.is(heard.failure()?.code, status.PERMISSION_DENIED)
  t.is(heard.messages.length, 1)
})

test('identity-standards §5.6: PermissionDenied in mid-stream, at once, when the caller is taken off the list', async (t) => {
  await using story = await startStory()
  using client = new WorkloadClient(story.agent)
  using secrets = sdsClient(story.agent)
  const stream = secrets.raw.streamSecrets()
  const sds = hear<DiscoveryResponse>(stream)
  const nothing = { versionInfo: '', node: undefined, responseNonce: '', errorDetail: undefined }
  stream.write({ ...nothing, typeUrl: '', resourceNames: ['default'] })
  const heard = [client.svids(), client.bundles(), sds]
  for (const one of heard) await until(() => one.messages.length === 1)
  story.agent.callersChanged() // of somebody else
  await setImmediate()
  t.true(heard.every((one) => one.failure() === undefined))
  story.callersAre(undefined)
  story.agent.callersChanged()
  for (const one of heard) {
    await until(() => one.failure() !== undefined)
    t.is(one.failure()?.code, status.PERMISSION_DENIED)
    t.is(one.messages.length, 1)
  }
  await until(() => story.agent.load().calls === 0)
  t.is(story.clock.nowMs(), 0, 'no clock had to move')
})

test('a caller that became another identity is not given the other one on the same stream', async (t) => {
  await using story = await startStory()
  using client = new WorkloadClient(story.agent)
  const heard = client.svids()
  await until(() => heard.messages.length === 1)
  story.callersAre(otherId)
  await story.pass(9000)
  await until(() => heard.failure() !== undefined)
  t.is(heard.failure()?.code, status.PERMISSION_DENIED)
  t.deepEqual(
    heard.messages.map(({ svids }) => svids[0]?.spiffeId),
    [workloadId],
  )
})

test('every rotation is pushed at half life with a new key and a new serial, on all streams (users §1.1.5)', async (t) => {
  await using story = await startStory()
  using one = new WorkloadClient(story.agent)
  using two = new WorkloadClient(story.agent)
  const streams = [one.svids(), one.svids(), two.svids()]
  await until(() => streams.every(({ messages }) => messages.length === 1))
  t.is(story.rotations.length, 1, 'one fetch for three callers')

  for (let life = 1; life <= 20; life += 1) {
    await story.pass(8000)
    await until(() => streams.every(({ messages }) => messages.length === life + 1), `life ${life}`)
  }
  const keys = streams.map(({ messages }) =>
    messages.map(({ svids }) => {
      const key = svids[0]?.x509SvidKey ?? Buffer.alloc(0)
      return createPublicKey(createPrivateKey({ key, format: 'der', type: 'pkcs8' }))
        .export({ type: 'spki', format: 'der' })
        .toString('hex')
    }),
  )
  t.is(new Set(keys[0]).size, 21)
  t.deepEqual(keys[1], keys[0])
  t.deepEqual(keys[2], keys[0])
  t.is(new Set(story.rotations.map(({ serial }) => serial)).size, 21)
  t.is(story.rotations.length, 21)
})

test('FetchX509Bundles gives the bundle by trust domain ID (users §1.2.24)', async (t) => {
  await using story = await startStory()
  using client = new WorkloadClient(story.agent)
  const heard = client.bundles()
  await until(() => heard.messages.length > 0)
  t.deepEqual(heard.newest(), {
    crl: [],
    bundles: { 'spiffe://prod.example': Buffer.concat(story.ca().bundle.current.roots) },
  })
})

test('while the CA is away the last good one stays; once it has expired it is served to nobody (users §1.1.16)', async (t) => {
  await using story = await startStory({ config: { ownTtl: Temporal.Duration.from('PT1H') } })
  await story.pass(9000) // the agent's own, of 16 s first, is renewed for an hour
  using client = new WorkloadClient(story.agent)
  const first = client.svids()
  await until(() => first.messages.length === 1)
  const [{ serial, notAfter } = {}] = story.rotations
  const overdue = async () =>
    Number(/^redoubt_agent_renewal_overdue_seconds (.*)$/m.exec(await story.agent.metrics())?.[1])
  t.is(await overdue(), 0)
  for (const id of [agentId, workloadId]) {
    const row = `redoubt_agent_svid_not_after_seconds{spiffe_id="${id}"} `
    t.true((await story.agent.metrics()).includes(row), 'its own certificate, too')
  }
  await story.stopCa()

  await story.pass(12_000)
  t.is(first.messages.length, 1)
  const late = client.svids()
  await until(() => late.messages.length === 1)
  t.deepEqual(late.newest(), first.newest(), 'a newcomer past half life gets the last good one')
  t.false(story.agent.health().ready)
  t.regex(story.agent.health().reasons.join(), /has not been renewed/)
  const seconds = await overdue()
  t.true(seconds >= 2 && seconds <= 6, `it is overdue since 4 s or so: ${seconds}`)

  await story.pass(5000)
  t.true(notAfter && Temporal.Instant.compare(story.now(), notAfter) > 0)
  const tooLate = client.svids()
  await story.pass(2000)
  t.deepEqual(tooLate.messages, [])
  t.is(first.failure(), undefined)
  t.deepEqual(story.agent.held(), [])

  await story.startCa()
  await story.pass(3000)
  await until(() => tooLate.messages.length === 1, 'the CA to be found again')
  await until(() => first.messages.length === 2)
  t.not(story.rotations.at(-1)?.serial, serial)
  t.true(story.agent.health().ready)
  t.is(await overdue(), 0)
})

test('a node that the CA does not know any more says so, and goes on after a new token (users §1.1.3)', async (t) => {
  await using story = await startStory({ joinToken: 'none' })
  t.regex(story.agent.health().reasons.join(), /not attested/)
  using client = new WorkloadClient(story.agent)
  const heard = client.svids()
  await story.pass(1000)
  t.deepEqual([heard.messages, heard.failure()], [[], undefined], 'it waits')

  await story.agent.attest(await story.token())
  await until(() => heard.messages.length === 1)
  t.true(story.agent.health().ready)

  await t.throwsAsync(story.agent.attest('00'.repeat(32)), {
    code: 'AGENT_ATTESTATION_REFUSED',
    message: /^Cannot attest this node: .*CA_TOKEN_REFUSED/,
  })
  t.true(story.agent.health().ready, 'a wrong token changes nothing')
})

test('the node that was away past the end of its own SVID is unattested until it attests anew (users §1.1.15)', async (t) => {
  await using story = await startStory()
  await story.stopCa()
  await story.pass(17_000)
  t.is(story.agent.node.current.kind, 'unattested')
  await story.startCa()
  await story.agent.attest(await story.token())
  t.is(story.agent.node.current.kind, 'attested')
  using client = new WorkloadClient(story.agent)
  const heard = client.svids()
  await until(() => heard.messages.length === 1)
  t.is(heard.newest().svids[0]?.spiffeId, workloadId)
})

test('a caller that dies leaves no call, no connection and, when it is due, no certificate', async (t) => {
  await using story = await startStory()
  {
    using client = new WorkloadClient(story.agent)
    const streams = Array.from({ length: 20 }, () => client.svids())
    await until(() => streams.every(({ messages }) => messages.length === 1))
    t.deepEqual(story.agent.load(), { calls: 20, connections: 1 })
    t.is(story.agent.held()[0]?.holders, 20)
    for (const { stream } of streams) stream.on('error', () => {})
    for (const { stream } of streams) stream.cancel()
  }
  await until(() => story.agent.load().connections === 0, 'the connection to go')
  t.deepEqual(story.agent.load(), { calls: 0, connections: 0 })
  await until(() => story.agent.held()[0]?.holders === 0)
  await story.pass(9000)
  t.deepEqual(story.agent.held(), [])
  t.is(story.rotations.length, 1)
})

test('a connection that proves no identity is closed after a while, one that did is not', async (t) => {
  await using story = await startStory()
  using known = new WorkloadClient(story.agent)
  const heard = known.svids()
  await until(() => heard.messages.length === 1)
  story.callersAre(undefined)
  using stranger = new WorkloadClient(story.agent)
  const refused = stranger.svids()
  await until(() => refused.failure() !== undefined)
  t.is(story.agent.load().connections, 2)
  story.callersAre(workloadId)
  await story.pass(10_500)
  await until(() => story.agent.load().connections === 1, 'the stranger to be cut off')
  t.is(heard.failure(), undefined)
})

test('callers that die in mid-stream, by the hundred, leave no call, no connection and no follower', async (t) => {
  await using story = await startStory({ leafTtl: 'PT1H' })
  const calls = [
    rawCall(
      { path: '/SpiffeWorkloadAPI/FetchX509SVID' },
      { path: '/redoubt.agent.v1.Trust/Follow', ends: false },
    ),
    rawCall({ path: '/SpiffeWorkloadAPI/FetchX509Bundles' }),
    rawCall({ path: '/SpiffeWorkloadAPI/FetchJWTBundles' }),
  ]
  for (let round = 0; round < 25; round += 1) {
    const opened = calls.flatMap((call) =>
      Array.from({ length: 4 }, () => openRawCall(story.agent.socketPath, call)),
    )
    await Promise.all(opened.filter((_, at) => at % 4 !== 3).map(({ answered }) => answered))
    for (const { socket } of opened) socket.destroy()
  }
  await until(() => story.agent.load().connections === 0, 'them to be gone')
  t.deepEqual(story.agent.load(), { calls: 0, connections: 0 })
  t.is(story.rotations.length, 1, 'one fetch for all of them')
  t.is(story.agent.held()[0]?.holders, 0)
  await until(() => story.ca().subscribers().length === 1, 'the CA to hear that they are gone')
})

test('one identity may have so many calls open and no more', async (t) => {
  await using story = await startStory()
  await using opened = new AsyncDisposableStack()
  const clients = Array.from({ length: 10 }, () => opened.use(new WorkloadClient(story.agent)))
  const streams = clients.flatMap((client) => Array.from({ length: 26 }, () => client.svids()))
  await until(() => streams.every(({ messages, failure }) => messages.length > 0 || failure()))
  const failures = streams.flatMap(({ failure }) => failure()?.code ?? [])
  t.deepEqual(
    failures,
    Array.from({ length: 4 }, () => status.UNAVAILABLE),
  )
  t.is(story.agent.load().calls, 256)
})

test('one connection has 64 calls open and no more; the next is answered when one ends', async (t) => {
  await using story = await startStory()
  using client = new WorkloadClient(story.agent)
  const [first] = [client.svids()]
  await until(() => first.messages.length === 1, 'the settings of the connection')
  const others = Array.from({ length: 65 }, () => client.svids())
  const answered = () => others.filter(({ messages }) => messages.length > 0).length
  await until(() => answered() === 63)
  t.is(story.agent.load().calls, 64)
  first.stream.on('error', () => {}).cancel()
  await until(() => answered() === 64)
  t.is(story.agent.load().calls, 64)
})

test('a caller that does not read holds one message, however often there is another', async (t) => {
  const written: number[] = []
  const ended = new AbortController()
  const call = {
    write: (message: number) => {
      written.push(message)
      return false
    },
    once: () => {},
    off: () => {},
  }
  const done = write(call, 1, ended.signal)
  t.is(await Promise.race([done.then(() => 'went on'), setImmediate('waits')]), 'waits')
  ended.abort()
  await done
  await write(call, 2, ended.signal)
  t.deepEqual(written, [1], 'nothing is written after the end')
})
