import { once } from 'node:events'
import { gzipSync } from 'node:zlib'
import { status } from '@grpc/grpc-js'
import { connect } from 'node:tls'
import test from 'ava'
import { openCa } from '#ca/index.ts'
import type { Bundle, BundleAck, Svid } from '#ca/proto/gen/ca.ts'
import { parseSpiffeId } from '#ca/spiffe/index.ts'
import { pemFromDer, readCertificate, verifySvid } from '#ca/x509/index.ts'
import { FakeClock } from '../../fakes/fake-clock.ts'
import {
  agentId,
  attestedClient,
  Client,
  configIn,
  failureOf,
  newCsr,
  newKey,
  newToken,
  realClock,
  startCa,
  svidOf,
  temporaryDir,
  workloadId,
} from '../harness.ts'

const asked = (spiffeId: string = workloadId, ttlSeconds = 0) => ({
  spiffeId,
  csr: newCsr(),
  ttlSeconds,
})

function acknowledging(generation: bigint): BundleAck {
  return { generation, denials: 0n, name: 'node', subscribers: [] }
}

test('Attest gives the agent of the token its SVID and the bundle, whatever the CSR says', async (t) => {
  await using running = await startCa()
  using client = new Client(running.ca)
  const { svid, bundle } = await client.attest(await newToken(running.ca), newCsr())
  t.is(svid?.spiffeId, agentId)
  t.is(bundle?.trustDomain, 'prod.example')
  t.is(bundle?.generation, 1n)
  t.deepEqual(
    bundle?.roots.map((root) => new Uint8Array(root)),
    [...running.ca.bundle.current.roots].map((root) => new Uint8Array(root)),
  )
  const verdict = verifySvid(
    svid?.chain ?? [],
    [running.ca.bundle.current],
    Temporal.Now.instant(),
    'client',
  )
  t.is(verdict.kind, 'ok')
  t.is(svid?.chain.length, 2, 'without the root')
})

test('Attest with one token 50 times at once succeeds exactly once', async (t) => {
  await using running = await startCa()
  using client = new Client(running.ca)
  const token = await newToken(running.ca)
  const csr = newCsr()
  const outcomes = await Promise.allSettled(
    Array.from({ length: 50 }, () => client.attest(token, csr)),
  )
  t.is(outcomes.filter(({ status: outcome }) => outcome === 'fulfilled').length, 1)
  t.regex(await running.ca.metrics(), /redoubt_ca_attestations_total\{outcome="refused"\} 49/)
})

test('Attest uses the token up even if the CSR is refused', async (t) => {
  await using running = await startCa()
  using client = new Client(running.ca)
  const token = await newToken(running.ca)
  const bad = await failureOf(client.attest(token, Buffer.from('nonsense')))
  t.like(bad, { code: status.INVALID_ARGUMENT, reason: 'CA_CSR_REJECTED' })
  const again = await failureOf(client.attest(token, newCsr()))
  t.like(again, { code: status.UNAUTHENTICATED, reason: 'CA_TOKEN_REFUSED' })
})

test('Attest refuses an unknown token, and logs no token', async (t) => {
  await using running = await startCa()
  using client = new Client(running.ca)
  const token = 'deadbeef'.repeat(8)
  t.like(await failureOf(client.attest(token, newCsr())), {
    code: status.UNAUTHENTICATED,
    reason: 'CA_TOKEN_REFUSED',
  })
  const good = await newToken(running.ca)
  await client.attest(good, newCsr())
  const logged = JSON.stringify(running.log)
  t.false(logged.includes(token) || logged.includes(good))
  t.true(running.log.some(({ event }) => event === 'ca-refused'))
})

test('Issue and Bundles refuse a caller without a certificate, loopback or not', async (t) => {
  await using running = await startCa()
  using client = new Client(running.ca)
  t.like(await failureOf(client.issue(asked())), {
    code: status.UNAUTHENTICATED,
    reason: 'CA_CALLER_UNKNOWN',
  })
  const stream = client.raw.bundles()
  stream.resume()
  const [error] = await once(stream, 'error')
  t.is(error.code, status.UNAUTHENTICATED)
})

test('Issue refuses a workload: its certificate is good, and it is no agent', async (t) => {
  await using running = await startCa()
  using agent = await attestedClient(running.ca)
  const key = newKey()
  const svid = svidOf(await agent.client.issue({ spiffeId: workloadId, csr: newCsr(key) }))
  using workload = new Client(running.ca, { svid, key })
  const failure = await failureOf(workload.issue(asked()))
  t.like(failure, { code: status.UNAUTHENTICATED, reason: 'CA_CALLER_UNKNOWN' })
  t.regex(failure.details, /"spiffe:\/\/prod\.example\/ns\/pay\/sa\/api" is not an agent/)
})

test('Issue renews an agent’s own SVID with a new key', async (t) => {
  await using running = await startCa()
  using agent = await attestedClient(running.ca)
  const key = newKey()
  const renewed = svidOf(await agent.client.issue({ spiffeId: agentId, csr: newCsr(key) }))
  t.not(renewed.chain[0]?.toString('hex'), agent.svid.chain[0]?.toString('hex'))
  using next = new Client(running.ca, { svid: renewed, key })
  t.is(svidOf(await next.issue(asked())).spiffeId, workloadId)
})

test('Issue answers a batch in order, with a typed refusal where there is one (users §1.1.10)', async (t) => {
  await using running = await startCa()
  using agent = await attestedClient(running.ca)
  const { results } = await agent.client.issue(
    asked(),
    asked('spiffe://prod.example/ns/web/sa/front'),
    asked('not an id'),
    { spiffeId: workloadId, csr: Buffer.alloc(9000) },
    asked('spiffe://prod.example/ns/pay/sa/other'),
  )
  const told = results.map(({ outcome }) =>
    outcome?.$case === 'svid' ? outcome.svid.spiffeId : outcome?.refusal.reason,
  )
  t.deepEqual(told, [
    workloadId,
    'CA_NOT_ADMITTED',
    'CA_ID_INVALID',
    'CA_CSR_REJECTED',
    'spiffe://prod.example/ns/pay/sa/other',
  ])
  const metrics = await running.ca.metrics()
  t.regex(metrics, /redoubt_ca_svids_issued_total 3\n/)
  t.regex(metrics, /redoubt_ca_refusals_total\{reason="CA_NOT_ADMITTED"\} 1\n/)
  const refusal = results[1]?.outcome
  t.deepEqual(refusal?.$case === 'refusal' && refusal.refusal, {
    reason: 'CA_NOT_ADMITTED',
    message: `Cannot issue "spiffe://prod.example/ns/web/sa/front" to "${agentId}": it is not in the scope of the caller`,
    retryAfterMs: 0,
  })
})

test('Issue takes 500 requests and refuses 501', async (t) => {
  await using running = await startCa()
  using agent = await attestedClient(running.ca)
  const one = asked()
  const many = (count: number) => Array.from({ length: count }, () => one)
  const { results } = await agent.client.issue(...many(500))
  t.is(results.length, 500)
  t.true(results.every(({ outcome }) => outcome?.$case === 'svid'))
  const serials = results.map(({ outcome }) =>
    outcome?.$case === 'svid' ? readCertificate(outcome.svid.chain[0]!).serial : '',
  )
  t.is(new Set(serials).size, 500)
  for (const wrong of [501, 0]) {
    t.like(await failureOf(agent.client.issue(...many(wrong))), {
      code: status.INVALID_ARGUMENT,
      reason: 'CA_CSR_REJECTED',
      details: `Cannot issue: the call has ${wrong} requests, expected 1 to 500`,
    })
  }
})

test('Issue grants the life that is asked for, up to the CA’s longest', async (t) => {
  await using running = await startCa()
  using agent = await attestedClient(running.ca)
  const lifeMs = ({ issuedAtMs, notAfterMs }: Svid) => Number(notAfterMs - issuedAtMs)
  const short = svidOf(await agent.client.issue(asked(workloadId, 16)))
  t.true(lifeMs(short) > 14_900 && lifeMs(short) <= 16_000)
  const long = svidOf(await agent.client.issue(asked(workloadId, 4_000_000_000)))
  t.true(lifeMs(long) > 86_398_000 && lifeMs(long) <= 86_400_000)
})

test('Issue refuses a caller whose certificate ran out on a connection that lives on', async (t) => {
  let aheadHours = 0
  await using running = await startCa(
    {},
    { now: () => Temporal.Now.instant().add({ hours: aheadHours }) },
  )
  using agent = await attestedClient(running.ca)
  await agent.client.issue(asked())
  aheadHours = 2
  const failure = await failureOf(agent.client.issue(asked()))
  t.like(failure, { code: status.UNAUTHENTICATED, reason: 'CA_CALLER_UNKNOWN' })
  t.regex(failure.details, /ended at .*, connect again$/)
})

test('messages above the limit are refused: 1 MiB with a certificate, 16 KiB without', async (t) => {
  await using running = await startCa()
  using agent = await attestedClient(running.ca)
  using stranger = new Client(running.ca)
  const big = await failureOf(
    agent.client.issue({ spiffeId: workloadId, csr: Buffer.alloc(1_100_000) }),
  )
  t.is(big.code, status.RESOURCE_EXHAUSTED)
  const small = await failureOf(stranger.attest('a', Buffer.alloc(20_000)))
  t.is(small.code, status.RESOURCE_EXHAUSTED)
  t.is(svidOf(await agent.client.issue(asked())).spiffeId, workloadId)
})

test('a message that inflates above the limit is refused (users §2.2.32)', async (t) => {
  await using running = await startCa()
  using stranger = new Client(running.ca, undefined, { 'grpc.default_compression_algorithm': 2 })
  t.true(gzipSync(Buffer.alloc(10_000_000)).length < 16_000, 'below the limit on the wire')
  const failure = await failureOf(stranger.attest('a', Buffer.alloc(10_000_000)))
  t.is(failure.code, status.RESOURCE_EXHAUSTED)
  t.regex(failure.details, /16384/)
})

test('bytes that are no message are refused, and the CA goes on', async (t) => {
  await using running = await startCa()
  using stranger = new Client(running.ca)
  for (const bytes of [Buffer.from('ff'.repeat(50), 'hex'), Buffer.from('0affffffff0f', 'hex')]) {
    const call = new Promise((resolve, reject) => {
      stranger.raw.makeUnaryRequest(
        '/redoubt.ca.v1.CertificateAuthority/Attest',
        () => bytes,
        (answer: Buffer) => answer,
        {},
        (error, value) => (error ? reject(error) : resolve(value)),
      )
    })
    await t.throwsAsync(call)
  }
  t.is((await stranger.attest(await newToken(running.ca), newCsr())).svid?.spiffeId, agentId)
})

test('a connection without a certificate lasts 30 s, one with a certificate does not end', async (t) => {
  const clock = new FakeClock()
  await using running = await startCa({}, { clock })
  using agent = await attestedClient(running.ca)
  const stream = agent.client.raw.bundles()
  stream.write(acknowledging(0n))
  stream.on('error', () => undefined)
  await once(stream, 'data')
  const port = Number(running.ca.address.split(':')[1])
  const anonymous = connect({ port, rejectUnauthorized: false, ALPNProtocols: ['h2'] })
  await once(anonymous, 'secureConnect')
  await once(anonymous, 'data') // the server's HTTP/2 settings: it has the connection
  const closed = once(anonymous.resume(), 'close')
  await clock.advance(29_999)
  t.false(anonymous.destroyed)
  await clock.advance(1)
  await closed
  t.is(svidOf(await agent.client.issue(asked())).spiffeId, workloadId)
  stream.cancel()
})

test('Bundles sends the bundle at once, and ends when the CA closes', async (t) => {
  const running = await startCa()
  using agent = await attestedClient(running.ca)
  const stream = agent.client.raw.bundles()
  stream.write(acknowledging(0n))
  const [bundle] = (await once(stream, 'data')) as [Bundle]
  t.is(bundle.generation, 1n)
  t.is(bundle.roots.length, 1)
  stream.write(acknowledging(bundle.generation))
  stream.resume()
  const ended = once(stream, 'end') // rejects at an error: a stream that is cut does not end
  await running[Symbol.asyncDispose]()
  t.deepEqual(await ended, [])
})

test('a CA that restarts on its state keeps root and agents, and its ledger', async (t) => {
  await using dir = await temporaryDir()
  const deps = { now: () => Temporal.Now.instant(), clock: realClock, log: () => undefined }
  const first = await openCa(configIn(dir.path), deps)
  const { svid, key } = await attestedClient(first)
  const { roots } = first.bundle.current
  await first[Symbol.asyncDispose]()

  await using second = await openCa(configIn(dir.path), deps)
  t.is(pemFromDer('CERTIFICATE', second.bundle.current.roots), pemFromDer('CERTIFICATE', roots))
  t.is(second.bundle.current.generation, 1)
  using client = new Client(second, { svid, key })
  t.is(svidOf(await client.issue(asked())).spiffeId, workloadId)
})

test('the CA’s own certificate is an SVID of its own, renewed before it runs out', async (t) => {
  const leafTtl = Temporal.Duration.from('PT2S')
  await using running = await startCa({ leafTtl })
  const serials = new Set<string>()
  const patience = AbortSignal.timeout(60_000)
  while (serials.size < 3 && !patience.aborted) {
    using client = new Client(running.ca)
    await failureOf(client.issue(asked()))
    const expiry = /certificate="server"\} (\d+)/.exec(await running.ca.metrics())?.[1]
    serials.add(String(expiry))
    await realClock.sleep(200, patience)
  }
  t.true(serials.size >= 3, `${serials.size} certificates of 2 s each`)
  t.true(running.log.some(({ event }) => event === 'ca-server-certificate-renewed'))
  t.is(running.ca.serverId, parseSpiffeId('spiffe://prod.example/ns/redoubt-system/sa/redoubt-ca'))
})
