/** Backup, restore and the log of a CA whose ledger is in PostgreSQL, with no CA at hand. */
import { createPublicKey } from 'node:crypto'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import test from 'ava'

import {
  backupLedger,
  type CaConfig,
  openSharedLog,
  recoverState,
  restoreState,
} from '#ca/index.ts'
import { consistencyFault, inclusionFault, isSuccession } from '#ca/log/index.ts'
import { openAuthority } from '#ca/open-authority.ts'
import { pemFromDer } from '#ca/x509/index.ts'
import type { Command } from '#deploy/cli/command.ts'
import { caBackup } from '#deploy/cli/commands/ca-backup.ts'
import { caLogHead } from '#deploy/cli/commands/ca-log-head.ts'
import { caLogProve } from '#deploy/cli/commands/ca-log-prove.ts'
import { caLogVerify } from '#deploy/cli/commands/ca-log-verify.ts'
import { caRestore } from '#deploy/cli/commands/ca-restore.ts'
import { noteLedger } from '#deploy/standalone/ledger-file.ts'
import { agentId, configIn, sha256, temporaryDir } from '../ca/harness.ts'
import { issueFrom } from '../ca/issue-from.ts'
import { runCommand } from '../fakes/fake-io.ts'
import { newDatabase } from './database.ts'

const run = process.env['REDOUBT_TEST_POSTGRES'] === undefined ? test.skip : test.serial
const now = () => Temporal.Instant.from('2026-06-01T12:00:00Z')
const passphrase = 'correct horse battery'
const secret = 'a passphrase of the ledger'

/** Databases for one test, all under one passphrase. */
async function databases() {
  const opened = new AsyncDisposableStack()
  const dir = opened.use(await temporaryDir())
  const file = join(dir.path, 'passphrase')
  await writeFile(file, `${secret}\n`, { mode: 0o600 })
  const add = async (template?: string) => {
    const shared = opened.use(await newDatabase(template))
    const ledger = { ...shared.ledger, passphrase: { file } }
    const config = async (name: string): Promise<CaConfig> => {
      const stateDir = join(dir.path, name)
      await mkdir(stateDir, { recursive: true, mode: 0o700 })
      return configIn(stateDir, { ledger })
    }
    return { ...shared, at: { ledger, env: {} }, config }
  }
  return { path: dir.path, add, [Symbol.asyncDispose]: () => opened.disposeAsync() }
}

const restoreInput = (from: string, stateDir: string) => ({
  ...{ from, stateDir, passphrase, by: 'uid:0', now },
})

run(
  'a backup of a CA on PostgreSQL is restored in an empty database, or in a state directory: same keys, no serial again, no fork',
  async (t) => {
    await using given = await databases()
    const first = await given.add()
    const from = join(given.path, 'backup')
    const token = { agentId, scope: ['spiffe://prod.example/ns/pay/*'] }
    await using authority = await openAuthority(await first.config('one'), now)
    const before = await issueFrom(authority, 1200, now) // more than a page of rows
    const expiresAt = now().add({ hours: 1 })
    await authority.agents.add({ tokenSha256: sha256('open'), expiresAt, ...token }, 'uid:0')
    const issuing = Promise.all([1, 2, 3, 4].map(() => issueFrom(authority, 50, now)))
    await authority.caLog.backup('uid:1000', from, passphrase)
    const meanwhile = (await issuing).flat()
    const after = await issueFrom(authority, 20, now)
    const kept = await authority.caLog.head()
    t.is((await readFile(from)).indexOf('PRIVATE KEY'), -1)
    t.deepEqual(await readdir(join(given.path, 'one')), ['log-seen.json'], 'nothing is left')

    const second = await given.add()
    const restored = await restoreState({
      ...restoreInput(from, join(given.path, 'two')),
      shared: second.at,
    })
    await restoreState(restoreInput(from, join(given.path, 'three')))
    for (const config of [await second.config('two'), configIn(join(given.path, 'three'))]) {
      await using again = await openAuthority(config, now)
      t.deepEqual(again.bundle.current.roots, authority.bundle.current.roots)
      t.true(again.bundle.current.generation > authority.bundle.current.generation + 1000)
      await t.throwsAsync(again.agents.consume('open', now()), { code: 'CA_TOKEN_REFUSED' })
      const more = await issueFrom(again, 300, now)
      const serials = [...before, ...meanwhile, ...after, ...more].map(({ serial }) => serial)
      t.is(new Set(serials).size, serials.length, 'no serial is used again')
      const { caLog, transparency } = again
      t.false(transparency.publicKey.equals(authority.transparency.publicKey))
      const report = await caLog.audit()
      t.like(report, { ok: true, faultCount: 0 })
      t.is(report.successions.length, 1)
      t.true(report.successions.every(isSuccession))
      const { last } = restored
      t.is(
        consistencyFault(
          await caLog.proveSince(last.size),
          last,
          transparency.publicKey,
          authority.transparency.publicKey,
        ),
        undefined,
        'it has all that the backup had',
      )
      t.not((await caLog.head()).keyId, kept.keyId, 'and never signs as the one that goes on')
    }
    const [name] = await second.query("SELECT count(*) AS n FROM files WHERE name LIKE 'keys/%'")
    t.true(Number(name?.['n']) >= 3)

    for (const taken of [first, second]) {
      const input = { ...restoreInput(from, join(given.path, 'four')), shared: taken.at }
      await t.throwsAsync(restoreState(input), {
        code: 'CA_STATE_UNUSABLE',
        message: /its table \w+ has rows, expected an empty database/,
      })
    }
    t.false(
      (await readdir(given.path)).some((each) => each.startsWith('four')),
      'nothing is left',
    )
    t.like(await authority.caLog.audit(), { ok: true }, 'nor was the CA that goes on touched')
  },
)

run(
  'a CA from files moves to a database by backup and restore, unless its keys have a passphrase of their own',
  async (t) => {
    await using given = await databases()
    const target = await given.add()
    for (const sealed of [true, false]) {
      const name = sealed ? 'sealed' : 'plain'
      const stateDir = join(given.path, name)
      const file = join(given.path, 'key-passphrase')
      await writeFile(file, 'of the keys alone\n', { mode: 0o600 })
      const keys = { kind: 'files', ...(sealed && { passphrase: { file } }) } as const
      const from = join(given.path, `${name}.backup`)
      const { openWith } = await import('#ca/open-with.ts')
      const config = configIn(stateDir, { keys })
      const deps = { now, clock: { nowMs: () => 0, sleep: async () => {} }, log: () => {} }
      await using authority = await openAuthority(config, now, openWith(config, deps))
      const [leaf] = await issueFrom(authority, 5, now)
      await authority.caLog.backup('uid:0', from, passphrase)
      const restoring = restoreState({
        ...restoreInput(from, join(given.path, `${name}-moved`)),
        ...(sealed && { keyPassphrase: { file } }),
        shared: target.at,
      })
      if (sealed) {
        await t.throwsAsync(restoring, { message: /encrypted by a passphrase of their own/ })
        continue
      }
      await restoring
      await using moved = await openAuthority(await target.config(`${name}-moved`), now)
      t.deepEqual(moved.bundle.current.roots, authority.bundle.current.roots)
      t.truthy(await moved.caLog.prove(leaf?.serial ?? ''))
      t.like(await moved.caLog.audit(), { ok: true })
    }
  },
)

run(
  'a database that its own backup brought back is refused by every replica; ca backup and ca restore lead on without a fork',
  async (t) => {
    await using given = await databases()
    const first = await given.add()
    const early: { readonly serial: string }[] = []
    const closed = async (count: number) => {
      await using one = await openAuthority(await first.config('one'), now)
      await using _two = await openAuthority(await first.config('two'), now)
      const issued = await issueFrom(one, count, now)
      early.push(...issued)
      return { head: await one.caLog.head(), key: one.transparency.publicKey }
    }
    const before = await closed(40)
    const back = await given.add(first.name) // as a server is brought back to where it was
    const lost = await closed(30)

    for (const name of ['one', 'two']) {
      await t.throwsAsync(openAuthority(await back.config(name), now), {
        code: 'CA_STATE_UNUSABLE',
        message:
          /an older ledger was put in its place, which redoubt ca restore does without a fork/,
      })
    }
    const from = join(given.path, 'backup')
    await backupLedger(back.at, from, passphrase)
    const next = await given.add()
    await restoreState({ ...restoreInput(from, join(given.path, 'new')), shared: next.at })
    await using again = await openAuthority(await next.config('new'), now)
    await using _beside = await openAuthority(await next.config('new-2'), now)
    const issued = await issueFrom(again, 200, now)
    t.is(new Set([...early, ...issued].map(({ serial }) => serial)).size, 270)
    const report = await again.caLog.audit()
    t.like(report, { ok: true })
    const size = before.head.size
    const key = again.transparency.publicKey
    t.is(
      consistencyFault(await again.caLog.proveSince(size), before.head, key, before.key),
      undefined,
    )
    t.true(
      lost.head.size > (report.successions[0]?.last.size ?? Number.NaN),
      'what is lost is told',
    )
  },
)

run(
  'the log in a database is read by whoever may only read, while a CA runs and when none does',
  async (t) => {
    await using given = await databases()
    const first = await given.add()
    const readOnly = join(given.path, 'reader')
    await writeFile(readOnly, 'only-reads\n', { mode: 0o600 })
    const url = first.at.ledger.url.replace('redoubt@', 'auditor@')
    const reader = { env: {}, ledger: { ...first.at.ledger, url, password: { file: readOnly } } }
    await t.throwsAsync(openSharedLog(first.at), {
      message: /there is none, expected the ledger of/,
    })
    t.is((await first.query("SELECT to_regclass('certificates') AS it"))[0]?.['it'], null)

    const config = await first.config('one')
    await using authority = await openAuthority(config, now)
    const [svid] = await issueFrom(authority, 30, now)
    await first.query(
      `DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'auditor')
         THEN CREATE ROLE auditor LOGIN PASSWORD 'only-reads'; END IF; END $$`,
    )
    await first.query('GRANT SELECT ON ALL TABLES IN SCHEMA public TO auditor')
    {
      using log = await openSharedLog(reader)
      const key = createPublicKey(log.publicKeyPem)
      t.true(key.equals(authority.transparency.publicKey))
      const [running, head] = [await authority.caLog.head(), await log.head()]
      t.is(running.root, head.root)
      const proof = await log.prove(svid?.serial ?? '')
      const [leaf = new Uint8Array()] = svid?.chain ?? []
      t.is(proof && inclusionFault(proof, leaf, key), undefined)
      await issueFrom(authority, 30, now)
      t.is(consistencyFault(await log.proveSince(head.size), head, key), undefined)
      t.like(await log.audit(), { ok: true, faultCount: 0 })
      await first.query(`UPDATE certificates SET subject = 'x' WHERE log_index = 9`)
      t.like((await log.audit()).faults[0], { what: 'changed', index: 9 })
    }
    const wrong = join(given.path, 'wrong')
    await writeFile(wrong, 'another\n', { mode: 0o600 })
    await t.throwsAsync(
      openSharedLog({ ...reader, ledger: { ...reader.ledger, passphrase: { file: wrong } } }),
      { code: 'CA_STATE_UNUSABLE', message: /its passphrase does not open it/ },
    )
  },
)

run(
  'ca log, ca backup and ca restore find a database by --ledger, or where the mesh had it',
  async (t) => {
    await using given = await databases()
    const [first, second] = [await given.add(), await given.add()]
    const config = await first.config('state/ca')
    const { ledger } = first.at
    let leaf = ''
    {
      await using authority = await openAuthority(config, () => Temporal.Now.instant())
      const [svid] = await issueFrom(authority, 3, () => Temporal.Now.instant())
      leaf = pemFromDer('CERTIFICATE', svid?.chain ?? [])
    }
    await writeFile(join(given.path, 'leaf.pem'), leaf)
    await writeFile(join(given.path, 'backup-passphrase'), `${passphrase}\n`, { mode: 0o600 })
    const flags = ({ url, password, caFile, passphrase: sealed }: typeof ledger) => ({
      ledger: url,
      ledgerPasswordFile: password.file,
      ledgerPassphraseFile: sealed.file,
      ledgerCa: caFile,
    })
    const cli = (command: Command, place: string | undefined, options: Record<string, unknown>) =>
      runCommand(command, {
        cwd: given.path,
        arguments: place === undefined ? [] : [place],
        options: { output: 'json', ...options },
      })
    const anywhere = { state: 'nowhere', ...flags(ledger) }
    const head = await cli(caLogHead, undefined, anywhere)
    t.is(head.exitCode, 0)
    t.is(JSON.parse(head.out).log, 'prod.example')
    await writeFile(join(given.path, 'head.json'), head.out)

    const state = { state: 'state' }
    await t.throwsAsync(cli(caLogHead, undefined, state), { message: /there is none/ })
    await noteLedger(join(given.path, 'state'), ledger)
    t.deepEqual((await cli(caLogHead, undefined, state)).out, head.out)
    const proof = await cli(caLogProve, 'leaf.pem', state)
    await writeFile(join(given.path, 'proof.json'), proof.out)
    t.is((await cli(caLogVerify, 'proof.json', { ...state, of: 'leaf.pem' })).exitCode, 0)
    t.is((await cli(caLogVerify, undefined, { ...state, since: 'head.json' })).exitCode, 0)

    const backedUp = await cli(caBackup, 'nightly', {
      ...state,
      passphraseFile: 'backup-passphrase',
    })
    t.is(backedUp.exitCode, 0)
    const into = { state: 'new', passphraseFile: 'backup-passphrase', ...flags(second.at.ledger) }
    const restored = await cli(caRestore, 'nightly', { ...into, output: 'text' })
    t.regex(restored.out, /^the database is the CA of prod\.example as it was at/)
    t.is((await cli(caLogVerify, undefined, { state: 'new' })).exitCode, 0, 'it is noted there')
    await t.throwsAsync(cli(caLogVerify, undefined, { state: 'elsewhere' }), {
      message: /there is none/,
    })
    await mkdir(join(given.path, 'other/ca-2'), { recursive: true })
    await t.throwsAsync(cli(caRestore, 'nightly', { ...into, state: 'other' }), {
      message: /ca-2 of a replica is there, expected none/,
    })
    for (const { out, err } of [head, proof, backedUp, restored]) {
      t.false(`${out}${err}`.includes(first.password))
    }
    const noted = await readFile(join(given.path, 'state/ledger.json'), 'utf8')
    for (const each of [first.password, secret]) t.false(noted.includes(each))

    // Everything has expired, and nothing runs: the owner's way to another root.
    const late = () => Temporal.Now.instant().add({ hours: 24 * 400 })
    for (const step of ['start', 'promote', 'finish'] as const) {
      await recoverState(config.stateDir, { by: 'uid:0', step }, late, first.at)
    }
    await using later = await openAuthority(config, late)
    t.is(later.authorities.fault(), undefined)
  },
)
