/** What every certificate of ours says: the profile, by each kind of key, as the CA hands them out. */
import {
  createPublicKey,
  generateKeyPairSync,
  hash,
  type KeyObject,
  X509Certificate,
} from 'node:crypto'

import test from 'ava'
import { importJWK } from 'jose'

import { describeCertificate } from '#ca/inspect/index.ts'
import { readFacts } from '#ca/inspect/facts.ts'
import { createSvidSigner, signSvid } from '#ca/issue/issue-svid.ts'
import { authorityOf } from '#ca/keys/authority.ts'
import { localKey } from '#ca/keys/signing-key.ts'
import { parseSpiffeId } from '#ca/spiffe/index.ts'
import { readCertificate } from '#ca/x509/index.ts'
import { attestedClient, newCsr, newKey, startCa, svidOf, workloadId } from '../harness.ts'
import { ext, forgeIssuing, forgeRoot, NOW } from '../x509/forge.ts'

const KEYS: Readonly<Record<string, () => KeyObject>> = {
  'P-256': newKey,
  'P-384': () => generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey,
  'RSA-2048': () => generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey,
  Ed25519: () => generateKeyPairSync('ed25519').privateKey,
}

await using running = await startCa()
const { ca } = running
using agent = await attestedClient(ca)
const leaves = new Map<string, Uint8Array>()
let issuing: Uint8Array = new Uint8Array()
for (const [kind, make] of Object.entries(KEYS)) {
  const { chain } = svidOf(await agent.client.issue({ spiffeId: workloadId, csr: newCsr(make()) }))
  leaves.set(kind, new Uint8Array(chain[0] ?? []))
  issuing = new Uint8Array(chain[1] ?? [])
}
const [root = issuing] = ca.bundle.current.roots
const now = Temporal.Now.instant()
const { jwtKeys = [] } = ca.bundle.current

for (const [kind, der] of leaves) {
  const facts = readFacts(der)

  test(`profile, ${kind}: key usage is digitalSignature alone, and critical`, (t) => {
    t.deepEqual([facts.usage, facts.usageIsCritical], [['digitalSignature'], true])
  })

  test(`profile, ${kind}: it has a subject key identifier, and its issuer's as authority key identifier`, (t) => {
    t.regex(facts.subjectKeyId ?? '', /^[0-9a-f]{40}$/)
    t.is(facts.authorityKeyId, readFacts(issuing).subjectKeyId)
    t.not(facts.subjectKeyId, facts.authorityKeyId)
  })

  test(`profile, ${kind}: its alternative name is critical, since it has no subject (identity-standards §5.2)`, (t) => {
    t.deepEqual([facts.subject, facts.sanIsCritical], ['', true])
    t.deepEqual(facts.san, [{ type: 'uri', value: workloadId }])
  })

  test(`profile, ${kind}: cert inspect finds nothing`, (t) => {
    t.deepEqual(describeCertificate(der, now).findings, [])
  })
}

test('profile: a leaf with the key that is used by default has at most 500 bytes', (t) => {
  const { length } = leaves.get('P-256') ?? root
  t.true(length <= 500, `${length}`)
})

test('profile: cert inspect finds nothing in the issuing CA and the root', (t) => {
  for (const der of [issuing, root]) t.deepEqual(describeCertificate(der, now).findings, [])
})

test('profile: the authority key identifier is copied from the CA, however that was made', async (t) => {
  const key = newKey()
  const spki = createPublicKey(key).export({ type: 'spki', format: 'der' })
  const ski = hash('sha256', spki, 'buffer') // 32 bytes, as CAs made by newer Go have, and not our way
  const foreign = forgeIssuing(forgeRoot(), { key, extensions: { ski: ext.ski(ski) } })
  const signer = createSvidSigner(authorityOf(foreign.der, localKey(key)))
  const request = {
    spiffeId: parseSpiffeId('spiffe://prod.example/ns/pay/sa/api'),
    publicKeyDer: createPublicKey(newKey()).export({ type: 'spki', format: 'der' }),
    ttl: Temporal.Duration.from('PT30M'),
  }
  const { chain } = await signSvid(signer, request, NOW)
  const leaf = readCertificate(chain[0] ?? new Uint8Array())
  t.deepEqual(Buffer.from(leaf.aki ?? []), ski)
  t.true(new X509Certificate(chain[0] ?? '').checkIssued(new X509Certificate(foreign.der)))
})

test('profile: keys of JWT-SVIDs are public, named, for one use, and read by jose', async (t) => {
  t.true(jwtKeys.length > 0)
  t.is(new Set(jwtKeys.map(({ kid }) => kid)).size, jwtKeys.length)
  for (const jwk of jwtKeys) {
    t.deepEqual(Object.keys(jwk).sort(), ['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y'])
    t.like(jwk, { use: 'jwt-svid', kty: 'EC', crv: 'P-256', alg: 'ES256' })
    t.is(((await importJWK({ ...jwk }, 'ES256')) as { type: string }).type, 'public')
  }
})
