/** Rates of signing: users-and-performance §1.1 row 18, a herd of requests after a rotation. */
import { status } from '@grpc/grpc-js'
import test from 'ava'
import fc from 'fast-check'
import { configFaults, openCa } from '#ca/index.ts'
import { createSigningLimit, DEFAULT_RATES } from '#ca/issue/signing-limit.ts'
import { parseSpiffeId } from '#ca/spiffe/index.ts'
import { agentId, attestedClient, configIn, newCsr, startCa, workloadId } from '../harness.ts'

const other = parseSpiffeId('spiffe://prod.example/ns/redoubt-system/sa/other')
const slow = { perSecond: 10, burst: 5 }

test('createSigningLimit() grants a burst, then what time brings, to each caller its own', (t) => {
  let nowMs = 1000
  const limit = createSigningLimit({ ...DEFAULT_RATES, perCaller: slow }, () => nowMs)
  t.deepEqual(limit.take(agentId, 3), { granted: 3, retryAfterMs: 0 })
  t.deepEqual(limit.take(agentId, 4), { granted: 2, retryAfterMs: 200 })
  t.deepEqual(limit.take(other, 5), { granted: 5, retryAfterMs: 0 }, 'another pays nothing')
  nowMs += 199
  t.is(limit.take(agentId, 2).granted, 1)
  nowMs += 101
  t.is(limit.take(agentId, 2).granted, 2)
  nowMs -= 5000 // a clock that goes back brings nothing
  t.is(limit.take(agentId, 1).granted, 0)
  nowMs += 3_600_000
  t.deepEqual(limit.take(agentId, 9), { granted: 5, retryAfterMs: 400 }, 'never more than a burst')
})

test('createSigningLimit() grants all callers together no more than the total', (t) => {
  const limit = createSigningLimit({ perCaller: slow, total: { perSecond: 2, burst: 7 } }, () => 0)
  t.is(limit.take(agentId, 5).granted, 5)
  t.deepEqual(limit.take(other, 5), { granted: 2, retryAfterMs: 1500 })
  t.is(limit.take(parseSpiffeId('spiffe://prod.example/ns/a/sa/b'), 1).granted, 0)
})

test('createSigningLimit() never grants more than burst and rate allow, and what it says to wait is enough', (t) => {
  const steps = fc.array(fc.tuple(fc.nat(300), fc.integer({ min: 1, max: 12 })), { maxLength: 40 })
  const property = fc.property(steps, (asked) => {
    let nowMs = 0
    let granted = 0
    const limit = createSigningLimit({ ...DEFAULT_RATES, perCaller: slow }, () => nowMs)
    for (const [pauseMs, wanted] of asked) {
      nowMs += pauseMs
      const grant = limit.take(agentId, wanted)
      granted += grant.granted
      if (granted > slow.burst + (nowMs * slow.perSecond) / 1000 + 1e-6) return false
      const left = Math.min(wanted - grant.granted, slow.burst)
      if (left === 0) continue
      nowMs += grant.retryAfterMs
      const later = limit.take(agentId, left)
      granted += later.granted
      if (later.granted !== left) return false
    }
    return true
  })
  t.notThrows(() => fc.assert(property))
})

test('users §1.1 row 18: a batch over the rate is cut, with a typed refusal that says when to ask again', async (t) => {
  const signing = { ...DEFAULT_RATES, perCaller: { perSecond: 0.5, burst: 3 } }
  await using running = await startCa({ signing })
  using attested = await attestedClient(running.ca) // takes one
  const { results } = await attested.client.issue(
    ...Array.from({ length: 4 }, () => ({ spiffeId: workloadId, csr: newCsr() })),
  )
  t.deepEqual(
    results.map(({ outcome }) => outcome?.$case),
    ['svid', 'svid', 'refusal', 'refusal'],
  )
  const last = results.at(-1)?.outcome
  if (last?.$case !== 'refusal') return t.fail()
  t.is(last.refusal.reason, 'CA_RATE_LIMITED')
  t.true(last.refusal.retryAfterMs > 2000 && last.refusal.retryAfterMs <= 4000)
  t.regex(await running.ca.metrics(), /redoubt_ca_refusals_total{reason="CA_RATE_LIMITED"} 2/)
})

test('a node over its rate is refused as a whole call where there is nothing to cut', async (t) => {
  const signing = { ...DEFAULT_RATES, perCaller: { perSecond: 0.001, burst: 1 } }
  await using running = await startCa({ signing })
  using first = await attestedClient(running.ca)
  const error = await t.throwsAsync(attestedClient(running.ca), { message: /more than its share/ })
  t.like(error, { code: status.RESOURCE_EXHAUSTED })
  const metadata: unknown = Reflect.get(error as Error, 'metadata')
  const pushback = (metadata as { get: (key: string) => readonly unknown[] }).get(
    'redoubt-retry-after-ms',
  )
  t.true(Number(pushback[0]) > 60_000)
  t.truthy(first.svid)
})

test('configFaults() refuses rates that let nothing through', async (t) => {
  const total = { perSecond: 0, burst: 0.5 }
  const config = configIn('/nowhere', { signing: { ...DEFAULT_RATES, total } })
  t.deepEqual(configFaults(config), [
    'signing.total.perSecond is 0, expected above 0',
    'signing.total.burst is 0.5, expected at least 1',
  ])
  await t.throwsAsync(openCa(config, {} as never), { code: 'CA_CONFIG_INVALID' })
})

test('users §1.1.19: the CA says when each of its certificates ends, by kind', async (t) => {
  await using running = await startCa()
  const text = await running.ca.metrics()
  const seconds = (kind: string): number =>
    Number(
      new RegExp(`redoubt_ca_certificate_expiry_seconds{certificate="${kind}"} (.*)`).exec(
        text,
      )?.[1],
    )
  const now = Temporal.Now.instant().epochMilliseconds / 1000
  const [server, jwt] = [seconds('server'), seconds('jwt')]
  const [issuing, root] = [seconds('issuing'), seconds('root')]
  t.true(server > now && server <= now + 3600)
  t.true(jwt > server && issuing > server && root > issuing)
})

test('the CA says how long the ledger takes and what waits for it', async (t) => {
  await using running = await startCa()
  using attested = await attestedClient(running.ca)
  await attested.client.issue({ spiffeId: workloadId, csr: newCsr() })
  const text = await running.ca.metrics()
  t.regex(text, /redoubt_ca_ledger_record_seconds_count 2/)
  t.regex(text, /redoubt_ca_ledger_pending 0/)
  t.regex(text, /redoubt_ca_ledger_failures_total 0/)
})
