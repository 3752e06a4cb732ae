/** Keys by URI: limits of what is fetched, back-off, and the last good set (rows 28, 29, 49). */
import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { setImmediate } from 'node:timers/promises'
import test from 'ava'
import { createLive } from '#core/live.ts'
import { type Intent, keySetName, openKeySets, readManifests } from '#policy/index.ts'
import { fetchText, mayFetchFrom } from '../../../policy/serve/fetch-text.ts'
import { makeCertificate } from '../../ca/inspect/certificates.ts'
import { FakeClock } from '../../fakes/fake-clock.ts'

async function serve(
  listener: RequestListener,
): Promise<AsyncDisposable & { readonly url: string }> {
  const server = createServer(listener).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
    },
  }
}

const signal = () => new AbortController().signal
const LOCAL = { allowedCidrs: ['127.0.0.0/8', '::1'] }

test('row 29 link-local, metadata, multicast and unspecified addresses are never asked', async (t) => {
  const never =
    '169.254.169.254 169.254.0.1 fe80::1 fd00:ec2::254 100.100.100.200 0.0.0.0 :: 224.0.0.1 255.255.255.255 ff02::1 ::ffff:169.254.169.254 64:ff9b::a9fe:a9fe 2002:a9fe:a9fe:: x'
  const all = ['0.0.0.0/0', '::/0']
  for (const address of never.split(' ')) t.false(mayFetchFrom(address, all), address)
  for (const uri of [
    'http://169.254.169.254/',
    'http://[fe80::1]/',
    'http://0.0.0.0/',
    'http://2852039166/',
  ]) {
    const error = await t.throwsAsync(fetchText(uri, LOCAL, signal()), {
      code: 'POLICY_FETCH_FAILED',
    })
    t.regex(error?.message ?? '', /nothing is fetched from/, uri)
  }
})

test('row 29 private addresses are asked only where Mesh allows it; loopback is, unless it says otherwise', async (t) => {
  const inside = '127.0.0.1 10.0.0.1 172.16.0.1 192.168.1.1 100.64.0.1 ::1 fd12::1 ::ffff:10.0.0.1'
  for (const address of inside.split(' ')) t.false(mayFetchFrom(address, []), address)
  for (const address of '8.8.8.8 172.32.0.1 2001:4860::1'.split(' ')) {
    t.true(mayFetchFrom(address, []), address)
  }
  t.true(mayFetchFrom('10.1.2.3', ['10.1.0.0/16']))
  t.true(mayFetchFrom('::ffff:10.1.2.3', ['10.1.0.0/16']))
  t.false(mayFetchFrom('10.2.0.1', ['10.1.0.0/16']))
  const meshOf = (spec: string) =>
    readManifests([
      {
        path: 'm.yaml',
        text: `apiVersion: redoubt.io/v1alpha1\nkind: Mesh\nmetadata: { name: m }\nspec: ${spec}\n`,
      },
    ])
  t.deepEqual(meshOf('{}').intent.mesh.jwks, LOCAL)
  t.deepEqual(meshOf('{ jwks: { allowedCidrs: [] } }').intent.mesh.jwks, { allowedCidrs: [] })
  const [bad] = meshOf('{ jwks: { allowedCidrs: [10.0.0.0/40] } }').documents
  t.is(bad?.errors[0]?.pointer, '/spec/jwks/allowedCidrs/0')
  await using server = await serve((_, response) => response.end('{"keys":[]}'))
  t.is(await fetchText(server.url, LOCAL, signal()), '{"keys":[]}')
  const byName = server.url.replace('127.0.0.1', 'localhost')
  for (const uri of [server.url, byName]) {
    const error = await t.throwsAsync(fetchText(uri, { allowedCidrs: [] }, signal()))
    t.regex(error?.message ?? '', /unless jwks.allowedCidrs of Mesh has it/, uri)
  }
})

test('users §1.6.52: an issuer whose certificate is signed by an authority of its own is believed when Mesh has that', async (t) => {
  const ends = { notBefore: '2020-01-01T00:00:00Z', notAfter: '2099-01-01T00:00:00Z' }
  const issuer = await makeCertificate({ ca: true, ...ends })
  const leaf = { dns: ['localhost'], subject: 'CN=localhost', issuer, ...ends }
  const { pem: cert, keyPem: key } = await makeCertificate(leaf)
  const server = createTlsServer({ cert, key }, (_, response) => response.end('{"keys":[]}'))
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.teardown(() => server.close())
  const uri = `https://localhost:${(server.address() as AddressInfo).port}/keys`
  const refused = await t.throwsAsync(fetchText(uri, LOCAL, signal()))
  t.regex(
    refused?.message ?? '',
    /is not trusted: add the authority that signed it to jwks.caCertificates of Mesh/,
  )
  const read = (pem: string) =>
    readManifests([
      {
        path: 'm.json',
        text: JSON.stringify({
          apiVersion: 'redoubt.io/v1alpha1',
          kind: 'Mesh',
          metadata: { name: 'm' },
          spec: { jwks: { caCertificates: pem } },
        }),
      },
    ])
  const { jwks } = read(issuer.pem).intent.mesh
  t.is(await fetchText(uri, jwks, signal()), '{"keys":[]}')
  const elsewhere = { ...jwks, allowedCidrs: [] }
  const inside = await t.throwsAsync(fetchText(uri, elsewhere, signal()))
  t.regex(inside?.message ?? '', /jwks.allowedCidrs/)
  for (const [pem, wrong] of [
    ['none', /found no certificate/],
    [cert + key, /found something beside certificates/],
    [cert.replace(/MII./, 'AAAA'), /its certificate 1 cannot be read/],
  ] as const) {
    const fault = read(pem).documents[0]?.errors[0]
    t.is(fault?.pointer, '/spec/jwks/caCertificates')
    t.regex(fault?.message ?? '', wrong)
  }
})

test('row 29 a redirect leads nowhere that may not be asked, and not for ever (users §2.2.29)', async (t) => {
  await using server = await serve((request, response) => {
    const to = {
      '/meta': 'http://169.254.169.254/',
      '/loop': '/loop',
      '/file': 'file:///etc/passwd',
    }
    const location = to[request.url as keyof typeof to]
    if (location) response.writeHead(302, { location }).end()
    else if (request.url === '/once') response.writeHead(307, { location: '/keys' }).end()
    else response.end('{"keys":[]}')
  })
  t.is(await fetchText(`${server.url}/once`, LOCAL, signal()), '{"keys":[]}')
  for (const [path, why] of [
    ['/meta', /nothing is fetched from/],
    ['/loop', /more than 3 times/],
    ['/file', /no http or https URL/],
  ] as const) {
    const error = await t.throwsAsync(fetchText(server.url + path, LOCAL, signal()))
    t.regex(error?.message ?? '', why, path)
  }
})

test('row 49 huge, broken and refused answers are errors (users §2.3.49)', async (t) => {
  await using server = await serve((request, response) => {
    if (request.url === '/huge') response.end('x'.repeat(2 ** 20 + 1))
    else if (request.url === '/cut') response.writeHead(200, { 'content-length': 99 }).write('{')
    else response.writeHead(500).end()
    if (request.url === '/cut') setTimeout(() => response.destroy(), 20)
  })
  for (const [path, why] of [
    ['/huge', /more than 1048576 bytes/],
    ['/cut', /aborted/],
    ['/no', /status 500/],
  ] as const) {
    const error = await t.throwsAsync(fetchText(server.url + path, LOCAL, signal()))
    t.regex(error?.message ?? '', why, path)
  }
})

const intentOf = (...rules: readonly object[]): Intent => {
  const text = JSON.stringify({
    apiVersion: 'security.istio.io/v1',
    kind: 'RequestAuthentication',
    metadata: { name: 'a', namespace: 'b' },
    spec: { jwtRules: rules },
  })
  return readManifests([{ path: 'a.yaml', text }]).intent
}

const URI = 'https://keys.example/jwks'
const GOOD = '{"keys":[]}'

function open(answer: (uri: string) => string | Error | undefined, ...rules: readonly object[]) {
  const clock = new FakeClock()
  const ending = new AbortController()
  const intent = createLive(intentOf(...rules))
  const asked: string[] = []
  const sets = openKeySets(
    {
      intent: intent.live,
      clock,
      random: () => 0.5,
      log: () => {},
      fetch: async (uri, _allowed, until) => {
        asked.push(uri)
        const text = answer(uri)
        if (text instanceof Error) throw text
        if (text !== undefined) return text
        return new Promise((_, reject) =>
          until.addEventListener('abort', () => reject(until.reason as Error)),
        )
      },
    },
    ending.signal,
  )
  const settle = async () => {
    for (let turn = 0; turn < 10; turn += 1) await setImmediate()
  }
  return { clock, intent, asked, sets, settle, [Symbol.dispose]: () => ending.abort() }
}

test('§3.5 row 1, §3.1 row 5: a key set is fetched once for all rules that name it, and again after twenty minutes', async (t) => {
  using opened = open(
    () => GOOD,
    { jwksUri: URI },
    { issuer: 'x', jwksUri: URI },
    { issuer: 'y', jwks: GOOD },
  )
  await opened.settle()
  t.deepEqual([...opened.sets.live.current], [[URI, GOOD]])
  t.deepEqual(opened.asked, [URI])
  await opened.clock.advance(20 * 60_000)
  await opened.settle()
  t.is(opened.asked.length, 2)
})

test('§3.5 without a URI the issuer is asked where its keys are', async (t) => {
  const issuer = 'https://iss.example/'
  const discovery = 'https://iss.example/.well-known/openid-configuration'
  const answer = (uri: string) => (uri === discovery ? `{"jwks_uri":"${URI}"}` : GOOD)
  using opened = open(answer, { issuer })
  await opened.settle()
  t.deepEqual(opened.asked, [discovery, URI])
  const [rule] = opened.intent.live.current.requestAuthentications[0]?.jwtRules ?? []
  t.is(rule && opened.sets.live.current.get(keySetName(rule) ?? ''), GOOD)
})

test('row 28 a failure keeps the last good set, backs off, and ends after a day: no key stands in (users §2.2.28)', async (t) => {
  let answer: string | Error | undefined = GOOD
  using opened = open(() => answer, { jwksUri: URI })
  await opened.settle()
  for (const bad of [new Error('down'), '<html>', '{"keys":{}}', '[]']) {
    answer = bad
    await opened.clock.advance(20 * 60_000)
    await opened.settle()
    t.is(opened.sets.live.current.get(URI), GOOD, String(bad))
  }
  const before = opened.asked.length
  await opened.clock.advance(60 * 60_000)
  t.true(opened.asked.length - before <= 30, `${opened.asked.length - before} in an hour`)
  await opened.clock.advance(24 * 60 * 60_000)
  await opened.settle()
  t.false(opened.sets.live.current.has(URI))
  answer = GOOD
  await opened.clock.advance(5 * 60_000)
  await opened.settle()
  t.is(opened.sets.live.current.get(URI), GOOD)
})

test('row 49 a server that never answers is given up after the rule’s timeout', async (t) => {
  let answer: string | undefined
  using opened = open(() => answer, { jwksUri: URI, timeout: '2s' })
  await opened.settle()
  t.is(opened.asked.length, 1)
  await opened.clock.advance(1999)
  t.is(opened.asked.length, 1)
  answer = GOOD
  await opened.clock.advance(1000)
  await opened.settle()
  t.is(opened.sets.live.current.get(URI), GOOD)
})

test('keys that a token wants are fetched before their time: half a minute after the last try, once for all who ask', async (t) => {
  using opened = open(() => GOOD, { issuer: 'x', jwksUri: URI }, { jwksUri: `${URI}/none` })
  await opened.settle()
  const asked = async (afterMs: number, ...issuers: readonly string[]) => {
    const before = opened.asked.length
    for (const issuer of issuers) opened.sets.fetchAnew(issuer)
    await opened.clock.advance(afterMs)
    await opened.settle()
    return opened.asked.slice(before)
  }
  t.deepEqual(await asked(29_000, 'x', 'x', 'y'), [], 'it was fetched a moment ago')
  t.deepEqual(await asked(1000, 'x'), [URI])
  t.deepEqual(await asked(20_000, 'x'), [])
  t.deepEqual(await asked(10_000), [URI], 'the one that came too early is not forgotten')
  t.deepEqual(await asked(60_000), [], 'nobody asks')
  t.deepEqual(await asked(1000, 'x'), [URI], 'at once')
  t.deepEqual(await asked(1000, ''), [`${URI}/none`], 'of a rule without issuer')
})

test('a server that fails is not asked more often than each half minute for those who want its keys', async (t) => {
  let answer: string | Error = GOOD
  using opened = open(() => answer, { issuer: 'x', jwksUri: URI })
  await opened.settle()
  answer = new Error('down')
  await opened.clock.advance(60 * 60_000)
  const before = opened.asked.length
  for (let second = 0; second < 600; second += 1) {
    opened.sets.fetchAnew('x')
    await opened.clock.advance(1000)
  }
  const often = opened.asked.length - before
  t.true(often >= 15 && often <= 21, `${often} in ten minutes`)
})

test('a key set that no rule names any more is forgotten, and not asked for again', async (t) => {
  using opened = open(() => GOOD, { jwksUri: URI })
  await opened.settle()
  opened.intent.set(intentOf({ issuer: 'x', jwks: GOOD }))
  await opened.settle()
  t.is(opened.sets.live.current.size, 0)
  await opened.clock.advance(60 * 60_000)
  t.is(opened.asked.length, 1)
})
