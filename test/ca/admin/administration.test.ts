import { DatabaseSync } from 'node:sqlite'
import { join } from 'node:path'
import { status } from '@grpc/grpc-js'
import test from 'ava'
import { parseSpiffeId } from '#ca/spiffe/index.ts'
import { readCertificate, verifySvid } from '#ca/x509/index.ts'
import { FakeClock } from '../../fakes/fake-clock.ts'
import { attestedClient, Client, failureOf, newCsr, newKey, startCa, svidOf } from '../harness.ts'
import { adminClient, administrator, EVERYTHING } from './harness.ts'

const adminId = parseSpiffeId('spiffe://prod.example/ns/redoubt-system/sa/redoubt-admin')
const debugId = 'spiffe://prod.example/ns/ops/sa/debug'
const asked = (spiffeId = debugId, ttlSeconds = 600) => ({ spiffeId, csr: newCsr(), ttlSeconds })

test('users §2.2 row 26: from loopback without a certificate, no administrative call is answered', async (t) => {
  await using running = await startCa()
  using nobody = adminClient(running.ca)
  for (const call of [
    () => nobody.call('status', {}),
    () => nobody.call('listCertificates', EVERYTHING),
    () => nobody.call('issueFor', asked()),
  ]) {
    t.like(await failureOf(call()), {
      code: status.UNAUTHENTICATED,
      reason: 'CA_CALLER_UNKNOWN',
    })
  }
})

test('an agent and a workload are no administrators, whatever their scope', async (t) => {
  await using running = await startCa()
  const key = newKey()
  using agent = await attestedClient(running.ca, ['spiffe://prod.example/*'])
  const workload = svidOf(await agent.client.issue({ spiffeId: debugId, csr: newCsr(key) }))
  for (const identity of [
    { chain: agent.svid.chain, key: agent.key },
    { chain: workload.chain, key },
  ]) {
    using caller = adminClient(running.ca, identity)
    t.like(await failureOf(caller.call('status', {})), {
      code: status.PERMISSION_DENIED,
      reason: 'CA_NOT_ADMINISTRATOR',
    })
    t.like(await failureOf(caller.call('issueFor', asked())), { reason: 'CA_NOT_ADMINISTRATOR' })
  }
  const forAdmin = await agent.client.issue({ spiffeId: adminId, csr: newCsr() })
  t.throws(() => svidOf(forAdmin), { message: 'CA_NOT_ADMITTED' }, 'nor can an agent become one')
})

test('a workload that the configuration names is an administrator', async (t) => {
  const administrators = [parseSpiffeId(debugId)]
  await using running = await startCa({ administrators })
  const key = newKey()
  using agent = await attestedClient(running.ca, ['spiffe://prod.example/*'])
  const { chain } = svidOf(await agent.client.issue({ spiffeId: debugId, csr: newCsr(key) }))
  using caller = adminClient(running.ca, { chain, key })
  t.is((await caller.call('status', {})).trustDomain, 'prod.example')
})

test('an administrator whose certificate ends during a connection is one no more', async (t) => {
  const clock = new FakeClock()
  const start = Temporal.Now.instant()
  const now = () => start.add({ milliseconds: Math.round(clock.nowMs()) })
  await using running = await startCa({}, { clock, now })
  using admin = await administrator(running.ca)
  t.true((await admin.call('status', {})).ready)
  await clock.advance(5 * 60_000 + 1000)
  t.like(await failureOf(admin.call('status', {})), { reason: 'CA_CALLER_UNKNOWN' })
})

test('an administrator cannot renew itself: its name is nobody’s to ask for', async (t) => {
  await using running = await startCa()
  using admin = await administrator(running.ca)
  const failure = await failureOf(admin.call('issueFor', asked(adminId)))
  t.like(failure, { code: status.PERMISSION_DENIED, reason: 'CA_NOT_ADMITTED' })
})

test('Status tells root and issuing CA, the generation, and live leaves by issuer', async (t) => {
  await using running = await startCa()
  using admin = await administrator(running.ca)
  using _agent = await attestedClient(running.ca)
  const told = await admin.call('status', {})
  t.like(told, { trustDomain: 'prod.example', generation: 1n, ready: true, reasons: [] })
  const [root, issuing] = told.authorities
  t.like(root, { kind: 'root', state: 'active', issuerKeyId: root?.keyId, liveLeaves: 3n })
  t.like(issuing, { kind: 'issuing', state: 'active', issuerKeyId: root?.keyId, liveLeaves: 3n })
  const certificate = readCertificate(running.ca.bundle.current.roots[0] ?? new Uint8Array())
  t.is(root?.serial, certificate.serial)
  t.is(root?.keyId, Buffer.from(certificate.ski ?? []).toString('hex'))
})

test('ListCertificates filters and pages the ledger, newest first', async (t) => {
  await using running = await startCa()
  using admin = await administrator(running.ca)
  using agent = await attestedClient(running.ca)
  const ids = ['a', 'b', 'c'].map((name) => `spiffe://prod.example/ns/pay/sa/${name}`)
  for (const spiffeId of ids) svidOf(await agent.client.issue({ spiffeId, csr: newCsr() }))
  const list = async (change: Partial<Parameters<typeof admin.call<'listCertificates'>>[1]>) =>
    admin.call('listCertificates', { ...EVERYTHING, ...change })

  const all = await list({})
  t.deepEqual(
    all.rows.map(({ kind }) => kind),
    ['leaf', 'leaf', 'leaf', 'leaf', 'leaf', 'leaf', 'issuing', 'root'],
  )
  t.is(all.next, 0n)
  const below = await list({ subject: 'spiffe://prod.example/ns/pay/*' })
  t.deepEqual(
    below.rows.map(({ subject }) => subject),
    ids.toReversed(),
  )
  t.is((await list({ subject: ids[0] ?? '' })).rows.length, 1)
  t.is((await list({ subject: 'spiffe://prod.example/ns/pa' })).rows.length, 0, 'no prefix')
  const [newest] = all.rows
  t.deepEqual((await list({ serial: newest?.serial ?? '' })).rows, [newest])
  const ofRoot = await list({ issuerSerial: all.rows.at(-1)?.serial ?? '' })
  t.deepEqual(
    ofRoot.rows.map(({ kind }) => kind),
    ['issuing', 'root'],
  )
  const first = await list({ limit: 5 })
  const second = await list({ limit: 5, before: first.next })
  t.deepEqual([...first.rows, ...second.rows], [...all.rows])
  t.is(second.next, 0n)
  t.like(await failureOf(list({ limit: 1001 })), { code: status.FAILED_PRECONDITION })
})

test('IssueFor issues any name but the CA’s own, capped, and in the ledger with who asked', async (t) => {
  await using running = await startCa({ maxLeafTtl: Temporal.Duration.from('PT2H') })
  const { ca } = running
  using admin = await administrator(ca)
  const { svid, bundle } = await admin.call('issueFor', asked(debugId, 86_400))
  const verdict = verifySvid(
    svid?.chain ?? [],
    [ca.bundle.current],
    Temporal.Now.instant(),
    'client',
  )
  t.like(verdict, { kind: 'ok', id: debugId })
  t.is(Number(svid?.notAfterMs) - Number(svid?.issuedAtMs) <= 7_200_000, true)
  t.is(bundle?.roots.length, 1)
  const { rows } = await admin.call('listCertificates', { ...EVERYTHING, subject: debugId })
  t.like(rows[0], { requestedBy: adminId, kind: 'leaf', life: 'maximum' })
  t.like(await failureOf(admin.call('issueFor', asked(ca.serverId))), { reason: 'CA_NOT_ADMITTED' })
  t.like(await failureOf(admin.call('issueFor', { ...asked(), csr: Buffer.from('no') })), {
    code: status.INVALID_ARGUMENT,
    reason: 'CA_CSR_REJECTED',
  })
})

test('every administrative call that changes something is in the log, done or refused, with who asked', async (t) => {
  const running = await startCa()
  try {
    using admin = await administrator(running.ca)
    await admin.call('issueFor', asked())
    await t.throwsAsync(admin.call('issueFor', asked('spiffe://evil.example/ns/a/sa/b')))
    await admin.call('status', {})
    t.true((await running.ca.log.audit()).ok)
    await running.ca[Symbol.asyncDispose]()
    using database = new DatabaseSync(join(running.stateDir, 'ledger.db'), { readOnly: true })
    const rows = database
      .prepare('SELECT caller, action, detail, outcome FROM calls ORDER BY log_index')
      .all()
    t.deepEqual(
      rows.map(({ caller, action, outcome }) => [caller, action, outcome]),
      [
        ['uid:1000', 'admit-administrator', 'done'],
        [adminId, 'issue', 'done'],
        [adminId, 'issue', 'CA_NOT_ADMITTED'],
      ],
    )
    const { certificate, ...detail } = JSON.parse(String(rows[1]?.['detail']))
    t.deepEqual(detail, { spiffeId: debugId, ttlSeconds: 600 })
    const known = database
      .prepare('SELECT subject, requested_by FROM certificates WHERE serial = ?')
      .get(certificate)
    t.like(known, { subject: adminId, requested_by: 'uid:1000' }, 'leads to the person')
  } finally {
    await running[Symbol.asyncDispose]()
  }
})

test('an administrator is no agent: neither issuing nor bundles are open to it', async (t) => {
  await using running = await startCa()
  const key = newKey()
  const { chain } = await running.ca.admitAdministrator({ name: 'uid:1000' }, newCsr(key))
  const svid = { spiffeId: adminId, chain: chain.map((der) => Buffer.from(der)) }
  using client = new Client(running.ca, { svid: { ...svid, issuedAtMs: 0n, notAfterMs: 0n }, key })
  t.like(await failureOf(client.issue({ spiffeId: debugId, csr: newCsr() })), {
    reason: 'CA_CALLER_UNKNOWN',
  })
})
