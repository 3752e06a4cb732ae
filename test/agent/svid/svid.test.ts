/** Fetching, keeping and dropping SVIDs, against a CA that is a function and a clock that the test moves. */
import { createPrivateKey, createPublicKey } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import test from 'ava'
import fc from 'fast-check'
import { AgentError } from '#agent/index.ts'
import { parseSpiffeId, type SpiffeId } from '#ca/spiffe/index.ts'
import { verifyCsr } from '#ca/x509/index.ts'
import { FakeClock } from '#test/fakes/fake-clock.ts'
import { createBatcher, MAX_BATCH } from '../../../agent/svid/batch.ts'
import { createAlarms } from '../../../agent/svid/alarms.ts'
import { createSvidCache, MAX_IDENTITIES } from '../../../agent/svid/cache.ts'
import type { RotationDeps } from '../../../agent/svid/rotation.ts'
import { acceptSvid, createRequest, type IssuedSvid } from '../../../agent/svid/issued-svid.ts'
import { createSharedIssuers } from '../../../agent/svid/shared-issuers.ts'
import { maxWaitMs } from '../../../agent/svid/keep-fresh.ts'
import { sleepUntil } from '../../../agent/svid/sleep-until.ts'
import { watchClock } from '../../../agent/svid/watch-clock.ts'

const api = parseSpiffeId('spiffe://prod.example/ns/pay/sa/api')
const web = parseSpiffeId('spiffe://prod.example/ns/pay/sa/web')
const EPOCH = Temporal.Instant.from('2026-11-21T12:00:00Z')

/** Moves time on, and lets what that woke come to rest. */
async function pass(clock: FakeClock, ms: number): Promise<void> {
  await clock.advance(ms)
  await setImmediate()
}

/** A cache with a CA of 16 s certificates that can be switched off. */
function story(change: Partial<RotationDeps> = {}) {
  const clock = new FakeClock()
  const now = () => EPOCH.add({ milliseconds: Math.round(clock.nowMs()) })
  const asked: SpiffeId[] = []
  const ca = { refusal: undefined as AgentError | undefined }
  const ending = new AbortController()
  const cache = createSvidCache(
    {
      clock,
      now,
      random: () => 0,
      log: () => {},
      rotated: () => {},
      failed: () => {},
      isSuperseded: () => false,
      async issue(id) {
        asked.push(id)
        if (ca.refusal) throw ca.refusal
        const life = { issuedAt: now(), notAfter: now().add({ seconds: 16 }) }
        return { id, serial: String(asked.length), life } as IssuedSvid
      },
      ...change,
    },
    ending.signal,
  )
  return { clock, now, asked, ca, cache, ending }
}

const away = new AgentError('AGENT_CA_UNAVAILABLE', 'Cannot get SVIDs: nobody is there')

test('createSvidCache() fetches once for all who hold an identity, and once for each identity', async (t) => {
  const { cache, asked, clock } = story()
  const holdings = [api, api, api, web].map((id) => cache.hold(id))
  await pass(clock, 0)
  t.deepEqual(asked, [api, web])
  t.deepEqual(
    holdings.map(({ state }) => state.current.kind),
    ['ready', 'ready', 'ready', 'ready'],
  )
  await pass(clock, 8000)
  t.deepEqual(asked, [api, web, api, web])
})

test('createSvidCache() drops what nobody holds when it is due, not before, and fetches it anew', async (t) => {
  const { cache, asked, clock } = story()
  const holding = cache.hold(api)
  await pass(clock, 1)
  holding[Symbol.dispose]()
  holding[Symbol.dispose]() // giving back twice gives back once
  await pass(clock, 7000)
  const back = cache.hold(api)
  t.is(back.state.current.kind, 'ready')
  t.is(asked.length, 1, 'who comes back in time finds it')
  await pass(clock, 2000)
  t.is(asked.length, 2, 'and it is renewed')

  back[Symbol.dispose]()
  await pass(clock, 20_000)
  t.deepEqual(cache.held(), [])
  t.is(asked.length, 2)
  cache.hold(api)
  await pass(clock, 1)
  t.is(asked.length, 3)
})

test('createSvidCache() keeps the last good SVID while the CA is away, until it expires', async (t) => {
  const { cache, clock, ca, asked } = story({ random: () => 0.5 })
  const { state } = cache.hold(api)
  await pass(clock, 1)
  ca.refusal = away
  for (const atMs of [8000, 12_000, 15_900]) {
    await pass(clock, atMs - clock.nowMs())
    t.is(state.current.kind, 'ready', `at ${atMs} ms`)
  }
  const attempts = asked.length
  t.true(attempts > 5, `${attempts} attempts`)
  await pass(clock, 200)
  t.is(state.current.kind, 'pending')
  await pass(clock, 60_000)
  t.is(state.current.kind, 'pending')
  t.true(asked.length > attempts, 'it goes on trying')
  ca.refusal = undefined
  await pass(clock, 1000)
  t.is(state.current.kind, 'ready')
})

test('createSvidCache() marks an SVID expired on time although a fetch hangs', async (t) => {
  let hang = false
  const { cache, clock, now } = story({
    issue: (id) =>
      hang
        ? new Promise(() => {})
        : Promise.resolve({
            id,
            serial: '1',
            life: { issuedAt: now(), notAfter: now().add({ seconds: 16 }) },
          } as IssuedSvid),
  })
  const { state } = cache.hold(api)
  await pass(clock, 1)
  hang = true
  await pass(clock, 15_998)
  t.is(state.current.kind, 'ready')
  await pass(clock, 2)
  t.is(state.current.kind, 'pending')
})

test('createSvidCache() tells a refusal at once, and asks again for the next who comes', async (t) => {
  const { cache, clock, ca, asked } = story()
  ca.refusal = new AgentError('AGENT_ISSUE_REFUSED', 'Cannot get the SVID: CA_NOT_ADMITTED')
  const { state } = cache.hold(api)
  await pass(clock, 1)
  t.deepEqual(state.current, { kind: 'refused', cause: ca.refusal })
  ca.refusal = undefined
  t.is(state.current.kind, 'refused')
  const next = cache.hold(api)
  await pass(clock, 1)
  t.is(next.state.current.kind, 'ready')
  t.is(asked.length, 2)
})

test('createSvidCache() stops trying for a caller that has gone before the first SVID', async (t) => {
  const { cache, clock, ca, asked } = story({ random: () => 0.5 })
  ca.refusal = away
  const holding = cache.hold(api)
  await pass(clock, 1)
  await pass(clock, 500)
  const attempts = asked.length
  t.true(attempts > 1)
  holding[Symbol.dispose]()
  await pass(clock, 60_000)
  t.true(asked.length <= attempts + 1, `${asked.length} after ${attempts}`)
})

test('createSvidCache() has room for so many: the least recently used that nobody holds goes first', async (t) => {
  const { cache, clock, asked } = story()
  const idOf = (at: number) => parseSpiffeId(`spiffe://prod.example/ns/pay/sa/w${at}`)
  const holdings = Array.from({ length: MAX_IDENTITIES }, (_, at) => cache.hold(idOf(at)))
  await pass(clock, 1)
  t.is(asked.length, MAX_IDENTITIES)
  t.throws(() => cache.hold(api), { code: 'AGENT_OVERLOADED' })
  for (const at of [5, 3]) holdings[at]?.[Symbol.dispose]()
  cache.hold(idOf(3))[Symbol.dispose]() // used again, so 5 is the one that goes
  t.is(cache.hold(api).state.current.kind, 'pending')
  await pass(clock, 1)
  const held = new Set(cache.held().map(({ svid }) => svid.id))
  t.is(held.size, MAX_IDENTITIES)
  t.deepEqual(
    [idOf(5), idOf(3), api].map((id) => held.has(id)),
    [false, true, true],
  )
  const before = asked.length
  await pass(clock, 9000)
  t.false(asked.slice(before).includes(idOf(5)), 'nobody renews what has gone')
})

test('users §1.1.18: renewals of workloads that started together are spread by jitter', async (t) => {
  let seed = 1
  const random = () => {
    seed = (seed * 48_271) % 2_147_483_647
    return seed / 2_147_483_647
  }
  const renewals: number[] = []
  const { cache, clock } = story({
    random,
    rotated: (_, first) => void (first || renewals.push(clock.nowMs())),
  })
  for (let at = 0; at < 500; at += 1) cache.hold(parseSpiffeId(`spiffe://prod.example/sa/w${at}`))
  await pass(clock, 0)
  await pass(clock, 8100)
  t.is(renewals.length, 500)
  const [first, last] = [Math.min(...renewals), Math.max(...renewals)]
  t.true(first >= 6399 && last <= 8001, `${first} to ${last}: half of 16 s, less a tenth`)
  const busiest = Math.max(
    ...Array.from({ length: 17 }, (_, at) => {
      const from = 6400 + at * 100
      return renewals.filter((ms) => ms >= from && ms < from + 100).length
    }),
  )
  t.true(busiest < 60, `${busiest} in the busiest tenth of a second, of 31 on average`)
})

test('createSvidCache() ends with its signal', async (t) => {
  const { cache, clock, asked, ending } = story()
  cache.hold(api)
  await pass(clock, 1)
  ending.abort()
  await pass(clock, 60_000)
  t.is(asked.length, 1)
})

test('a machine that was suspended renews at once on waking (users §1.1.8)', async (t) => {
  const clock = new FakeClock()
  let suspendedMs = 0
  const now = () => EPOCH.add({ milliseconds: Math.round(clock.nowMs() + suspendedMs) })
  let woken = false
  const done = sleepUntil({ clock, now }, EPOCH.add({ hours: 1 }), new AbortController().signal)
  void done.then(() => {
    woken = true
  })
  await clock.advance(60_000)
  t.false(woken)
  suspendedMs = 3_600_000 // elapsed time stood still, civil time did not
  await clock.advance(30_000)
  t.true(woken)
})

test('users §1.1.8: a clock that jumps wakes everybody at once, within a second, be they hundreds', async (t) => {
  const clock = new FakeClock()
  let suspendedMs = 0
  const now = () => EPOCH.add({ milliseconds: Math.round(clock.nowMs() + suspendedMs) })
  const ending = new AbortController()
  const jumps: number[] = []
  const events: string[] = []
  const jump = watchClock(
    { clock, now, log: (_, event) => void events.push(event), jumped: (ms) => jumps.push(ms) },
    ending.signal,
  )
  let woken = 0
  const until = EPOCH.add({ hours: 1 })
  for (let at = 0; at < 500; at += 1) {
    void sleepUntil({ clock, now, jump }, until, ending.signal).then(
      () => (woken += 1),
      () => {},
    )
  }
  await pass(clock, 10_000)
  t.deepEqual([woken, jumps], [0, []], 'time that passes is no jump')
  suspendedMs = 3_600_000
  await pass(clock, 1000)
  t.deepEqual([woken, jumps], [500, [3_600_000]])
  suspendedMs = 0
  await pass(clock, 1000)
  t.deepEqual(jumps, [3_600_000, -3_600_000], 'back is one too')
  t.deepEqual(events, ['clock-jumped', 'clock-jumped'])
  ending.abort()
})

test('createAlarms() rings each at its time in one wait for all, be it set before or after a later one', async (t) => {
  const clock = new FakeClock()
  let suspendedMs = 0
  let waits = 0
  const now = () => EPOCH.add({ milliseconds: Math.round(clock.nowMs() + suspendedMs) })
  const counted = {
    nowMs: clock.nowMs,
    sleep(ms: number, signal: AbortSignal) {
      waits += 1
      return clock.sleep(ms, signal)
    },
  }
  const ending = new AbortController()
  const jump = watchClock({ clock, now, log: () => {}, jumped: () => {} }, ending.signal)
  const alarms = createAlarms({ clock: counted, now, jump }, ending.signal)
  const rung: string[] = []
  const set = (name: string, seconds: number) =>
    alarms.set(EPOCH.add({ seconds }), () => void rung.push(name))

  set('c', 3)
  set('a', 1) // sooner than what is waited for
  const never = set('b', 2)
  for (let at = 0; at < 500; at += 1) set('many', 5)
  await pass(clock, 0)
  t.true(waits <= 3, `${waits} waits for 503 alarms`)
  await pass(clock, 999)
  t.deepEqual(rung, [])
  await pass(clock, 1)
  t.deepEqual(rung, ['a'])
  never()
  await pass(clock, 1999)
  t.deepEqual(rung, ['a'])
  await pass(clock, 1)
  t.deepEqual(rung, ['a', 'c'])
  set('past', 1)
  await pass(clock, 0)
  t.deepEqual(rung, ['a', 'c', 'past'])
  await pass(clock, 2000)
  t.is(rung.length, 503)

  set('later', 3600) // after a time with none
  suspendedMs = 3_600_000
  await pass(clock, 1000)
  t.is(rung.at(-1), 'later')
  set('ended', 4000)
  ending.abort()
  await pass(clock, 4_000_000)
  t.is(rung.at(-1), 'later')
})

test('sleepUntil() ends at once for the past, and with its signal', async (t) => {
  const clock = new FakeClock()
  const now = () => EPOCH
  await sleepUntil({ clock, now }, EPOCH, new AbortController().signal)
  const ended = AbortSignal.abort(new Error('enough'))
  await t.throwsAsync(sleepUntil({ clock, now }, EPOCH, ended), { message: 'enough' })
})

test('maxWaitMs() leaves room for many attempts in any life', (t) => {
  const waitOf = (seconds: number) =>
    maxWaitMs({ issuedAt: EPOCH, notAfter: EPOCH.add({ seconds }) })
  t.deepEqual([4, 16, 60, 3600, 86_400].map(waitOf), [1000, 1000, 3000, 30_000, 30_000])
})

test('createBatcher() sends what is asked together in one call, and the rest while it is away in the next', async (t) => {
  const batches: number[][] = []
  const releases: (() => void)[] = []
  const ask = createBatcher<number, string>(async (requests) => {
    batches.push([...requests])
    await new Promise<void>((resolve) => releases.push(resolve))
    return requests.map((request) => `answer ${request}`)
  }, new AbortController().signal)

  const first = [1, 2, 3].map(ask)
  await setImmediate()
  const second = [4, 5].map(ask)
  await setImmediate()
  t.deepEqual(batches, [[1, 2, 3]])
  releases[0]?.()
  t.deepEqual(await Promise.all(first), ['answer 1', 'answer 2', 'answer 3'])
  await setImmediate()
  releases[1]?.()
  t.deepEqual(await Promise.all(second), ['answer 4', 'answer 5'])
  t.deepEqual(batches, [
    [1, 2, 3],
    [4, 5],
  ])
})

test('createBatcher() gives everyone their own answer, in batches of at most 500', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 1200 }), async (count) => {
      const sizes: number[] = []
      const ask = createBatcher<number, number>(async (requests) => {
        sizes.push(requests.length)
        return requests.map((request) => request * 2)
      }, new AbortController().signal)
      const answers = await Promise.all(Array.from({ length: count }, (_, n) => ask(n)))
      t.true(sizes.every((size) => size <= MAX_BATCH))
      t.is(sizes.length, Math.ceil(count / MAX_BATCH))
      return answers.every((answer, n) => answer === n * 2)
    }),
    { numRuns: 20 },
  )
})

test('createBatcher() fails those whose answer is an error, is missing, or whose call failed', async (t) => {
  const refused = new AgentError('AGENT_ISSUE_REFUSED', 'no')
  const ask = createBatcher<number, string>(async (requests) => {
    if (requests.includes(9)) throw away
    return requests.slice(0, 2).map((request) => (request === 1 ? refused : 'yes'))
  }, new AbortController().signal)
  const [one, two, three] = await Promise.allSettled([ask(1), ask(2), ask(3)])
  t.is(one.status === 'rejected' && one.reason, refused)
  t.is(two.status === 'fulfilled' && two.value, 'yes')
  t.is(three.status === 'rejected' && three.reason.code, 'AGENT_SVID_INVALID')
  t.is(await ask(9).catch((cause: unknown) => cause), away)
  t.is(await ask(2), 'yes', 'it goes on after a failure')
})

test('createRequest() makes a new P-256 key each time', async (t) => {
  const [one, two] = await Promise.all([createRequest(api), createRequest(api)])
  for (const { keyDer, publicKeyDer, csr } of [one, two]) {
    const key = createPrivateKey({ key: Buffer.from(keyDer), format: 'der', type: 'pkcs8' })
    t.is(key.asymmetricKeyDetails?.namedCurve, 'prime256v1')
    const spki = createPublicKey(key).export({ format: 'der', type: 'spki' })
    t.deepEqual(Buffer.from(publicKeyDer), spki, 'of the same pair')
    t.deepEqual(Buffer.from(verifyCsr(csr).publicKeyDer), spki)
  }
  t.notDeepEqual(one.keyDer, two.keyDer)
})

test('certificates of CAs are kept once, and no two different ones are taken for the same', (t) => {
  const share = createSharedIssuers()
  const [ca, root] = [Uint8Array.of(1, 2, 3), Uint8Array.of(1, 2, 4)]
  const kept = share(ca)
  t.not(kept, ca, 'memory of its own: what it is given may be a part of a whole answer')
  t.is(share(Uint8Array.from(ca)), kept)
  t.deepEqual(share(root), root)
  for (let n = 0; n < 100; n += 1) t.deepEqual([...share(Uint8Array.of(9, n))], [9, n])
  t.deepEqual(share(ca), kept)
  t.not(share(ca), kept, 'it was pushed out, so memory is bounded')
})

test('acceptSvid() refuses what is not a chain', (t) => {
  const nothing = new Uint8Array()
  const request = { id: api, keyDer: nothing, csr: nothing, publicKeyDer: nothing }
  const trust = { bundles: [], now: EPOCH }
  for (const chain of [[], [Uint8Array.of(1, 2, 3)]]) {
    t.throws(() => acceptSvid(request, { chain, issuedAt: EPOCH }, trust), {
      code: 'AGENT_SVID_INVALID',
      message: /^Cannot take the SVID for "spiffe:/,
    })
  }
})

test('users §1.3.34: what a key signed that the CA has left is renewed at once, with jitter, and served meanwhile', async (t) => {
  const left = new Set<string>()
  const { cache, clock, asked } = story({
    random: () => 0.5,
    isSuperseded: ({ serial }) => left.has(serial),
  })
  using one = cache.hold(api)
  await pass(clock, 0)
  t.is(asked.length, 1)
  left.add('1')
  cache.renew()
  cache.renew() // Told twice, renewed once.
  await pass(clock, 300)
  t.is(asked.length, 1, 'half of a twentieth of 16 s has not gone')
  t.is(one.state.current.kind, 'ready')
  await pass(clock, 200)
  t.is(asked.length, 2)
  t.like(one.state.current, { kind: 'ready', svid: { serial: '2' } })
  await pass(clock, 3000)
  t.is(asked.length, 2, 'the new one is of another key')
})

test('a new SVID of a key that was left, from a CA that has yet to hear of it, is asked for again, not at once', async (t) => {
  const { cache, clock, asked } = story({ random: () => 0, isSuperseded: () => true })
  using _one = cache.hold(api)
  await pass(clock, 0)
  t.is(asked.length, 1)
  await pass(clock, 900)
  t.is(asked.length, 1)
  await pass(clock, 200)
  t.is(asked.length, 2, 'a second later')
})
