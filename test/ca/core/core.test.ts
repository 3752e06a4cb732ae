import test from 'ava'
import { backoff } from '#core/backoff.ts'
import { createLive, eitherChange } from '#core/live.ts'
import { FakeClock } from '#test/fakes/fake-clock.ts'

test('createLive() gives a slow reader the newest value, and ends on abort', async (t) => {
  const { live, set } = createLive(1)
  const stop = new AbortController()
  const reader = live.changes(stop.signal)[Symbol.asyncIterator]()
  t.is((await reader.next()).value, 1)
  set(2)
  set(3)
  t.is((await reader.next()).value, 3)
  const pending = reader.next()
  set(4)
  t.is((await pending).value, 4)
  const last = reader.next()
  stop.abort()
  t.true((await last).done)
  t.is(live.current, 4)
})

test('changes() yields nothing once its signal has aborted', async (t) => {
  const { live } = createLive('a')
  const seen: string[] = []
  for await (const value of live.changes(AbortSignal.abort())) seen.push(value)
  t.deepEqual(seen, [])
})

test('eitherChange() yields at once, and then once for what has changed meanwhile', async (t) => {
  const [a, b] = [createLive(1), createLive('x')]
  const stop = new AbortController()
  const changes = eitherChange(a.live, b.live, stop.signal)
  await changes.next()
  let yielded = 0
  const next = changes.next().then(() => (yielded += 1))
  await new Promise(setImmediate)
  t.is(yielded, 0, 'nothing has changed')
  a.set(2)
  b.set('y')
  await next
  const pending = changes.next()
  stop.abort()
  t.true((await pending).done)
})

test('eitherChange() leaves nothing behind with what it watched, however it ends', async (t) => {
  const watched = createLive(1)
  let listeners = 0
  const counting = {
    ...watched.live,
    listen(listener: () => void) {
      const ignore = watched.live.listen(listener)
      listeners += 1
      return () => {
        listeners -= 1
        ignore()
      }
    },
  }
  const stop = new AbortController()
  const aborted = eitherChange(counting, counting, stop.signal)
  await aborted.next()
  t.is(listeners, 2)
  stop.abort()
  await aborted.next()
  const left = eitherChange(counting, counting, new AbortController().signal)
  await left.next()
  await left.return()
  t.is(listeners, 0)
  t.true((await eitherChange(counting, counting, AbortSignal.abort()).next()).done)
})

test('backoff() doubles its bound up to the most, and waits between nothing and the bound', (t) => {
  const waits = (random: number) =>
    backoff({ baseMs: 100, maxMs: 1000, random: () => random })
      .take(6)
      .toArray()
  t.deepEqual(waits(1), [100, 200, 400, 800, 1000, 1000])
  t.deepEqual(waits(0), [0, 0, 0, 0, 0, 0])
  t.deepEqual(waits(0.5).slice(0, 2), [50, 100])
})

test('backoff() refuses bounds that make no sense', (t) => {
  for (const [baseMs, maxMs] of [
    [0, 10],
    [10, 5],
    [Number.NaN, 10],
  ] as const) {
    t.throws(() => backoff({ baseMs, maxMs, random: () => 0 }).next(), {
      instanceOf: RangeError,
      message: `Cannot back off from ${baseMs} ms to ${maxMs} ms: expected 0 < baseMs <= maxMs`,
    })
  }
})

test('FakeClock wakes sleepers in the order of their time, and none before', async (t) => {
  const clock = new FakeClock()
  const woken: string[] = []
  const { signal } = new AbortController()
  const sleeper = async (name: string, ms: number) => {
    await clock.sleep(ms, signal)
    woken.push(`${name} at ${clock.nowMs()}`)
  }
  const all = Promise.all([sleeper('late', 30), sleeper('early', 10)])
  await clock.advance(9)
  t.deepEqual(woken, [])
  await clock.advance(21)
  await all
  t.deepEqual(woken, ['early at 10', 'late at 30'])
})

test('FakeClock rejects a sleep whose signal aborts', async (t) => {
  const stop = new AbortController()
  const sleeping = new FakeClock().sleep(1000, stop.signal)
  stop.abort()
  await t.throwsAsync(sleeping, { name: 'AbortError' })
})
