/** The log of a real CA: what it proves, what is told of a ledger that was tampered with, and that it never forks. */
import { createPublicKey, generateKeyPairSync } from 'node:crypto'
import { copyFile, cp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'

import test from 'ava'

import { openLogState } from '#ca/index.ts'
import type { AuditReport } from '#ca/issue/audit.ts'
import { consistencyFault, inclusionFault, readHead, readProof } from '#ca/log/index.ts'
import { type OpenAuthority, openAuthority } from '#ca/open-authority.ts'
import { agentId, configIn, sha256, temporaryDir } from '../harness.ts'
import { issueFrom } from '../issue-from.ts'

const now = () => Temporal.Instant.from('2026-06-01T12:00:00Z')
const scope = ['spiffe://prod.example/ns/pay/*']

const issue = (authority: OpenAuthority, count: number) => issueFrom(authority, count, now)

/** A CA that has issued `count` leaves, let somebody in, and closed. */
async function closedCa(path: string, count = 20) {
  await using authority = await openAuthority(configIn(path), now)
  const issued = await issue(authority, count)
  const token = { tokenSha256: sha256('t'), agentId, scope, expiresAt: now().add({ minutes: 5 }) }
  await authority.agents.add(token, 'uid:1000')
  const head = await authority.transparency.head()
  return { issued, head, publicKey: authority.transparency.publicKey }
}

/** The state of one, copied for each test: making keys and rows is what takes time. */
const prepared = await temporaryDir()
const original = await closedCa(prepared.path)
test.after.always(() => prepared[Symbol.asyncDispose]())

async function copyOfCa() {
  const dir = await temporaryDir()
  await cp(prepared.path, dir.path, { recursive: true })
  return dir
}

async function verify(path: string): Promise<AuditReport> {
  using log = await openLogState(path)
  return await log.audit() // before it is closed
}

function change(path: string, sql: string): void {
  const database = new DatabaseSync(join(path, 'ledger.db'))
  database.exec(sql)
  database.close()
}

test('root, issuing CA, every leaf and every administrative call are in the log, and its audit finds nothing', async (t) => {
  await using dir = await copyOfCa()
  t.is(original.head.size, 23)
  t.like(await verify(dir.path), { ok: true, certificates: 22, calls: 1, faultCount: 0 })
})

test('every certificate has a proof that holds without the CA, while it runs and when it does not', async (t) => {
  await using dir = await temporaryDir()
  const { issued, publicKey } = await closedCa(dir.path, 300)
  using log = await openLogState(dir.path)
  const key = createPublicKey(log.publicKeyPem)
  t.true(key.equals(publicKey))
  for (const { serial, chain } of issued) {
    const proof = readProof(JSON.stringify(await log.prove(serial)))
    if (proof.kind !== 'inclusion') throw new Error('it is of another kind')
    t.is(inclusionFault(proof, chain[0] ?? new Uint8Array(), key), undefined)
  }
  t.is(await log.prove('00ff'), undefined)
})

test('a CA that is opened again goes on with the same log, under the same key', async (t) => {
  await using dir = await copyOfCa()
  const { head: earlier, publicKey } = original
  await using authority = await openAuthority(configIn(dir.path), now)
  await issue(authority, 7)
  const { transparency } = authority
  t.true(transparency.publicKey.equals(publicKey))
  const proof = await transparency.proveSince(earlier.size)
  t.is(proof.head.size, earlier.size + 7)
  t.is(consistencyFault(proof, readHead(JSON.stringify(earlier)), publicKey), undefined)
  for (const size of [0, -1, 0.5, proof.head.size + 1, Number.NaN]) {
    await t.throwsAsync(transparency.proveSince(size), { code: 'CA_LOG_INVALID' })
  }
})

/** What is done to a ledger of 23 rows, and what its audit says. */
const tampering: readonly (readonly [
  what: string,
  sql: string,
  fault: { readonly what: string; readonly index?: number },
])[] = [
  ['a deleted row', 'DELETE FROM certificates WHERE log_index = 5', { what: 'deleted', index: 5 }],
  ['a deleted call', 'DELETE FROM calls', { what: 'deleted', index: 22 }],
  ...[
    ['a changed subject', "subject = 'spiffe://prod.example/ns/pay/sa/root'"],
    ['a changed serial', "serial = '0badc0de'"],
    ['a changed kind', "kind = 'issuing'"],
    ['a changed issuer', "issuer_serial = '77'"],
    ['a changed time', 'issued_at = issued_at + 1'],
    ['a changed start', 'not_before = not_before - 1'],
    ['a changed end', 'not_after = not_after + 1'],
    ['a changed requester', "requested_by = 'self'"],
    ['a changed reason of its life', "life = 'asked'"],
    ['a reason of its life that is gone', 'life = NULL'],
    ['a changed certificate', "der = x'3000'"],
  ].map(
    ([what = '', set = '']) =>
      [
        what,
        `UPDATE certificates SET ${set} WHERE log_index = 5`,
        { what: 'changed', index: 5 },
      ] as const,
  ),
  ['a changed caller of a call', "UPDATE calls SET caller = 'x'", { what: 'changed', index: 22 }],
  ['a changed outcome', "UPDATE calls SET outcome = 'x'", { what: 'changed', index: 22 }],
  [
    'two rows that changed places',
    `UPDATE certificates SET log_index = -1 WHERE log_index = 5;
     UPDATE certificates SET log_index = 5 WHERE log_index = 6;
     UPDATE certificates SET log_index = 6 WHERE log_index = -1`,
    { what: 'changed', index: 5 },
  ],
  [
    'a row after the last',
    "INSERT INTO calls VALUES (23, 1, 'x', 'issue', '{}', 'done')",
    { what: 'added' },
  ],
  [
    'a row before the first',
    "INSERT INTO calls VALUES (-1, 1, 'x', 'issue', '{}', 'done')",
    { what: 'added' },
  ],
  [
    'a call in the place of a certificate',
    "INSERT INTO calls VALUES (5, 1, 'x', 'issue', '{}', 'done')",
    { what: 'added', index: 5 },
  ],
  ['a hash that is gone', 'DELETE FROM log_leaves WHERE log_index = 5', { what: 'hash', index: 5 }],
  [
    'a row that is gone with its hash',
    'DELETE FROM certificates WHERE log_index = 5; DELETE FROM log_leaves WHERE log_index = 5',
    { what: 'deleted', index: 5 },
  ],
  [
    'a changed row with its hash worked out anew',
    `UPDATE certificates SET subject = 'x' WHERE log_index = 5; UPDATE log_leaves SET hash = zeroblob(32) WHERE log_index = 5`,
    { what: 'changed', index: 5 },
  ],
  [
    'a tail cut off',
    'DELETE FROM certificates WHERE log_index > 10; DELETE FROM calls; DELETE FROM log_leaves WHERE log_index > 10',
    { what: 'deleted', index: 11 },
  ],
  ['a head of another size', 'UPDATE log_head SET size = 22', { what: 'head' }],
  ['a head of another root', "UPDATE log_head SET root = '00'", { what: 'head' }],
  ['a head of another time', "UPDATE log_head SET time = 'now'", { what: 'head' }],
  ['a head that is gone', 'DELETE FROM log_head', { what: 'head' }],
]

for (const [what, sql, fault] of tampering) {
  test(`ca log verify tells ${what}`, async (t) => {
    await using dir = await copyOfCa()
    change(dir.path, sql)
    const report = await verify(dir.path)
    t.false(report.ok)
    t.true(report.faultCount >= 1)
    t.true(
      report.faults.some((one) =>
        Object.entries(fault).every(([name, value]) => one[name as 'what'] === value),
      ),
      JSON.stringify(report.faults),
    )
  })
}

test('kept hashes of inner nodes are held against the rows, too', async (t) => {
  await using dir = await temporaryDir()
  await closedCa(dir.path, 600)
  change(dir.path, 'UPDATE log_nodes SET hash = zeroblob(32) WHERE position = 1')
  t.like((await verify(dir.path)).faults[0], { what: 'hash' })
})

test('a hundred faults are told one by one, and all are counted', async (t) => {
  await using dir = await temporaryDir()
  await closedCa(dir.path, 300)
  change(dir.path, "UPDATE certificates SET subject = 'x'")
  const { faults, faultCount } = await verify(dir.path)
  t.deepEqual([faults.length, faultCount], [100, 302])
})

for (const [what, sql, message] of [
  [
    'entries are gone',
    'DELETE FROM log_leaves WHERE log_index > 10',
    /it has 11 entries, expected/,
  ],
  [
    'an entry is another',
    'UPDATE log_leaves SET hash = zeroblob(32) WHERE log_index = 5',
    /its entries are not those of its last head/,
  ],
  ['its head is not its own', 'UPDATE log_head SET size = 22', /its last head is not signed/],
  ['an entry between is gone', 'DELETE FROM log_leaves WHERE log_index = 5', /it has \d+ hashes/],
] as const) {
  test(`a CA does not go on with a log whose ${what}`, async (t) => {
    await using dir = await copyOfCa()
    change(dir.path, sql)
    await t.throwsAsync(openAuthority(configIn(dir.path), now), {
      code: 'CA_STATE_UNUSABLE',
      message,
    })
  })
}

test('a CA does not go on with an older copy of its ledger: that would be a fork', async (t) => {
  await using dir = await copyOfCa()
  const file = join(dir.path, 'ledger.db')
  await copyFile(file, `${file}.old`)
  {
    await using authority = await openAuthority(configIn(dir.path), now)
    await issue(authority, 3)
  }
  await copyFile(`${file}.old`, file)
  await t.throwsAsync(openAuthority(configIn(dir.path), now), {
    code: 'CA_STATE_UNUSABLE',
    message: /it has 23 entries, and had 26 before; an older ledger was put in its place/,
  })
})

test('a CA does not sign anew a log that lost its key, nor one whose head was taken away with its leaves', async (t) => {
  await using dir = await copyOfCa()
  const keyFile = join(dir.path, 'log-key.pem')
  const pem = await readFile(keyFile)
  const { privateKey } = generateKeyPairSync('ed25519')
  await rm(keyFile)
  await t.throwsAsync(openAuthority(configIn(dir.path), now), { message: /log-key.pem is gone/ })
  await t.throwsAsync(verify(dir.path), { message: /there is none, expected the state of a CA/ })
  await writeFile(keyFile, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 })
  await t.throwsAsync(openAuthority(configIn(dir.path), now), { message: /not signed by its key/ })
  await writeFile(keyFile, pem)
  change(dir.path, 'DELETE FROM log_head; UPDATE log_leaves SET hash = zeroblob(32)')
  await t.throwsAsync(openAuthority(configIn(dir.path), now), { code: 'CA_STATE_UNUSABLE' })
})

test('an audit reads beside a CA that issues, and takes it for what it is', async (t) => {
  await using dir = await temporaryDir()
  await using authority = await openAuthority(configIn(dir.path), now)
  await issue(authority, 1500)
  const audits = [authority.caLog.audit()]
  for (let turn = 0; turn < 20; turn += 1) {
    await issue(authority, 25)
    audits.push(authority.caLog.audit())
  }
  for (const report of await Promise.all(audits)) t.like(report, { ok: true, faultCount: 0 })
  await t.throwsAsync(openLogState(dir.path), { message: /another CA has it open/ })
})
