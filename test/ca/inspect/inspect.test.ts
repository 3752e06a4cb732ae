import { createHash, X509Certificate } from 'node:crypto'

import test from 'ava'
import fc from 'fast-check'

import {
  type CertificateReport,
  type ChainReport,
  describeCertificate,
  type Inspection,
  inWords,
  judgeChain,
  readCertificates,
  renderInspection,
  type Style,
  withIssuers,
} from '#ca/inspect/index.ts'
import { readCertificate } from '#ca/x509/index.ts'
import { parseTrustDomain } from '#ca/spiffe/index.ts'
import { CaError } from '#ca/index.ts'
import { makeCertificate, NOW } from './certificates.ts'

const root = await makeCertificate({
  ca: true,
  notBefore: '2026-01-01T00:00:00Z',
  notAfter: '2036-01-01T00:00:00Z',
})
const good = await makeCertificate({ issuer: root })
const bundle = { trustDomain: parseTrustDomain('td'), generation: 1, roots: [root.der] }

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')
const spkiOf = (der: Uint8Array) =>
  new X509Certificate(der).publicKey.export({ type: 'spki', format: 'der' })
const ski = (der: Uint8Array) => Buffer.from(readCertificate(der).ski ?? '').toString('hex')

test('describeCertificate() says of a good SVID what it is, under the contract’s names', (t) => {
  t.deepEqual(describeCertificate(good.der, NOW), {
    spiffeId: 'spiffe://td/ns/pay/sa/api',
    subject: '',
    issuer: 'CN=Root',
    serial: '7f2b5a9c31e84d06b7d1c05e9a3f6218',
    notBefore: '2026-11-21T11:58:00Z',
    notAfter: '2026-11-21T13:00:00Z',
    remainingSeconds: 3600,
    life: { seconds: 3720, cutByIssuer: null, why: null },
    key: { type: 'ec', curve: 'P-256' },
    signature: 'ecdsa-with-SHA256',
    san: [{ type: 'uri', value: 'spiffe://td/ns/pay/sa/api' }],
    usage: ['digitalSignature'],
    extendedUsage: ['serverAuth', 'clientAuth'],
    ca: false,
    keyId: ski(good.der),
    issuerKeyId: ski(root.der),
    fingerprints: { sha256: sha256(good.der), publicKey: sha256(spkiOf(good.der)) },
    findings: [],
  })
})

test('withIssuers() says that a life ends because its issuer does', async (t) => {
  const short = await makeCertificate({ ca: true, notAfter: '2026-11-21T13:00:00Z' })
  const cut = await makeCertificate({ issuer: short })
  const lives = (...chain: readonly Uint8Array[]) =>
    withIssuers(chain.map((der) => describeCertificate(der, NOW))).map(
      ({ life }) => life.cutByIssuer,
    )
  t.deepEqual(lives(cut.der, short.der), [true, null])
  t.deepEqual(lives(good.der, root.der), [false, null])
})

test('describeCertificate() finds nothing wrong with a good root', (t) => {
  t.deepEqual(describeCertificate(root.der, NOW).findings, [])
})

for (const [serial, shown] of [
  ['00d43ec57f41ddab1b52fe72465bef54cf', 'd43ec57f41ddab1b52fe72465bef54cf'],
  ['0a3ec57f41ddab1b52fe72465bef54', '0a3ec57f41ddab1b52fe72465bef54'],
] as const) {
  test(`describeCertificate() shows the serial ${serial} as ca revoke takes it`, async (t) => {
    const { der } = await makeCertificate({ issuer: root, serial })
    const report = describeCertificate(der, NOW)
    t.is(report.serial, shown)
    t.is(report.serial, readCertificate(der).serial)
    t.deepEqual(report.findings, [])
  })
}

test('judgeChain() verifies a leaf up to the root and names it', (t) => {
  const reports = [describeCertificate(good.der, NOW)]
  t.deepEqual(judgeChain([good.der], reports, bundle, NOW), {
    verified: true,
    trustAnchor: 'CN=Root',
    error: null,
  })
})

test('judgeChain() finds the leaf wherever it stands', (t) => {
  const chain = [root.der, good.der]
  const reports = chain.map((der) => describeCertificate(der, NOW))
  t.true(judgeChain(chain, reports, bundle, NOW).verified)
})

test('judgeChain() refuses another root, another trust domain and a later time', async (t) => {
  const reports = [describeCertificate(good.der, NOW)]
  const other = await makeCertificate({
    ca: true,
    subject: 'CN=Other',
    notAfter: '2036-01-01T00:00:00Z',
  })
  const refusals = [
    judgeChain([good.der], reports, { roots: [other.der] }, NOW),
    judgeChain([good.der], reports, { ...bundle, trustDomain: parseTrustDomain('te') }, NOW),
    judgeChain([good.der], reports, bundle, NOW.add({ hours: 2 })),
  ]
  t.deepEqual(
    refusals.map(({ verified, error }) => [verified, error?.split(':')[0]]),
    [
      [false, 'untrusted-issuer'],
      [false, 'unknown-trust-domain'],
      [false, 'expired'],
    ],
  )
})

test('judgeChain() verifies an authority: the root itself, and one that it signed', async (t) => {
  const issuing = await makeCertificate({ ca: true, subject: 'CN=Issuing', issuer: root })
  for (const { der } of [root, issuing]) {
    const chain = judgeChain([der], [describeCertificate(der, NOW)], bundle, NOW)
    t.deepEqual(chain, { verified: true, trustAnchor: 'CN=Root', error: null })
  }
  const stranger = await makeCertificate({ ca: true, subject: 'CN=Stranger' })
  const chain = judgeChain([stranger.der], [describeCertificate(stranger.der, NOW)], bundle, NOW)
  t.regex(chain.error ?? '', /^untrusted-issuer/)
})

test('judgeChain() says neither yes nor no without roots', (t) => {
  t.is(judgeChain([good.der], [describeCertificate(good.der, NOW)], undefined, NOW).verified, null)
})

test('readCertificates() reads PEM among other text, DER, and a SPIFFE bundle', (t) => {
  const pem = `subject=x\n${good.pem}text\n-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n${root.pem}`
  const x5c = [Buffer.from(root.der).toString('base64')]
  const jwks = JSON.stringify({ keys: [{ use: 'jwt-svid' }, { use: 'x509-svid', x5c }] })
  t.deepEqual(readCertificates(Buffer.from(pem)), [good.der, root.der])
  t.deepEqual(readCertificates(good.der), [good.der])
  t.deepEqual(readCertificates(Buffer.from(jwks)), [root.der])
})

const unreadable: readonly (readonly [what: string, input: string | Uint8Array, said: RegExp])[] = [
  ['nothing', '', /the input is empty/],
  ['prose', 'hello', /none of the forms that are known here/],
  [
    'a key',
    '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n',
    /holds a PRIVATE KEY/,
  ],
  ['an end that is missing', '-----BEGIN CERTIFICATE-----\nAAAA', /has no end/],
  ['a certificate that is not base64', good.pem.replace('M', '*'), /is not base64/],
  ['broken JSON', '{"keys":', /starts like JSON/],
  ['JSON of another kind', '{"a":1}', /without "keys"/],
  ['a bundle without X.509', '{"keys":[null,{"use":"jwt-svid"}]}', /no key for x509-svid/],
  ['too many', good.pem.repeat(201), /201 of them/],
  ['too much', new Uint8Array(4_194_305), /more than 4194304 bytes/],
]
for (const [what, input, said] of unreadable) {
  test(`readCertificates() refuses ${what}`, (t) => {
    const error = t.throws(() => readCertificates(Buffer.from(input)), { instanceOf: CaError })
    t.regex(error.message, said)
  })
}

test('describeCertificate() answers hostile bytes with CaError or a report', (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(good.der.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 }),
      (changes) => {
        const der = Uint8Array.from(good.der)
        for (const [at, byte] of changes) der[at] = byte
        return isReportOrRefusal(der)
      },
    ),
    { numRuns: 500 },
  )
  const nested = Buffer.concat(Array.from({ length: 16_000 }, () => Buffer.from('3080', 'hex')))
  t.true(isReportOrRefusal(nested))
  t.true(isReportOrRefusal(new Uint8Array(70_000).fill(0x30)))
})

function isReportOrRefusal(der: Uint8Array): boolean {
  try {
    return Array.isArray(describeCertificate(der, NOW).findings)
  } catch (cause) {
    return cause instanceof CaError && cause.code === 'CA_DER_INVALID'
  }
}

function shown(certificates: readonly CertificateReport[], chain: ChainReport): Inspection {
  return { certificates, chain, requests: [], tokens: [], origin: [] }
}

const plain: Style = { bold: same, dim: same, good: same, warn: same, bad: same }
function same(text: string): string {
  return text
}

test('renderInspection() draws the chain from the root down and says what is wrong', async (t) => {
  const late = await makeCertificate({ issuer: root, notAfter: '2026-11-21T11:59:00Z' })
  const chain = [late.der, root.der]
  const reports = chain.map((der) => describeCertificate(der, NOW))
  const lines = renderInspection(shown(reports, judgeChain(chain, reports, bundle, NOW)), plain)
  t.regex(lines[0] ?? '', /^✘ not verified: expired: .*2026-11-21T11:59:00Z/)
  t.true(lines.includes('spiffe://td root'))
  t.true(lines.includes('└─ spiffe://td/ns/pay/sa/api leaf'))
  t.true(lines.some((line) => line.includes('ran out 1 minute ago')))
  t.true(
    lines.some((line) => line.includes('it ran out at 2026-11-21T11:59:00Z [expired, RFC 5280')),
  )
})

test('renderInspection() shows no control character of a certificate', async (t) => {
  const evil = await makeCertificate({ issuer: root, dns: ['\u001b[2Jx'] })
  const reports = [describeCertificate(evil.der, NOW)]
  const text = renderInspection(
    shown(reports, judgeChain([evil.der], reports, bundle, NOW)),
    plain,
  ).join('\n')
  t.false(text.includes('\u001b'))
  t.true(text.includes('dns:\\x1b[2Jx'))
})

test('inWords() takes the two largest units', (t) => {
  t.deepEqual([0, 1, 61, 7500, 90_000, 315_576_000].map(inWords), [
    '0 seconds',
    '1 second',
    '1 minute 1 second',
    '2 hours 5 minutes',
    '1 day 1 hour',
    '10 years',
  ])
})
