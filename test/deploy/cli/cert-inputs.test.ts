/** Whatever certificates come in is read, and nothing that comes in takes long to refuse. */
import { createPrivateKey, generateKeyPairSync, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'

import test, { type ExecutionContext } from 'ava'
import fc from 'fast-check'
import { stringify } from 'yaml'

import { CaError } from '#ca/index.ts'
import {
  describeCertificate,
  describeRequest,
  describeToken,
  diffCertificates,
  readCertificates,
  TOKEN_RULES,
  toPkcs12,
  toPkcs7,
} from '#ca/inspect/index.ts'
import { readContents } from '#deploy/cli/read-contents.ts'
import { DeployError } from '#deploy/error.ts'
import { RoundBudget } from '#ca/inspect/pkcs12-password.ts'
import { cpuStopwatch } from '#test/fakes/cpu-time.ts'
import type { JwtKey } from '#ca/jwt/index.ts'
import { signJwtSvid } from '../../../ca/jwt/jwt-svid-sign.ts'
import { parseSpiffeId } from '#ca/spiffe/index.ts'
import { sequence } from '#ca/x509/der.ts'
import { buildCsr, pemFromDer } from '#ca/x509/index.ts'
import { makeCertificate, NOW } from '#test/ca/inspect/certificates.ts'

const root = await makeCertificate({ ca: true, notAfter: '2036-01-01T00:00:00Z' })
const good = await makeCertificate({ issuer: root })
const chain = [good.der, root.der]
const key = createPrivateKey(good.keyPem)
const pkcs8 = key.export({ format: 'der', type: 'pkcs8' })
const pfx = toPkcs12({ certificates: chain, key: pkcs8, password: 'pass wörd', randomBytes })
const csr = buildCsr(key)
const base64 = (text: string | Uint8Array): string => Buffer.from(text).toString('base64')

test('readContents() reads PKCS#7, DER and PEM', (t) => {
  const p7 = toPkcs7(chain)
  const label = (name: string) => `-----BEGIN ${name}-----\n${base64(p7)}\n-----END ${name}-----\n`
  for (const [input, format] of [
    [p7, 'PKCS#7'],
    [Buffer.from(label('PKCS7')), 'PEM'],
    [Buffer.from(`text\n${label('CMS')}`), 'PEM'],
  ] as const) {
    t.like(readContents(input), { format, certificates: chain })
  }
})

test('readContents() reads what has lengths in more bytes than needed, or none: BER', (t) => {
  const p7 = Buffer.from(toPkcs7(chain))
  // The outer SEQUENCE without a length, ended by two zeros.
  const endless = Buffer.concat([Buffer.from('3080', 'hex'), p7.subarray(4), Buffer.alloc(2)])
  t.deepEqual(readContents(endless).certificates.map(plain), chain)
  const long = Buffer.concat([Buffer.from('308400', 'hex'), sizeOf(p7.length - 4), p7.subarray(4)])
  t.deepEqual(readContents(long).certificates.map(plain), chain)
})

const plain = (bytes: Uint8Array) => Uint8Array.from(bytes)

function sizeOf(length: number): Buffer {
  return Buffer.from(length.toString(16).padStart(6, '0'), 'hex')
}

test('readContents() opens a PKCS#12 of ours with its password and no other', (t) => {
  const { format, certificates, key: found } = readContents(pfx, 'pass wörd')
  t.deepEqual([format, certificates], ['PKCS#12', chain])
  t.true(found?.equals(key))
  t.throws(() => readContents(pfx, 'pass word'), { message: /its password is not that one$/ })
  t.throws(() => readContents(pfx), { message: /it has a password, expected --password-file$/ })
})

for (const [file, password] of [
  ['openssl-3.p12', 'pass wörd'],
  ['openssl-rc2.p12', 'pass wörd'],
  ['openssl-3des.p12', 'pass wörd'],
  ['open.p12', undefined],
  ['keytool.p12', 'password'],
] as const) {
  test(`readContents() opens ${file}, which others wrote`, (t) => {
    const bytes = readFileSync(`test/fixtures/pkcs12/${file}`)
    const { certificates, key: found } = readContents(bytes, password)
    t.is(certificates.length, 1)
    t.is(describeCertificate(certificates[0] ?? bytes, NOW).subject, 'CN=pkcs12')
    t.is(found?.asymmetricKeyType, 'ec')
    if (password)
      t.throws(() => readContents(bytes, 'another'), { message: /password is not that/ })
  })
}

test('readContents() does not work for a PKCS#12 that asks for too many rounds', (t) => {
  t.throws(() => new RoundBudget().spend(3_000_000), { message: /3000000 rounds/ })
  t.throws(() => new RoundBudget().spend(0), { instanceOf: CaError })
  // Ours has 100,000 = 0x0186a0 of them, twice.
  const greedy = Buffer.from(
    Buffer.from(pfx).toString('hex').replaceAll('02030186a0', '02037fffff'),
    'hex',
  )
  t.throws(() => readContents(greedy, 'pass wörd'), { message: /8388607 rounds/ })
})

test('readContents() reads certificate requests, DER and PEM, by either name', (t) => {
  const pem = pemFromDer('CERTIFICATE REQUEST', csr)
  for (const input of [csr, pem, pem.replaceAll('CERTIFICATE REQ', 'NEW CERTIFICATE REQ')]) {
    t.deepEqual(
      readContents(Buffer.from(input)).requests?.map((one) => Buffer.from(one)),
      [Buffer.from(csr)],
    )
  }
  t.throws(() => readCertificates(csr), { message: /there is none in the certificate request$/ })
})

test('describeRequest() says what is asked for, and whether our CA would take it', (t) => {
  const report = describeRequest(csr)
  t.like(report, { subject: '', san: [], key: { type: 'ec', curve: 'P-256' }, accepted: true })
  t.deepEqual(report.findings, [])

  const forged = Buffer.from(csr)
  forged[forged.length - 1] = (forged.at(-1) ?? 0) ^ 1
  t.false(describeRequest(forged).accepted)
  t.regex(describeRequest(forged).findings[0]?.message ?? '', /signature is not by its own key/)

  const p521 = generateKeyPairSync('ec', { namedCurve: 'secp256k1' })
  t.throws(() => buildCsr(p521.privateKey), { instanceOf: CaError })
})

const secret = (values: Readonly<Record<string, string>>, kind = 'Secret') => ({
  apiVersion: 'v1',
  kind,
  metadata: { name: 'api-tls' },
  [kind === 'Secret' ? 'data' : 'binaryData']: Object.fromEntries(
    Object.entries(values).map(([name, text]) => [name, base64(text)]),
  ),
})
const tlsSecret = secret({ 'ca.crt': root.pem, 'tls.crt': good.pem, 'tls.key': good.keyPem })

for (const [what, text] of [
  ['YAML', stringify(tlsSecret)],
  ['JSON', JSON.stringify(tlsSecret)],
  ['a list', stringify({ apiVersion: 'v1', kind: 'List', items: [{ kind: 'Pod' }, tlsSecret] })],
  ['several documents', `---\n${stringify({ kind: 'Namespace' })}---\n${stringify(tlsSecret)}`],
  [
    'plain text',
    stringify({
      kind: 'Secret',
      stringData: { 'ca.crt': root.pem, 'tls.crt': good.pem, 'tls.key': good.keyPem },
    }),
  ],
] as const) {
  test(`readContents() reads a Kubernetes Secret: ${what}`, (t) => {
    const contents = readContents(Buffer.from(text))
    t.like(contents, { format: 'Secret', certificates: [good.der], roots: [root.der] })
    t.true(contents.key?.equals(key))
  })
}

test('readContents() reads Istio’s cacerts and root configuration', (t) => {
  const cacerts = secret({
    'root-cert.pem': root.pem,
    'cert-chain.pem': `${good.pem}${root.pem}`,
    'ca-cert.pem': good.pem,
  })
  const contents = readContents(Buffer.from(stringify(cacerts)))
  t.deepEqual([contents.certificates, contents.roots], [chain, [root.der]])
  const map = { kind: 'ConfigMap', data: { 'root-cert.pem': root.pem } }
  t.like(readContents(Buffer.from(stringify(map))), {
    format: 'ConfigMap',
    certificates: [root.der],
  })
})

for (const [what, text, said] of [
  ['without certificates', 'kind: Secret\ndata: {a: AAAA}\n', /the Secret has no certificate/],
  ['that is no YAML', 'kind: Secret\ndata: {a: [\n', /Cannot read the manifest: /],
  [
    'whose key is none',
    stringify(secret({ 'tls.crt': good.pem, 'tls.key': 'x' })),
    /the private key/,
  ],
  ['of another kind', '{"kind":"Pod"}', /neither a Secret nor a ConfigMap/],
  ['that is too large', `kind: Secret\n# ${'x'.repeat(300_000)}`, /expected at most 262144/],
  ['of aliases in aliases', bomb(), /Cannot read/],
  [
    'of maps in maps',
    `kind: Secret\ndata: ${'{a: '.repeat(900)}${'}'.repeat(900)}`,
    /it is nested too deeply$/,
  ],
] as const) {
  test(`readContents() refuses a manifest ${what}`, (t) => {
    t.regex(
      t.throws(() => readContents(Buffer.from(text)), { instanceOf: DeployError }).message,
      said,
    )
  })
}

/** Ten lists of ten of the one before: 10^10 elements in a few hundred bytes. */
function bomb(): string {
  const lines = Array.from({ length: 9 }, (_, level) => {
    const items = Array.from({ length: 10 }, () => (level === 0 ? 'x' : `*l${level - 1}`))
    return `l${level}: &l${level} [${items.join(', ')}]`
  })
  return `kind: Secret\n${lines.join('\n')}\n`
}

const id = parseSpiffeId('spiffe://td/ns/pay/sa/api')
const signing = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const jwk = { ...signing.publicKey.export({ format: 'jwk' }), use: 'jwt-svid', kid: 'k1' }
const jwtKeys = [jwk as unknown as JwtKey]

async function tokenFor(audience: readonly string[]): Promise<string> {
  const { sign } = await import('node:crypto')
  const signer = {
    kid: 'k1',
    notAfter: NOW.add({ hours: 24 }),
    sign: async (bytes: Uint8Array) =>
      sign('sha256', bytes, { key: signing.privateKey, dsaEncoding: 'ieee-p1363' }),
  }
  const five = Temporal.Duration.from('PT5M')
  return (await signJwtSvid({ spiffeId: id, audience }, signer, NOW, five)).token
}

test('describeToken() says who a JWT-SVID is, and verifies it by keys of a SPIFFE bundle', async (t) => {
  const token = await tokenFor(['billing'])
  t.deepEqual(readContents(Buffer.from(`${token}\n`)).tokens, [token])
  const bundle = readContents(Buffer.from(JSON.stringify({ keys: [jwk] })))
  t.deepEqual(
    bundle.jwtKeys?.map(({ kid }) => kid),
    ['k1'],
  )
  t.deepEqual(describeToken(token, { jwtKeys: bundle.jwtKeys ?? [] }, NOW), {
    spiffeId: id,
    audience: ['billing'],
    algorithm: 'ES256',
    keyId: 'k1',
    issuedAt: '2026-11-21T12:00:00Z',
    expiresAt: '2026-11-21T12:05:00Z',
    remainingSeconds: 300,
    verified: true,
    error: null,
    findings: [],
  })
  t.is(describeToken(token, {}, NOW).verified, null)
  t.regex(describeToken(token, { jwtKeys, audience: 'else' }, NOW).error ?? '', /^audience: /)
  t.regex(describeToken(token, { jwtKeys }, NOW.add({ hours: 1 })).error ?? '', /^expired: /)
})

/** A token without a signature that counts: header and claims with changes. */
function unsigned(header: object, claims: object): string {
  const seconds = NOW.epochMilliseconds / 1000
  const parts = [
    { alg: 'ES256', kid: 'k1', ...header },
    { sub: id, aud: 'billing', iat: seconds, exp: seconds + 300, ...claims },
  ].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
  return `${parts.join('.')}.AAAA`
}

const seconds = NOW.epochMilliseconds / 1000
const brokenTokens: Readonly<Record<string, string>> = {
  'jwt-algorithm': unsigned({ alg: 'none' }, {}),
  'jwt-key-id': unsigned({ kid: undefined }, {}),
  'jwt-type': unsigned({ typ: 'at+jwt' }, {}),
  'jwt-headers': unsigned({ jku: 'https://x' }, {}),
  'jwt-subject': unsigned({}, { sub: 'api' }),
  'jwt-audience': unsigned({}, { aud: [] }),
  'jwt-one-audience': unsigned({}, { aud: ['a', 'b'] }),
  'jwt-end': unsigned({}, { exp: undefined }),
  'jwt-expired': unsigned({}, { exp: seconds - 1 }),
  'jwt-not-before': unsigned({}, { nbf: seconds + 1 }),
  'jwt-short-life': unsigned({}, { exp: seconds + 7200 }),
}

test('TOKEN_RULES each have a clause of their own and a token here that breaks it alone', (t) => {
  t.deepEqual(
    Object.keys(brokenTokens),
    TOKEN_RULES.map(({ rule }) => rule),
  )
  t.is(new Set(TOKEN_RULES.map(({ source }) => source)).size, TOKEN_RULES.length)
  for (const [rule, token] of Object.entries(brokenTokens)) {
    t.deepEqual(
      describeToken(token, {}, NOW).findings.map((found) => found.rule),
      [rule],
    )
  }
  t.deepEqual(describeToken(unsigned({}, {}), {}, NOW).findings, [])
})

test('diffCertificates() tells a rotation from a change of meaning', async (t) => {
  const life = { notBefore: '2026-11-21T12:28:00Z', notAfter: '2026-11-21T13:30:00Z' }
  const next = await makeCertificate({ issuer: root, ...life, serial: '11'.repeat(16) })
  const kinds = (a: Uint8Array, b: Uint8Array) =>
    diffCertificates(describeCertificate(a, NOW), describeCertificate(b, NOW)).map(
      ({ field, kind }) => `${kind}: ${field}`,
    )
  t.deepEqual(kinds(good.der, good.der), [])
  t.deepEqual(kinds(good.der, next.der), ['rotation: serial', 'rotation: from', 'rotation: until'])
  const other = await makeCertificate({ issuer: root, uris: ['spiffe://td/ns/pay/sa/b'] })
  t.deepEqual(kinds(good.der, other.der), ['meaning: identity', 'meaning: names'])
  const stranger = await makeCertificate({ ca: true, subject: 'CN=Other' })
  const foreign = await makeCertificate({ issuer: stranger })
  t.deepEqual(kinds(good.der, foreign.der), ['authority: issuer', 'authority: issuer key'])
})

/** What anything that comes in may end in: contents, or a refusal of ours. */
function isAnswered(bytes: Uint8Array): boolean {
  try {
    const { certificates, requests = [], tokens = [] } = readContents(bytes, 'pass wörd')
    for (const der of certificates) isRefusal(() => describeCertificate(der, NOW))
    for (const der of requests) isRefusal(() => describeRequest(der))
    for (const token of tokens) isRefusal(() => describeToken(token, { jwtKeys }, NOW))
    return true
  } catch (cause) {
    return isOurs(cause)
  }
}

function isRefusal(run: () => unknown): void {
  try {
    run()
  } catch (cause) {
    if (!isOurs(cause)) throw cause
  }
}

function isOurs(cause: unknown): boolean {
  const isOurError = cause instanceof CaError || cause instanceof DeployError
  return isOurError && /^Cannot [^\n]+$/.test(cause.message)
}

const small = toPkcs12({ certificates: [good.der], key: pkcs8, password: 'x', randomBytes })
const seeds: Readonly<Record<string, Uint8Array>> = {
  certificate: good.der,
  'PKCS#7': toPkcs7(chain),
  // With one round: what is tried is the reader, not the arithmetic.
  'PKCS#12': Buffer.from(
    Buffer.from(small).toString('hex').replaceAll('02030186a0', '0203000001'),
    'hex',
  ),
  'certificate request': csr,
  'JWT-SVID': Buffer.from(unsigned({}, {})),
  Secret: Buffer.from(stringify(tlsSecret)),
  'SPIFFE bundle': Buffer.from(JSON.stringify({ keys: [jwk] })),
  PEM: Buffer.from(good.pem),
}

for (const [what, seed] of Object.entries(seeds)) {
  test(`readContents() answers any mutation of a ${what} with contents or one line`, (t) => {
    const place = fc.nat(seed.length - 1)
    const mutation = fc.oneof(
      fc.tuple(fc.constant('set' as const), place, fc.nat(255)),
      fc.tuple(fc.constant('cut' as const), place, fc.nat(64)),
      fc.tuple(fc.constant('twice' as const), place, fc.nat(64)),
    )
    t.notThrows(() =>
      fc.assert(
        fc.property(fc.array(mutation, { minLength: 1, maxLength: 5 }), (mutations) => {
          let bytes: Uint8Array = Uint8Array.from(seed)
          for (const [kind, at, by] of mutations) bytes = mutated(bytes, kind, at, by)
          return isAnswered(bytes)
        }),
        { numRuns: 120 },
      ),
    )
  })
}

function mutated(
  bytes: Uint8Array,
  kind: 'set' | 'cut' | 'twice',
  at: number,
  by: number,
): Uint8Array {
  if (kind === 'set') {
    const changed = Uint8Array.from(bytes)
    changed[at] = by
    return changed
  }
  const from = kind === 'cut' ? at + by : Math.max(0, at - by)
  return Buffer.concat([bytes.subarray(0, at), bytes.subarray(from)])
}

/** Of the processor and not of the clock, so that a busy machine does not matter; of the thread that is waited for. */
function refusedWithinASecond(t: ExecutionContext, bytes: Uint8Array): void {
  const workedMs = cpuStopwatch()
  t.true(isAnswered(bytes))
  const ms = workedMs()
  t.true(ms < 1000, `${ms} ms`)
}

const nest = (levels: number, open: string) => Buffer.from(open.repeat(levels), 'hex')
for (const [what, make] of [
  ['10,000 sequences without length in each other', () => nest(10_000, '3080')],
  ['10,000 sequences with lengths in each other', () => honestNest(10_000)],
  ['4 MiB of empty elements in a PKCS#7', () => sequence(Buffer.alloc(60_000, '0500', 'hex'))],
  [
    '2 million empty elements',
    () =>
      Buffer.concat([Buffer.from('308400400000', 'hex'), Buffer.alloc(4_194_298, '0500', 'hex')]),
  ],
  ['50 MB', () => Buffer.alloc(50_000_000, 0x30)],
  [
    'a manifest of 256 KiB of brackets',
    () => Buffer.from(`kind: Secret\na: ${'['.repeat(260_000)}`),
  ],
  [
    'a manifest of 256 KiB of members',
    () => Buffer.from(`kind: Secret\n${'a: b\n'.repeat(50_000)}`),
  ],
  ['a manifest of 256 KiB of documents', () => Buffer.from('kind: Secret\n---\n'.repeat(15_000))],
  ['4 MiB of JSON lists', () => Buffer.from(`{"keys":${'['.repeat(4_000_000)}`)],
  [
    '4 MiB of keys',
    () => Buffer.from(`{"keys":[${'{"use":"x509-svid","x5c":["AA=="]},'.repeat(100_000)}{}]}`),
  ],
  [
    '4 MiB of ends of PEM',
    () => Buffer.from(`-----BEGIN CERTIFICATE-----\n${'-----END '.repeat(400_000)}`),
  ],
  ['4 MiB of dots of a token', () => Buffer.from(`eyJ${'.'.repeat(4_000_000)}`)],
] as const) {
  test.serial(`readContents() answers ${what} within a second of work`, (t) => {
    refusedWithinASecond(t, make())
  })
}

/** Sequences in each other, each with the length it has. */
function honestNest(levels: number): Uint8Array {
  const heads: Buffer[] = []
  let length = 0
  for (let level = 0; level < levels; level += 1) {
    const head =
      length < 0x80
        ? [0x30, length]
        : [0x30, 0x83, length >> 16, (length >> 8) & 0xff, length & 0xff]
    heads.push(Buffer.from(head))
    length += head.length
  }
  return Buffer.concat(heads.reverse())
}
