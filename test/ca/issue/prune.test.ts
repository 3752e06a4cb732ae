/** Rows that go after their time, told from rows that were taken away. */
import { createPublicKey } from 'node:crypto'
import { cp } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'

import test from 'ava'

import { openLogState } from '#ca/index.ts'
import { consistencyFault, inclusionFault } from '#ca/log/index.ts'
import { openAuthority } from '#ca/open-authority.ts'
import { administrator } from '../admin/harness.ts'
import { FakeClock } from '../../fakes/fake-clock.ts'
import { configIn, newCsr, startCa, temporaryDir } from '../harness.ts'
import { issueFrom } from '../issue-from.ts'

const start = Temporal.Instant.from('2026-06-01T12:00:00Z')
const days = (count: number) => Temporal.Duration.from({ hours: 24 * count })
const config = { caTtl: Temporal.Duration.from('P30D') }

/** A ledger of 30 leaves of an hour, in three batches a day apart; then two days pass, and what ended a day ago goes. */
async function pruned(path: string) {
  let at = start
  const now = () => at
  await using authority = await openAuthority(configIn(path, config), now)
  const log = authority.caLog
  const issued = []
  for (let batch = 0; batch < 3; batch += 1) {
    issued.push(...(await issueFrom(authority, 10, now)))
    at = at.add({ hours: 24 })
  }
  const [first] = issued
  const before = await log.head()
  const proof = await log.prove(first?.serial ?? '')
  const rows = await log.prune('uid:1000', days(1))
  const again = await log.prune('uid:1000', days(1))
  return {
    issued,
    before,
    proof,
    rows,
    again,
    after: await log.head(),
    growth: await log.proveSince(before.size),
  }
}

/** The state of one, copied for each that is tampered with. */
const prepared = temporaryDir().then(async (dir) => {
  await pruned(dir.path)
  return dir
})
test.after.always(async () => (await prepared)[Symbol.asyncDispose]())

async function audit(path: string) {
  using log = await openLogState(path)
  return await log.audit()
}

function change(path: string, sql: string): void {
  const database = new DatabaseSync(join(path, 'ledger.db'))
  database.exec(sql)
  database.close()
}

test('rows of leaves go after their retention; the log goes on, and an audit tells pruned from deleted', async (t) => {
  await using dir = await temporaryDir()
  const { issued, before, after, proof, rows, again, growth } = await pruned(dir.path)
  t.deepEqual([rows, again], [20, 0], 'two of three batches ended more than a day ago')
  t.is(after.size, before.size + 1, 'the pruning is an entry; nothing to do is none')
  const report = await audit(dir.path)
  t.like(report, { ok: true, faultCount: 0, certificates: 12, calls: 1, pruned: 20 })
  using log = await openLogState(dir.path)
  const publicKey = createPublicKey(log.publicKeyPem)
  const [first] = issued
  t.is(await log.prove(first?.serial ?? ''), undefined, 'its row is gone')
  t.truthy(proof)
  if (proof) t.is(inclusionFault(proof, first?.chain[0] ?? new Uint8Array(), publicKey), undefined)
  t.is(
    consistencyFault(growth, before, publicKey),
    undefined,
    'what was proved then is proved still',
  )
  t.truthy(await log.prove(issued.at(-1)?.serial ?? ''), 'the last batch is there')
})

for (const [what, sql, index] of [
  ['a row of the last batch that is deleted', 'DELETE FROM certificates WHERE log_index = 25', 25],
  ['the issuing CA', 'DELETE FROM certificates WHERE log_index = 1', 1],
  [
    'a pruning that says more than the log has',
    `UPDATE calls SET detail = json_set(detail, '$.spans', json('[[2,31]]')); DELETE FROM certificates WHERE log_index = 25`,
    32,
  ],
  ['a pruning that is gone', 'DELETE FROM calls', 32],
  [
    'a pruning put in by hand',
    `INSERT INTO calls SELECT 33, at, caller, action, json_set(detail, '$.spans', json('[[25,25]]')), outcome FROM calls;
     DELETE FROM certificates WHERE log_index = 25`,
    undefined,
  ],
  [
    'a checkpoint of another tree',
    `UPDATE calls SET detail = json_set(detail, '$.checkpoint.root', '00')`,
    2,
  ],
] as const) {
  test(`an audit tells ${what}, pruned rows or not`, async (t) => {
    await using dir = await temporaryDir()
    await cp((await prepared).path, dir.path, { recursive: true })
    change(dir.path, sql)
    const { ok, faults } = await audit(dir.path)
    t.false(ok)
    t.true(
      faults.some((fault) => fault.index === index),
      JSON.stringify(faults),
    )
  })
}

test('what an audit reads while rows go is whole', async (t) => {
  await using dir = await temporaryDir()
  let at = start
  await using authority = await openAuthority(configIn(dir.path, config), () => at)
  await issueFrom(authority, 2500, () => at)
  at = at.add({ hours: 48 })
  const log = authority.caLog
  const audits = [log.audit(), log.prune('self', days(1)), log.audit()] as const
  const [first, rows, second] = await Promise.all(audits)
  t.is(rows, 2500)
  t.deepEqual([first.faults, second.faults], [[], []])
  t.like(await log.audit(), { ok: true, pruned: 2500, certificates: 2 })
})

test('a CA that runs prunes by itself, once a day, what ended before its retention', async (t) => {
  const clock = new FakeClock()
  const now = () => start.add({ milliseconds: Math.round(clock.nowMs()) })
  await using running = await startCa({ ...config, retention: days(2) }, { clock, now })
  await running.ca.admitAdministrator({ name: 'uid:1000' }, newCsr())
  const rows = async (): Promise<number> => (await running.ca.log.audit()).pruned
  await clock.advance(60_000)
  t.is(await rows(), 0)
  for (let day = 0; day < 4; day += 1) await clock.advance(86_400_000)
  t.true((await rows()) >= 1)
  t.true(running.log.some(({ event }) => event === 'ca-ledger-pruned'))
})

test('an administrator reads the log and prunes over the wire', async (t) => {
  await using running = await startCa()
  using admin = await administrator(running.ca)
  const read = async (wanted: object): Promise<unknown> =>
    JSON.parse((await admin.call('readLog', { wanted } as never)).json)
  t.is(await read({ $case: 'publicKey', publicKey: true }), running.ca.log.publicKeyPem)
  t.like(await read({ $case: 'head', head: true }), { log: 'prod.example' })
  t.like(await read({ $case: 'since', since: 1n }), { kind: 'consistency', first: 1 })
  t.is(await read({ $case: 'serial', serial: 'ff' }), null)
  t.like(await read({ $case: 'audit', audit: true }), { ok: true })
  await t.throwsAsync(read({ $case: 'since', since: 99_999n }), { message: /Cannot prove growth/ })
  await t.throwsAsync(admin.call('readLog', {} as never), { message: /asks for nothing/ })
  t.is((await admin.call('pruneLedger', { retentionSeconds: 0n })).rows, 0n)
})
