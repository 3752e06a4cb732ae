/** A CA of somebody else's in Istio's layout: what is taken, what is refused and how it is said. */
import { execFileSync } from 'node:child_process'
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { mkdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import test from 'ava'

import { withOpenssl } from '#test/fakes/with-openssl.ts'
import { type Ca, openCa } from '#ca/index.ts'
import { createSvidSigner, signSvid } from '#ca/issue/issue-svid.ts'
import { localKey } from '#ca/keys/signing-key.ts'
import { pluggedStamp, readPluggedFiles } from '#ca/plugged/files.ts'
import { judgePlugged, type JudgeInput, type PluggedCa } from '#ca/plugged/judge.ts'
import { openPlugged } from '#ca/plugged/keep-plugged.ts'
import { compileDenyList, pemFromDer, readCertificate, verifySvid } from '#ca/x509/index.ts'
import { FakeClock } from '../../fakes/fake-clock.ts'
import { administrator } from '../admin/harness.ts'
import {
  attestedClient,
  configIn,
  newCsr,
  newKey,
  realClock,
  temporaryDir,
  trustDomain,
  workloadId,
} from '../harness.ts'
import { ext, type Forged, forgeIssuing, forgeRoot, nameOf, NOW, USAGE } from '../x509/forge.ts'

const input: JudgeInput = { trustDomain, now: NOW, openKey: async () => undefined }
const pem = (...all: readonly Forged[]) =>
  pemFromDer(
    'CERTIFICATE',
    all.map(({ der }) => der),
  )
const keyPem = (key: KeyObject, type: 'pkcs8' | 'sec1' | 'pkcs1' = 'pkcs8') =>
  key.export({ type: type as 'pkcs8', format: 'pem' }).toString()

const root = forgeRoot()
const middle = forgeIssuing(root, { key: newKey(), name: nameOf('middle') })
const issuing = forgeIssuing(middle)

/** The valid base, as the four files of Istio's layout. */
const base = {
  'ca-cert.pem': pem(issuing),
  'ca-key.pem': keyPem(issuing.key),
  'cert-chain.pem': pem(issuing, middle, root),
  'root-cert.pem': pem(root),
}
type Files = Readonly<Record<string, string | undefined>>

async function put(dir: string, files: Files): Promise<string> {
  await mkdir(dir, { recursive: true })
  for (const [name, text] of Object.entries(files)) {
    if (text !== undefined) await writeFile(join(dir, name), text, { mode: 0o600 })
  }
  return dir
}

async function judged(files: Files, change: Partial<JudgeInput> = {}): Promise<PluggedCa> {
  await using dir = await temporaryDir()
  return judgePlugged(await readPluggedFiles(await put(dir.path, files)), { ...input, ...change })
}

test('§15.5 a CA in Istio’s layout signs under its roots, and what it hands out ends below them', async (t) => {
  const { authority, intermediates, roots } = await judged(base)
  t.deepEqual(intermediates, [middle.der], 'neither the CA certificate nor the root')
  t.deepEqual(roots, [root.der])
  const leaf = await signSvid(
    createSvidSigner(authority),
    {
      spiffeId: workloadId,
      publicKeyDer: localKey(newKey()).publicKeyDer,
      ttl: Temporal.Duration.from('PT1H'),
    },
    NOW,
  )
  const bundle = { trustDomain, generation: 1, roots }
  t.is(verifySvid([...leaf.chain, ...intermediates], [bundle], NOW, 'client').kind, 'ok')
})

const fine: Readonly<Record<string, Files>> = {
  'a chain that names only what is between': { ...base, 'cert-chain.pem': pem(middle) },
  'a chain in another order': { ...base, 'cert-chain.pem': pem(root, middle, issuing) },
  'a second root, even one that has ended': {
    ...base,
    'root-cert.pem': pem(
      forgeRoot({ key: newKey(), notAfter: NOW.subtract({ minutes: 1 }) }),
      root,
    ),
  },
  'a key in the older form of EC keys': { ...base, 'ca-key.pem': keyPem(issuing.key, 'sec1') },
  'the layout of cert-manager': {
    'tls.crt': pem(issuing, middle),
    'tls.key': keyPem(issuing.key),
    'ca.crt': pem(root),
  },
  'a root that signs by itself': {
    'ca-cert.pem': pem(root),
    'ca-key.pem': keyPem(root.key),
    'cert-chain.pem': pem(root),
    'root-cert.pem': pem(root),
  },
}
for (const [what, files] of Object.entries(fine)) {
  test(`judgePlugged() takes ${what}`, async (t) => {
    t.true((await judged(files)).authority.certificate.isCa)
  })
}

const ca = (change: Parameters<typeof forgeIssuing>[1], above: Forged = middle): Files => {
  const changed = forgeIssuing(above, change)
  return {
    ...base,
    'ca-cert.pem': pem(changed),
    'ca-key.pem': keyPem(changed.key),
    'cert-chain.pem': pem(changed, middle),
  }
}
const constraint = (host: string) =>
  // permitted [0] { URI [6] host }
  ext.raw(
    '2.5.29.30',
    Buffer.from(
      `30${(host.length + 6).toString(16).padStart(2, '0')}a0${(host.length + 4).toString(16).padStart(2, '0')}30${(host.length + 2).toString(16).padStart(2, '0')}86${host.length.toString(16).padStart(2, '0')}${Buffer.from(host).toString('hex')}`,
      'hex',
    ),
    true,
  )
const ended = NOW.subtract({ minutes: 1 })

/** Each case is the base with one thing wrong, and what is said of it. */
const wrong: Readonly<Record<string, readonly [Files, RegExp]>> = {
  'the key of another': [
    { ...base, 'ca-key.pem': keyPem(newKey()) },
    /^the key is not the key of the CA certificate$/,
  ],
  'a key that is encrypted': [
    {
      ...base,
      'ca-key.pem': issuing.key
        .export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' })
        .toString(),
    },
    /^the key cannot be used: it is encrypted, expected PEM of/,
  ],
  'a key on P-521': [
    {
      ...base,
      'ca-key.pem': keyPem(generateKeyPairSync('ec', { namedCurve: 'P-521' }).privateKey),
    },
    /^the key cannot be used: .*, expected PEM of EC P-256 or P-384, RSA or Ed25519$/,
  ],
  'no key anywhere': [
    { ...base, 'ca-key.pem': undefined },
    /^there is no key file, and the key is not in the key store either$/,
  ],
  'a leaf in place of a CA': [
    ca({ extensions: { bc: ext.notCa() } }),
    /the CA certificate is not a CA \(basicConstraints\)/,
  ],
  'a CA that may not sign': [
    ca({ extensions: { ku: ext.keyUsage(USAGE.digitalSignature) } }),
    /^the CA certificate may not sign certificates \(keyUsage\)$/,
  ],
  'a CA without key identifier': [
    ca({ extensions: { ski: undefined } }),
    /no subject key identifier/,
  ],
  'a CA of another trust domain': [
    ca({ extensions: { san: ext.uri('spiffe://evil.example', false) } }),
    /named spiffe:\/\/evil\.example, expected spiffe:\/\/prod\.example or no URI$/,
  ],
  'a CA that has ended': [
    ca({ notAfter: ended }),
    /^the CA certificate ended at 2026-06-01T11:59:00Z$/,
  ],
  'a CA of the future': [
    ca({ notBefore: NOW.add({ minutes: 1 }) }),
    /valid from 2026-06-01T12:01:00Z only$/,
  ],
  'an intermediate that has ended': [
    {
      ...base,
      'cert-chain.pem': pem(
        issuing,
        forgeIssuing(root, { key: middle.key, name: nameOf('middle'), notAfter: ended }),
      ),
    },
    /^certificate 2 of the chain ended at/,
  ],
  'a constraint to other names': [
    ca({ extensions: { constraint: constraint('evil.example') } }),
    /^the CA certificate may not sign for prod\.example \(nameConstraints\)$/,
  ],
  'a path that is too long': [
    {
      ...base,
      'cert-chain.pem': pem(
        issuing,
        forgeIssuing(root, {
          key: middle.key,
          name: nameOf('middle'),
          extensions: { bc: ext.ca(0) },
        }),
      ),
    },
    /^peers would refuse what it signs: path-length: 1 CAs follow one that allows 0$/,
  ],
  'a use that is not TLS': [
    ca({ extensions: { eku: ext.eku('1.3.6.1.5.5.7.3.3') } }),
    /^peers would refuse what it signs: extended-key-usage: /,
  ],
  'a chain with a hole': [
    { ...base, 'cert-chain.pem': pem(issuing) },
    /^no chain leads from the CA certificate to one of the roots$/,
  ],
  'the root of another': [
    { ...base, 'root-cert.pem': pem(forgeRoot({ key: newKey(), name: nameOf('other') })) },
    /^no chain leads from the CA certificate to one of the roots$/,
  ],
  'a root of the same name and another key': [
    { ...base, 'root-cert.pem': pem(forgeRoot({ key: newKey(), extensions: { ski: undefined } })) },
    /^peers would refuse what it signs: /,
  ],
  'a root that is no CA': [
    {
      ...base,
      'root-cert.pem': pem(root, forgeRoot({ key: newKey(), extensions: { bc: ext.notCa() } })),
    },
    /^root 2 is not a CA certificate$/,
  ],
  'what is no PEM': [
    { ...base, 'root-cert.pem': 'x' },
    /^the roots cannot be read: Cannot read PEM: it has no CERTIFICATE/,
  ],
}
for (const [what, [files, says]] of Object.entries(wrong)) {
  test(`judgePlugged() refuses ${what}`, async (t) => {
    const code = 'CA_CONFIG_INVALID'
    await t.throwsAsync(judged(files), { code, message: says })
  })
}

test('judgePlugged() names all that is wrong at once', async (t) => {
  const bad = {
    ...ca({ notAfter: ended, extensions: { ski: undefined } }),
    'ca-key.pem': keyPem(newKey()),
  }
  const { message } = await t.throwsAsync(judged(bad))
  t.is(message.split('; ').length, 3, message)
})

test('judgePlugged() takes a key from the key store where the files have none', async (t) => {
  const { authority } = await judged(
    { ...base, 'ca-key.pem': undefined },
    {
      openKey: async (id) => (localKey(issuing.key).id === id ? localKey(issuing.key) : undefined),
    },
  )
  t.is(authority.key.id, localKey(issuing.key).id)
})

test('readPluggedFiles() says which files are missing', async (t) => {
  await using dir = await temporaryDir()
  const code = 'CA_CONFIG_INVALID'
  await t.throwsAsync(readPluggedFiles(dir.path), {
    code,
    message: /: it has neither ca-cert\.pem nor tls\.crt$/,
  })
  await put(dir.path, { 'ca-cert.pem': base['ca-cert.pem'], 'ca-key.pem': base['ca-key.pem'] })
  await t.throwsAsync(readPluggedFiles(dir.path), {
    code,
    message: /: it has no cert-chain\.pem, root-cert\.pem$/,
  })
  await put(dir.path, { ...base, 'cert-chain.pem': 'x'.repeat(300_000) })
  await t.throwsAsync(readPluggedFiles(dir.path), {
    code,
    message: /cert-chain\.pem has 300000 bytes$/,
  })
})

/** A second issuing CA under the same root. */
const next = forgeIssuing(middle, { key: newKey(), name: nameOf('next') })
const nextFiles = {
  ...base,
  'ca-cert.pem': pem(next),
  'ca-key.pem': keyPem(next.key),
  'cert-chain.pem': pem(next, middle),
}

async function follow(dir: string) {
  const clock = new FakeClock()
  const log: { event: string; fields?: object | undefined }[] = []
  const ending = new AbortController()
  const plugged = await openPlugged({
    ...input,
    dir,
    now: () => NOW,
    clock,
    log: (_, event, fields) => log.push({ event, fields }),
  })
  const following = plugged.follow(ending.signal).catch(() => {})
  return {
    plugged,
    log,
    signs: () => Buffer.from(plugged.live.current.authority.certificate.subject).toString('latin1'),
    async look() {
      await clock.advance(2000)
      // Files are read in real time, however short.
      for (let turn = 0; turn < 50; turn += 1)
        await new Promise((resolve) => setTimeout(resolve, 2))
    },
    async [Symbol.asyncDispose]() {
      ending.abort()
      await following
    },
  }
}

test('§15.5 a set that changes is taken, a bad one is refused and the last good one stays', async (t) => {
  await using dir = await temporaryDir()
  await put(dir.path, base)
  await using followed = await follow(dir.path)
  t.regex(followed.signs(), /issuing/)
  await writeFile(join(dir.path, 'ca-cert.pem'), nextFiles['ca-cert.pem'])
  await followed.look()
  t.regex(followed.signs(), /issuing/)
  t.is(
    followed.plugged.fault(),
    `Cannot use the CA in ${dir.path}: the key is not the key of the CA certificate`,
  )
  await followed.look()
  t.is(followed.log.filter(({ event }) => event === 'plugged-ca-refused').length, 1, 'said once')
  await put(dir.path, nextFiles)
  await followed.look()
  t.regex(followed.signs(), /next/)
  t.is(followed.plugged.fault(), undefined)
  await rm(join(dir.path, 'root-cert.pem'))
  await followed.look()
  t.regex(followed.plugged.fault() ?? '', /it has no root-cert\.pem$/)
  await put(dir.path, nextFiles)
  await followed.look()
  t.is(followed.plugged.fault(), undefined)
  t.regex(followed.signs(), /next/)
})

test('§15.5 a Secret that Kubernetes swaps by its symbolic link is taken whole (users §1.1.6)', async (t) => {
  await using dir = await temporaryDir()
  // As kubelet writes volumes: names → ..data → a directory of one version.
  await put(join(dir.path, '..1'), base)
  await symlink('..1', join(dir.path, '..data'))
  for (const name of Object.keys(base)) await symlink(`..data/${name}`, join(dir.path, name))
  await using followed = await follow(dir.path)
  const before = await pluggedStamp(dir.path)
  await put(join(dir.path, '..2'), nextFiles)
  await symlink('..2', join(dir.path, '..data_tmp'))
  await rename(join(dir.path, '..data_tmp'), join(dir.path, '..data'))
  await rm(join(dir.path, '..1'), { recursive: true })
  t.not(await pluggedStamp(dir.path), before)
  await followed.look()
  t.regex(followed.signs(), /next/)
  t.deepEqual(
    followed.log.map(({ event }) => event),
    ['plugged-ca-taken'],
  )
})

withOpenssl('a PKI made by openssl is taken as it is', async (t) => {
  await using dir = await temporaryDir()
  const openssl = (...args: readonly string[]) =>
    execFileSync('openssl', args, { cwd: dir.path, stdio: ['ignore', 'pipe', 'pipe'] })
  const subject = (name: string) => ['-subj', `/O=Example/CN=${name}`]
  const key = ['-newkey', 'rsa:2048', '-nodes']
  openssl(
    'req',
    '-x509',
    ...key,
    '-keyout',
    'root-key.pem',
    '-out',
    'root-cert.pem',
    ...subject('root'),
    '-days',
    '30',
    '-addext',
    'keyUsage=critical,keyCertSign,cRLSign',
  )
  openssl('req', ...key, '-keyout', 'ca-key.pem', '-out', 'ca.csr', ...subject('mesh'))
  await writeFile(
    join(dir.path, 'ext'),
    'basicConstraints=critical,CA:true,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n',
  )
  openssl(
    'x509',
    '-req',
    '-in',
    'ca.csr',
    '-CA',
    'root-cert.pem',
    '-CAkey',
    'root-key.pem',
    '-CAcreateserial',
    '-days',
    '10',
    '-extfile',
    'ext',
    '-out',
    'ca-cert.pem',
  )
  await writeFile(join(dir.path, 'cert-chain.pem'), await readFile(join(dir.path, 'ca-cert.pem')))
  const now = Temporal.Now.instant()
  const { authority, roots } = await judgePlugged(await readPluggedFiles(dir.path), {
    ...input,
    now,
  })
  const ttl = Temporal.Duration.from('PT1H')
  const { chain } = await signSvid(
    createSvidSigner(authority),
    { spiffeId: workloadId, publicKeyDer: localKey(newKey()).publicKeyDer, ttl },
    now,
  )
  const verdict = verifySvid(chain, [{ trustDomain, generation: 1, roots }], now, 'server')
  t.is(verdict.kind, 'ok')
  await writeFile(join(dir.path, 'leaf.pem'), pemFromDer('CERTIFICATE', chain[0]!))
  const said = openssl(
    'verify',
    '-x509_strict',
    '-CAfile',
    'root-cert.pem',
    '-untrusted',
    'ca-cert.pem',
    'leaf.pem',
  )
  t.is(said.toString().trim(), 'leaf.pem: OK')
})

/** The base over the machine's own time, for a CA that serves. */
const today = Temporal.Now.instant()
const good = { notBefore: today.subtract({ hours: 1 }), notAfter: today.add({ hours: 100 }) }
const liveRoot = forgeRoot(good)
const liveMiddle = forgeIssuing(liveRoot, { ...good, key: newKey(), name: nameOf('middle') })
const setOf = (ca: Forged, above: readonly Forged[], roots: readonly Forged[]) => ({
  'ca-cert.pem': pem(ca),
  'ca-key.pem': keyPem(ca.key),
  'cert-chain.pem': pem(ca, ...above),
  'root-cert.pem': pem(...roots),
})
const one = forgeIssuing(liveMiddle, good)
const two = forgeIssuing(liveMiddle, {
  ...good,
  key: newKey(),
  name: nameOf('two'),
  serial: Uint8Array.of(2),
})
const otherRoot = forgeRoot({
  ...good,
  key: newKey(),
  name: nameOf('other root'),
  serial: Uint8Array.of(3),
})
const three = forgeIssuing(otherRoot, {
  ...good,
  key: newKey(),
  name: nameOf('three'),
  serial: Uint8Array.of(4),
})

test('a CA with a plugged-in CA serves its chain, and survives restarts and changes of root', async (t) => {
  await using dir = await temporaryDir()
  const pluggedIn = await put(join(dir.path, 'cacerts'), setOf(one, [liveMiddle], [liveRoot]))
  const stateDir = join(dir.path, 'state')
  const clock = new FakeClock()
  const now = () => today.add({ milliseconds: Math.round(clock.nowMs()) })
  const lives = {
    leafTtl: Temporal.Duration.from('PT10M'),
    maxLeafTtl: Temporal.Duration.from('PT10M'),
  }
  const open = () =>
    openCa(configIn(stateDir, { pluggedIn, ...lives }), { now, clock, log: () => {} })
  const settle = async (ms: number) => {
    for (let left = ms; left > 0; left -= 1000) {
      await clock.advance(1000)
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  }
  const issuerOf = async (ca: Ca) => {
    using agent = await attestedClient(ca)
    const { results } = await agent.client.issue({ spiffeId: workloadId, csr: newCsr() })
    const [outcome] = results
    const chain = outcome?.outcome?.$case === 'svid' ? outcome.outcome.svid.chain : []
    t.is(verifySvid(chain, [ca.bundle.current], now(), 'client').kind, 'ok')
    return chain.slice(1).map((der) => Buffer.from(der))
  }
  const ders = (...all: readonly Forged[]) => all.map(({ der }) => Buffer.from(der))
  // Files and ledger take real time, however fast the clock goes.
  const until = async (is: () => Promise<boolean> | boolean) => {
    for (let turn = 0; turn < 200 && !(await is()); turn += 1) await settle(1000)
  }
  const isSignedBy = async (...chain: readonly Forged[]) =>
    isDeepStrictEqual(await issuerOf(ca), ders(...chain))

  let ca = await open()
  t.deepEqual(await issuerOf(ca), ders(one, liveMiddle), 'the chain up to the root, without it')
  t.deepEqual(
    ca.bundle.current.roots.map((der) => Buffer.from(der)),
    ders(liveRoot),
  )
  await put(pluggedIn, setOf(two, [liveMiddle], [liveRoot]))
  await until(() => isSignedBy(two, liveMiddle))
  t.deepEqual(
    await issuerOf(ca),
    ders(two, liveMiddle),
    'a new CA under a known root signs at once',
  )

  await put(pluggedIn, setOf(three, [], [otherRoot]))
  await until(() => ca.bundle.current.roots.length === 2)
  t.deepEqual(
    ca.bundle.current.roots.map((der) => Buffer.from(der)).length,
    2,
    'its root is announced first',
  )
  t.deepEqual(await issuerOf(ca), ders(two, liveMiddle))
  await settle(16_000)
  await until(() => isSignedBy(three))
  t.deepEqual(await issuerOf(ca), ders(three))
  t.is(ca.bundle.current.roots.length, 2, 'leaves of the other live still')
  await ca[Symbol.asyncDispose]()

  ca = await open()
  t.deepEqual(await issuerOf(ca), ders(three))
  t.is(ca.bundle.current.roots.length, 2)
  await writeFile(join(pluggedIn, 'root-cert.pem'), 'x')
  await until(() => ca.health().reasons.length > 0)
  t.true(ca.health().ready)
  t.regex(
    ca.health().reasons.join(),
    /the roots cannot be read: .*; the last that was in order signs/,
  )
  await clock.advance(600_000)
  await until(() => ca.bundle.current.roots.length === 1)
  t.deepEqual(
    ca.bundle.current.roots.map((der) => Buffer.from(der)),
    ders(otherRoot),
    'after the longest life of a leaf it goes',
  )
  await ca[Symbol.asyncDispose]()
  await t.throwsAsync(open(), { code: 'CA_CONFIG_INVALID', message: /the roots cannot be read/ })
})

test('users §1.2.27: a plugged-in CA signs nothing that outlives its chain, which is told of 60, 30 and 7 days ahead', async (t) => {
  await using dir = await temporaryDir()
  const from = today.subtract({ hours: 1 })
  const until = (days: number) => ({ notBefore: from, notAfter: today.add({ hours: 24 * days }) })
  const top = forgeRoot(until(1000))
  const shortest = forgeIssuing(top, { ...until(200), key: newKey(), name: nameOf('middle') })
  const files = setOf(forgeIssuing(shortest, until(400)), [shortest], [top])
  const pluggedIn = await put(join(dir.path, 'cacerts'), files)
  let days = 0
  const now = () => today.add({ seconds: Math.round(86_400 * days) })
  const config = configIn(join(dir.path, 'state'), { pluggedIn })
  const clock = new FakeClock()
  await using ca = await openCa(config, { now, clock, log: () => {} })
  const isOver = () => /own certificate ended/.test(ca.health().reasons.join())
  /** On that day, once the CA's own certificate is renewed, which the ledger takes real time for. */
  const healthOn = async (day: number) => {
    days = day
    for (let turn = 0; turn < 500 && isOver(); turn += 1) {
      await clock.advance(30_000)
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    return ca.health()
  }
  const issue = async () => (await ca.admitAdministrator({ name: 'uid:1000' }, newCsr())).notAfter
  const ends = readCertificate(shortest.der).notAfter
  for (const day of [0, 139]) t.deepEqual(await healthOn(day), { ready: true, reasons: [] })
  for (const day of [141, 171, 194]) {
    const reasons = [`the CA in ${pluggedIn} ends at ${ends}: put the next one there`]
    t.deepEqual(await healthOn(day), { ready: true, reasons })
  }
  days = 200 - 1 / 1440
  t.is(String(await issue()), String(ends), 'a certificate above the CA ends before the CA does')
  days = 200
  t.false(ca.health().ready)
  t.is(
    ca.health().reasons[0],
    `nothing is signed: the issuing CA ended at ${ends} (put the next CA into ${pluggedIn})`,
  )
  await t.throwsAsync(issue(), { code: 'CA_SIGNER_UNAVAILABLE' })
})

test('a CA that made its own keys goes over to a plugged-in CA, and is trusted with both meanwhile', async (t) => {
  await using dir = await temporaryDir()
  const deps = { now: () => Temporal.Now.instant(), clock: realClock, log: () => {} }
  const own = await openCa(configIn(join(dir.path, 'state')), deps)
  const [before] = own.bundle.current.roots
  await own[Symbol.asyncDispose]()
  const pluggedIn = await put(join(dir.path, 'cacerts'), setOf(one, [liveMiddle], [liveRoot]))
  await using ca = await openCa(configIn(join(dir.path, 'state'), { pluggedIn }), deps)
  t.deepEqual(
    ca.bundle.current.roots.map((der) => Buffer.from(der)),
    [Buffer.from(liveRoot.der), Buffer.from(before!)],
  )
})

test('users §1.3.34: what signs in a plugged-in CA is changed by its files alone; what was replaced is tainted, then revoked', async (t) => {
  await using dir = await temporaryDir()
  const pluggedIn = await put(join(dir.path, 'cacerts'), setOf(one, [liveMiddle], [liveRoot]))
  const clock = new FakeClock()
  const now = () => today.add({ milliseconds: Math.round(clock.nowMs()) })
  const log: { event: string; fields?: object | undefined }[] = []
  const deps = {
    now,
    clock,
    log: (_: string, event: string, fields?: object) => void log.push({ event, fields }),
  }
  await using ca = await openCa(configIn(join(dir.path, 'state'), { pluggedIn }), deps)
  const look = async (holds: () => boolean) => {
    for (let turn = 0; turn < 500 && !holds(); turn += 1) {
      await clock.advance(1000)
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }
  const by = { name: 'uid:1000' }
  const keyOf = ({ ski }: Forged) => Buffer.from(ski).toString('hex')
  const refused = {
    code: 'CA_ROTATION_REFUSED',
    message: `Cannot change the CA's keys: they are those in ${pluggedIn}; put the next ones there`,
  }
  await t.throwsAsync(ca.rotate(by, { step: 'start', force: true }), refused)
  await t.throwsAsync(ca.taint(by, keyOf(one)), refused)

  const { chain } = await ca.admitAdministrator(by, newCsr())
  await put(pluggedIn, setOf(two, [liveMiddle], [liveRoot]))
  const states = () =>
    ca.authorities.book.current.authorities.map(({ keyId, state }) => `${keyId} ${state}`)
  await look(() => states().includes(`${keyOf(two)} active`))
  t.true(states().includes(`${keyOf(one)} old`))
  await ca.taint(by, keyOf(one))
  t.deepEqual(ca.bundle.current.renewKeys, [keyOf(one)], 'all that it signed is renewed at once')
  using admin = await administrator(ca)
  const asked = { subject: keyOf(one), undo: false, force: true }
  t.is((await admin.call('revoke', asked)).notYet, undefined)
  t.true(states().includes(`${keyOf(one)} revoked`))
  const denies = compileDenyList(ca.denials.list.current)
  const bundles = [{ ...ca.bundle.current, denies }]
  t.like(verifySvid(chain, bundles, now(), 'client'), { kind: 'refused', reason: 'denied' })

  await put(pluggedIn, setOf(one, [liveMiddle], [liveRoot]))
  await look(() => log.some(({ event }) => event === 'plugged-ca-not-taken'))
  t.true(states().includes(`${keyOf(two)} active`), 'who was revoked does not come back')
})
