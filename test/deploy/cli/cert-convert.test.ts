import { createPrivateKey, randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createSecureContext } from 'node:tls'

import test from 'ava'

import { toPkcs12 } from '#ca/inspect/index.ts'
import { certConvert } from '#deploy/cli/commands/cert-convert.ts'
import { makeCertificate } from '#test/ca/inspect/certificates.ts'
import { runCommand } from '#test/fakes/fake-io.ts'

const cwd = mkdtempSync(join(tmpdir(), 'redoubt-convert-'))
const now = Temporal.Now.instant()
const life = {
  notBefore: now.subtract({ minutes: 2 }).toString(),
  notAfter: now.add({ hours: 1 }).toString(),
}
const root = await makeCertificate({ ca: true, ...life })
const leaf = await makeCertificate({ issuer: root, ...life })
const files = {
  'chain.pem': `${leaf.pem}\n${root.pem}\n`,
  'leaf.der': leaf.der,
  'key.pem': leaf.keyPem,
  'other.pem': root.keyPem,
  'password.txt': 'pass wörd\nsecond line\n',
  'empty.txt': '\n',
}
for (const [name, content] of Object.entries(files)) writeFileSync(join(cwd, name), content)

test.after.always(() => rmSync(cwd, { recursive: true }))

const convert = (place: string, options: Readonly<Record<string, string>>) =>
  runCommand(certConvert, { cwd, arguments: [place], options })

test('cert convert writes a PKCS#12 that OpenSSL opens with its password and no other', async (t) => {
  const { exitCode } = await convert('chain.pem', {
    to: 'p12',
    key: 'key.pem',
    passwordFile: 'password.txt',
    out: 'id.p12',
  })
  t.is(exitCode, 0)
  const pfx = readFileSync(join(cwd, 'id.p12'))
  t.is(statSync(join(cwd, 'id.p12')).mode & 0o777, 0o600)
  t.notThrows(() => createSecureContext({ pfx, passphrase: 'pass wörd' }))
  t.throws(() => createSecureContext({ pfx, passphrase: 'pass word' }), { message: /mac verify/ })
  const { d = '' } = createPrivateKey(leaf.keyPem).export({ format: 'jwk' })
  t.is(Buffer.from(d, 'base64url').length, 32)
  t.false(pfx.includes(Buffer.from(d, 'base64url')))
})

test('toPkcs12() hides the key under fresh salts', (t) => {
  const key = createPrivateKey(leaf.keyPem).export({ format: 'der', type: 'pkcs8' })
  const input = { certificates: [leaf.der], key, password: 'p', randomBytes }
  t.notDeepEqual(toPkcs12(input), toPkcs12(input))
})

test('cert convert names the file that is not there', async (t) => {
  await t.throwsAsync(convert('gone.pem', { to: 'pem' }), {
    message: 'Cannot read gone.pem: there is no such file',
  })
})

test('cert convert writes PKCS#7 with every certificate as it was', async (t) => {
  await convert('chain.pem', { to: 'p7b', out: 'chain.p7b' })
  const p7b = readFileSync(join(cwd, 'chain.p7b'))
  t.is(p7b[0], 0x30)
  for (const { der } of [leaf, root]) t.true(p7b.includes(Buffer.from(der)))
})

test('cert convert goes from DER to PEM and back without a change', async (t) => {
  const { out } = await convert('leaf.der', { to: 'pem' })
  t.is(out.trim().replace(/\s/g, ''), leaf.pem.trim().replace(/\s/g, ''))
  writeFileSync(join(cwd, 'again.pem'), out)
  await convert('again.pem', { to: 'der', out: 'again.der' })
  t.deepEqual(new Uint8Array(readFileSync(join(cwd, 'again.der'))), new Uint8Array(leaf.der))
})

const p12 = { to: 'p12', key: 'key.pem', passwordFile: 'password.txt', out: 'never.p12' }
const wrong: readonly (readonly [what: string, options: Record<string, string>, says: RegExp])[] = [
  ['the key of another', { ...p12, key: 'other.pem' }, /is not the key of the first/],
  ['no key', { to: 'p12', out: 'never.p12' }, /expected --key and --password-file/],
  ['an empty password', { ...p12, passwordFile: 'empty.txt' }, /first line of empty.txt is empty/],
  ['a key that is none', { ...p12, key: 'chain.pem' }, /not an unencrypted PEM private key/],
  ['binary to a terminal', { to: 'p7b' }, /expected --out FILE/],
  ['two certificates as DER', { to: 'der', out: 'never.der' }, /there are 2 certificates/],
  ['a file that is there', { to: 'pem', out: 'chain.pem' }, /it is there already/],
]
for (const [what, options, says] of wrong) {
  test(`cert convert refuses ${what}`, async (t) => {
    await t.throwsAsync(convert('chain.pem', options), { message: says })
    t.is(readFileSync(join(cwd, 'chain.pem'), 'utf8'), files['chain.pem'])
    t.throws(() => statSync(join(cwd, 'never.p12')), { code: 'ENOENT' })
  })
}
