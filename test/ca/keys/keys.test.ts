import { fork } from 'node:child_process'
import { once } from 'node:events'
import { chmod, cp, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import { type CaConfig, CaError, configFaults } from '#ca/index.ts'
import { activePair } from '#ca/authorities/book.ts'
import { certificateOf } from '#ca/authorities/make.ts'
import { keepRenewed } from '#ca/keys/keep-renewed.ts'
import { storeIdOf } from '#ca/keys/signing-key.ts'
import { openStateDir } from '#ca/keys/state-dir.ts'
import { type OpenAuthority, openAuthority } from '#ca/open-authority.ts'
import { parseTrustDomain } from '#ca/spiffe/index.ts'
import { derFromPem, pemFromDer, readCertificate } from '#ca/x509/index.ts'
import { FakeClock } from '../../fakes/fake-clock.ts'
import { configIn, newKey, temporaryDir } from '../harness.ts'

const start = Temporal.Instant.from('2026-06-01T12:00:00Z')
const at = (hours: number) => () => start.add({ hours })
const rootOf = ({ authorities }: OpenAuthority) => activePair(authorities.book.current).root.serial
const issuingOf = ({ signer }: OpenAuthority) => signer().authority.certificate

/** Opens and closes, returning what was seen. */
async function opened(config: CaConfig, hours = 0) {
  await using authority = await openAuthority(config, at(hours))
  const { generation, roots } = authority.bundle.current
  return { root: rootOf(authority), issuing: issuingOf(authority).serial, generation, roots }
}

const FILES = ['jwt-keys.json', 'log-key.pem', 'log-seen.json']

test('openAuthority() makes root and issuing CA in files that only the owner can read', async (t) => {
  await using dir = await temporaryDir()
  const stateDir = join(dir.path, 'new', 'state')
  const { roots } = await opened(configIn(stateDir))
  t.is((await stat(stateDir)).mode & 0o777, 0o700)
  const keys = (await readdir(join(stateDir, 'keys'))).map((name) => `keys/${name}`)
  t.is(keys.length, 3, 'root, issuing CA, tokens')
  for (const file of [...FILES, 'ledger.db', ...keys]) {
    t.is((await stat(join(stateDir, file))).mode & 0o777, 0o600, file)
  }
  t.deepEqual((await readdir(stateDir)).toSorted(), [...FILES, 'keys', 'ledger.db'].toSorted())
  const certificate = readCertificate(roots[0]!)
  t.true(certificate.isCa)
  t.is(certificate.pathLength, 1)
  t.deepEqual(certificate.keyUsage, ['keyCertSign', 'cRLSign'])
  t.true(certificate.keyUsageIsCritical)
  t.deepEqual(certificate.uriSans, ['spiffe://prod.example'])
})

test('openAuthority() finds the same authorities again', async (t) => {
  await using dir = await temporaryDir()
  const first = await opened(configIn(dir.path))
  t.deepEqual(await opened(configIn(dir.path), 1), first)
  t.is(first.generation, 1)
})

/** A state as a version left it that had no book of authorities: their certificates are files. */
async function olderState(dir: string) {
  const config = configIn(dir)
  const first = await opened(config)
  const authority = await openAuthority(config, at(0))
  const pair = Object.entries(activePair(authority.authorities.book.current))
  const certificates = pair.map(([name, entry]) => [`${name}.pem`, certificateOf(entry)] as const)
  await authority.queries.deleteFrom('authority_books').execute()
  await authority[Symbol.asyncDispose]()
  for (const [name, { der }] of certificates) {
    await writeFile(join(dir, name), pemFromDer('CERTIFICATE', der), { mode: 0o600 })
  }
  return { first, certificates }
}

test('openAuthority() takes the keys of an older version, which lay beside their certificates', async (t) => {
  await using dir = await temporaryDir()
  const { first, certificates } = await olderState(dir.path)
  const read = (name: string) => readFile(join(dir.path, name), 'utf8')
  const keys = new Map<string, string>()
  for (const file of await keyFiles(dir.path)) {
    keys.set(file.slice(-44, -4), await readFile(file, 'utf8'))
    await rm(file)
  }
  for (const [name, certificate] of certificates) {
    const key = keys.get(storeIdOf(certificate.publicKeyDer))
    await writeFile(join(dir.path, name), (await read(name)) + key, { mode: 0o600 })
  }
  const tokens = JSON.parse(await read('jwt-keys.json')) as { keys: Record<string, string>[] }
  const inline = tokens.keys.map(({ id, ...times }) => {
    const [der] = derFromPem('PRIVATE KEY', keys.get(id ?? '') ?? '')
    return { ...times, pkcs8: Buffer.from(der!).toString('base64') }
  })
  await writeFile(join(dir.path, 'jwt-keys.json'), JSON.stringify({ keys: inline }))

  t.deepEqual(await opened(configIn(dir.path), 1), first)
  t.is((await keyFiles(dir.path)).length, 3)
  t.notRegex(await read('jwt-keys.json'), /PRIVATE KEY|pkcs8/)
  t.false((await readdir(dir.path)).includes('root.pem'), 'it has nothing to say any more')
  t.deepEqual(await opened(configIn(dir.path), 1), first)
})

test('users §1.2.30: the next issuing CA is prepared at half a life and used from 5/6, over restarts too', async (t) => {
  await using dir = await temporaryDir()
  const first = await opened(configIn(dir.path))
  const prepared = await opened(configIn(dir.path), 85)
  t.is(prepared.root, first.root)
  t.is(prepared.issuing, first.issuing, 'it is not used yet')
  t.deepEqual(prepared.roots, first.roots)
  t.is(prepared.generation, first.generation + 1, 'the next key for tokens is in the bundle')
  const later = await opened(configIn(dir.path), 141)
  t.not(later.issuing, first.issuing)
  t.is(later.root, first.root)
})

test('openAuthority() uses a successor at once if the issuing CA ended while it was off', async (t) => {
  await using dir = await temporaryDir()
  const first = await opened(configIn(dir.path))
  const later = await opened(configIn(dir.path), 8 * 24)
  t.is(later.root, first.root)
  t.not(later.issuing, first.issuing)
})

test('users §1.2.27: under a root that has ended nothing is signed, and it says so', async (t) => {
  await using dir = await temporaryDir()
  await opened(configIn(dir.path))
  await using authority = await openAuthority(configIn(dir.path), at(366 * 24))
  t.is(authority.authorities.fault(), 'the root ended at 2027-06-01T12:00:00Z')
  t.throws(authority.signer, {
    code: 'CA_SIGNER_UNAVAILABLE',
    message: 'Cannot sign: the root ended at 2027-06-01T12:00:00Z',
  })
})

const keyFiles = async (dir: string): Promise<readonly string[]> =>
  (await readdir(join(dir, 'keys'))).map((name) => join(dir, 'keys', name))

/** Each case is a good state with one thing changed. */
const spoiled: Readonly<Record<string, readonly [RegExp, (dir: string) => Promise<void>]>> = {
  'keys that others can read': [
    /keys\/[0-9a-f]{40}\.pem: its mode is 0644, expected 0600/,
    async (dir) => {
      for (const file of await keyFiles(dir)) await chmod(file, 0o644)
    },
  ],
  'a key that is another’s': [
    /keys\/[0-9a-f]{40}\.pem: it is another key/,
    async (dir) => {
      const key = pemFromDer('PRIVATE KEY', newKey().export({ type: 'pkcs8', format: 'der' }))
      for (const file of await keyFiles(dir)) await writeFile(file, key)
    },
  ],
  'a key that is gone': [
    /stored root CA [0-9a-f]{40}: its key is not among the files in /,
    async (dir) => {
      for (const file of await keyFiles(dir)) await rm(file)
    },
  ],
  'a file of an older version that is cut off': [
    /root\.pem: it cannot be read: Cannot read PEM/,
    async (dir) => {
      await olderState(dir)
      await writeFile(join(dir, 'root.pem'), '-----BEGIN CERTIFICATE-----\nMII')
    },
  ],
  'half of the files of an older version': [
    /issuing\.pem: it is not there, and the other of the two is/,
    async (dir) => {
      await olderState(dir)
      await rm(join(dir, 'issuing.pem'))
    },
  ],
  'an issuing CA of another root': [
    /issuing\.pem: the stored root did not issue it/,
    async (dir) => {
      await olderState(dir)
      await using other = await temporaryDir()
      await olderState(other.path)
      await writeFile(join(dir, 'issuing.pem'), await readFile(join(other.path, 'issuing.pem')))
      await cp(join(other.path, 'keys'), join(dir, 'keys'), { recursive: true })
    },
  ],
}
for (const [what, [message, spoil]] of Object.entries(spoiled)) {
  test(`openAuthority() refuses ${what}`, async (t) => {
    await using dir = await temporaryDir()
    await opened(configIn(dir.path))
    await spoil(dir.path)
    await t.throwsAsync(opened(configIn(dir.path)), {
      instanceOf: CaError,
      code: 'CA_STATE_UNUSABLE',
      message,
    })
  })
}

test('openAuthority() refuses the state of another trust domain', async (t) => {
  await using dir = await temporaryDir()
  await opened(configIn(dir.path))
  await t.throwsAsync(
    opened(configIn(dir.path, { trustDomain: parseTrustDomain('other.example') })),
    {
      code: 'CA_STATE_UNUSABLE',
      message: /it belongs to spiffe:\/\/prod\.example, expected spiffe:\/\/other\.example/,
    },
  )
})

test('openAuthority() refuses a state directory that another CA has open, before it touches a key', async (t) => {
  await using dir = await temporaryDir()
  await using _holder = await openAuthority(configIn(dir.path), at(0))
  await t.throwsAsync(opened(configIn(dir.path)), {
    code: 'CA_STATE_UNUSABLE',
    message: /another CA has it open; stop that one, or choose another state directory/,
  })
})

test('a CA that is killed loses nothing that it recorded, and leaves no lock', async (t) => {
  await using dir = await temporaryDir()
  const script = `
    import { openAuthority } from '#ca/open-authority.ts'
    import { configIn } from '#test/ca/harness.ts'
    const config = configIn(${JSON.stringify(dir.path)})
    const { authorities } = await openAuthority(config, () => Temporal.Instant.from('${start}'))
    process.send(authorities.book.current.authorities[0].serial)
    setInterval(() => {}, 1000)`
  const child = fork('-', { execArgv: ['--input-type=module-typescript', '-e', script] })
  const [serial] = await once(child, 'message')
  await t.throwsAsync(opened(configIn(dir.path)), { message: /another CA has it open/ })
  child.kill('SIGKILL')
  await once(child, 'exit')
  const { root, generation } = await opened(configIn(dir.path))
  t.is(root, serial)
  t.is(generation, 1)
})

test('openStateDir() refuses a directory below a file, and one that is a file', async (t) => {
  await using dir = await temporaryDir()
  const file = join(dir.path, 'file')
  await writeFile(file, '')
  await t.throwsAsync(openStateDir(join(file, 'state')), {
    code: 'CA_STATE_UNUSABLE',
    message: `Cannot use the CA's state at ${join(file, 'state')}: a part of its path is a file, expected a directory`,
  })
  await t.throwsAsync(openStateDir(file), { code: 'CA_STATE_UNUSABLE', message: /it is a file/ })
})

test('openStateDir() closes a directory that was open to others', async (t) => {
  await using dir = await temporaryDir()
  const path = join(dir.path, 'open')
  await mkdir(path, { mode: 0o755 })
  await openStateDir(path)
  t.is((await stat(path)).mode & 0o777, 0o700)
})

test('every authority is in the ledger, the root’s issuer being itself', async (t) => {
  await using dir = await temporaryDir()
  const { root, issuing } = await opened(configIn(dir.path))
  const { openDatabase } = await import('#ca/issue/database.ts')
  using database = openDatabase(join(dir.path, 'ledger.db'))
  const rows = await database.queries
    .selectFrom('certificates')
    .select(['serial', 'kind', 'issuer_serial', 'requested_by'])
    .orderBy('kind')
    .execute()
  t.deepEqual(rows, [
    { serial: issuing, kind: 'issuing', issuer_serial: root, requested_by: 'self' },
    { serial: root, kind: 'root', issuer_serial: root, requested_by: 'self' },
  ])
})

/** The valid base for configuration. */
const config = configIn('/state')
const duration = (text: string) => Temporal.Duration.from(text)

test('configFaults() finds nothing wrong with the base, nor with caTtl of exactly six leaf lives', (t) => {
  t.deepEqual(configFaults(config), [])
  t.deepEqual(configFaults({ ...config, caTtl: duration('PT6H') }), [])
})

const faulty: Readonly<Record<string, readonly [string, Partial<CaConfig>]>> = {
  'caTtl below six leaf lives': [
    'caTtl is PT5H59M59S, expected at least 6 times leafTtl (PT1H)',
    { caTtl: duration('PT5H59M59S') },
  ],
  'a CA that would end between two looks at what is due (users §1.1.16)': [
    'caTtl is PT29S, expected at least PT30S: its successor is looked for every 5 s',
    { leafTtl: duration('PT1S'), caTtl: duration('PT29S') },
  ],
  'a root that ends before its CA': [
    'rootTtl is P6D, expected at least caTtl (P7D)',
    { rootTtl: duration('P6D') },
  ],
  'a longest life below the default one': [
    'maxLeafTtl is PT30M, expected at least leafTtl (PT1H)',
    { maxLeafTtl: duration('PT30M') },
  ],
  'a relative state directory': [
    'stateDir is "state", expected an absolute path',
    { stateDir: 'state' },
  ],
  'a port that is none': [
    'listen.port is 65536, expected 0 to 65535',
    { listen: { host: '::1', port: 65_536 } },
  ],
  'a life in months': [
    'rootTtl is P1M, expected days or smaller units: years and months have no fixed length',
    { rootTtl: duration('P1M') },
  ],
}
for (const [what, [fault, change]] of Object.entries(faulty)) {
  test(`configFaults() finds ${what}`, (t) => {
    t.deepEqual(configFaults({ ...config, ...change }), [fault])
  })
}

test('configFaults() names every fault at once', (t) => {
  const leafTtl = Temporal.Duration.from({ milliseconds: 0 })
  t.is(configFaults({ ...config, leafTtl, stateDir: '', listen: { host: '', port: -1 } }).length, 4)
})

test('keepRenewed() renews at half life, tries again after a failure, and stops when told', async (t) => {
  const clock = new FakeClock()
  const now = () => start.add({ milliseconds: clock.nowMs() })
  let issuedAt = now()
  let failures = 1
  const renewedAtMs: number[] = []
  const log: string[] = []
  const ended = new AbortController()
  const running = keepRenewed(
    { clock, now, random: () => 0, log: (_, event) => log.push(event) },
    () => ({ issuedAt, notAfter: issuedAt.add({ hours: 1 }) }),
    async () => {
      failures -= 1
      if (failures >= 0) throw new Error('not now')
      renewedAtMs.push(clock.nowMs())
      issuedAt = now()
    },
    ended.signal,
  )
  await clock.advance(1_790_000)
  t.deepEqual(renewedAtMs, [])
  await clock.advance(20_000)
  t.deepEqual(renewedAtMs, [1_800_000])
  t.deepEqual(log, ['ca-renewal-failed'])
  await clock.advance(1_800_000)
  t.deepEqual(renewedAtMs, [1_800_000, 3_600_000])
  ended.abort()
  await t.throwsAsync(running)
})
