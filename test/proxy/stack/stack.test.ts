import test from 'ava'
import { FakeClock } from '#test/fakes/fake-clock.ts'
import { decisionId, hexBytes, requestId } from '../../../proxy/stack/identifiers.ts'
import { createTimerWheel } from '../../../proxy/stack/timer-wheel.ts'

function openWheel() {
  const clock = new FakeClock()
  const aborter = new AbortController()
  const wheel = createTimerWheel(
    { nowMs: () => clock.nowMs(), sleep: (ms, signal) => clock.sleep(ms, signal) },
    aborter.signal,
  )
  return { clock, aborter, wheel }
}

test('a timer of the wheel is never early and at most two turns late', async (t) => {
  for (const ms of [0, 1, 19, 20, 21, 999, 5119, 5120, 5121, 60_000]) {
    const { clock, wheel } = openWheel()
    let dueMs = -1
    wheel
      .timer(() => {
        dueMs = clock.nowMs()
      })
      .set(ms)
    for (let step = 0; step < ms + 60; step += 10) await clock.advance(10)
    t.true(dueMs >= ms && dueMs <= ms + 40, `${ms}: ${dueMs}`)
  }
})

test('a timer can be moved and cleared, and set again by its own callback', async (t) => {
  const { clock, wheel } = openWheel()
  const calls: string[] = []
  const moved = wheel.timer(() => calls.push('moved'))
  moved.set(50)
  moved.set(500)
  const cleared = wheel.timer(() => calls.push('cleared'))
  cleared.set(100)
  const again = wheel.timer(() => {
    calls.push('again')
    cleared.clear()
    if (calls.length < 3) again.set(100)
  })
  again.set(60)
  for (let step = 0; step < 40; step += 1) await clock.advance(10)
  t.deepEqual(calls, ['again', 'again', 'again'])
  for (let step = 0; step < 20; step += 1) await clock.advance(10)
  t.deepEqual(calls, ['again', 'again', 'again', 'moved'])
})

test('timers that share a slot may clear each other', async (t) => {
  const { clock, wheel } = openWheel()
  const calls: number[] = []
  const timers = Array.from({ length: 5 }, (_, index) =>
    wheel.timer(() => {
      calls.push(index)
      if (index === 1) timers[2]?.clear()
    }),
  )
  for (const timer of timers) timer.set(40)
  for (let step = 0; step < 20; step += 1) await clock.advance(10)
  t.deepEqual(calls, [0, 1, 3, 4])
})

test('identifiers have their shape and are unlike each other', (t) => {
  t.regex(decisionId(Math.random), /^[0-9a-f]{32}$/)
  t.regex(
    requestId(Math.random),
    /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
  )
  t.is(new Set(Array.from({ length: 10_000 }, () => requestId(Math.random))).size, 10_000)
  for (const length of [0, 4, 8, 16]) t.is(hexBytes(length, Math.random).length, length * 2)
  t.is(
    hexBytes(8, () => 0.999_999_999_9),
    'ffffffffffffffff',
  )
})
