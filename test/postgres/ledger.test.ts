/** Several CAs on one PostgreSQL are one CA. */
import { createPublicKey } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import test from 'ava'

import type { CaConfig } from '#ca/index.ts'
import { inclusionFault } from '#ca/log/index.ts'
import { type OpenAuthority, openAuthority } from '#ca/open-authority.ts'
import { makeCertificate } from '../ca/inspect/certificates.ts'
import { agentId, configIn, sha256, temporaryDir } from '../ca/harness.ts'
import { issueFrom } from '../ca/issue-from.ts'
import { newDatabase } from './database.ts'

const run = process.env['REDOUBT_TEST_POSTGRES'] === undefined ? test.skip : test.serial
const start = Temporal.Instant.from('2026-06-01T12:00:00Z')
const now = () => start

/** A database of its own for each test, and the configuration of CAs on it. */
async function database() {
  const dir = await temporaryDir()
  const shared = await newDatabase()
  const passphrase = join(dir.path, 'passphrase')
  await writeFile(passphrase, 'a passphrase of the ledger\n', { mode: 0o600 })
  return {
    query: shared.query,
    async config(replica: string, change: Partial<CaConfig> = {}): Promise<CaConfig> {
      const stateDir = join(dir.path, replica)
      await mkdir(stateDir, { recursive: true, mode: 0o700 })
      const ledger = { ...shared.ledger, passphrase: { file: passphrase } }
      return configIn(stateDir, { ledger, ...change })
    },
    async [Symbol.asyncDispose]() {
      await shared[Symbol.asyncDispose]()
      await dir[Symbol.asyncDispose]()
    },
  }
}

run(
  'two CAs that start at once on an empty database are one: one root, one log, one bundle',
  async (t) => {
    await using shared = await database()
    const configs = await Promise.all(['one', 'two', 'three'].map((name) => shared.config(name)))
    const authorities = await Promise.all(configs.map((config) => openAuthority(config, now)))
    try {
      const [first] = authorities
      if (!first) throw new Error('there is none')
      for (const one of authorities) {
        t.deepEqual(one.bundle.current, first.bundle.current)
        t.is(one.signer().authority.certificate.serial, first.signer().authority.certificate.serial)
        t.true(one.transparency.publicKey.equals(first.transparency.publicKey))
      }
      await Promise.all(
        authorities.flatMap((one) => Array.from({ length: 10 }, () => issueFrom(one, 20, now))),
      )
      for (const one of authorities) {
        t.like(await one.caLog.audit(), { ok: true, faultCount: 0, certificates: 602 })
        t.is((await one.caLog.head()).size, 602)
      }
    } finally {
      for (const one of authorities) await one[Symbol.asyncDispose]()
    }
  },
)

run('every certificate of either CA has a proof from the other', async (t) => {
  await using shared = await database()
  await using one = await openAuthority(await shared.config('one'), now)
  await using two = await openAuthority(await shared.config('two'), now)
  const issued = [...(await issueFrom(one, 30, now)), ...(await issueFrom(two, 30, now))]
  t.is(new Set(issued.map(({ serial }) => serial)).size, 60)
  for (const asked of [one, two]) {
    const key = createPublicKey(asked.caLog.publicKeyPem)
    for (const { serial, chain } of issued) {
      const proof = await asked.caLog.prove(serial)
      if (proof) t.is(inclusionFault(proof, chain[0] ?? new Uint8Array(), key), undefined)
      t.truthy(proof)
    }
  }
})

run('a join token works once, however many CAs are asked at the same time', async (t) => {
  await using shared = await database()
  await using one = await openAuthority(await shared.config('one'), now)
  await using two = await openAuthority(await shared.config('two'), now)
  const scope = ['spiffe://prod.example/ns/pay/*']
  const expiresAt = start.add({ minutes: 5 })
  await one.agents.add({ tokenSha256: sha256('once'), agentId, scope, expiresAt }, 'uid:0')
  const tries = await Promise.allSettled(
    Array.from({ length: 50 }, (_, at) => (at % 2 === 0 ? one : two).agents.consume('once', start)),
  )
  t.is(tries.filter(({ status }) => status === 'fulfilled').length, 1)
  t.is((await two.agents.find(agentId))?.id, agentId)
})

/** Steps that are due for both at once: each is taken once. */
run('no step of the keys is lost or done twice when all CAs find it due', async (t) => {
  await using shared = await database()
  let at = start
  const clock = () => at
  const configs = await Promise.all(['one', 'two', 'three'].map((name) => shared.config(name)))
  const all: OpenAuthority[] = []
  for (const config of configs) all.push(await openAuthority(config, clock))
  try {
    const [first] = all
    const serials = new Set([first?.signer().authority.certificate.serial])
    for (let hour = 0; hour < 15 * 24; hour += 6) {
      at = start.add({ hours: hour })
      await Promise.all(all.map((one) => one.keepUp()))
      await Promise.all(all.map((one) => one.keepUp()))
      const now = new Set(all.map((one) => one.signer().authority.certificate.serial))
      t.is(now.size, 1, 'all sign with the same')
      for (const serial of now) serials.add(serial)
      t.is(new Set(all.map((one) => JSON.stringify(one.authorities.book.current))).size, 1)
      t.is(new Set(all.map((one) => one.bundle.current.generation)).size, 1)
    }
    t.true(serials.size >= 3, `${serials.size} issuing CAs in 15 days of lives of 7`)
    const rows = await shared.query(`SELECT serial FROM certificates WHERE kind = 'issuing'`)
    const made = rows.map(({ serial }) => serial as string)
    t.true(made.length - serials.size <= 1, 'each was made once; the last may be prepared only')
    t.like(await first?.caLog.audit(), { ok: true })
  } finally {
    for (const one of all) await one[Symbol.asyncDispose]()
  }
})

run('what one CA denies, the other denies within two seconds', async (t) => {
  await using shared = await database()
  await using one = await openAuthority(await shared.config('one'), now)
  await using two = await openAuthority(await shared.config('two'), now)
  const call = { at: 1, caller: 'uid:0', action: 'revoke', detail: '{}', outcome: 'done' }
  const until = start.add({ hours: 1 })
  const denied = Promise.all(
    [one, two].map((ca, index) =>
      ca.denials.deny([{ kind: 'serial', value: `a${index}`, until }], call),
    ),
  )
  t.deepEqual(
    (await denied).toSorted((a, b) => a - b),
    [1, 2],
    'no generation is used twice',
  )
  const endMs = performance.now() + 2000
  const both = () => [one, two].every(({ denials }) => denials.list.current.entries.length === 2)
  while (!both() && performance.now() < endMs) await new Promise((done) => setTimeout(done, 20))
  t.true(both())
})

run(
  'keys in the database are sealed: without the passphrase nothing of them is to be read',
  async (t) => {
    await using shared = await database()
    await using one = await openAuthority(await shared.config('one'), now)
    t.truthy(one.signer())
    const rows = await shared.query('SELECT name, sealed FROM files')
    t.true(rows.length >= 5, 'the log’s key, root, issuing CA, key of tokens and their list')
    for (const { name, sealed } of rows) {
      const text = (sealed as Buffer).toString('latin1')
      t.notRegex(text, /PRIVATE|BEGIN|createdAt/, String(name))
    }
    const config = await shared.config('two')
    const other = join(config.stateDir, 'other')
    await writeFile(other, 'another passphrase\n', { mode: 0o600 })
    const wrong = { ...config, ledger: { ...config.ledger!, passphrase: { file: other } } }
    await t.throwsAsync(openAuthority(wrong, now), {
      code: 'CA_STATE_UNUSABLE',
      message: /its passphrase does not open it, or it was changed/,
    })
  },
)

run(
  'a server that nobody vouches for is refused, and no password is in what is said',
  async (t) => {
    await using shared = await database()
    const config = await shared.config('one')
    const stranger = join(config.stateDir, 'stranger.pem')
    await writeFile(stranger, (await makeCertificate({ ca: true })).pem)
    const tried = async (ledger: object) => {
      const changed = { ...config, ledger: { ...config.ledger!, ...ledger } }
      const error = await t.throwsAsync(openAuthority(changed, now), { code: 'CA_STATE_UNUSABLE' })
      t.notRegex(error?.message ?? '', /a password for tests/)
      return error?.message
    }
    t.regex((await tried({ caFile: stranger })) ?? '', /certificate/)
    const bad = join(config.stateDir, 'bad')
    await writeFile(bad, 'not it\n', { mode: 0o600 })
    t.regex((await tried({ password: { file: bad } })) ?? '', /password authentication failed/)
    t.regex((await tried({ url: 'postgres://redoubt@127.0.0.1:1/x' })) ?? '', /127\.0\.0\.1:1\/x/)
  },
)

run(
  'a row that a database administrator changes is found, and no CA starts on a log whose tail is cut',
  async (t) => {
    await using shared = await database()
    const config = await shared.config('one')
    {
      await using one = await openAuthority(config, now)
      await issueFrom(one, 30, now)
      await shared.query(`UPDATE certificates SET subject = 'x' WHERE log_index = 9`)
      t.like((await one.caLog.audit()).faults[0], { what: 'changed', index: 9 })
      await shared.query('DELETE FROM log_leaves WHERE log_index > 20')
      await shared.query('DELETE FROM certificates WHERE log_index > 20')
    }
    await t.throwsAsync(openAuthority(config, now), { message: /Cannot go on with the log/ })
  },
)
