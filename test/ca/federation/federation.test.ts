/** Federation (identity-standards §1.6, §1.7, §5): documents, endpoints of both profiles, and who is believed when. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { readdir, writeFile } from 'node:fs/promises'
import { createServer, request, type RequestOptions } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import test from 'ava'

import { withOpenssl } from '#test/fakes/with-openssl.ts'
import { readBundleDocument, writeBundleDocument } from '#ca/federation/document.ts'
import { endpointUrl, fetchBundle } from '#ca/federation/fetch.ts'
import { type CaConfig, openCa, type Relationship, relationshipFaults } from '#ca/index.ts'
import { parseSpiffeId, parseTrustDomain } from '#ca/spiffe/index.ts'
import { pemFromDer } from '#ca/x509/index.ts'
import { FakeClock } from '../../fakes/fake-clock.ts'
import { configIn, realClock, startCa, temporaryDir, trustDomain } from '../harness.ts'
import { forgeRoot } from '../x509/forge.ts'

const other = parseTrustDomain('other.example')
const otherCa = parseSpiffeId('spiffe://other.example/ns/redoubt-system/sa/redoubt-ca')
const listen = { host: '127.0.0.1', port: 0 }
const root = forgeRoot()
const x5c = [Buffer.from(root.der).toString('base64')]
const rootKey = { kty: 'EC', use: 'x509-svid', x5c }
const textOf = (change: object = {}) =>
  JSON.stringify({ keys: [rootKey], spiffe_sequence: 7, spiffe_refresh_hint: 60, ...change })

test('identity-standards §1.6 a bundle goes to a document and back, roots, keys of tokens and sequence', (t) => {
  const key = { kty: 'EC', use: 'jwt-svid', kid: 'k', crv: 'P-256', x: 'x', y: 'y' } as const
  const bundle = { trustDomain, generation: 4, roots: [root.der], jwtKeys: [key] }
  const text = writeBundleDocument(bundle, 120)
  const read = readBundleDocument(text)
  t.deepEqual(
    read.roots.map((der) => Buffer.from(der)),
    [Buffer.from(root.der)],
  )
  t.deepEqual(read.jwtKeys, [key])
  t.deepEqual([read.sequence, read.refreshHint], [4n, 120])
  const [jwk] = (JSON.parse(text) as { keys: Record<string, unknown>[] }).keys
  t.deepEqual(Object.keys(jwk ?? {}).toSorted(), ['crv', 'kty', 'use', 'x', 'x5c', 'y'])
})

test('identity-standards §5.5 unknown uses and types are ignored, and no keys mean no trust', (t) => {
  const keys = [
    { kty: 'XX', use: 'x509-svid' },
    { ...rootKey, use: 'wit-svid' },
    { kty: 'EC' },
    3,
    null,
  ]
  t.deepEqual(readBundleDocument(textOf({ keys, unknown: {} })).roots, [])
  t.deepEqual(readBundleDocument(textOf({ keys: [] })).roots, [])
})

test('identity-standards §5.5 a sequence is read to its last digit, whatever JavaScript makes of it', (t) => {
  for (const sequence of ['9007199254740993', '18446744073709551615', '0']) {
    const text = textOf().replace('"spiffe_sequence":7', `"spiffe_sequence":${sequence}`)
    t.is(readBundleDocument(text).sequence, BigInt(sequence))
  }
  const { spiffe_sequence: _, ...none } = JSON.parse(textOf()) as Record<string, unknown>
  t.is(readBundleDocument(JSON.stringify(none)).sequence, undefined)
})

for (const [what, text, says] of [
  ['what is no JSON', '<html>', /it is no JSON object/],
  ['a name that is there twice', textOf().replace('{', '{"keys":[],'), /each name once/],
  ['no keys', '{"spiffe_sequence":1}', /an array "keys"/],
  [
    'two certificates for one key',
    textOf({ keys: [{ ...rootKey, x5c: [...x5c, ...x5c] }] }),
    /exactly one/,
  ],
  [
    'a certificate that is none',
    textOf({ keys: [{ ...rootKey, x5c: ['AAAA'] }] }),
    /cannot be read/,
  ],
  [
    'more roots than anybody has',
    textOf({ keys: Array.from({ length: 65 }, () => rootKey) }),
    /65/,
  ],
  ['more than is ever needed', `${textOf()}${' '.repeat(600_000)}`, /characters/],
] as const) {
  test(`identity-standards §5.5 a document with ${what} is refused`, (t) => {
    t.throws(() => readBundleDocument(text), { code: 'CA_FEDERATION_INVALID', message: says })
  })
}

test('identity-standards §1.7 an endpoint is https, without user information', (t) => {
  t.is(endpointUrl('https://a.example/b').host, 'a.example')
  for (const url of [
    'http://a.example',
    'a.example',
    'https://me@a.example',
    'https://me:pw@a.example',
    '',
  ]) {
    t.throws(() => endpointUrl(url), { code: 'CA_FEDERATION_INVALID' }, url)
  }
})

test('relationshipFaults() names every fault of a federation', (t) => {
  const web = { kind: 'https_web' } as const
  const url = 'https://b.example'
  t.deepEqual(
    relationshipFaults(
      [
        { trustDomain, url, profile: web },
        { trustDomain: other, url: 'http://b.example', profile: web },
        { trustDomain: other, url, profile: { kind: 'https_spiffe', endpointId: otherCa } },
      ],
      trustDomain,
    ),
    [
      '"other.example" is federated with twice',
      'federation with "prod.example": it is this mesh itself',
      'federation with "other.example": Cannot fetch the bundle at http://b.example: its scheme is not https',
      'federation with "other.example": its endpoint serves its own bundle, expected one to begin with (bootstrap)',
    ],
  )
})

/** Web certificates of an authority of our own, for localhost; openssl makes them. */
function webPki(dir: string, name = 'localhost') {
  const openssl = (...args: readonly string[]) =>
    execFileSync('openssl', args, { cwd: dir, stdio: 'pipe' })
  const ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2']
  openssl(
    'req',
    '-x509',
    ...ec,
    '-keyout',
    'web-ca.key',
    '-out',
    'web-ca.pem',
    '-subj',
    '/CN=web ca',
  )
  openssl(
    ...[
      'req',
      '-x509',
      ...ec,
      '-keyout',
      `${name}.key`,
      '-out',
      `${name}.pem`,
      '-subj',
      `/CN=${name}`,
    ],
    ...['-CA', 'web-ca.pem', '-CAkey', 'web-ca.key', '-addext', `subjectAltName=DNS:${name}`],
    ...['-addext', 'basicConstraints=critical,CA:false'],
  )
  return {
    roots: readFileSync(join(dir, 'web-ca.pem'), 'utf8'),
    certificateFile: join(dir, `${name}.pem`),
    keyFile: join(dir, `${name}.key`),
  }
}

/** Asks an endpoint as any client of the web would. */
function ask(
  address: string,
  options: RequestOptions,
): Promise<{ status: number; body: string; type: string }> {
  const [, port] = address.split(':')
  return new Promise((resolve, reject) => {
    request({ host: 'localhost', port, ...options, agent: false }, (response) => {
      let body = ''
      response.on('data', (part) => {
        body += String(part)
      })
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          body,
          type: response.headers['content-type'] ?? '',
        }),
      )
    })
      .on('error', reject)
      .end()
  })
}

withOpenssl(
  'identity-standards §1.7 https_web: GET / gives the newest bundle by a web certificate, and nothing else is served',
  async (t) => {
    await using dir = await temporaryDir()
    const web = webPki(dir.path)
    await using running = await startCa({
      federation: { endpoint: { listen, profile: { kind: 'https_web', ...web } } },
    })
    const { address = '' } = running.ca.federation
    const ca = web.roots
    const { status, body, type } = await ask(address, { ca })
    t.deepEqual([status, type], [200, 'application/json'])
    const document = readBundleDocument(body)
    t.deepEqual(
      document.roots.map((der) => Buffer.from(der)),
      running.ca.bundle.current.roots.map((der) => Buffer.from(der)),
    )
    t.is(document.sequence, BigInt(running.ca.bundle.current.generation))
    t.is(document.jwtKeys.length, 1)
    t.is((await ask(address, { ca, method: 'HEAD' })).status, 200)
    t.is((await ask(address, { ca, method: 'POST' })).status, 405)
    t.is((await ask(address, { ca, path: '/x' })).status, 404)
    await t.throwsAsync(ask(address, { ca, maxVersion: 'TLSv1.1' }))
    t.is((await ask(address, { ca, maxVersion: 'TLSv1.2' })).status, 200)
    const deps = { now: () => Temporal.Now.instant(), clock: realClock }
    const url = `https://${address.replace('127.0.0.1', 'localhost')}/`
    const fetched = await fetchBundle(
      url,
      { kind: 'https_web', roots: ca },
      deps,
      new AbortController().signal,
    )
    t.is(fetched, body)
  },
)

withOpenssl(
  'the bundle endpoint of several CAs is served by whichever runs; a CA that is alone shares it with nobody',
  async (t) => {
    await using dir = await temporaryDir()
    const web = webPki(dir.path)
    const start = (port: number, shared: boolean) => {
      const profile = { kind: 'https_web', ...web } as const
      return startCa({
        federation: { endpoint: { listen: { ...listen, port }, profile, shared } },
      })
    }
    await using first = await start(0, true)
    const { address = '' } = first.ca.federation
    const port = Number(address.split(':')[1])
    await using second = await start(port, true)
    t.is(second.ca.federation.address, address)
    await t.throwsAsync(start(port, false), { code: 'CA_LISTEN_FAILED' })
    const statusOf = async () => (await ask(address, { ca: web.roots })).status
    t.is(await statusOf(), 200)
    await first.ca[Symbol.asyncDispose]()
    t.is(await statusOf(), 200, 'the other is there')
    await second.ca[Symbol.asyncDispose]()
    await t.throwsAsync(statusOf(), { code: 'ECONNREFUSED' })
  },
)

withOpenssl(
  'identity-standards §1.7 https_web: a certificate for another name, or of nobody known, is refused',
  async (t) => {
    await using dir = await temporaryDir()
    const web = webPki(dir.path, 'elsewhere.example')
    await using running = await startCa({
      federation: { endpoint: { listen, profile: { kind: 'https_web', ...web } } },
    })
    const deps = { now: () => Temporal.Now.instant(), clock: realClock }
    const url = `https://localhost:${running.ca.federation.address?.split(':')[1]}/`
    const { signal } = new AbortController()
    const code = 'CA_FEDERATION_INVALID'
    await t.throwsAsync(fetchBundle(url, { kind: 'https_web', roots: web.roots }, deps, signal), {
      code,
      message: /altnames/,
    })
    await t.throwsAsync(fetchBundle(url, { kind: 'https_web' }, deps, signal), { code })
  },
)

/** A server of anything, with a web certificate. */
async function serveAnything(
  web: ReturnType<typeof webPki>,
  respond: (path: string) => { status: number; location?: string; body?: string | Buffer },
) {
  const key = { cert: readFileSync(web.certificateFile), key: readFileSync(web.keyFile) }
  const asked: string[] = []
  const server = createServer(key, (incoming, response) => {
    asked.push(incoming.url ?? '')
    const { status, location, body } = respond(incoming.url ?? '')
    response.writeHead(status, location === undefined ? {} : { location }).end(body)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `https://localhost:${(server.address() as AddressInfo).port}`
  return {
    url,
    asked,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

withOpenssl(
  'identity-standards §5.8 redirects are followed under the same rules, and not for ever; bodies are bounded',
  async (t) => {
    await using dir = await temporaryDir()
    const web = webPki(dir.path)
    await using server = await serveAnything(web, (path) => {
      if (path === '/ok') return { status: 200, body: textOf() }
      if (path === '/moved') return { status: 307, location: '/ok' }
      if (path === '/plain') return { status: 302, location: 'http://localhost/ok' }
      if (path === '/user') return { status: 301, location: 'https://me@localhost/ok' }
      if (path === '/ever') return { status: 308, location: '/ever' }
      if (path === '/large') return { status: 200, body: Buffer.alloc(2_000_000, 32) }
      if (path === '/latin') return { status: 200, body: Buffer.from([0x7b, 0xff, 0x7d]) }
      return { status: 404 }
    })
    const deps = { now: () => Temporal.Now.instant(), clock: realClock }
    const get = (path: string) =>
      fetchBundle(
        server.url + path,
        { kind: 'https_web', roots: web.roots },
        deps,
        new AbortController().signal,
      )
    t.is(await get('/ok'), textOf())
    t.is(await get('/moved'), textOf())
    for (const [path, says] of [
      ['/plain', /its scheme is not https/],
      ['/user', /it has user information/],
      ['/ever', /it redirects more than 3 times/],
      ['/large', /it has more than 524288 bytes/],
      ['/latin', /it is not UTF-8/],
      ['/none', /it answered 404/],
    ] as const) {
      await t.throwsAsync(get(path), { code: 'CA_FEDERATION_INVALID', message: says }, path)
    }
  },
)

/** Two CAs on one clock; the second serves its bundle by its own SVID. */
async function twoDomains(change: Partial<CaConfig> = {}) {
  const dir = await temporaryDir()
  const clock = new FakeClock()
  const start = Temporal.Now.instant()
  const now = () => start.add({ milliseconds: Math.round(clock.nowMs()) })
  const log: { event: string; fields: Readonly<Record<string, unknown>> }[] = []
  const deps = {
    now,
    clock,
    random: () => 0.5,
    log: (_: string, event: string, fields = {}) => void log.push({ event, fields }),
  }
  const second = (port = 0) =>
    openCa(
      configIn(join(dir.path, 'b'), {
        trustDomain: other,
        federation: {
          endpoint: {
            listen: { ...listen, port },
            refreshHint: 60,
            profile: { kind: 'https_spiffe' },
          },
        },
        ...change,
      }),
      deps,
    )
  const b = await second()
  const a = await openCa(configIn(join(dir.path, 'a')), deps)
  const bootstrap = pemFromDer('CERTIFICATE', b.bundle.current.roots)
  const relationship: Relationship = {
    trustDomain: other,
    url: `https://${b.federation.address}/`,
    profile: { kind: 'https_spiffe', endpointId: otherCa, bootstrap },
  }
  const federated = () => a.bundle.current.federated ?? []
  return {
    ...{ a, b, dir, clock, deps, log, relationship, federated, second },
    count: (event: string) => log.filter((entry) => entry.event === event).length,
    settle: async (ms: number, holds: () => boolean = () => false) => {
      for (let left = ms; left > 0 && !holds(); left -= 1000) {
        await clock.advance(Math.min(left, 1000))
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
      for (let turn = 0; turn < 400 && !holds(); turn += 1)
        await new Promise((resolve) => setTimeout(resolve, 5))
      return holds()
    },
  }
}

test('identity-standards §5.8 https_spiffe: a self-serving endpoint is judged by the bootstrap first, then by what it served', async (t) => {
  const { a, b, dir, log, relationship, federated, count, settle } = await twoDomains()
  const before = a.bundle.current.generation
  await a.federation.set([relationship], 'spiffe://prod.example/ns/redoubt-system/sa/redoubt-admin')
  t.true(await settle(0, () => federated().length === 1))
  t.deepEqual(
    federated()[0]?.roots.map((der) => Buffer.from(der)),
    b.bundle.current.roots.map((der) => Buffer.from(der)),
  )
  t.is(federated()[0]?.jwtKeys?.length, 1)
  t.is(federated()[0]?.trustDomain, other)
  t.true(a.bundle.current.generation > before, 'agents acknowledge it like any change')
  t.deepEqual(a.bundle.current.roots.length, 1, 'never merged')
  t.like(a.federation.status()[0], {
    trustDomain: other,
    profile: 'https_spiffe',
    roots: 1,
    fault: undefined,
  })
  t.true((await readdir(join(dir.path, 'a', 'federation'))).includes('other.example.json'))

  // At the refresh hint, and not before.
  const fetches = count('federation-fetched')
  await settle(55_000)
  t.is(count('federation-fetched'), fetches)
  t.true(await settle(10_000, () => count('federation-fetched') === fetches + 1))

  // The bootstrap has no say any more: one of nobody changes nothing once a bundle is known.
  await a.federation.set([])
  t.deepEqual(federated(), [], 'the end of a federation is the end of trust')
  t.false((await readdir(join(dir.path, 'a', 'federation'))).includes('other.example.json'))
  const strange = {
    ...relationship,
    profile: { ...relationship.profile, bootstrap: pemFromDer('CERTIFICATE', root.der) },
  } as Relationship
  await a.federation.set([strange])
  t.true(await settle(0, () => count('federation-fetch-failed') > 0))
  t.regex(a.federation.status()[0]?.fault ?? '', /its server: untrusted-issuer/)
  t.deepEqual(federated(), [])
  const wrongId = {
    ...relationship,
    profile: {
      ...relationship.profile,
      endpointId: parseSpiffeId('spiffe://other.example/ns/a/sa/b'),
    },
  } as Relationship
  await a.federation.set([wrongId])
  t.true(
    await settle(0, () =>
      /expected "spiffe:\/\/other\.example\/ns\/a\/sa\/b"/.test(
        a.federation.status()[0]?.fault ?? '',
      ),
    ),
  )
  t.deepEqual(federated(), [])
  t.true(log.some(({ event }) => event === 'federation-ended'))
  await a[Symbol.asyncDispose]()
  await b[Symbol.asyncDispose]()
  await dir[Symbol.asyncDispose]()
})

test('identity-standards §5.8 a bundle outlives its endpoint and our restart, and a sequence that goes back is refused', async (t) => {
  const { a, b, dir, deps, relationship, federated, settle } = await twoDomains()
  await a.federation.set([relationship])
  t.true(await settle(0, () => federated().length === 1))
  const roots = federated()[0]?.roots.map((der) => Buffer.from(der))
  await b[Symbol.asyncDispose]()
  await a[Symbol.asyncDispose]()
  const file = join(dir.path, 'a', 'federation', 'other.example.json')
  const newest = readFileSync(file, 'utf8')
  await writeFile(file, newest.replace(/"spiffe_sequence":\d+/, '"spiffe_sequence":99'), {
    mode: 0o600,
  })

  const config = configIn(join(dir.path, 'a'), { federation: { trustDomains: [relationship] } })
  const again = await openCa(config, deps)
  t.deepEqual(
    again.bundle.current.federated?.[0]?.roots.map((der) => Buffer.from(der)),
    roots,
    'before anything is fetched',
  )
  const second = await openCa(
    configIn(join(dir.path, 'b'), {
      trustDomain: other,
      federation: {
        endpoint: {
          listen: { ...listen, port: Number(new URL(relationship.url).port) },
          profile: { kind: 'https_spiffe' },
        },
      },
    }),
    deps,
  )
  const refusedIt = () =>
    /its sequence is \d+, after 99/.test(again.federation.status()[0]?.fault ?? '')
  t.true(await settle(400_000, refusedIt))
  t.is(again.bundle.current.federated?.length, 1, 'the last good one stays')
  await again[Symbol.asyncDispose]()
  await second[Symbol.asyncDispose]()
  await dir[Symbol.asyncDispose]()
})

test('openCa() refuses a federation that could never work, and says all that is wrong', async (t) => {
  const bad: Relationship = { trustDomain, url: 'http://x', profile: { kind: 'https_web' } }
  await t.throwsAsync(startCa({ federation: { trustDomains: [bad] } }), {
    code: 'CA_CONFIG_INVALID',
    message: /^Cannot federate: .*this mesh itself; .*its scheme is not https/,
  })
})
