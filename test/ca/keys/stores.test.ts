/** Where keys can be, and that nothing of them shows elsewhere. */
import { createPublicKey, generateKeyPairSync, verify } from 'node:crypto'
import { chmod, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import { configFaults, openCa, openLogState, recoverState } from '#ca/index.ts'
import { systemNow } from '#deploy/run/system-clock.ts'
import { openLogKey } from '#ca/issue/log-key.ts'
import { derSignature, rawSignature } from '#ca/keys/ecdsa.ts'
import { openFileKeys } from '#ca/keys/file-keys.ts'
import { createMemoryKeys } from '#ca/keys/memory-keys.ts'
import { openKeyStore, readSecret } from '#ca/keys/open-keys.ts'
import { CKR, Pkcs11Failure, type Pkcs11Library } from '#ca/keys/pkcs11/library.ts'
import { openSessions } from '#ca/keys/pkcs11/sessions.ts'
import { seal, unseal } from '#ca/keys/sealed.ts'
import type { KeyStore, SigningKey } from '#ca/keys/signing-key.ts'
import { openStateDir } from '#ca/keys/state-dir.ts'
import { FakeClock } from '../../fakes/fake-clock.ts'
import { askedCosts, atFullCost } from '../../fakes/quick-scrypt.ts'
import { configIn, newKey, realClock, temporaryDir } from '../harness.ts'

const message = Buffer.from('to be signed')
const isOver = (key: SigningKey, signature: Uint8Array) => {
  const spki = { key: Buffer.from(key.publicKeyDer), format: 'der', type: 'spki' } as const
  return verify('sha256', message, createPublicKey(spki), signature)
}

const stores: Readonly<Record<string, (dir: string) => Promise<KeyStore>>> = {
  memory: async () => createMemoryKeys(),
  files: (dir) => openFileKeys(dir, undefined),
  'encrypted files': (dir) => openFileKeys(dir, 'correct horse'),
}
for (const [name, open] of Object.entries(stores)) {
  test(`a key store of ${name} makes, finds, takes and forgets keys`, async (t) => {
    await using dir = await temporaryDir()
    await using store = await open(dir.path)
    const made = await store.create()
    t.true(isOver(made, await made.sign(message)))
    const found = await store.open(made.id)
    t.deepEqual(found?.publicKeyDer, made.publicKeyDer)
    t.true(isOver(made, (await found?.sign(message)) ?? Buffer.alloc(0)))

    const brought = newKey()
    const taken = await store.take(brought)
    t.deepEqual((await store.open(taken.id))?.publicKeyDer, taken.publicKeyDer)
    await store.remove(made.id)
    await store.remove(made.id)
    t.is(await store.open(made.id), undefined)
  })
}

test('files of keys are their owner’s alone, and encrypted ones open with the passphrase alone', async (t) => {
  await using dir = await temporaryDir()
  await using plain = await openFileKeys(dir.path, undefined)
  const { id } = await plain.create()
  const file = join(dir.path, `${id}.pem`)
  t.is((await stat(file)).mode & 0o777, 0o600)
  t.is((await stat(dir.path)).mode & 0o777, 0o700)
  t.regex(await readFile(file, 'utf8'), /BEGIN PRIVATE KEY/)

  await using sealed = await openFileKeys(dir.path, 'correct horse')
  t.is((await sealed.open(id))?.id, id, 'a file that was not encrypted is, from then on')
  const text = await readFile(file, 'utf8')
  t.regex(text, /^-----BEGIN REDOUBT SEALED PRIVATE KEY-----\n/)
  t.deepEqual(await readdir(dir.path), [`${id}.pem`])
  t.is((await (await openFileKeys(dir.path, 'correct horse')).open(id))?.id, id)
  const code = 'CA_STATE_UNUSABLE'
  await t.throwsAsync(plain.open(id), { code, message: /it is encrypted, expected a passphrase/ })
  const other = await openFileKeys(dir.path, 'another horse')
  await t.throwsAsync(other.open(id), { code, message: /the passphrase does not open it/ })

  const another = await sealed.create()
  await writeFile(join(dir.path, `${another.id}.pem`), text)
  await t.throwsAsync(sealed.open(another.id), { code, message: /or it was changed/ })
  await chmod(file, 0o640)
  await t.throwsAsync(sealed.open(id), { code, message: /its mode is 0640, expected 0600/ })
})

test.serial('a guess at a passphrase costs what OWASP asks for', async (t) => {
  const opened = await atFullCost(async () => unseal(await seal(message, 'p', 'a'), 'p', 'a'))
  t.deepEqual(Buffer.from(opened ?? []), message)
  t.is(askedCosts.length, 0)
  await seal(message, 'p', 'a')
  t.like(askedCosts[0], { N: 2 ** 15, r: 8, p: 3 })
})

test('seal() says nothing of what it holds, twice the same way never, and unseal() finds any change', async (t) => {
  const sealed = await seal(message, 'p', 'a')
  t.notDeepEqual(await seal(message, 'p', 'a'), sealed)
  t.deepEqual(Buffer.from((await unseal(sealed, 'p', 'a')) ?? []), message)
  t.is(await unseal(sealed, 'q', 'a'), undefined)
  t.is(await unseal(sealed, 'p', 'b'), undefined)
  t.is(await unseal(new Uint8Array(3), 'p', 'a'), undefined)
  for (const at of [1, 20, 30, sealed.length - 1]) {
    const changed = Uint8Array.from(sealed, (byte, index) => (index === at ? byte ^ 1 : byte))
    t.is(await unseal(changed, 'p', 'a'), undefined, `byte ${at}`)
  }
})

test('readSecret() reads a file or a variable, and tells where one is missing without a word of it', async (t) => {
  await using dir = await temporaryDir()
  const file = join(dir.path, 'pin')
  await writeFile(file, 'one two\n')
  t.is(await readSecret('PIN', { file }, {}), 'one two')
  t.is(await readSecret('PIN', { env: 'REDOUBT_PIN' }, { REDOUBT_PIN: '1234' }), '1234')
  const code = 'CA_CONFIG_INVALID'
  await t.throwsAsync(readSecret('PIN', { env: 'REDOUBT_PIN' }, {}), {
    code,
    message: 'Cannot read the PIN in the variable REDOUBT_PIN: it is not set',
  })
  await writeFile(file, '\n')
  await t.throwsAsync(readSecret('PIN', { file }, {}), { code, message: /: it is empty$/ })
  await t.throwsAsync(readSecret('PIN', { file: `${file}s` }, {}), { code, message: /not there$/ })
})

test('configFaults() names what is wrong with a key store', (t) => {
  const keys = { kind: 'pkcs11', module: 'm.so', token: '', pin: { env: 'PIN' } } as const
  t.deepEqual(configFaults(configIn('/state', { keys })), [
    'keys.module is "m.so", expected an absolute path',
    'keys.token is empty, expected the label of a token',
    'keys.pin.env is "PIN", expected a name that starts with REDOUBT_',
  ])
  const files = { kind: 'files', passphrase: { file: 'p' } } as const
  t.deepEqual(configFaults(configIn('/state', { keys: files })), [
    'keys.passphrase.file is "p", expected an absolute path',
  ])
})

test('openCa() encrypts its keys by a passphrase that is in no log and no file of its own', async (t) => {
  await using dir = await temporaryDir()
  const passphrase = 'battery staple 7'
  const file = join(dir.path, 'passphrase')
  await writeFile(file, passphrase)
  const stateDir = join(dir.path, 'state')
  const log: unknown[] = []
  const open = (from: string) =>
    openCa(configIn(stateDir, { keys: { kind: 'files', passphrase: { file: from } } }), {
      now: () => Temporal.Now.instant(),
      clock: realClock,
      log: (...entry) => log.push(entry),
    })
  const first = await open(file)
  const { roots } = first.bundle.current
  const { publicKeyPem } = first.log
  await first[Symbol.asyncDispose]()
  {
    using audited = await openLogState(stateDir)
    t.is(audited.publicKeyPem, publicKeyPem, 'an audit needs no passphrase')
    t.true((await audited.audit()).ok)
  }
  for (const entry of await readdir(stateDir, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const content = await readFile(join(entry.parentPath, entry.name))
    t.false(content.includes(passphrase), entry.name)
    const isKey = entry.parentPath.endsWith('/keys') || entry.name === 'log-key.pem'
    if (isKey) t.true(content.includes('SEALED') && !content.includes('BEGIN PRIVATE'), entry.name)
  }
  t.false(JSON.stringify(log).includes(passphrase))
  const again = await open(file)
  t.deepEqual(again.bundle.current.roots, roots)
  await again[Symbol.asyncDispose]()
  await writeFile(file, 'wrong')
  await t.throwsAsync(open(file), {
    code: 'CA_STATE_UNUSABLE',
    message: /passphrase does not open/,
  })
})

test('the key of the log is encrypted by the passphrase of the keys, one from before too; an audit needs none', async (t) => {
  await using dir = await temporaryDir()
  const state = await openStateDir(dir.path)
  const keyFile = join(dir.path, 'log-key.pem')
  const open = async (passphrase?: string) => {
    const key = createPublicKey(await openLogKey(state, undefined, passphrase))
    return key.export({ type: 'spki', format: 'pem' }).toString()
  }
  const publicKey = await open()
  t.regex(await readFile(keyFile, 'utf8'), /^-----BEGIN PRIVATE KEY-----/)
  t.is(await open('battery staple 7'), publicKey, 'it is the same key')
  const text = await readFile(keyFile, 'utf8')
  t.regex(text, /^-----BEGIN REDOUBT SEALED PRIVATE KEY-----/)
  t.notRegex(text, /BEGIN PRIVATE KEY/)
  t.is((await stat(keyFile)).mode & 0o777, 0o600)
  t.is(await open('battery staple 7'), publicKey)
  const code = 'CA_STATE_UNUSABLE'
  await t.throwsAsync(open(), {
    code,
    message: /^Cannot use the key of the log log-key.pem: it is encrypted, expected the passphrase/,
  })
  await t.throwsAsync(open('another'), { code, message: /the passphrase does not open it/ })
  const other = generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'pem' })
  const [secret] = text.split('-----BEGIN PUBLIC KEY-----')
  await writeFile(keyFile, `${secret}${other}`)
  const message = /it has another public key beside it$/
  await t.throwsAsync(open('battery staple 7'), { code, message })
})

test('users §1.2.26: the root of a CA that does not run is rotated with the passphrase of its keys, too', async (t) => {
  await using dir = await temporaryDir()
  const file = join(dir.path, 'passphrase')
  await writeFile(file, 'battery staple 7')
  const stateDir = join(dir.path, 'state')
  const keys = { kind: 'files', passphrase: { file } } as const
  const longAgo = () => Temporal.Now.instant().subtract({ hours: 24 * 800 })
  const deps = { now: longAgo, clock: realClock, log: () => {} }
  await (await openCa(configIn(stateDir, { keys }), deps))[Symbol.asyncDispose]()
  const step = { by: 'uid:1000', step: 'start' } as const
  await t.throwsAsync(recoverState(stateDir, step, systemNow), {
    code: 'CA_STATE_UNUSABLE',
    message:
      /it is encrypted, expected the passphrase of the CA's keys \(.*of ca restore and ca rotate/,
  })
  const done = await recoverState(stateDir, { ...step, keyPassphrase: { file } }, systemNow)
  t.is(done.phase, 'started')
})

test('a CA with keys in memory leaves none on the disk, and is another after a restart', async (t) => {
  await using dir = await temporaryDir()
  const deps = { now: () => Temporal.Now.instant(), clock: realClock, log: () => {} }
  const open = () => openCa(configIn(dir.path, { keys: { kind: 'memory' } }), deps)
  const first = await open()
  const [root] = first.bundle.current.roots
  await first[Symbol.asyncDispose]()
  t.false((await readdir(dir.path)).includes('keys'))
  const second = await open()
  t.notDeepEqual(second.bundle.current.roots[0], root)
  t.true(second.bundle.current.generation > first.bundle.current.generation)
  await second[Symbol.asyncDispose]()
})

test('openKeyStore() refuses a PKCS#11 module that is none, in one line', async (t) => {
  const config = { kind: 'pkcs11', token: 't', pin: { env: 'REDOUBT_PIN' } } as const
  const deps = { clock: realClock, env: {} }
  for (const module of ['/nowhere/module.so', '/etc/hostname']) {
    await t.throwsAsync(openKeyStore({ ...config, module }, '/state', deps), {
      code: 'CA_SIGNER_UNAVAILABLE',
      message: `Cannot use the PKCS#11 module ${module}: it does not load, expected the path of a shared library that is one`,
    })
  }
})

test('an ECDSA signature goes from DER to r and s and back, whatever their leading zeros', (t) => {
  for (const [first, second] of [
    [0x01, 0xff],
    [0x80, 0x00],
    [0x00, 0x7f],
  ] as const) {
    const raw = Buffer.alloc(64, 0x55)
    raw[0] = first
    raw[32] = second
    t.deepEqual(Buffer.from(rawSignature(derSignature(raw), 32)), raw)
  }
})

/** A module that logs calls and does what `answers` says, by function; 0 otherwise. */
function fakeLibrary(answer: (name: string) => Promise<number> | number) {
  const calls: string[] = []
  const library: Pkcs11Library = {
    async call(name, ...args) {
      calls.push(name)
      const code = await answer(name)
      if (code !== 0) throw new Pkcs11Failure(name, code)
      if (name === 'C_GetSlotList') (args[2] as Buffer).writeBigUInt64LE(1n)
      if (name === 'C_GetTokenInfo') (args[1] as Buffer).fill(' ').write('hsm')
      if (name === 'C_OpenSession') (args[4] as Buffer).writeBigUInt64LE(BigInt(calls.length))
    },
  }
  return { library, calls }
}
const token = { module: '/m.so', token: 'hsm', pin: async () => '1234' }

test('sessions that a token lost are opened anew, and the call is made again', async (t) => {
  const { library, calls } = fakeLibrary(() => 0)
  const sessions = openSessions(library, token, realClock)
  const epochs: number[] = []
  const answer = await sessions.with(async (session) => {
    epochs.push(session.epoch)
    if (epochs.length === 1) throw new Pkcs11Failure('C_Sign', CKR.deviceRemoved)
    return 'signed'
  })
  t.is(answer, 'signed')
  t.deepEqual(epochs, [0, 1])
  t.is(calls.filter((name) => name === 'C_Login').length, 2)
})

test('a token that does not answer is given up, and one that says no is believed', async (t) => {
  const clock = new FakeClock()
  const silent = fakeLibrary((name) => (name === 'C_Login' ? new Promise(() => {}) : 0))
  const waiting = openSessions(silent.library, token, clock).with(async () => 'signed')
  await clock.advance(10_000)
  const code = 'CA_SIGNER_UNAVAILABLE'
  await t.throwsAsync(waiting, { code, message: /did not answer within 10000 ms/ })

  const locked = fakeLibrary((name) => (name === 'C_Login' ? CKR.pinIncorrect : 0))
  const sessions = openSessions(locked.library, token, realClock)
  await t.throwsAsync(
    sessions.with(async () => 'signed'),
    {
      code,
      message: 'Cannot use the PKCS#11 token "hsm" of /m.so: the PIN is not its PIN',
    },
  )
  t.is(locked.calls.filter((name) => name === 'C_Login').length, 1, 'a PIN is not tried twice')
  const none = openSessions(fakeLibrary(() => 0).library, { ...token, token: 'x' }, realClock)
  await t.throwsAsync(
    none.with(async () => 1),
    { code, message: /it is not there; there is hsm$/ },
  )
})

test('no more than 4 sessions of a token are open at once', async (t) => {
  const { library, calls } = fakeLibrary(() => 0)
  const sessions = openSessions(library, token, realClock)
  let running = 0
  let most = 0
  await Promise.all(
    Array.from({ length: 20 }, () =>
      sessions.with(async () => {
        running += 1
        most = Math.max(most, running)
        await new Promise((resolve) => setImmediate(resolve))
        running -= 1
      }),
    ),
  )
  t.is(most, 4)
  t.is(calls.filter((name) => name === 'C_OpenSession').length, 4)
})
