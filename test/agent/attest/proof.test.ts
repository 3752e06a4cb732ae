/** Nodes that prove themselves by something that they can show again. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import { openAgent } from '#agent/index.ts'
import { pemFromDer } from '#ca/x509/index.ts'
import { agentId, temporaryDir } from '#test/ca/harness.ts'
import { ext, forgeIssuing, forgeLeaf, forgeRoot } from '#test/ca/x509/forge.ts'
import { type AgentStory, startStory, until, WorkloadClient } from '../harness.ts'

const scope = ['spiffe://prod.example/ns/pay/*']
const account = { namespace: 'redoubt-system', serviceAccount: 'redoubt-agent' }

test('an agent proves its node by its Kubernetes token, read at each attempt, and comes back by itself (users §1.1.4)', async (t) => {
  await using dir = await temporaryDir()
  const tokenFile = join(dir.path, 'token')
  await writeFile(tokenFile, 'first.token.x\n')
  const shown: string[] = []
  await using story = await startStory({
    joinToken: 'none',
    config: { proof: { kind: 'kubernetes', tokenFile } },
    attestation: {
      kubernetes: { audiences: ['redoubt-ca'], agents: [{ ...account, agentId, scope }] },
    },
    async reviewToken(token) {
      shown.push(token)
      const username = `system:serviceaccount:${account.namespace}:${account.serviceAccount}`
      return { kind: 'ok', username, groups: ['system:serviceaccounts'], audiences: ['redoubt-ca'] }
    },
  })
  t.is(story.agent.node.current.kind, 'attested')
  await story.stopCa()
  await story.pass(17_000)
  t.is(story.agent.node.current.kind, 'unattested', 'its SVID ran out while the CA was away')
  await writeFile(tokenFile, 'second.token.x\n')
  await story.startCa()
  for (let turn = 0; turn < 40 && story.agent.node.current.kind !== 'attested'; turn += 1) {
    await story.pass(1000)
  }
  t.is(story.agent.node.current.kind, 'attested')
  t.deepEqual(shown, ['first.token.x', 'second.token.x'])
  using client = new WorkloadClient(story.agent)
  const heard = client.svids()
  await until(() => heard.messages.length === 1)
})

/** As a kubelet projects it; nobody here looks at the signature. */
function projected(exp: Temporal.Instant): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  return `${part({ alg: 'RS256' })}.${part({ exp: Math.floor(exp.epochMilliseconds / 1000) })}.x\n`
}

test('users §1.1.4: a token that nobody renews is told before it is needed, and not sent once it has ended', async (t) => {
  await using dir = await temporaryDir()
  const tokenFile = join(dir.path, 'token')
  const start = Temporal.Instant.from('2026-11-21T12:00:00Z')
  await writeFile(tokenFile, projected(start.add({ seconds: 60 })))
  let shown = 0
  await using story = await startStory({
    leafTtl: 'PT1H',
    joinToken: 'none',
    config: { proof: { kind: 'kubernetes', tokenFile } },
    attestation: {
      kubernetes: { audiences: ['redoubt-ca'], agents: [{ ...account, agentId, scope }] },
    },
    async reviewToken() {
      shown += 1
      const username = `system:serviceaccount:${account.namespace}:${account.serviceAccount}`
      return { kind: 'ok', username, groups: ['system:serviceaccounts'], audiences: ['redoubt-ca'] }
    },
  })
  const left = async () =>
    /proof_expires_in_seconds\{kind="kubernetes"\} (-?\d+)/.exec(await story.agent.metrics())?.[1]
  await until(() => story.agent.health().ready)
  await story.pass(31_000)
  t.is(await left(), '29')
  await story.pass(30_000)
  t.is(await left(), '-1')
  t.regex(
    story.agent.health().reasons.join(),
    /^what this node proves itself by ended at .*12:01:00Z/,
  )

  const again = startStoryAgent(story, tokenFile)
  const refused = {
    message: /Cannot prove this node by .*token: it ended at .*, and nobody has renewed/,
  }
  await t.throwsAsync(again, refused)
  t.is(shown, 1, 'what has ended is not sent')
  await writeFile(tokenFile, projected(start.add({ hours: 2 })))
  await story.pass(31_000)
  await until(() => story.agent.health().ready)
})

/** A second agent that proves itself by the same file. */
async function startStoryAgent({ config, deps }: AgentStory, tokenFile: string): Promise<void> {
  const socketPath = `${config.socketPath}-2`
  const proof = { kind: 'kubernetes', tokenFile } as const
  await using _ = await openAgent({ ...config, socketPath, proof }, deps)
}

test('an agent proves its node by the certificate of its machine', async (t) => {
  await using dir = await temporaryDir()
  const start = Temporal.Instant.from('2026-11-21T12:00:00Z')
  const times = { notBefore: start.subtract({ hours: 1 }), notAfter: start.add({ hours: 1 }) }
  const noUri = { san: undefined }
  const root = forgeRoot({ ...times, extensions: noUri })
  const issuing = forgeIssuing(root, { ...times, extensions: noUri })
  const san = ext.san([[2, 'node-7.example']], false)
  const machine = forgeLeaf(issuing, { ...times, extensions: { san } })
  const chainFile = join(dir.path, 'machine.pem')
  const keyFile = join(dir.path, 'machine-key.pem')
  await writeFile(chainFile, pemFromDer('CERTIFICATE', [machine.der, issuing.der]))
  await writeFile(keyFile, machine.key.export({ type: 'pkcs8', format: 'pem' }))
  const rule = { roots: [root.der], name: 'node-7.example', agentId, scope }
  await using story = await startStory({
    joinToken: 'none',
    config: { proof: { kind: 'certificate', chainFile, keyFile } },
    attestation: { certificates: [rule] },
  })
  t.is(story.agent.node.current.kind, 'attested')
  const missing = { kind: 'certificate', chainFile, keyFile: join(dir.path, 'none.pem') } as const
  await t.throwsAsync(
    startStory({
      joinToken: 'none',
      config: { proof: missing },
      attestation: { certificates: [rule] },
    }),
    {
      code: 'AGENT_ATTESTATION_REFUSED',
      message: /Cannot prove this node by .*none\.pem: it is not there$/,
    },
  )
})

test('an agent that is given two proofs says so', async (t) => {
  const proof = { kind: 'kubernetes', tokenFile: '/token' } as const
  await t.throwsAsync(startStory({ config: { proof } }), {
    code: 'AGENT_CONFIG_INVALID',
    message: /joinToken and proof are both given, expected one$/,
  })
})
