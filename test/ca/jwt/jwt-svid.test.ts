/** JWT-SVIDs as the standard has them: identity-standards §1.4, rule by rule. */
import { createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import fc from 'fast-check'
import { compactVerify, importJWK, SignJWT } from 'jose'
import test from 'ava'
import {
  type JwtKey,
  jwtKeysText,
  MAX_JWT_LENGTH,
  readJwtKeys,
  verifyJwtSvid,
} from '#ca/jwt/index.ts'
import { signJwtSvid } from '../../../ca/jwt/jwt-svid-sign.ts'
import { parseTrustDomain } from '#ca/spiffe/index.ts'
import { trustDomain, workloadId } from '../harness.ts'

const now = Temporal.Instant.from('2026-11-21T12:00:00Z')
const seconds = now.epochMilliseconds / 1000

function keyPair(kid: string, curve = 'P-256'): { key: KeyObject; jwk: JwtKey } {
  const { privateKey: key } = generateKeyPairSync('ec', { namedCurve: curve })
  return { key, jwk: jwkOf(key, kid) }
}

function jwkOf(key: KeyObject, kid: string): JwtKey {
  const members = createPublicKey(key).export({ format: 'jwk' })
  const [jwk] = readJwtKeys(JSON.stringify({ keys: [{ ...members, kid, use: 'jwt-svid' }] }))
  if (!jwk) throw new Error('no key')
  return jwk
}

const ours = keyPair('k1')
const bundle = { trustDomain, jwtKeys: [ours.jwk] }

const GOOD = { sub: workloadId, aud: 'db', exp: seconds + 300, iat: seconds }

/** A token of any header and claims, signed by ES256 whatever the header says. */
function tokenOf(claims: unknown, header: object = { alg: 'ES256', kid: 'k1' }, key = ours.key) {
  const part = (value: unknown) =>
    Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')
  const signed = `${part(header)}.${part(claims)}`
  const options = { key, dsaEncoding: 'ieee-p1363' } as const
  return `${signed}.${sign('sha256', Buffer.from(signed), options).toString('base64url')}`
}

function judged(token: string, audience = 'db'): string {
  const verdict = verifyJwtSvid(token, [bundle], audience, now)
  return verdict.kind === 'ok' ? 'ok' : verdict.reason
}

test('verifyJwtSvid() accepts what signJwtSvid() makes, and so does jose', async (t) => {
  const signer = {
    kid: 'k1',
    notAfter: now.add({ hours: 1 }),
    sign: async (bytes: Uint8Array) =>
      sign('sha256', bytes, { key: ours.key, dsaEncoding: 'ieee-p1363' }),
  }
  const request = { spiffeId: workloadId, audience: ['db'] }
  const { token, expiresAt } = await signJwtSvid(
    request,
    signer,
    now,
    Temporal.Duration.from('PT5M'),
  )
  const verdict = verifyJwtSvid(token, [bundle], 'db', now)
  if (verdict.kind !== 'ok') return t.fail(verdict.detail)
  t.deepEqual(verdict.svid.claims, GOOD)
  t.is(verdict.svid.id, workloadId)
  t.true(verdict.svid.expiresAt.equals(expiresAt))
  const { protectedHeader } = await compactVerify(token, await importJWK({ ...ours.jwk }, 'ES256'))
  t.deepEqual(protectedHeader, { alg: 'ES256', kid: 'k1', typ: 'JWT' })

  const short = { ...signer, notAfter: now.add({ seconds: 30 }) }
  const cut = await signJwtSvid(request, short, now, Temporal.Duration.from('PT5M'))
  t.true(cut.expiresAt.equals(short.notAfter), 'no token outlives its key')
})

const RSA = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
for (const [alg, key] of Object.entries({
  ES256: ours.key,
  ES384: keyPair('x', 'P-384').key,
  ES512: keyPair('x', 'P-521').key,
  RS256: RSA,
  RS384: RSA,
  RS512: RSA,
  PS256: RSA,
  PS384: RSA,
  PS512: RSA,
})) {
  test(`verifyJwtSvid() accepts ${alg} as jose signs it`, async (t) => {
    const token = await new SignJWT(GOOD).setProtectedHeader({ alg, kid: 'k1' }).sign(key)
    const jwtKeys = [jwkOf(key, 'k1')]
    t.is(verifyJwtSvid(token, [{ trustDomain, jwtKeys }], 'db', now).kind, 'ok')
    const other = [jwkOf(generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey, 'k1')]
    const verdict = verifyJwtSvid(token, [{ trustDomain, jwtKeys: other }], 'db', now)
    t.is(verdict.kind === 'refused' && verdict.reason, 'signature')
  })
}

for (const alg of ['none', 'HS256', 'EdDSA', 'ES256K', 'es256', '', 'toString', undefined, 7]) {
  test(`verifyJwtSvid() refuses the algorithm ${JSON.stringify(alg)} before anything else`, (t) => {
    t.is(judged(tokenOf(GOOD, { alg, kid: 'k1', crit: ['x'] })), 'algorithm')
  })
}

/** What is signed, whole and by our key, and still no JWT-SVID for us. */
const refused: Readonly<Record<string, readonly [reason: string, token: string]>> = {
  'another header': ['header', tokenOf(GOOD, { alg: 'ES256', kid: 'k1', jku: 'https://x' })],
  'a critical extension': ['header', tokenOf(GOOD, { alg: 'ES256', crit: ['exp'] })],
  'another type': ['header', tokenOf(GOOD, { alg: 'ES256', kid: 'k1', typ: 'at+jwt' })],
  'a key id that is no text': ['header', tokenOf(GOOD, { alg: 'ES256', kid: 1 })],
  'a key id that nobody has': ['unknown-key', tokenOf(GOOD, { alg: 'ES256', kid: 'k2' })],
  'no subject': ['subject', tokenOf({ ...GOOD, sub: undefined })],
  'a subject that is no SPIFFE ID': ['subject', tokenOf({ ...GOOD, sub: 'system:admin' })],
  'a subject of another trust domain': [
    'no-bundle',
    tokenOf({ ...GOOD, sub: 'spiffe://other.example/a' }),
  ],
  'no end (users §2.2.24)': ['expired', tokenOf({ ...GOOD, exp: undefined })],
  'an end that is text': ['expired', tokenOf({ ...GOOD, exp: String(GOOD.exp) })],
  'an end that is now': ['expired', tokenOf({ ...GOOD, exp: seconds })],
  'an end beyond dates': ['expired', tokenOf({ ...GOOD, exp: 1e300 })],
  'a start ahead': ['not-yet-valid', tokenOf({ ...GOOD, nbf: seconds + 61 })],
  'an issue ahead': ['not-yet-valid', tokenOf({ ...GOOD, iat: seconds + 61 })],
  'no audience': ['audience', tokenOf({ ...GOOD, aud: undefined })],
  'an empty list of audiences': ['audience', tokenOf({ ...GOOD, aud: [] })],
  'another audience': ['audience', tokenOf({ ...GOOD, aud: ['dbx', 'DB'] })],
  'an audience that is no text': ['audience', tokenOf({ ...GOOD, aud: [{ db: 'db' }, 'db'] })],
  'a claim named twice': [
    'malformed',
    tokenOf(`{"sub":"${workloadId}","aud":"x","aud":"db","exp":9e9}`),
  ],
  'a payload that is a list': ['malformed', tokenOf([GOOD])],
  'the JSON form': ['malformed', JSON.stringify({ payload: 'e30', signatures: [] })],
  'four parts': ['malformed', `${tokenOf(GOOD)}.e30`],
  'five parts, as JWE has': ['malformed', 'e30.e30.e30.e30.e30'],
  padding: ['malformed', `${tokenOf(GOOD)}==`],
  'no signature': ['malformed', tokenOf(GOOD).replace(/[^.]+$/, '')],
  'another key': ['signature', tokenOf(GOOD, { alg: 'ES256', kid: 'k1' }, keyPair('k1').key)],
  'another algorithm than the key’s': ['signature', tokenOf(GOOD, { alg: 'RS256', kid: 'k1' })],
  'more than 16 KiB': ['malformed', tokenOf({ ...GOOD, x: 'x'.repeat(MAX_JWT_LENGTH) })],
}
for (const [what, [reason, token]] of Object.entries(refused)) {
  test(`verifyJwtSvid() refuses ${what} (identity-standards §5.4)`, (t) => {
    t.is(judged(token), reason)
  })
}

test('verifyJwtSvid() takes what the standard leaves open', (t) => {
  t.is(judged(tokenOf(GOOD, { alg: 'ES256' })), 'ok', 'kid is optional')
  t.is(judged(tokenOf(GOOD, { alg: 'ES256', kid: 'k1', typ: 'JOSE' })), 'ok')
  t.is(judged(tokenOf({ ...GOOD, aud: ['cache', 'db'] })), 'ok')
  t.is(judged(tokenOf({ ...GOOD, iat: undefined, jti: 'x', own: { a: [1] } })), 'ok')
  t.is(judged(tokenOf({ ...GOOD, iat: seconds + 60 })), 'ok', 'a clock that is ahead by a minute')
})

test('verifyJwtSvid() lets the keys of one trust domain vouch for no other', (t) => {
  const other = { trustDomain: parseTrustDomain('other.example'), jwtKeys: [keyPair('k1').jwk] }
  const foreign = tokenOf({ ...GOOD, sub: 'spiffe://other.example/a' })
  const verdict = verifyJwtSvid(foreign, [bundle, other], 'db', now)
  t.is(verdict.kind === 'refused' && verdict.reason, 'signature')
  const none = verifyJwtSvid(tokenOf(GOOD), [{ trustDomain, jwtKeys: [] }], 'db', now)
  t.is(none.kind === 'refused' && none.reason, 'unknown-key', 'an empty set distrusts all')
})

test('verifyJwtSvid() refuses a token with any one character changed, and never throws', (t) => {
  const token = tokenOf(GOOD)
  for (let at = 0; at < token.length; at += 1) {
    const changed = `${token.slice(0, at)}${token[at] === 'A' ? 'B' : 'A'}${token.slice(at + 1)}`
    t.not(judged(changed), 'ok', `character ${at}`)
  }
  fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => judged(text) !== 'ok'))
})

test('readJwtKeys() takes keys of tokens and passes over all others', (t) => {
  const { kty, crv, x, y } = ours.jwk
  const key = { kty, crv, x, y, use: 'jwt-svid', kid: 'a' }
  const read = (...keys: readonly object[]) => readJwtKeys(JSON.stringify({ keys }))
  t.deepEqual(read(key, { ...key, d: 'secret', kid: 'b' }), [
    { kty: 'EC', use: 'jwt-svid', kid: 'a', crv: 'P-256', x, y } as JwtKey,
    { kty: 'EC', use: 'jwt-svid', kid: 'b', crv: 'P-256', x, y } as JwtKey,
  ])
  const { kid, ...unnamed } = key
  t.deepEqual(
    read(
      { ...key, use: 'x509-svid' },
      { ...key, use: 'JWT-SVID' },
      { ...key, use: undefined },
      { ...key, kty: 'oct', k: 'c2VjcmV0' },
      { ...key, kty: 'OKP' },
      unnamed,
      { ...key, x: undefined },
    ),
    [],
  )
  t.is(read(key, { ...key, x: y }).length, 1, `the first of ${kid}`)
  t.deepEqual(readJwtKeys(jwtKeysText([ours.jwk])), [ours.jwk])
})

test('readJwtKeys() refuses what is no JWK Set, or a large one', (t) => {
  const many = { keys: Array.from({ length: 65 }, () => ({})) }
  for (const text of [
    '',
    '[]',
    '{}',
    '{"keys":{}}',
    '{"keys":[],"keys":[]}',
    JSON.stringify(many),
    ' '.repeat(70_000),
  ]) {
    t.throws(() => readJwtKeys(text), { code: 'CA_JWT_INVALID' })
  }
})
