/** What an agent refuses to start with, and what it does not believe of a CA. */
import { once } from 'node:events'
import { mkdir, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import test from 'ava'
import { AgentError, openAgent } from '#agent/index.ts'
import { parseSpiffeId } from '#ca/spiffe/index.ts'
import { readCertificate } from '#ca/x509/index.ts'
import { agentId, temporaryDir, trustDomain, workloadId } from '#test/ca/harness.ts'
import { bundleFromProto, svidFromProto } from '../../agent/authority/from-proto.ts'
import { acceptSvid, createRequest } from '../../agent/svid/issued-svid.ts'
import { startStory } from './harness.ts'

test('openAgent() tells every fault of its configuration at once', async (t) => {
  await using story = await startStory()
  const socketPath = `relative/${'x'.repeat(107)}`
  const config = {
    ...story.config,
    agentId: parseSpiffeId('spiffe://other.example/ns/a/sa/b'),
    caAddress: 'nowhere',
    socketPath,
  }
  const failure = await t.throwsAsync<AgentError>(openAgent(config, story.deps))
  t.is(failure?.code, 'AGENT_CONFIG_INVALID')
  for (const what of [/agentId is/, /caAddress is "nowhere"/, /absolute path/, /at most 107/]) {
    t.regex(failure?.message ?? '', what)
  }
})

test('openAgent() does not start with a token that the CA refuses, and leaves no socket', async (t) => {
  await using story = await startStory()
  const socketPath = `${story.config.socketPath}2`
  const config = { ...story.config, socketPath, joinToken: 'ab'.repeat(32) }
  await t.throwsAsync(openAgent(config, story.deps), { code: 'AGENT_ATTESTATION_REFUSED' })
  await t.throwsAsync(stat(socketPath), { code: 'ENOENT' })
})

test('a join token attests one node: the second agent with it is refused', async (t) => {
  await using story = await startStory()
  const joinToken = await story.token()
  const outcomes = await Promise.allSettled(
    Array.from({ length: 5 }, (_, index) =>
      openAgent(
        { ...story.config, socketPath: `${story.config.socketPath}-${index}`, joinToken },
        story.deps,
      ),
    ),
  )
  const agents = outcomes.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []))
  t.is(agents.length, 1)
  await agents[0]?.[Symbol.asyncDispose]()
})

test('openAgent() replaces a stale socket, and neither one that is served nor anything else', async (t) => {
  await using story = await startStory()
  await t.throwsAsync(openAgent(story.config, story.deps), {
    code: 'AGENT_SOCKET_UNUSABLE',
    message: /another process serves on it$/,
  })

  await using dir = await temporaryDir()
  const file = join(dir.path, 'file')
  await writeFile(file, 'precious')
  await mkdir(join(dir.path, 'folder'))
  for (const socketPath of [file, join(dir.path, 'folder'), join(file, 'below'), '/proc/1/x']) {
    await t.throwsAsync(
      openAgent({ ...story.config, socketPath }, story.deps),
      { code: 'AGENT_SOCKET_UNUSABLE' },
      socketPath,
    )
  }

  const stale = join(dir.path, 'stale.sock')
  const crashed = createServer().listen(stale)
  await once(crashed, 'listening')
  const { _handle } = crashed as unknown as { _handle: { close: () => void } }
  _handle.close() // closes the descriptor and leaves the path, as a crash does
  const agent = await openAgent({ ...story.config, socketPath: stale }, story.deps)
  const { mode } = await stat(stale)
  t.is(mode & 0o777, 0o666, 'workloads of any uid may connect')
  await agent[Symbol.asyncDispose]()
  await t.throwsAsync(stat(stale), { code: 'ENOENT' }, 'it is gone with the agent')
})

test('bundleFromProto() takes no other domain, no older generation, and no root that is not a CA', async (t) => {
  await using story = await startStory()
  const { roots } = story.ca().bundle.current
  const message = {
    trustDomain,
    generation: 3n,
    roots: roots.map((root) => Buffer.from(root)),
    jwtKeys: Buffer.from('{"keys":[]}'),
    denials: undefined,
    renewKeys: [],
    federated: [],
  }
  const read = { trustDomain, after: 3 }
  t.is(bundleFromProto(message, read).generation, 3)
  t.deepEqual(bundleFromProto({ ...message, roots: [] }, read).roots, [], 'all is revoked')
  const wrong = {
    'another domain': { trustDomain: 'other.example' },
    'an older generation': { generation: 2n },
    'a generation beyond exact numbers': { generation: 2n ** 60n },
    'garbage for keys of tokens': { jwtKeys: Buffer.from('garbage') },
    'garbage for a root': { roots: [Buffer.from('garbage')] },
    'too many keys to renew': { renewKeys: Array.from({ length: 257 }, () => 'ab') },
    'a federation with itself': {
      federated: [{ trustDomain, roots: [], jwtKeys: Buffer.from('{"keys":[]}') }],
    },
    'garbage for a root of another domain': {
      federated: [
        {
          trustDomain: 'other.example',
          roots: [Buffer.from('garbage')],
          jwtKeys: Buffer.from('{"keys":[]}'),
        },
      ],
    },
    'too many roots': { roots: Array.from({ length: 65 }, () => message.roots[0] as Buffer) },
  }
  for (const [what, change] of Object.entries(wrong)) {
    const refused = { code: 'AGENT_BUNDLE_INVALID' } as const
    t.throws(() => bundleFromProto({ ...message, ...change }, read), refused, what)
  }
  t.throws(() => bundleFromProto(undefined, read), { code: 'AGENT_BUNDLE_INVALID' })
  t.true(readCertificate(roots[0] ?? new Uint8Array()).isCa)
})

test('acceptSvid() takes an answer for its own request only', async (t) => {
  await using story = await startStory()
  const state = story.agent.node.current
  if (state.kind !== 'attested') return t.fail('not attested')
  const bundles = [story.agent.bundle.current]
  const request = await createRequest(workloadId)
  const [answer] = await state.connection.issue([request], new AbortController().signal)
  if (!answer || answer instanceof AgentError) return t.fail(String(answer))
  const now = story.now()
  const taken = acceptSvid(request, answer, { bundles, now })
  t.is(taken.id, workloadId)
  const shared = new Uint8Array(answer.chain[1] ?? [])
  const again = acceptSvid(request, answer, { bundles, now, share: () => shared })
  t.deepEqual(again.chain, taken.chain)
  t.is(again.chain[1], shared, 'what is the same for all workloads is not kept for each')
  t.not(again.chain[0]?.buffer, answer.chain[0]?.buffer, 'nor a whole answer for a part of it')

  const other = await createRequest(workloadId)
  const wrong: readonly [string, RegExp, () => unknown][] = [
    ['another key', /not the one requested/, () => acceptSvid(other, answer, { bundles, now })],
    [
      'another name',
      /it names/,
      () => acceptSvid({ ...request, id: agentId }, answer, { bundles, now }),
    ],
    ['no trust', /unknown-trust-domain/, () => acceptSvid(request, answer, { bundles: [], now })],
    [
      'a later time',
      /Cannot take the SVID/,
      () => acceptSvid(request, answer, { bundles, now: now.add({ hours: 1 }) }),
    ],
    [
      'an issue after its end',
      /after its end/,
      () => acceptSvid(request, { ...answer, issuedAt: now.add({ hours: 1 }) }, { bundles, now }),
    ],
  ]
  for (const [what, message, take] of wrong) {
    t.throws(take, { code: 'AGENT_SVID_INVALID', message }, what)
  }
  t.throws(() => svidFromProto(undefined), { code: 'AGENT_SVID_INVALID' })
})

test('many identities due together go to the CA in few calls (users §1.1.17)', async (t) => {
  let caller = 0
  await using story = await startStory({
    identify: async () => parseSpiffeId(`spiffe://prod.example/ns/pay/sa/w${caller}`),
  })
  const state = story.agent.node.current
  if (state.kind !== 'attested') return t.fail('not attested')
  const { WorkloadClient, until } = await import('./harness.ts')
  await using clients = new AsyncDisposableStack()
  for (; caller < 20; caller += 1) {
    const client = clients.use(new WorkloadClient(story.agent))
    const heard = client.svids()
    await until(() => heard.messages.length === 1)
  }
  // Everybody is whoever they were; the fake identity would take it from them at the next push.
  t.is(story.agent.held().length, 20)
  const calls = () => story.ca().metrics()
  const before = countOf(await calls(), 'batch')
  await story.pass(8500)
  await until(() => story.rotations.length >= 40, 'all to rotate')
  const after = countOf(await calls(), 'batch')
  t.true(after - before <= 6, `${after - before} calls for 20 identities and the node`)
})

/** Sum of the counts of histograms whose name has `part`. */
function countOf(metrics: string, part: string): number {
  return metrics
    .split('\n')
    .filter((line) => line.includes(part) && line.includes('_count'))
    .reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0)
}
