/** A CA whose keys are in a token: see run.ts for how the token comes to be. */
import { execFileSync } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import anyTest, { type TestFn } from 'ava'
import { type KeyStoreConfig, openCa } from '#ca/index.ts'
import { loadPkcs11, memory, ulong, words } from '#ca/keys/pkcs11/library.ts'
import { openPkcs11Keys } from '#ca/keys/pkcs11/pkcs11-keys.ts'
import { findKey, KEY_HALF } from '#ca/keys/pkcs11/objects.ts'
import { openSessions } from '#ca/keys/pkcs11/sessions.ts'
import { readCertificate, verifySvid } from '#ca/x509/index.ts'
import {
  attestedClient,
  configIn,
  newCsr,
  realClock,
  svidOf,
  temporaryDir,
  workloadId,
} from '../ca/harness.ts'

const module = process.env['REDOUBT_TEST_PKCS11'] ?? ''
const test = (module === '' ? anyTest.skip : anyTest.serial) as TestFn

const token = { module, token: 'redoubt', pin: async () => '1234' }
const keys: KeyStoreConfig = {
  kind: 'pkcs11',
  module,
  token: 'redoubt',
  pin: { env: 'REDOUBT_TEST_PIN' },
}
const deps = {
  now: () => Temporal.Now.instant(),
  clock: realClock,
  log: () => {},
  env: { REDOUBT_TEST_PIN: '1234' },
}

test('a CA with its keys in a token issues, restarts and has no key on the disk', async (t) => {
  await using dir = await temporaryDir()
  const first = await openCa(configIn(dir.path, { keys }), deps)
  const { roots } = first.bundle.current
  {
    using agent = await attestedClient(first)
    const csrs = Array.from({ length: 50 }, () => ({ spiffeId: workloadId, csr: newCsr() }))
    const { results } = await agent.client.issue(...csrs)
    for (const result of results) {
      const { chain } = svidOf({ results: [result] })
      t.is(verifySvid(chain, [first.bundle.current], deps.now(), 'client').kind, 'ok')
      t.true(new X509Certificate(chain[0]!).verify(new X509Certificate(chain[1]!).publicKey))
    }
  }
  await first[Symbol.asyncDispose]()
  t.false((await readdir(dir.path)).includes('keys'))
  for (const name of ['jwt-keys.json']) {
    t.notRegex(await readFile(join(dir.path, name), 'utf8'), /PRIVATE KEY|pkcs8/, name)
  }
  const again = await openCa(configIn(dir.path, { keys }), deps)
  t.deepEqual(again.bundle.current.roots, roots, 'found again by their identifiers')
  await again[Symbol.asyncDispose]()
})

test('keys in a token cannot be taken out, and others read them by their identifier', async (t) => {
  await using store = openPkcs11Keys(token, realClock)
  const { id } = await store.create()
  const listed = execFileSync('softhsm2-util', ['--show-slots'], { encoding: 'utf8' })
  t.regex(listed, /redoubt/)
  const library = loadPkcs11(module)
  await using sessions = openSessions(library, token, realClock)
  const value = await sessions.with(async (session) => {
    const handle = (await findKey(library, session, KEY_HALF.private, id)) ?? 0n
    const bytes = memory(64)
    const CKA_VALUE = 0x11
    return library
      .call('C_GetAttributeValue', session.handle, handle, words([CKA_VALUE, bytes, 64]), 1)
      .then(() => 'read', String)
  })
  t.regex(value, /C_GetAttributeValue answered 0x11$/, 'CKR_ATTRIBUTE_SENSITIVE')
  await store.remove(id)
  t.is(await store.open(id), undefined)
})

test('a slow token does not hold up the process', async (t) => {
  const library = loadPkcs11(module)
  await using sessions = openSessions(library, token, realClock)
  let ticks = 0
  const timer = setInterval(() => {
    ticks += 1
  }, 2)
  const startMs = performance.now()
  await sessions.with(({ handle }) => {
    // RSA-4096: the slowest that there is, seconds of arithmetic in one call.
    const CKA_MODULUS_BITS = 0x121
    const RSA_KEY_PAIR_GEN = 0
    const open = words([CKA_MODULUS_BITS, ulong(4096), 8])
    const mechanism = words([RSA_KEY_PAIR_GEN, null, 0])
    const none = words()
    return library.call(
      'C_GenerateKeyPair',
      handle,
      mechanism,
      open,
      1,
      none,
      0,
      ulong(0),
      ulong(0),
    )
  })
  const tookMs = performance.now() - startMs
  clearInterval(timer)
  t.log(`${tookMs.toFixed(0)} ms in one call, ${ticks} timers meanwhile`)
  t.true(ticks > tookMs / 20, `${ticks} timers of 2 ms in ${tookMs} ms`)
})

for (const [what, change, says] of [
  ['a token that is not there', { token: 'other' }, /it is not there; there is redoubt/],
  ['a PIN that is wrong', { pin: { env: 'REDOUBT_WRONG_PIN' } }, /the PIN is not its PIN/],
] as const) {
  test(`a CA refuses ${what}`, async (t) => {
    await using dir = await temporaryDir()
    const env = { ...deps.env, REDOUBT_WRONG_PIN: '4321' }
    const opening = openCa(configIn(dir.path, { keys: { ...keys, ...change } }), { ...deps, env })
    await t.throwsAsync(opening, { code: 'CA_SIGNER_UNAVAILABLE', message: says })
  })
}

test('a CA does not pass keys of its files off as keys of a token', async (t) => {
  await using dir = await temporaryDir()
  const plain = await openCa(configIn(dir.path), deps)
  await plain[Symbol.asyncDispose]()
  await t.throwsAsync(openCa(configIn(dir.path, { keys }), deps), {
    code: 'CA_STATE_UNUSABLE',
    message: /its key is not among the keys of the PKCS#11 token "redoubt"$/,
  })
})

test('the issuing certificate and its key in the token are one pair', async (t) => {
  await using dir = await temporaryDir()
  const ca = await openCa(configIn(dir.path, { keys }), deps)
  const [root] = ca.bundle.current.roots
  await ca[Symbol.asyncDispose]()
  await using store = openPkcs11Keys(token, realClock)
  const { publicKeyDer } = readCertificate(root!)
  const { storeIdOf } = await import('#ca/keys/signing-key.ts')
  t.deepEqual(
    (await store.open(storeIdOf(publicKeyDer)))?.publicKeyDer,
    Uint8Array.from(publicKeyDer),
  )
})
