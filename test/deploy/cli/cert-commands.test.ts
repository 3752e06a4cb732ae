/** The flags of `cert inspect` for scripts, `--watch`, and `cert verify`, `diff`, `request` and `convert`. */
import { generateKeyPairSync, sign, X509Certificate } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'

import test from 'ava'
import { stringify } from 'yaml'

import { describeRequest, readInput } from '#ca/inspect/index.ts'
import { parseSpiffeId } from '#ca/spiffe/index.ts'
import { derFromPem, verifyCsr } from '#ca/x509/index.ts'
import type { Command } from '#deploy/cli/command.ts'
import { certConvert } from '#deploy/cli/commands/cert-convert.ts'
import { certDiff } from '#deploy/cli/commands/cert-diff.ts'
import { certInspect } from '#deploy/cli/commands/cert-inspect.ts'
import { certRequest } from '#deploy/cli/commands/cert-request.ts'
import { certVerify } from '#deploy/cli/commands/cert-verify.ts'
import { type Made, makeCertificate, NOW } from '#test/ca/inspect/certificates.ts'
import { FakeClock } from '#test/fakes/fake-clock.ts'
import { runCommand } from '#test/fakes/fake-io.ts'
import { signJwtSvid } from '../../../ca/jwt/jwt-svid-sign.ts'

const ID = 'spiffe://td/ns/pay/sa/api'
const cwd = mkdtempSync(join(tmpdir(), 'redoubt-cert-'))
const root = await makeCertificate({ ca: true, notAfter: '2036-01-01T00:00:00Z' })
const issuing = await makeCertificate({ ca: true, subject: 'CN=Issuing', issuer: root })
const good = await makeCertificate({ issuer: issuing })
const other = await makeCertificate({ ca: true, subject: 'CN=Other' })
const base64 = (text: string) => Buffer.from(text).toString('base64')
const base64url = (text: string) => Buffer.from(text).toString('base64url')
const secretOf = (key: string) =>
  stringify({
    kind: 'Secret',
    data: {
      'tls.crt': base64(good.pem + issuing.pem),
      'ca.crt': base64(root.pem),
      'tls.key': base64(key),
    },
  })
const write = (name: string, content: string | Uint8Array) =>
  writeFileSync(join(cwd, name), content)

const pemOfZeros = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'
for (const [name, content] of Object.entries({
  'chain.pem': good.pem + issuing.pem,
  'leaf.pem': good.pem,
  'root.pem': root.pem,
  'other.pem': other.pem,
  'key.pem': good.keyPem,
  'secret.yaml': secretOf(good.keyPem),
  'wrong-key.yaml': secretOf(root.keyPem),
  'password.txt': 'pass wörd\n',
})) {
  write(name, content)
}

test.after.always(() => rmSync(cwd, { recursive: true }))

const now = () => NOW

async function run(command: Command, place: readonly string[] | string, options: object = {}) {
  return runCommand(command, {
    cwd,
    now,
    arguments: [place].flat(),
    options: { output: 'json', ...options },
  })
}

async function inspect(place: string, options: object = {}) {
  const { exitCode, out } = await run(certInspect, place, options)
  return { exitCode, ...JSON.parse(out) }
}

test('cert inspect --expect answers 1 for anybody else, and 0 for whom it is', async (t) => {
  t.is((await inspect('leaf.pem', { expect: ID })).exitCode, 0)
  const { exitCode, chain } = await inspect('leaf.pem', { expect: `${ID}-b` })
  t.deepEqual([exitCode, chain.verified], [1, false])
  t.regex(chain.error, /^wrong-identity: it is .*api, expected .*api-b$/)
})

test('cert inspect --min-remaining answers 1 for what ends sooner, whatever part of the chain', async (t) => {
  t.is((await inspect('leaf.pem', { minRemaining: '59m' })).exitCode, 0)
  const { exitCode, chain } = await inspect('leaf.pem', { minRemaining: '61m' })
  t.is(exitCode, 1)
  t.is(chain.error, 'ends-too-soon: 1 hour left, expected 61m')
  t.is((await inspect('root.pem', { minRemaining: '30d' })).exitCode, 0)
})

test('cert inspect and verify refuse an expectation that nothing could meet, whatever the certificate', async (t) => {
  for (const place of ['leaf.pem', 'none.pem']) {
    const soon = inspect(place, { bundle: 'other.pem', minRemaining: 'soon' })
    await t.throwsAsync(soon, { message: /duration "soon"|no such file/ })
    const whom = inspect('leaf.pem', { bundle: 'other.pem', expect: 'ns/pay/sa/api' })
    await t.throwsAsync(whom, { message: /^Cannot expect "ns\/pay\/sa\/api": it is no SPIFFE ID/ })
  }
  const verified = run(certVerify, 'chain.pem', { bundle: ['root.pem'], expect: 'api' })
  await t.throwsAsync(verified, { message: /it is no SPIFFE ID/ })
})

test('cert inspect answers 1 when there is nothing that an expectation could be about, and shows why', async (t) => {
  await run(certRequest, [], { key: 'key.pem', out: 'asked', dns: [] })
  const text = async (options: object) =>
    run(certInspect, 'asked/request.pem', { output: 'text', ...options })
  t.is((await text({})).exitCode, 0)
  const ends = await text({ minRemaining: '10m' })
  t.is(ends.exitCode, 1)
  t.regex(ends.out, /✘ ends-too-soon: nothing in it has an end, expected 10m left/)
  const whose = await text({ expect: ID })
  t.is(whose.exitCode, 1)
  t.regex(whose.out, /✘ wrong-identity: it has no SPIFFE ID, expected spiffe:/)
})

test('cert inspect verifies a Kubernetes Secret by its own roots, and its key', async (t) => {
  const { exitCode, chain, origin, certificates } = await inspect('secret.yaml')
  t.deepEqual([exitCode, chain.verified, chain.trustAnchor], [0, true, 'CN=Root'])
  t.is(certificates.length, 2)
  t.is(origin['found in'], 'Secret')
  const wrong = await inspect('wrong-key.yaml')
  t.is(wrong.exitCode, 1)
  t.regex(wrong.chain.error, /^wrong-key: /)
  t.deepEqual([origin['private key'], wrong.origin['private key']], ['fits', 'DOES NOT FIT'])
  const broken = secretOf(good.keyPem).replace(/(tls.crt: )\S+/, `$1${base64(pemOfZeros)}`)
  write('broken.yaml', broken)
  await t.throwsAsync(inspect('broken.yaml'), {
    message: /^Cannot read a certificate in broken.yaml: /,
  })
})

test('cert inspect shows no private key and no token in any form', async (t) => {
  const secret = good.keyPem.split('\n')[1] ?? 'none'
  for (const output of ['text', 'json', 'yaml', 'pem']) {
    const { out } = await run(certInspect, 'secret.yaml', { output })
    t.false(out.includes(secret) || out.includes(base64(secret).slice(0, 40)), output)
  }
  write('token.jwt', await token())
  for (const output of ['text', 'json', 'yaml']) {
    const { out } = await run(certInspect, 'token.jwt', { output })
    t.false(out.includes(readFileSync(join(cwd, 'token.jwt'), 'utf8').split('.')[2] ?? ''), output)
  }
  const pem = run(certInspect, 'token.jwt', { output: 'pem' })
  await t.throwsAsync(pem, { message: /there is no certificate and no request/ })
})

const signing = generateKeyPairSync('ec', { namedCurve: 'P-256' })

async function token(): Promise<string> {
  const jwk = { ...signing.publicKey.export({ format: 'jwk' }), use: 'jwt-svid', kid: 'k1' }
  write('bundle.json', JSON.stringify({ keys: [jwk] }))
  const signer = {
    kid: 'k1',
    notAfter: NOW.add({ hours: 1 }),
    sign: async (bytes: Uint8Array) =>
      sign('sha256', bytes, { key: signing.privateKey, dsaEncoding: 'ieee-p1363' }),
  }
  const request = { spiffeId: parseSpiffeId(ID), audience: ['billing'] }
  return (await signJwtSvid(request, signer, NOW, Temporal.Duration.from('PT5M'))).token
}

test('cert inspect and verify judge a JWT-SVID by a SPIFFE bundle, for whom it is', async (t) => {
  write('t.jwt', await token())
  const { exitCode, tokens } = await inspect('t.jwt', { bundle: 'bundle.json', expect: ID })
  t.is(exitCode, 0)
  t.like(tokens[0], { spiffeId: ID, audience: ['billing'], verified: true, remainingSeconds: 300 })
  const verify = (audience?: string) =>
    run(certVerify, 't.jwt', { bundle: ['bundle.json'], ...(audience && { audience }) })
  t.is((await verify('billing')).exitCode, 0)
  t.like(JSON.parse((await verify('shop')).out), { verified: false, reason: 'audience' })
  await t.throwsAsync(verify(), { message: /expected --audience/ })
})

test('cert inspect and verify judge a JWT-SVID of the running mesh by its keys, and no other by them', async (t) => {
  write('ours.jwt', await token())
  const mesh = (name: string, trustDomain: string) => {
    mkdirSync(join(cwd, name))
    const document = join(cwd, 'bundle.json')
    const ca = { bundle: join(cwd, 'root.pem'), document }
    write(`${name}/mesh.json`, JSON.stringify({ ready: true, trustDomain, ca, workloads: [] }))
    return name
  }
  const ours = mesh('of-td', 'td')
  t.true((await inspect('ours.jwt', { state: ours })).tokens[0].verified)
  const asked = { audience: 'billing', bundle: [] }
  t.is((await run(certVerify, 'ours.jwt', { ...asked, state: ours })).exitCode, 0)
  const theirs = mesh('of-te', 'te')
  t.is((await inspect('ours.jwt', { state: theirs })).tokens[0].verified, null)
  const unknown = { message: /no keys of "td" are known to do it with, expected --bundle FILE/ }
  await t.throwsAsync(run(certVerify, 'ours.jwt', { ...asked, state: theirs }), unknown)
  for (const bundle of [['te=bundle.json'], ['root.pem']]) {
    await t.throwsAsync(run(certVerify, 'ours.jwt', { ...asked, bundle }), unknown)
  }
})

test('cert inspect says of a JWT-SVID what is not as expected, and that it has no end', async (t) => {
  write('plain.jwt', await token())
  const wanted = { bundle: 'bundle.json', expect: `${ID}-b`, output: 'text' }
  const { exitCode, out } = await run(certInspect, 'plain.jwt', wanted)
  t.is(exitCode, 1)
  t.regex(out, /^✘ wrong-identity: it is .*api, expected .*api-b$/m)
  write('endless.jwt', `${['{"alg":"none"}', '{}'].map(base64url).join('.')}.`)
  t.regex((await run(certInspect, 'endless.jwt', { output: 'text' })).out, / valid +without an end/)
})

async function verify(place: string, options: object) {
  const { exitCode, out } = await run(certVerify, place, options)
  return [exitCode, JSON.parse(out).reason ?? null]
}

test('cert verify says what a sidecar would, for roots, a role and a time', async (t) => {
  const bundle = ['root.pem']
  t.deepEqual(await verify('chain.pem', { bundle }), [0, null])
  t.deepEqual(await verify('chain.pem', { bundle, role: 'client' }), [0, null])
  t.deepEqual(await verify('leaf.pem', { bundle }), [1, 'untrusted-issuer'])
  t.deepEqual(await verify('chain.pem', { bundle: ['other.pem'] }), [1, 'untrusted-issuer'])
  t.deepEqual(await verify('chain.pem', { bundle, at: '2026-11-21T14:00:00Z' }), [1, 'expired'])
  t.deepEqual(await verify('chain.pem', { bundle, at: '2026-01-02T00:00:00Z' }), [
    1,
    'not-yet-valid',
  ])
  t.deepEqual(await verify('chain.pem', { bundle, expect: ID }), [0, null])
  t.deepEqual(await verify('chain.pem', { bundle, expect: 'spiffe://td/x' }), [1, 'wrong-identity'])
  t.deepEqual(await verify('secret.yaml', { bundle: [] }), [0, null])
  t.deepEqual(await verify('root.pem', { bundle }), [0, null])
})

test('cert verify takes roots for the trust domain that they are named for', async (t) => {
  t.deepEqual(await verify('chain.pem', { bundle: ['td=root.pem', 'te=other.pem'] }), [0, null])
  t.deepEqual(await verify('chain.pem', { bundle: ['te=root.pem'] }), [1, 'unknown-trust-domain'])
})

test('cert verify cannot tell without roots, or as of no time', async (t) => {
  const none = run(certVerify, 'chain.pem', { bundle: [], state: 'none' })
  await t.throwsAsync(none, { message: /no roots are known, expected --bundle/ })
  const when = run(certVerify, 'chain.pem', { bundle: ['root.pem'], at: 'noon' })
  await t.throwsAsync(when, { message: /as of "noon": expected a time/ })
  await run(certRequest, [], { key: 'key.pem', out: 'wanted', dns: [] })
  const request = run(certVerify, 'wanted/request.pem', { bundle: ['root.pem'] })
  await t.throwsAsync(request, {
    message: /^Cannot verify the PEM: expected a certificate or a JWT/,
  })
})

test('cert diff answers 0 for a renewal and for nothing, 1 for another meaning', async (t) => {
  const renewed = await makeCertificate({ issuer: issuing, serial: '22'.repeat(16) })
  const another = await makeCertificate({ issuer: issuing, uris: [`${ID}-b`] })
  write('renewed.pem', renewed.pem)
  write('another.pem', another.pem)
  const diff = async (a: string, b: string) => {
    const { exitCode, out } = await run(certDiff, [a, b])
    return [exitCode, JSON.parse(out).verdict]
  }
  t.deepEqual(await diff('leaf.pem', 'chain.pem'), [0, 'same'])
  t.deepEqual(await diff('leaf.pem', 'renewed.pem'), [0, 'rotated'])
  t.deepEqual(await diff('leaf.pem', 'another.pem'), [1, 'changed'])
  await t.throwsAsync(run(certDiff, ['-', '-']), { message: /standard input with itself/ })
})

test('cert request makes a key for nobody else to read, and a request that our CA takes', async (t) => {
  for (const keyType of ['p256', 'p384', 'ed25519', 'rsa2048']) {
    const { out } = await run(certRequest, [], { out: keyType, keyType, id: ID, dns: ['api.pay'] })
    t.deepEqual(JSON.parse(out).files, [`${keyType}/key.pem`, `${keyType}/request.pem`])
    t.is(statSync(join(cwd, keyType, 'key.pem')).mode & 0o777, 0o600)
    const pem = readFileSync(join(cwd, keyType, 'request.pem'), 'utf8')
    const [csr = new Uint8Array()] = derFromPem('CERTIFICATE REQUEST', pem)
    t.notThrows(() => verifyCsr(csr))
    t.deepEqual(describeRequest(csr).san, [
      { type: 'uri', value: ID },
      { type: 'dns', value: 'api.pay' },
    ])
  }
  await t.throwsAsync(run(certRequest, [], { out: 'p256' }), { message: /key.pem: it is there/ })
})

test('cert request takes a key that is there, and prints', async (t) => {
  const { out } = await run(certRequest, [], { key: 'key.pem', dns: [] })
  const [csr] = readInput(Buffer.from(out)).requests ?? []
  t.deepEqual(
    Buffer.from(verifyCsr(csr ?? new Uint8Array()).publicKeyDer),
    new X509Certificate(good.der).publicKey.export({ type: 'spki', format: 'der' }),
  )
  await t.throwsAsync(run(certRequest, []), { message: /nowhere to keep it/ })
  const none = run(certRequest, [], { key: 'none.pem', dns: [] })
  await t.throwsAsync(none, { message: 'Cannot read none.pem: there is no such file' })
})

test('cert convert goes to PKCS#12 and back, key and all, and to a SPIFFE bundle', async (t) => {
  const p12 = { to: 'p12', out: 'id.p12', passwordFile: 'password.txt' }
  await run(certConvert, 'secret.yaml', p12) // with the key that came along
  const back = { to: 'pem', inputPasswordFile: 'password.txt', keyOut: 'back.pem' }
  const { out } = await run(certConvert, 'id.p12', back)
  t.deepEqual(readInput(Buffer.from(out)).certificates, [good.der, issuing.der])
  t.is(
    readFileSync(join(cwd, 'back.pem'), 'utf8').replace(/\s/g, ''),
    good.keyPem.replace(/\s/g, ''),
  )
  t.is(statSync(join(cwd, 'back.pem')).mode & 0o777, 0o600)
  await t.throwsAsync(run(certConvert, 'id.p12', { to: 'pem' }), { message: /has a password/ })
  await t.throwsAsync(run(certConvert, 'leaf.pem', { to: 'pem', keyOut: 'no.pem' }), {
    message: /the PEM has none/,
  })

  const bundle = (await run(certConvert, 'root.pem', { to: 'spiffe' })).out
  t.like(JSON.parse(bundle).keys[0], { kty: 'EC', crv: 'P-256', use: 'x509-svid' })
  t.deepEqual(readInput(Buffer.from(bundle)).certificates, [root.der])
})

/** Runs `--watch` for 10 s, changing what is seen as time goes on. */
async function watch(steps: Readonly<Record<number, () => void>>, options: object = {}) {
  const clock = new FakeClock()
  let looks = 0
  const sleep: FakeClock['sleep'] = (ms, signal) => {
    looks += 1
    return clock.sleep(ms, signal)
  }
  const lines: string[] = []
  steps[0]?.()
  const running = runCommand(certInspect, {
    cwd,
    clock: { nowMs: clock.nowMs, sleep },
    now: () => NOW.add({ milliseconds: Math.floor(clock.nowMs()) }),
    out: (line) => void lines.push(line),
    arguments: ['watched.pem'],
    options: { output: 'json', watch: true, interval: '1s', for: '10s', ...options },
  })
  let ended = false
  void running.finally(() => {
    ended = true
  })
  for (let second = 1; !ended; second += 1) {
    // It has looked, which takes turns of the event loop that no clock counts, and sleeps.
    while (looks < second && !ended) await setImmediate()
    steps[second]?.()
    await clock.advance(1000)
  }
  const { exitCode } = await running
  return { exitCode, lines }
}

test.serial(
  'cert inspect --watch prints a line for each rotation, change and loss, and no other',
  async (t) => {
    const serve = (made: Made) => write('watched.pem', made.pem)
    const next = await makeCertificate({ issuer: issuing, serial: '33'.repeat(16) })
    const another = await makeCertificate({ issuer: issuing, uris: [`${ID}-b`] })
    const { exitCode, lines } = await watch({
      0: () => serve(good),
      2: () => serve(next),
      4: () => rmSync(join(cwd, 'watched.pem')),
      7: () => serve(another),
    })
    const seen = lines.map((line) => JSON.parse(line))
    t.deepEqual(
      seen.map(({ event, serial = null }) => [event, serial]),
      [
        ['first', '7f2b5a9c31e84d06b7d1c05e9a3f6218'],
        ['rotated', '33'.repeat(16)],
        ['unreachable', null],
        ['changed', '7f2b5a9c31e84d06b7d1c05e9a3f6218'],
      ],
    )
    t.regex(seen[2].error, /no such file/)
    t.is(exitCode, 1)
  },
)

test.serial(
  'cert inspect --watch answers 0 when all was as expected, and shows it in words',
  async (t) => {
    const { exitCode, lines } = await watch(
      { 0: () => write('watched.pem', good.pem) },
      { output: 'text', expect: ID, for: '3s' },
    )
    t.is(exitCode, 0)
    t.deepEqual(lines, [
      `2026-11-21T12:00:00Z  first      ${ID}  serial 7f2b5a9c31e84d06b7d1c05e9a3f6218  1 hour left`,
    ])
  },
)

test.serial(
  'cert inspect --watch tells when a certificate that nobody replaces goes bad, and who is back',
  async (t) => {
    const serve = () => write('watched.pem', good.pem)
    const { exitCode, lines } = await watch(
      { 0: serve, 2: () => rmSync(join(cwd, 'watched.pem')), 4: serve },
      { output: 'text', minRemaining: '3593s' },
    )
    t.is(exitCode, 1)
    t.deepEqual(
      lines.map((line) => line.split('  ').map((word) => word.trim())[1]),
      ['first', 'unreachable', 'back', 'failing'],
    )
    t.regex(lines[3] ?? '', /✘ ends-too-soon: 59 minutes 52 seconds left, expected 3593s$/)
  },
)

test('cert inspect --watch refuses what it cannot watch', async (t) => {
  const refused = async (place: string, options: object, message: RegExp) =>
    t.throwsAsync(run(certInspect, place, { watch: true, for: '0s', ...options }), { message })
  await refused(
    'leaf.pem',
    { interval: '0s' },
    /^Cannot watch: --interval is 0s, expected at least/,
  )
  await refused('-', {}, /^Cannot watch: standard input can be read once/)
  await refused('leaf.pem', { output: 'pem' }, /^Cannot watch: --output is pem, expected text/)
})
