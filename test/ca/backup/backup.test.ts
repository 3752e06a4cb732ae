/** A CA that is restored is the same CA, and its log never says two things under one key. */
import { createPublicKey } from 'node:crypto'
import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'

import test from 'ava'

import { backupState, openCa, openLogState, restoreState } from '#ca/index.ts'
import { consistencyFault, inclusionFault, isSuccession, logKeyId } from '#ca/log/index.ts'
import { openAuthority } from '#ca/open-authority.ts'
import '../../fakes/quick-scrypt.ts'
import { agentId, configIn, realClock, sha256, temporaryDir } from '../harness.ts'
import { issueFrom } from '../issue-from.ts'

const now = () => Temporal.Instant.from('2026-06-01T12:00:00Z')
const passphrase = 'correct horse battery'
const token = (name: string) => ({
  tokenSha256: sha256(name),
  agentId,
  scope: ['spiffe://prod.example/ns/pay/*'],
  expiresAt: now().add({ hours: 1 }),
})

/** A CA, its backup, and what it did after that. */
async function backedUp(dir: string) {
  const stateDir = join(dir, 'first')
  const file = join(dir, 'backup')
  await using authority = await openAuthority(configIn(stateDir), now)
  const before = await issueFrom(authority, 300, now)
  await authority.agents.add(token('used'), 'uid:1000')
  await authority.agents.consume('used', now())
  await authority.agents.add(token('open'), 'uid:1000')
  const [denied] = before
  const call = { at: 1, caller: 'uid:1000', action: 'revoke', detail: '{}', outcome: 'done' }
  const until = now().add({ hours: 1 })
  await authority.denials.deny([{ kind: 'serial', value: denied?.serial ?? '', until }], call)
  await authority.caLog.backup('uid:1000', file, passphrase)
  const atBackup = await authority.transparency.head()
  const after = await issueFrom(authority, 20, now)
  return {
    file,
    before,
    after,
    atBackup,
    last: await authority.transparency.head(),
    publicKey: authority.transparency.publicKey,
    roots: authority.bundle.current.roots,
    generation: authority.bundle.current.generation,
    denialGeneration: authority.denials.list.current.generation,
  }
}

const shared = temporaryDir().then(async (dir) => ({ ...(await backedUp(dir.path)), dir }))
test.after.always(async () => (await shared).dir[Symbol.asyncDispose]())

test('a restored CA has keys, ledger and deny-list of the backup, and forgets tokens that may have been used since', async (t) => {
  const first = await shared
  await using dir = await temporaryDir()
  const stateDir = join(dir.path, 'second')
  await restoreState({ from: first.file, stateDir, passphrase, by: 'uid:0', now })
  await using authority = await openAuthority(configIn(stateDir), now)
  const { bundle, denials, agents, caLog } = authority
  t.deepEqual(bundle.current.roots, first.roots)
  t.true(bundle.current.generation > first.generation + 1000, 'later than any that was seen')
  t.true(denials.list.current.generation > first.denialGeneration + 1000)
  t.is(denials.list.current.entries.length, 1)
  t.is((await agents.find(agentId))?.id, agentId)
  for (const used of ['used', 'open']) {
    await t.throwsAsync(agents.consume(used, now()), { code: 'CA_TOKEN_REFUSED' })
  }
  const key = createPublicKey(caLog.publicKeyPem)
  for (const { serial, chain } of first.before.slice(0, 20)) {
    const proof = await caLog.prove(serial)
    t.truthy(proof)
    if (proof) t.is(inclusionFault(proof, chain[0] ?? new Uint8Array(), key), undefined)
  }
  for (const { serial } of first.after) t.is(await caLog.prove(serial), undefined)
})

test('a restored CA goes on with its log under a key of its own: no key ever signs two trees of one size', async (t) => {
  const first = await shared
  await using dir = await temporaryDir()
  const stateDir = join(dir.path, 'second')
  const restored = await restoreState({ from: first.file, stateDir, passphrase, by: 'uid:0', now })
  t.is(restored.last.size, first.atBackup.size)
  t.is(restored.head.size, first.atBackup.size + 1, 'the restoring is an entry')
  await using authority = await openAuthority(configIn(stateDir), now)
  await issueFrom(authority, 20, now)
  const { caLog, transparency } = authority
  t.not(logKeyId(transparency.publicKey), logKeyId(first.publicKey))
  const head = await caLog.head()
  t.true(head.size >= first.last.size, 'as many entries as the first CA had')
  t.not(head.keyId, first.last.keyId)
  const proof = await caLog.proveSince(first.atBackup.size)
  t.regex(
    consistencyFault(proof, first.atBackup, transparency.publicKey) ?? '',
    /the earlier head is not signed by this log's key/,
  )
  t.is(
    consistencyFault(proof, first.atBackup, transparency.publicKey, first.publicKey),
    undefined,
    'it has all that the backup had',
  )
  const report = await caLog.audit()
  t.like(report, { ok: true, faultCount: 0 })
  const [succession, ...others] = report.successions
  t.is(others.length, 0)
  if (!succession) throw new Error('the log does not say that it was restored')
  t.true(isSuccession(succession))
  t.is(succession.last.keyId, logKeyId(first.publicKey))
  t.is(succession.nextKeyId, head.keyId)
  t.false(isSuccession({ ...succession, nextKeyId: succession.last.keyId }))
})

test('a restored CA uses no serial again: not of those it knows, not of those it has forgotten', async (t) => {
  const first = await shared
  await using dir = await temporaryDir()
  const stateDir = join(dir.path, 'second')
  await restoreState({ from: first.file, stateDir, passphrase, by: 'uid:0', now })
  await using authority = await openAuthority(configIn(stateDir), now)
  const serials = [...first.before, ...first.after, ...(await issueFrom(authority, 500, now))]
  t.is(new Set(serials.map(({ serial }) => serial)).size, serials.length)
})

test('a backup is readable by its owner alone, and no byte of a key is in it', async (t) => {
  const { file, dir } = await shared
  t.is((await stat(file)).mode & 0o777, 0o600)
  const bytes = await readFile(file)
  const keys = (await readdir(join(dir.path, 'first', 'keys'))).map((name) => `keys/${name}`)
  for (const name of ['log-key.pem', ...keys]) {
    const pem = await readFile(join(dir.path, 'first', name), 'utf8')
    const [, base64 = ''] = /-----\n([\s\S]+?)\n-----END/.exec(pem) ?? []
    const secret = Buffer.from(base64, 'base64')
    t.true(secret.length > 40, name)
    t.is(bytes.indexOf(secret.subarray(-20)), -1, name)
    t.is(bytes.indexOf(base64.slice(0, 40)), -1, name)
  }
  t.is(bytes.indexOf('spiffe://'), -1)
  t.deepEqual(
    (await readdir(join(dir.path, 'first'))).filter((name) => name.startsWith('.')),
    [],
  )
})

test('a backup that was changed, cut or has another passphrase restores nothing, and leaves nothing', async (t) => {
  const { file } = await shared
  await using dir = await temporaryDir()
  const good = await readFile(file)
  const flipped = (at: number) => {
    const copy = Buffer.from(good)
    copy[at] = (copy[at] ?? 0) ^ 1
    return copy
  }
  const bad: readonly (readonly [string, Buffer, string])[] = [
    ['another passphrase', good, 'correct horse batterz'],
    ['a bit of its head', flipped(30), passphrase],
    ['a bit of its body', flipped(5000), passphrase],
    ['a bit of its end', flipped(good.length - 1), passphrase],
    ['its end', good.subarray(0, -40), passphrase],
    ['almost all of it', good.subarray(0, 60), passphrase],
    ['no backup', Buffer.from('hello'), passphrase],
  ]
  for (const [what, bytes, tried] of bad) {
    const from = join(dir.path, 'bad')
    await writeFile(from, bytes)
    const stateDir = join(dir.path, 'second')
    await t.throwsAsync(
      restoreState({ from, stateDir, passphrase: tried, by: 'uid:0', now }),
      { code: 'CA_BACKUP_INVALID', message: /^Cannot read the backup [^\n]+$/ },
      what,
    )
  }
  t.deepEqual(await readdir(dir.path), ['bad'])
})

test('nothing is restored over a CA, and no backup is written over a file', async (t) => {
  const { file, dir } = await shared
  const stateDir = join(dir.path, 'first')
  const before = await readdir(stateDir)
  await t.throwsAsync(restoreState({ from: file, stateDir, passphrase, by: 'uid:0', now }), {
    code: 'CA_STATE_UNUSABLE',
    message: /there is one already/,
  })
  t.deepEqual(await readdir(stateDir), before)
  await using other = await temporaryDir()
  await using authority = await openAuthority(configIn(other.path), now)
  await t.throwsAsync(authority.caLog.backup('uid:0', file, passphrase), {
    code: 'CA_BACKUP_INVALID',
    message: /there is a file of that name/,
  })
})

test('a backup whose ledger was tampered with is not restored', async (t) => {
  await using dir = await temporaryDir()
  const stateDir = join(dir.path, 'first')
  {
    await using authority = await openAuthority(configIn(stateDir), now)
    await issueFrom(authority, 20, now)
  }
  const ledger = new DatabaseSync(join(stateDir, 'ledger.db'))
  ledger.exec('UPDATE log_leaves SET hash = zeroblob(32) WHERE log_index = 5')
  ledger.close()
  const from = join(dir.path, 'backup')
  await backupState(stateDir, from, passphrase)
  await t.throwsAsync(
    restoreState({ from, stateDir: join(dir.path, 'second'), passphrase, by: 'uid:0', now }),
    { message: /its entries are not those of its last head/ },
  )
})

test('backups are taken while the CA issues, each whole', async (t) => {
  await using dir = await temporaryDir()
  const stateDir = join(dir.path, 'first')
  await using authority = await openAuthority(configIn(stateDir), now)
  const files = [0, 1, 2].map((at) => join(dir.path, `backup-${at}`))
  await Promise.all([
    ...Array.from({ length: 30 }, () => issueFrom(authority, 20, now)),
    ...files.map((file) => authority.caLog.backup('uid:0', file, passphrase)),
  ])
  for (const [at, from] of files.entries()) {
    const restored = join(dir.path, `second-${at}`)
    await restoreState({ from, stateDir: restored, passphrase, by: 'uid:0', now })
    using log = await openLogState(restored)
    t.like(await log.audit(), { ok: true, faultCount: 0 })
  }
})

test('a CA whose keys are encrypted is restored with their passphrase alone, and they stay so', async (t) => {
  await using dir = await temporaryDir()
  const keyFile = join(dir.path, 'key-passphrase')
  await writeFile(keyFile, 'of the keys themselves')
  const keys = { kind: 'files', passphrase: { file: keyFile } } as const
  const deps = { now, clock: realClock, log: () => {} }
  const [from, by] = [join(dir.path, 'backup'), 'uid:0']
  {
    await using ca = await openCa(configIn(join(dir.path, 'first'), { keys }), deps)
    await ca.log.backup(by, from, passphrase)
  }
  const stateDir = join(dir.path, 'second')
  await t.throwsAsync(restoreState({ from, stateDir, passphrase, by, now }), {
    code: 'CA_STATE_UNUSABLE',
    message:
      /it is encrypted, expected the passphrase .*--key-passphrase-file of ca restore and ca rotate\)$/,
  })
  const keyPassphrase = { file: keyFile }
  const { head } = await restoreState({ from, stateDir, passphrase, keyPassphrase, by, now })
  t.regex(await readFile(join(stateDir, 'log-key.pem'), 'utf8'), /BEGIN REDOUBT SEALED PRIVATE KEY/)
  using log = await openLogState(stateDir)
  t.is(logKeyId(createPublicKey(log.publicKeyPem)), head.keyId)
  t.true((await log.audit()).ok)
})
