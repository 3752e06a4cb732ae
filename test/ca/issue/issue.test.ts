import 'reflect-metadata'
import { execFileSync } from 'node:child_process'
import {
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
  X509Certificate,
} from 'node:crypto'
import { chmodSync, copyFileSync, readdirSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  X509Certificate as PeculiarCertificate,
} from '@peculiar/x509'
import test from 'ava'
import { withOpenssl } from '#test/fakes/with-openssl.ts'
import fc from 'fast-check'
import { CaError } from '#ca/index.ts'
import { type AdmitRules, admit, type Caller, isInScope } from '#ca/issue/admit.ts'
import { type CertificateRow, openDatabase } from '#ca/issue/database.ts'
import { issueBatch } from '#ca/issue/issue-batch.ts'
import { createSvidSigner, signSvid } from '#ca/issue/issue-svid.ts'
import { createLedger, type Ledger } from '#ca/issue/ledger.ts'
import { openLog } from '#ca/issue/transparency.ts'
import { selfCheck } from '#ca/issue/self-check.ts'
import { planSvid, serialText, type SvidTemplate } from '#ca/issue/template.ts'
import { makeIssuing, makeRoot } from '#ca/keys/authority.ts'
import { localKey } from '#ca/keys/signing-key.ts'
import { openStateDir } from '#ca/keys/state-dir.ts'
import { parseSpiffeId } from '#ca/spiffe/index.ts'
import { signedDer } from '#ca/x509/algorithm.ts'
import { contextTag, derOf, oid, sequence, unsignedInteger } from '#ca/x509/der.ts'
import { OID, pemFromDer, readCertificate, verifySvid } from '#ca/x509/index.ts'
import { agentId, newCsr, newKey, temporaryDir, trustDomain, workloadId } from '../harness.ts'
import { ext, forgeLeaf, USAGE } from '../x509/forge.ts'

const now = Temporal.Instant.from('2026-06-01T12:00:00.750Z')
const hours = (count: number) => Temporal.Duration.from({ hours: count })
const serial = (byte: number) => new Uint8Array(16).fill(byte)
const rootKey = newKey()
const issuingKey = newKey()
const root = await makeRoot({
  trustDomain,
  key: localKey(rootKey),
  now,
  ttl: hours(8760),
  serial: serial(1),
})
const issuing = await makeIssuing(root, {
  trustDomain,
  key: localKey(issuingKey),
  now,
  ttl: hours(168),
  serial: serial(2),
})
const signer = createSvidSigner(issuing)
const spkiOf = (key: KeyObject) => createPublicKey(key).export({ type: 'spki', format: 'der' })
const publicKeyDer = spkiOf(newKey())
const request = { spiffeId: workloadId, publicKeyDer, ttl: hours(1) }

test('signSvid() says exactly what X509-SVID §2–§4 asks, as OpenSSL reads it', async (t) => {
  const svid = await signSvid(signer, request, now)
  const leaf = new X509Certificate(svid.chain[0]!)
  t.is(leaf.subjectAltName, `URI:${workloadId}`)
  t.falsy(leaf.subject)
  t.false(leaf.ca)
  t.deepEqual(leaf.keyUsage, [OID.serverAuth, OID.clientAuth])
  t.is(leaf.serialNumber.toLowerCase(), svid.serial)
  t.is(leaf.validFromDate.toISOString(), '2026-06-01T11:58:00.000Z')
  t.is(leaf.validToDate.toISOString(), '2026-06-01T13:00:00.000Z')
  t.true(leaf.verify(new X509Certificate(issuing.certificate.der).publicKey))
  t.true(leaf.checkIssued(new X509Certificate(issuing.certificate.der)))
  const agent = (await signSvid(signer, { ...request, spiffeId: agentId }, now)).chain[0]!
  t.true(leaf.raw.length <= 480 && agent.length <= 500, `${leaf.raw.length}, ${agent.length} bytes`)
  t.is(svid.issuedAt.toString(), now.toString())
})

test('signSvid() says the same as @peculiar/x509 reads it, criticality included', async (t) => {
  const leaf = new PeculiarCertificate(
    Uint8Array.from((await signSvid(signer, request, now)).chain[0]!),
  )
  const usage = leaf.getExtension(KeyUsagesExtension)
  t.is(usage?.usages, KeyUsageFlags.digitalSignature)
  t.true(usage?.critical)
  const constraints = leaf.getExtension(BasicConstraintsExtension)
  t.false(constraints?.ca)
  t.true(constraints?.critical)
  t.deepEqual([...(leaf.getExtension(ExtendedKeyUsageExtension)?.usages ?? [])].map(String), [
    OID.serverAuth,
    OID.clientAuth,
  ])
  const names = leaf.getExtension(SubjectAlternativeNameExtension)
  t.true(names?.critical)
  t.deepEqual(names?.names.toJSON(), [{ type: 'url', value: workloadId }])
})

test('signSvid() copies the issuing CA’s key identifier and gives the leaf its own', async (t) => {
  const leaf = readCertificate((await signSvid(signer, request, now)).chain[0]!)
  t.deepEqual(leaf.aki, issuing.certificate.ski)
  t.is(leaf.ski?.length, 20)
  t.notDeepEqual(leaf.ski, leaf.aki)
})

for (const [name, key] of [
  ['P-384', () => generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey],
  ['Ed25519', () => generateKeyPairSync('ed25519').privateKey],
  ['RSA-2048', () => generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey],
] as const) {
  test(`signSvid() signs for a key of ${name}`, async (t) => {
    const svid = await signSvid(signer, { ...request, publicKeyDer: spkiOf(key()) }, now)
    const bundle = { trustDomain, generation: 1, roots: [root.certificate.der] }
    t.like(verifySvid(svid.chain, [bundle], now, 'server'), { kind: 'ok', id: workloadId })
  })
}

test('signSvid() takes an ID of 2048 bytes, the most there is', async (t) => {
  const longest = `${workloadId}/${'a'.repeat(2047 - workloadId.length)}`
  t.is(longest.length, 2048)
  const svid = await signSvid(signer, { ...request, spiffeId: parseSpiffeId(longest) }, now)
  const bundle = { trustDomain, generation: 1, roots: [root.certificate.der] }
  t.like(verifySvid(svid.chain, [bundle], now, 'client'), { kind: 'ok', id: longest })
  t.throws(() => parseSpiffeId(`${longest}a`), { code: 'CA_ID_INVALID' })
})

test('signSvid() never outlives the issuing CA, and refuses once that has ended (users §1.1.13)', async (t) => {
  const end = issuing.certificate.notAfter
  const late = await signSvid(signer, request, end.subtract({ minutes: 5 }))
  t.is(late.notAfter.toString(), end.toString())
  await t.throwsAsync(signSvid(signer, request, end), { code: 'CA_SIGNER_UNAVAILABLE' })
})

test('signSvid() dates a leaf back by 2 minutes, so that a peer whose clock is behind takes it (users §1.1.12)', async (t) => {
  const { notBefore, issuedAt, chain } = await signSvid(signer, request, now)
  t.is(Math.floor(issuedAt.since(notBefore).total('seconds')), 120)
  const bundle = { trustDomain, generation: 1, roots: [root.certificate.der] }
  const behind = (seconds: number) =>
    verifySvid(chain, [bundle], now.subtract({ seconds }), 'client').kind
  t.is(behind(119), 'ok')
  t.is(behind(121), 'refused')
})

test('makeIssuing() never outlives the root', async (t) => {
  const late = root.certificate.notAfter.subtract({ hours: 1 })
  const short = await makeIssuing(root, {
    trustDomain,
    key: localKey(newKey()),
    now: late,
    ttl: hours(168),
    serial: serial(3),
  })
  t.is(short.certificate.notAfter.toString(), root.certificate.notAfter.toString())
})

test('signSvid() draws 128 bits anew for each serial, and the ledger’s text is the certificate’s', async (t) => {
  const serials = new Set<string>()
  for (let count = 0; count < 300; count += 1) {
    const svid = await signSvid(signer, request, now)
    t.is(readCertificate(svid.chain[0]!).serial, svid.serial)
    serials.add(svid.serial)
  }
  t.is(serials.size, 300)
  const random = (text: string) => BigInt(`0x${text.slice(-32)}`)
  const all = [...serials].map(random)
  t.is(all.reduce((a, b) => a | b).toString(16), 'f'.repeat(32), 'each of the 128 bits is drawn')
  t.is(
    all.reduce((a, b) => a & b),
    0n,
  )
  t.is(serialText(Uint8Array.of(0, 0, 0x0a, 0)), '0a00')
  t.is(serialText(Uint8Array.of(0, 0)), '00')
})

test('signSvid() gives serials of at most 20 bytes that rise with time, so that the ledger’s index grows at its end', async (t) => {
  const ttl = hours(24 * 365 * 300)
  const life = { trustDomain, now, ttl, serial: serial(9) }
  const lasting = await makeRoot({ ...life, key: localKey(newKey()) })
  const lastingSigner = createSvidSigner(await makeIssuing(lasting, { ...life, key: issuing.key }))
  const at = async (instant: string) => {
    const { serial: text } = await signSvid(lastingSigner, request, Temporal.Instant.from(instant))
    return text.padStart(40, '0')
  }
  const rising = [await at('2026-06-01T12:00:01.000Z'), await at('2026-06-01T12:00:01.016Z')]
  rising.push(await at('2026-06-01T12:00:02Z'), await at('2027-02-01T00:00:00Z'))
  t.deepEqual(rising.toSorted(), rising)
  for (const instant of ['1970-01-01T00:00:00Z', '2088-06-01T00:00:00Z', '2300-01-01T00:00:00Z']) {
    const bytes = Buffer.from(await at(instant), 'hex')
    t.is(bytes.length, 20)
    t.true(bytes[0]! < 0x80, 'a sign bit would make it 21')
  }
})

withOpenssl('openssl verify -x509_strict accepts the chain for client and server', async (t) => {
  await using dir = await temporaryDir()
  const today = Temporal.Now.instant()
  const liveRoot = await makeRoot({
    trustDomain,
    key: localKey(newKey()),
    now: today,
    ttl: hours(99),
    serial: serial(1),
  })
  const live = await makeIssuing(liveRoot, {
    trustDomain,
    key: localKey(newKey()),
    now: today,
    ttl: hours(9),
    serial: serial(2),
  })
  const svid = await signSvid(createSvidSigner(live), request, today)
  const file = (name: string, der: Uint8Array) => {
    writeFileSync(join(dir.path, name), pemFromDer('CERTIFICATE', der))
    return join(dir.path, name)
  }
  const args = [
    '-x509_strict',
    '-CAfile',
    file('root.pem', liveRoot.certificate.der),
    '-untrusted',
    file('issuing.pem', live.certificate.der),
  ]
  const leaf = file('leaf.pem', svid.chain[0]!)
  for (const purpose of ['sslclient', 'sslserver']) {
    const said = execFileSync('openssl', ['verify', ...args, '-purpose', purpose, leaf], {
      encoding: 'utf8',
    })
    t.is(said.trim(), `${leaf}: OK`)
  }
})

const template: SvidTemplate = planSvid(request, now, serial(0x77), issuing.certificate.notAfter)
const expectedIssuer = {
  certificate: issuing.certificate,
  x509: new X509Certificate(issuing.certificate.der),
  publicKey: new X509Certificate(issuing.certificate.der).publicKey,
}

test('selfCheck() finds nothing wrong with the base', async (t) => {
  t.deepEqual(selfCheck(await signer.seal(template), template, expectedIssuer), [])
})

test('createSvidSigner() checks the first 8 signatures of an issuer, and one in 64 after', async (t) => {
  const stranger = createSvidSigner({ ...issuing, key: localKey(newKey()) })
  const refused: number[] = []
  for (let at = 0; at <= 128; at += 1) {
    try {
      await stranger.seal(template)
    } catch (cause) {
      t.regex(String(cause), /its signature is not by its issuer/)
      refused.push(at)
    }
  }
  t.deepEqual(refused, [0, 1, 2, 3, 4, 5, 6, 7, 64, 128])
})

/** Each case is the base checked against a template with one thing changed. */
const otherTemplates: Readonly<Record<string, Partial<SvidTemplate>>> = {
  'another name': { spiffeId: parseSpiffeId('spiffe://prod.example/ns/pay/sa/admin') },
  'another serial number': { serial: serial(0x78) },
  'another key': { publicKeyDer: spkiOf(newKey()) },
  'another end': { notAfter: template.notAfter.add({ seconds: 1 }) },
  'another start': { notBefore: template.notBefore.add({ seconds: 1 }) },
}
for (const [what, change] of Object.entries(otherTemplates)) {
  test(`selfCheck() finds ${what}`, async (t) => {
    t.not(
      selfCheck(await signer.seal(template), { ...template, ...change }, expectedIssuer).length,
      0,
    )
  })
}

/** Each case is a leaf of the issuing CA with one thing wrong. */
const wrongLeaves: Readonly<Record<string, Parameters<typeof forgeLeaf>[1]>> = {
  'a CA': { extensions: { bc: ext.ca() } },
  'a leaf that may sign certificates': {
    extensions: { ku: ext.keyUsage(USAGE.digitalSignature | USAGE.keyCertSign) },
  },
  'a leaf that may encipher keys': {
    extensions: { ku: ext.keyUsage(USAGE.digitalSignature | 0x20) },
  },
  'a key usage that is not critical': {
    extensions: { ku: ext.keyUsage(USAGE.digitalSignature, false) },
  },
  'a leaf for clients only': { extensions: { eku: ext.eku(OID.clientAuth) } },
  'a leaf for everything': { extensions: { eku: undefined } },
  'a name too many': {
    extensions: {
      san: ext.san([
        [6, workloadId],
        [2, 'api'],
      ]),
    },
  },
  'a name that is not critical': { extensions: { san: ext.uri(workloadId, false) } },
  'no basic constraints': { extensions: { bc: undefined } },
  'no subject key identifier': { extensions: { ski: undefined } },
  'no authority key identifier': { extensions: { aki: undefined } },
  'another issuer’s signature': { signWith: rootKey },
}
for (const [what, change] of Object.entries(wrongLeaves)) {
  test(`selfCheck() finds ${what}`, async (t) => {
    const by = {
      der: issuing.certificate.der,
      key: issuingKey,
      name: issuing.certificate.subject,
      ski: issuing.certificate.ski!,
    }
    const key = newKey()
    const same = {
      key,
      serial: template.serial,
      notBefore: template.notBefore,
      notAfter: template.notAfter,
    }
    const expected = { ...template, publicKeyDer: spkiOf(key) }
    const sound = forgeLeaf(by, { ...same, extensions: { san: ext.uri(workloadId) } })
    t.deepEqual(selfCheck(sound.der, expected, expectedIssuer), [], 'the base')
    const extensions = { san: ext.uri(workloadId), ...change?.extensions }
    const wrong = forgeLeaf(by, { ...same, ...change, extensions })
    t.not(selfCheck(wrong.der, expected, expectedIssuer).length, 0)
  })
}

test('selfCheck() finds what cannot be read, without throwing', async (t) => {
  t.is(selfCheck(new Uint8Array(), template, expectedIssuer).length, 1)
  t.is(selfCheck(Uint8Array.of(0x30, 0), template, expectedIssuer).length, 1)
})

test('seal() withholds a leaf that fails the check', async (t) => {
  const wrongKey = createSvidSigner({ ...issuing, key: localKey(newKey()) })
  await t.throwsAsync(wrongKey.seal(template), {
    code: 'CA_SVID_SELF_CHECK_FAILED',
    message: `Cannot issue an SVID for "${workloadId}": its signature is not by its issuer`,
  })
  const mismatched = { ...issuing, certificate: { ...issuing.certificate, ski: serial(9) } }
  await t.throwsAsync(createSvidSigner(mismatched).seal(template), {
    code: 'CA_SVID_SELF_CHECK_FAILED',
  })
})

/** The valid base for admission. */
const rules: AdmitRules = {
  trustDomain,
  serverId: parseSpiffeId('spiffe://prod.example/ns/redoubt-system/sa/redoubt-ca'),
  adminId: parseSpiffeId('spiffe://prod.example/ns/redoubt-system/sa/redoubt-admin'),
  leafTtl: hours(1),
  maxLeafTtl: hours(24),
}
const caller: Caller = {
  id: agentId,
  scope: ['spiffe://prod.example/ns/pay/*', 'spiffe://prod.example/ns/x/sa/y'],
}
const asked = { spiffeId: workloadId as string, csrDer: newCsr(), ttlSeconds: 0 }

test('admit() admits the base with the default life', async (t) => {
  const granted = admit(asked, caller, rules)
  t.is(granted.spiffeId, workloadId)
  t.is(granted.ttl.total('seconds'), 3600)
})

test('admit() lets an agent renew its own name, which is in no scope', async (t) => {
  t.is(admit({ ...asked, spiffeId: agentId }, caller, rules).spiffeId, agentId)
})

test('admit() grants a life that is asked for, up to the longest', async (t) => {
  const granted = (ttlSeconds: number) =>
    admit({ ...asked, ttlSeconds }, caller, rules).ttl.total('seconds')
  t.is(granted(60), 60)
  t.is(granted(86_400), 86_400)
  t.is(granted(4_294_967_295), 86_400)
})

function p521Csr(): Buffer {
  const key = generateKeyPairSync('ec', { namedCurve: 'P-521' }).privateKey
  const info = sequence(
    unsignedInteger(Uint8Array.of(0)),
    sequence(),
    spkiOf(key),
    derOf(contextTag(0)),
  )
  const signer = { algorithmDer: sequence(oid('1.2.840.10045.4.3.4')), hash: 'sha512' }
  return Buffer.from(signedDer(info, signer, sign('sha512', info, key)))
}

const notAdmitted: Readonly<Record<string, readonly [string, Partial<typeof asked>]>> = {
  'a name out of scope': ['CA_NOT_ADMITTED', { spiffeId: 'spiffe://prod.example/ns/web/sa/front' }],
  'a name that starts like the scope': [
    'CA_NOT_ADMITTED',
    { spiffeId: 'spiffe://prod.example/ns/payroll/sa/a' },
  ],
  'the prefix itself': ['CA_NOT_ADMITTED', { spiffeId: 'spiffe://prod.example/ns/pay' }],
  'a name below an exact one': [
    'CA_NOT_ADMITTED',
    { spiffeId: 'spiffe://prod.example/ns/x/sa/y/z' },
  ],
  'another trust domain': ['CA_NOT_ADMITTED', { spiffeId: 'spiffe://evil.example/ns/pay/sa/api' }],
  'the trust domain itself': ['CA_NOT_ADMITTED', { spiffeId: 'spiffe://prod.example' }],
  'the CA’s own name': ['CA_NOT_ADMITTED', { spiffeId: rules.serverId }],
  'the administrator’s name': ['CA_NOT_ADMITTED', { spiffeId: String(rules.adminId) }],
  'a name that is none': ['CA_ID_INVALID', { spiffeId: 'spiffe://prod.example/ns//sa/api' }],
  'a path that climbs out of the scope': [
    'CA_ID_INVALID',
    { spiffeId: 'spiffe://prod.example/ns/pay/../web/sa/a' },
  ],
  'no name': ['CA_ID_INVALID', { spiffeId: '' }],
  'no request': ['CA_CSR_REJECTED', { csrDer: Buffer.alloc(0) }],
  'what is not a request': ['CA_CSR_REJECTED', { csrDer: Buffer.from('not a request') }],
  'a key on P-521': ['CA_CSR_REJECTED', { csrDer: p521Csr() }],
}
for (const [what, [code, change]] of Object.entries(notAdmitted)) {
  test(`admit() refuses ${what}`, async (t) => {
    t.throws(() => admit({ ...asked, ...change }, caller, rules), { instanceOf: CaError, code })
  })
}

test('admit() lets a wide scope have everything but the names of the CA and of its administrator', async (t) => {
  const wide = { ...caller, scope: ['spiffe://prod.example/*'] }
  const front = 'spiffe://prod.example/ns/web/sa/front'
  t.is(String(admit({ ...asked, spiffeId: front }, wide, rules).spiffeId), front)
  for (const spiffeId of [rules.serverId, String(rules.adminId)]) {
    t.throws(() => admit({ ...asked, spiffeId }, wide, rules), { code: 'CA_NOT_ADMITTED' })
  }
})

test('admit() refuses what no scope can give: another trust domain, and a name without a path', async (t) => {
  const scope = ['spiffe://evil.example/*', 'spiffe://prod.example']
  for (const [spiffeId, why] of [
    ['spiffe://evil.example/ns/pay/sa/api', 'this CA vouches for "prod.example" only'],
    ['spiffe://prod.example', 'it names a trust domain, expected a workload'],
  ] as const) {
    t.throws(() => admit({ ...asked, spiffeId }, { ...caller, scope }, rules), {
      code: 'CA_NOT_ADMITTED',
      message: `Cannot issue "${spiffeId}" to "${agentId}": ${why}`,
    })
  }
})

test('isInScope() covers whole segments only', async (t) => {
  const segment = fc.stringMatching(/^[a-z]{1,4}$/)
  const property = fc.property(segment, segment, (one, other) => {
    const id = parseSpiffeId(`spiffe://prod.example/ns/${one}/sa/a`)
    return isInScope(id, [`spiffe://prod.example/ns/${other}/*`]) === (one === other)
  })
  t.notThrows(() => fc.assert(property))
})

/** Grants all. */
const unlimited = { take: (_: unknown, granted: number) => ({ granted, retryAfterMs: 0 }) }

test('issueBatch() answers each request in order and hands out nothing that is not in the ledger', async (t) => {
  const recorded: CertificateRow[] = []
  const ledger: Pick<Ledger, 'record'> = {
    async record({ certificates = [] }) {
      recorded.push(...certificates)
    },
  }
  const deps = { rules, ledger, limit: unlimited, now: () => now, signer: () => signer }
  const bad = { ...asked, spiffeId: 'spiffe://prod.example/ns/web/sa/a' }
  const results = await issueBatch(deps, caller, [asked, bad, asked])
  t.deepEqual(
    results.map((result) =>
      result instanceof CaError ? String(result.code) : String(result.spiffeId),
    ),
    [workloadId, 'CA_NOT_ADMITTED', workloadId].map(String),
  )
  const serials = results.flatMap((result) => (result instanceof CaError ? [] : [result.serial]))
  t.deepEqual(
    recorded.map((row) => row.serial),
    serials,
  )
  t.like(recorded[0], {
    kind: 'leaf',
    subject: workloadId,
    requested_by: agentId,
    issuer_serial: issuing.certificate.serial,
  })

  const broken = { ...deps, ledger: { record: () => Promise.reject(new Error('disk full')) } }
  await t.throwsAsync(issueBatch(broken, caller, [asked]), {
    code: 'CA_SIGNER_UNAVAILABLE',
    message: 'Cannot issue: the ledger was not written: disk full',
  })
})

test('createLedger() shares one commit among those who record at the same time', async (t) => {
  await using dir = await temporaryDir()
  using database = openDatabase(join(dir.path, 'ledger.db'))
  const state = await openStateDir(dir.path)
  const log = await openLog({ ...database, state, trustDomain, now: () => now })
  const ledger = createLedger(database, log)
  const row = (id: number): CertificateRow => ({
    serial: id.toString(16).padStart(32, '0'),
    kind: 'leaf',
    subject: workloadId,
    issuer_serial: '02',
    issued_at: 1,
    not_before: 0,
    not_after: 2,
    requested_by: agentId,
    life: 'default',
    der: Uint8Array.of(id % 256),
  })
  const count = () =>
    database.queries
      .selectFrom('certificates')
      .select(({ fn }) => fn.countAll<number>().as('rows'))
      .executeTakeFirstOrThrow()

  const first = ledger.record({ certificates: [row(1), row(2)] })
  t.is(ledger.record({ certificates: [row(3)] }), first)
  await first
  t.is((await count()).rows, 3)

  await ledger.record({ certificates: Array.from({ length: 3000 }, (_, id) => row(id + 10)) })
  t.is((await count()).rows, 3003)

  await t.throwsAsync(ledger.record({ certificates: [row(9000), row(1)] }), { message: /UNIQUE/ })
  t.is((await count()).rows, 3003, 'none of a failed record is kept')
  t.is((await log.head()).size, 3003, 'nor is it in the tree')
  await ledger.record({})
})

test('openDatabase() has a file for one process alone, and lets go of it at the end', async (t) => {
  await using dir = await temporaryDir()
  const path = join(dir.path, 'ledger.db')
  {
    using _first = openDatabase(path)
    t.throws(() => openDatabase(path), {
      code: 'CA_STATE_UNUSABLE',
      message: `Cannot open the ledger ${path}: another CA has it open; stop that one, or choose another state directory`,
    })
  }
  t.notThrows(() => openDatabase(path)[Symbol.dispose]())
})

test('nobody but the owner reads a ledger: not what is beside it, not a copy, not that of an older version', async (t) => {
  await using dir = await temporaryDir()
  const path = join(dir.path, 'ledger.db')
  const modes = () =>
    readdirSync(dir.path).map((name) => [name, statSync(join(dir.path, name)).mode & 0o777])
  {
    using database = openDatabase(path)
    await database.copyTo(join(dir.path, 'copy.db'))
    t.deepEqual(modes(), [
      ['copy.db', 0o600],
      ['ledger.db', 0o600],
      ['ledger.db-wal', 0o600],
    ])
    for (const name of readdirSync(dir.path)) copyFileSync(join(dir.path, name), `${path}.${name}`)
  }
  // As an older version that was killed leaves it.
  for (const name of ['ledger.db', 'ledger.db-wal']) {
    renameSync(`${path}.${name}`, join(dir.path, name))
    chmodSync(join(dir.path, name), 0o644)
  }
  using _ = openDatabase(path)
  t.deepEqual(
    modes().filter(([, mode]) => mode !== 0o600),
    [],
  )
})

test('openDatabase() refuses a file that is no database, and one from a newer program', async (t) => {
  await using dir = await temporaryDir()
  const noise = join(dir.path, 'noise.db')
  writeFileSync(
    noise,
    'this is not a database, but it is longer than the header of one is, by far and away',
  )
  t.throws(() => openDatabase(noise), { code: 'CA_STATE_UNUSABLE' })

  const newer = join(dir.path, 'newer.db')
  openDatabase(newer)[Symbol.dispose]()
  const { DatabaseSync } = await import('node:sqlite')
  const raw = new DatabaseSync(newer)
  raw.exec('PRAGMA user_version = 99')
  raw.close()
  t.throws(() => openDatabase(newer), { message: /it has version 99, expected at most \d+/ })
})
