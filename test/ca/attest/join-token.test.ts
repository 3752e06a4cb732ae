import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import { adminIdOf } from '#ca/admin/administrator.ts'
import { createAgentRegistry, type JoinToken } from '#ca/attest/join-token.ts'
import { openDatabase } from '#ca/issue/database.ts'
import { createLedger } from '#ca/issue/ledger.ts'
import { openLog } from '#ca/issue/transparency.ts'
import { openStateDir } from '#ca/keys/state-dir.ts'
import { serverIdOf } from '#ca/server-id.ts'
import { parseSpiffeId } from '#ca/spiffe/index.ts'
import { agentId, sha256, temporaryDir, trustDomain } from '../harness.ts'

const now = Temporal.Instant.from('2026-06-01T12:00:00Z')
const scope = ['spiffe://prod.example/ns/pay/*']
const expiresAt = now.add({ minutes: 5 })

async function openRegistry() {
  const dir = await temporaryDir()
  const database = openDatabase(join(dir.path, 'ledger.db'))
  const { queries } = database
  const state = await openStateDir(dir.path)
  const log = await openLog({ ...database, state, trustDomain, now: () => now })
  const ledger = createLedger(database, log)
  const agents = createAgentRegistry({ queries, ledger, trustDomain, now: () => now })
  return {
    path: dir.path,
    agents: { ...agents, add: (given: JoinToken) => agents.add(given, 'a test') },
    queries,
    async [Symbol.asyncDispose]() {
      database[Symbol.dispose]()
      await dir[Symbol.asyncDispose]()
    },
  }
}

/** The valid base. */
const token = 'f'.repeat(64)
const joinToken: JoinToken = { tokenSha256: sha256(token), agentId, scope, expiresAt }

test('consume() gives the agent and its scope, and find() knows it from then on', async (t) => {
  await using registry = await openRegistry()
  const { agents } = registry
  await agents.add(joinToken)
  t.is(await agents.find(agentId), undefined)
  t.deepEqual(await agents.consume(token, now), { id: agentId, scope })
  t.deepEqual(await agents.find(agentId), { id: agentId, scope })
})

test('consume() of one token 50 times at once succeeds exactly once (users §2.2.22)', async (t) => {
  await using registry = await openRegistry()
  await registry.agents.add(joinToken)
  const uses = Array.from({ length: 50 }, () => registry.agents.consume(token, now))
  const outcomes = await Promise.allSettled(uses)
  t.is(outcomes.filter(({ status }) => status === 'fulfilled').length, 1)
  for (const outcome of outcomes) {
    if (outcome.status === 'rejected') t.is(outcome.reason.code, 'CA_TOKEN_REFUSED')
  }
})

const refused: Readonly<Record<string, readonly [change: Partial<JoinToken>, used: string]>> = {
  'an unknown token': [{}, randomBytes(32).toString('hex')],
  'an expired token': [{ expiresAt: now }, token],
  'an empty token': [{}, ''],
  'a token too long to be one': [{}, token.repeat(5)],
  'the hash in place of the token': [{}, sha256(token)],
  'a token in upper case': [{}, token.toUpperCase()],
}
for (const [what, [change, used]] of Object.entries(refused)) {
  test(`consume() refuses ${what}, with the one message there is`, async (t) => {
    await using registry = await openRegistry()
    await registry.agents.add({ ...joinToken, ...change })
    await t.throwsAsync(registry.agents.consume(used, now), {
      code: 'CA_TOKEN_REFUSED',
      message:
        'Cannot attest the agent: the join token is unknown, used or expired, expected a fresh one',
    })
    t.is(await registry.agents.find(agentId), undefined)
  })
}

test('consume() of another token by the same agent replaces its scope', async (t) => {
  await using registry = await openRegistry()
  const { agents } = registry
  await agents.add(joinToken)
  await agents.consume(token, now)
  const narrower = ['spiffe://prod.example/ns/pay/sa/api']
  await agents.add({ ...joinToken, tokenSha256: sha256('second'), scope: narrower })
  await agents.consume('second', now)
  t.deepEqual(await agents.find(agentId), { id: agentId, scope: narrower })
})

const invalid: Readonly<Record<string, Partial<JoinToken>>> = {
  'a hash that is none': { tokenSha256: 'abc' },
  'a hash in upper case': { tokenSha256: sha256(token).toUpperCase() },
  'an agent of another trust domain': { agentId: parseSpiffeId('spiffe://evil.example/ns/a/sa/b') },
  'a scope of another trust domain': { scope: ['spiffe://evil.example/*'] },
  'an agent with the name of the administrator': { agentId: adminIdOf(trustDomain) },
  'an agent with the name of the CA': { agentId: serverIdOf(trustDomain) },
  'the name of the administrator in a scope': { scope: [...scope, adminIdOf(trustDomain)] },
}
for (const [what, change] of Object.entries(invalid)) {
  test(`add() refuses ${what}`, async (t) => {
    await using registry = await openRegistry()
    await t.throwsAsync(registry.agents.add({ ...joinToken, ...change }), {
      code: 'CA_CONFIG_INVALID',
    })
  })
}

test('add() refuses a scope that is neither an ID nor a prefix, and a token that is known', async (t) => {
  await using registry = await openRegistry()
  const { agents } = registry
  for (const entry of ['*', 'spiffe://prod.example/ns/pay*', 'spiffe://prod.example/*/sa/a', '']) {
    await t.throwsAsync(
      agents.add({ ...joinToken, scope: [entry] }),
      { code: 'CA_ID_INVALID' },
      entry,
    )
  }
  await agents.add(joinToken)
  await t.throwsAsync(agents.add(joinToken), { code: 'CA_CONFIG_INVALID' })
  await agents.consume(token, now)
  await t.throwsAsync(
    agents.add(joinToken),
    { code: 'CA_CONFIG_INVALID' },
    'a used token cannot come back',
  )
})

test('the token itself is nowhere on the disk', async (t) => {
  await using registry = await openRegistry()
  await registry.agents.add(joinToken)
  await registry.agents.consume(token, now)
  for (const file of ['ledger.db', 'ledger.db-wal']) {
    const bytes = await readFile(join(registry.path, file))
    t.false(bytes.includes(token), file)
  }
})
