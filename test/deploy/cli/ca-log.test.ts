/** `redoubt ca log` and the log in `cert inspect`, on the state that a CA left; a running one is in test/process. */
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'

import test from 'ava'

import { openAuthority } from '#ca/open-authority.ts'
import { pemFromDer } from '#ca/x509/index.ts'
import { caLogHead } from '#deploy/cli/commands/ca-log-head.ts'
import { caLogProve } from '#deploy/cli/commands/ca-log-prove.ts'
import { caLogVerify } from '#deploy/cli/commands/ca-log-verify.ts'
import { certInspect } from '#deploy/cli/commands/cert-inspect.ts'
import type { Command } from '#deploy/cli/command.ts'
import { caSettings } from '#deploy/cli/ledger-options.ts'
import { agentId, configIn, trustDomain } from '#test/ca/harness.ts'
import { issueFrom } from '#test/ca/issue-from.ts'
import { type Printed, runCommand } from '#test/fakes/fake-io.ts'

const cwd = await mkdtemp(join(tmpdir(), 'redoubt-ca-log-'))
test.after.always(() => rm(cwd, { recursive: true }))

const now = () => Temporal.Now.instant()
const serials: string[] = []

/** A certificate more in the state at `dir`. */
async function issue(dir: string, file: string): Promise<void> {
  await using authority = await openAuthority(configIn(join(dir, 'ca')), now)
  const [svid] = await issueFrom(authority, 1, now)
  if (!svid) throw new Error('nothing was issued')
  serials.push(svid.serial)
  await writeFile(join(cwd, file), pemFromDer('CERTIFICATE', svid.chain))
}

function run(
  command: Command,
  place?: string,
  options: Readonly<Record<string, unknown>> = {},
): Promise<Printed> {
  const args = place === undefined ? [] : [place]
  return runCommand(command, { cwd, arguments: args, options: { state: 'state', ...options } })
}

/** Runs a command, and keeps what it printed in a file. */
async function keep(file: string, ...given: Parameters<typeof run>): Promise<void> {
  const { exitCode, out } = await run(...given)
  if (exitCode !== 0) throw new Error(out)
  await writeFile(join(cwd, file), out)
}

const json = { output: 'json' }

test.before(async () => {
  const state = join(cwd, 'state')
  await issue(state, 'first.pem')
  await keep('head.json', caLogHead, undefined, json)
  await keep('key.pem', caLogHead, undefined, { publicKey: true })
  await issue(state, 'second.pem')
  await keep('first.proof.json', caLogProve, 'first.pem', json)
  await keep('growth.json', caLogProve, undefined, { ...json, since: 'head.json' })
  await issue(join(cwd, 'elsewhere'), 'stranger.pem')
  await cp(state, join(cwd, 'bad'), { recursive: true })
  const ledger = new DatabaseSync(join(cwd, 'bad', 'ca', 'ledger.db'))
  ledger.exec('DELETE FROM certificates WHERE log_index = 2')
  ledger.close()
})

test('ca log head shows the signed head, and the key that checks it', async (t) => {
  const { exitCode, out } = await run(caLogHead)
  t.is(exitCode, 0)
  t.regex(out, /^log {6}prod\.example, 4 entries\nroot {5}[0-9a-f]{64}\nsigned {3}\S+Z by key /)
  t.like(JSON.parse((await run(caLogHead, undefined, json)).out), { log: trustDomain, size: 4 })
})

test('ca log verify holds the whole ledger against its head, and against one that was kept', async (t) => {
  const { exitCode, out } = await run(caLogVerify, undefined, { since: 'head.json' })
  t.is(exitCode, 0)
  t.regex(out, /^✔ the ledger is the log: 4 certificates and 0 calls, under the head of /)
  t.regex(out, /\n✔ it has only grown since it had 3 entries$/)
})

test('ca log verify names the row that is gone, and answers no', async (t) => {
  const { exitCode, out } = await run(caLogVerify, undefined, { state: 'bad' })
  t.is(exitCode, 1)
  t.is(out, '✘ 1 fault\n  deleted  entry 2: its row is gone')
  const told = await run(caLogVerify, undefined, { state: 'bad', ...json })
  t.like(JSON.parse(told.out), { ok: false, faultCount: 1 })
})

test('ca log verify answers no to a head that the log does not follow on', async (t) => {
  await keep('elsewhere.json', caLogHead, undefined, { ...json, state: 'elsewhere' })
  const other = await run(caLogVerify, undefined, { since: 'elsewhere.json' })
  t.is(other.exitCode, 1)
  t.regex(other.out, /\n✘ the earlier head is not signed by this log's key$/)
  const shorter = await run(caLogVerify, undefined, { since: 'head.json', state: 'elsewhere' })
  t.is(shorter.exitCode, 1)
})

test('ca log verify checks a proof offline: by the certificate, the document and the public key alone', async (t) => {
  const given = { of: 'first.pem', logKey: 'key.pem', state: 'nowhere' }
  const good = await run(caLogVerify, 'first.proof.json', given)
  t.is(good.exitCode, 0)
  t.regex(good.out, /^✔ the certificate is entry 2 of the log of prod\.example as signed at /)
  const other = await run(caLogVerify, 'first.proof.json', { ...given, of: 'second.pem' })
  t.is(other.exitCode, 1)
  t.is(other.out, '✘ the path does not lead from this certificate to the signed root')
  const growth = { since: 'head.json', logKey: 'key.pem', state: 'nowhere' }
  const grown = await run(caLogVerify, 'growth.json', growth)
  t.is(grown.exitCode, 0)
  t.regex(grown.out, /begins with all of its first 3$/)
})

test('cert inspect shows the proof of a certificate that the log here has, and says no where it has none', async (t) => {
  const good = await run(certInspect, 'first.pem', json)
  t.is(good.exitCode, 0)
  t.like(JSON.parse(good.out).certificates[0].log, {
    verified: true,
    error: null,
    index: 2,
    size: 4,
    requestedBy: agentId,
  })
  const text = await run(certInspect, 'first.pem')
  t.regex(text.out, /log {7}✔ proved entry 2 of 4, head of /)
  const stranger = await run(certInspect, 'stranger.pem', json)
  t.is(stranger.exitCode, 1, 'its trust domain is that of the log, which does not know it')
  t.deepEqual(JSON.parse(stranger.out).certificates[0].log, {
    verified: false,
    error: 'the log has no such certificate',
  })
  const nowhere = await run(certInspect, 'first.pem', { ...json, state: 'nowhere' })
  t.is(nowhere.exitCode, 0)
  t.is(JSON.parse(nowhere.out).certificates[0].log, undefined)
})

const brief = Temporal.Duration.from('PT30M')
const none = Temporal.Duration.from('PT5M')
for (const [why, ttlSeconds, change, words] of [
  ['default', 0, {}, "the CA's default life"],
  ['asked', 600, {}, 'the life that was asked for'],
  ['maximum', 36_000, {}, "the CA's maximum: more was asked for"],
  [
    'issuer',
    0,
    { caTtl: brief, rootTtl: brief, leafTtl: none, maxLeafTtl: none },
    'no longer: its issuer ends then',
  ],
] as const) {
  test(`cert inspect says why a life is what it is, as the log has it: ${why}`, async (t) => {
    const state = join(cwd, `life-${why}`)
    {
      await using authority = await openAuthority(configIn(join(state, 'ca'), change), now)
      const [svid] = await issueFrom(authority, 1, now, ttlSeconds)
      await writeFile(join(cwd, `${why}.pem`), pemFromDer('CERTIFICATE', svid?.chain ?? []))
    }
    const lifeOf = ({ out }: Printed) => JSON.parse(out).certificates[0].life.why
    const at = (dir: string) => ({ state: dir })
    t.is(lifeOf(await run(certInspect, `${why}.pem`, { ...json, ...at(state) })), why)
    const text = (await run(certInspect, `${why}.pem`, at(state))).out
    t.true(text.includes(` left (${words})\n`), text)
    await keep(`${why}.json`, caLogProve, `${why}.pem`, { ...json, ...at(state) })
    await keep(`${why}.key`, caLogHead, undefined, { publicKey: true, ...at(state) })
    const offline = { ...at('nowhere'), logProof: `${why}.json`, logKey: `${why}.key` }
    t.is(lifeOf(await run(certInspect, `${why}.pem`, { ...json, ...offline })), why)
    t.regex(
      (await run(caLogProve, `${why}.pem`, { ...at(state), output: 'text' })).out,
      /\nlife {5}/,
    )

    const bare = lifeOf(await run(certInspect, `${why}.pem`, { ...json, ...at('nowhere') }))
    t.is(bare, why === 'issuer' ? why : null, 'a file alone says what its issuer says')
    const proof = JSON.parse(await readFile(join(cwd, `${why}.json`), 'utf8'))
    proof.entry.life = why === 'asked' ? 'default' : 'asked'
    await writeFile(join(cwd, `${why}.json`), JSON.stringify(proof))
    const forged = await run(certInspect, `${why}.pem`, { ...json, ...offline })
    t.is(forged.exitCode, 1)
    t.is(lifeOf(forged), bare, 'what is not proved is not said')
  })
}

test('cert inspect --log-proof checks a proof that came along, offline', async (t) => {
  const given = { logProof: 'first.proof.json', logKey: 'key.pem', state: 'nowhere' }
  t.regex((await run(certInspect, 'first.pem', given)).out, /✔ proved entry 2 of 4/)
  const other = await run(certInspect, 'second.pem', given)
  t.is(other.exitCode, 1)
  t.regex(other.out, /log {7}✘ the path does not lead from this certificate/)
})

for (const [what, command, place, options, message] of [
  ['no certificate', caLogProve, undefined, {}, /expected either SERIAL, FILE or --since FILE/],
  ['a serial that is none', caLogProve, 'x y', {}, /it is no file here, and no serial in hex/],
  ['no log', caLogHead, undefined, { state: 'nowhere' }, /there is none, expected the state of/],
  ['a proof without its certificate', caLogVerify, 'first.proof.json', {}, /expected --of FILE/],
  ['growth without its head', caLogVerify, 'growth.json', {}, /expected --since FILE/],
  ['a head that is none', caLogVerify, undefined, { since: 'key.pem' }, /it is not JSON$/],
  ['a file that is not there', caLogVerify, 'none.json', {}, /there is no such file$/],
  [
    'a key that is none',
    caLogVerify,
    'first.proof.json',
    { of: 'first.pem', logKey: 'head.json' },
    /it is not a public key in PEM$/,
  ],
  ['a proof without a key', certInspect, 'first.pem', { logProof: 'x' }, /expected --log-key FILE/],
] as const) {
  test(`${command.name} refuses ${what} in one line`, async (t) => {
    await t.throwsAsync(run(command, place, options), { message })
  })
}

test('ca log prove answers no for a serial that is not there', async (t) => {
  const { exitCode, err } = await run(caLogProve, 'ABCD')
  t.is(exitCode, 1)
  t.regex(
    err,
    /^redoubt: the ledger has no certificate with the serial abcd: it was not issued here/,
  )
  t.false(err.includes('\n'))
  t.is((await run(caLogProve, serials[0]?.toUpperCase(), json)).exitCode, 0)
})

test('up takes a ledger in PostgreSQL without a secret in its arguments', (t) => {
  const given = (options: object) =>
    caSettings({ cwd: '/srv' }, { arguments: [], options: { ...options } })
  const url = 'postgres://redoubt@db.example/redoubt'
  t.deepEqual(given({ retention: '7d' }), { retention: 'PT168H' })
  t.deepEqual(given({ ledger: url, ledgerPassphraseFile: 'pass', ledgerCa: '/etc/ca.pem' }), {
    retention: 'PT2160H',
    ledger: {
      kind: 'postgres',
      url,
      passphrase: { file: '/srv/pass' },
      caFile: '/etc/ca.pem',
    },
  })
  const error = t.throws(() => given({ ledger: 'postgres://u:hunter2@db/x' }), {
    message: /a password in it/,
  })
  t.notRegex(error?.message ?? '', /hunter2/)
  t.throws(() => given({ ledger: url }), { message: /expected --ledger-passphrase-file FILE/ })
})
