/** The client side: credentials that verify by `now`, and an SVID that outlives its agent. */
import { once } from 'node:events'
import { createServer as createTlsServer } from 'node:tls'
import { type ServiceError, status } from '@grpc/grpc-js'
import test from 'ava'
import { openSvid, type Svid, svidChannelCredentials } from '#agent/client/index.ts'
import { openAgent } from '#agent/index.ts'
import { type AttestResponse, CertificateAuthorityClient } from '#ca/proto/gen/ca.ts'
import { parseSpiffeId } from '#ca/spiffe/index.ts'
import { createLive, type Live } from '#core/live.ts'
import { newCsr, realClock, startCa, temporaryDir, workloadId } from '#test/ca/harness.ts'
import { splitDer } from '../../../agent/client/split-der.ts'
import { svidFromProto } from '../../../agent/client/open-svid.ts'
import { startStory, until } from '../harness.ts'

const machineNow = () => Temporal.Now.instant()

async function openStorySvid(
  socketPath: string,
  clock = realClock,
): Promise<{ readonly svid: Live<Svid> } & Disposable> {
  const ending = new AbortController()
  const svid = await openSvid(
    { socketPath, clock, now: machineNow, random: () => 0, log: () => {} },
    ending.signal,
  )
  return { svid, [Symbol.dispose]: () => ending.abort() }
}

test('openSvid() gives certificate, key, times and bundles, and follows rotation', async (t) => {
  await using story = await startStory()
  using opened = await openStorySvid(story.agent.socketPath)
  const { svid } = opened
  const first = svid.current
  t.is(first.id, workloadId)
  t.is(first.serial, story.rotations[0]?.serial ?? 'none')
  t.is(String(first.issuedAt), '2026-11-21T12:00:00Z')
  t.is(String(first.notBefore), '2026-11-21T11:58:00Z')
  t.is(String(first.notAfter), '2026-11-21T12:00:16Z')
  t.is(first.chain.length, 2)
  t.regex(first.chainPem, /^(-----BEGIN CERTIFICATE-----\n[^-]+-----END CERTIFICATE-----\n){2}$/)
  t.regex(first.keyPem, /^-----BEGIN PRIVATE KEY-----\n/)
  t.deepEqual(
    first.bundles.map(({ trustDomain, generation, roots }) => [
      trustDomain,
      generation,
      roots.length,
    ]),
    [['prod.example', 1, 1]],
  )

  await story.pass(8000)
  await until(() => svid.current !== first)
  t.not(svid.current.serial, first.serial)
  t.is(svid.current.bundles[0], first.bundles[0], 'the same bundle is the same object')
})

test('openSvid() keeps the last SVID while the agent is away, and finds its successor', async (t) => {
  await using ca = await startCa()
  await using dir = await temporaryDir()
  await using story = await startStory({ config: { socketPath: `${dir.path}/a.sock` } })
  t.truthy(ca)
  using opened = await openStorySvid(story.agent.socketPath)
  const first = opened.svid.current
  await story.agent[Symbol.asyncDispose]()
  t.is(opened.svid.current, first)

  const { agent } = story
  const joinToken = await story.token()
  await using next = await openAgent({ ...story.config, joinToken }, story.deps)
  t.is(next.socketPath, agent.socketPath)
  await until(() => opened.svid.current !== first, 'the successor to be found')
  t.is(opened.svid.current.id, workloadId)
})

test('openSvid() waits for an agent that is not there yet, and ends with its signal', async (t) => {
  const ending = new AbortController()
  const opening = openSvid(
    {
      socketPath: '/nowhere/agent.sock',
      clock: realClock,
      now: machineNow,
      random: () => 0.1,
      log: () => {},
    },
    ending.signal,
  )
  ending.abort(new Error('enough'))
  await t.throwsAsync(opening, { message: 'enough' })
})

test('svidFromProto() refuses a message with a mandatory field empty', (t) => {
  const empty = Buffer.alloc(0)
  const whole = {
    spiffeId: workloadId,
    x509Svid: empty,
    x509SvidKey: empty,
    bundle: empty,
    hint: '',
  }
  for (const svids of [[], [whole]]) {
    t.throws(() => svidFromProto({ svids, crl: [], federatedBundles: {} }, undefined), {
      code: 'AGENT_SVID_INVALID',
    })
  }
})

test('splitDer() undoes concatenation, and refuses every cut', (t) => {
  const short = Uint8Array.of(0x30, 2, 5, 0)
  const long = Uint8Array.from([0x30, 0x82, 1, 0, ...new Uint8Array(256)])
  const both = Buffer.concat([short, long])
  t.deepEqual(
    splitDer(both).map((part) => Buffer.from(part)),
    [Buffer.from(short), Buffer.from(long)],
  )
  t.deepEqual(splitDer(Buffer.alloc(0)), [])
  for (let cut = 1; cut < both.length; cut += 1) {
    if (cut === short.length) continue
    t.throws(() => splitDer(both.subarray(0, cut)), { code: 'AGENT_SVID_INVALID' }, `cut at ${cut}`)
  }
  for (const bad of [[0x31, 0], [0x30, 0x80], [0x30, 0x85, 0, 0, 0, 0, 0], [0x30]]) {
    t.throws(() => splitDer(Uint8Array.from(bad)), { code: 'AGENT_SVID_INVALID' })
  }
})

function attest(client: CertificateAuthorityClient): Promise<AttestResponse> {
  return new Promise((resolve, reject) => {
    const request = {
      joinToken: '00'.repeat(32),
      kubernetesToken: '',
      certificate: undefined,
      csr: newCsr(),
    }
    client.attest(request, (cause, response) => (cause ? reject(cause) : resolve(response)))
  })
}

/** The CA answers any stranger's token with UNAUTHENTICATED: whoever hears that has got through. */
const GOT_THROUGH = status.UNAUTHENTICATED

test('svidChannelCredentials() talks to the one server it expects (users §2.1.1)', async (t) => {
  await using running = await startCa()
  const { ca } = running
  const valid = {
    svid: undefined,
    bundles: () => [ca.bundle.current],
    serverId: ca.serverId,
    now: () => Temporal.Now.instant(),
  }
  const outcome = async (change: Partial<typeof valid>): Promise<ServiceError | undefined> => {
    const credentials = svidChannelCredentials({ ...valid, ...change })
    const client = new CertificateAuthorityClient(ca.address, credentials)
    const failure = await t.throwsAsync<ServiceError>(attest(client))
    client.close()
    return failure
  }
  t.is((await outcome({}))?.code, GOT_THROUGH)
  const wrong: Readonly<Record<string, [Partial<typeof valid>, RegExp]>> = {
    'another identity': [
      { serverId: parseSpiffeId('spiffe://prod.example/ns/redoubt-system/sa/other') },
      /expected ".*other"/,
    ],
    'no bundle': [{ bundles: () => [] }, /unknown-trust-domain/],
    'a bundle without roots': [
      { bundles: () => [{ ...ca.bundle.current, roots: [] }] },
      /Cannot trust the server/,
    ],
    'the time after its end': [
      { now: () => Temporal.Now.instant().add({ hours: 2 }) },
      /expired|not-valid|ended/,
    ],
    'the time before its begin': [
      { now: () => Temporal.Now.instant().subtract({ hours: 2 }) },
      /not-yet|begin|valid/,
    ],
  }
  for (const [what, [change, why]] of Object.entries(wrong)) {
    const failure = await outcome(change)
    t.is(failure?.code, status.UNAVAILABLE, what)
    t.regex(failure?.details ?? '', why, what)
  }
})

test('svidChannelCredentials() reads the newest SVID at each connect, and sends none when it has none', async (t) => {
  await using story = await startStory()
  using opened = await openStorySvid(story.agent.socketPath)
  const first = opened.svid.current
  await story.pass(8000)
  await until(() => opened.svid.current !== first)
  const second = opened.svid.current

  const seen: string[] = []
  const server = createTlsServer(
    {
      cert: first.chainPem,
      key: first.keyPem,
      requestCert: true,
      rejectUnauthorized: false,
      ALPNProtocols: ['h2'],
      minVersion: 'TLSv1.3',
    },
    (socket) => {
      seen.push(socket.getPeerX509Certificate()?.serialNumber.toLowerCase() ?? 'none')
      socket.on('error', () => {})
      socket.destroy()
    },
  ).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }

  const source = createLive(first)
  const shared = { bundles: () => first.bundles, serverId: workloadId, now: story.now }
  const dial = async (svid: Live<Svid> | undefined): Promise<void> => {
    const credentials = svidChannelCredentials({ ...shared, svid })
    const client = new CertificateAuthorityClient(`127.0.0.1:${port}`, credentials)
    await t.throwsAsync(attest(client))
    client.close()
  }
  await dial(source.live)
  source.set(second)
  await dial(source.live)
  await dial(undefined)
  server.close()
  t.deepEqual([...new Set(seen)], [first.serial, second.serial, 'none'])
})

test('svidChannelCredentials() are equal to themselves only (users §2.1.10)', (t) => {
  const options = {
    svid: undefined,
    bundles: () => [],
    serverId: workloadId,
    now: () => Temporal.Now.instant(),
  }
  const one = svidChannelCredentials(options)
  t.true(one._isSecure())
  t.true(one._equals(one))
  t.false(one._equals(svidChannelCredentials(options)))
})
