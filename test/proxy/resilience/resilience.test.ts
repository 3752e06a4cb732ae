import test from 'ava'
import fc from 'fast-check'
import { Breaker } from '../../../proxy/resilience/breaker.ts'
import {
  HEALTHY,
  type Health,
  type HealthEvent,
  mayEjectOneMore,
  type OutlierLimits,
  stepHealth,
} from '../../../proxy/resilience/outlier.ts'
import { isWithinBudget } from '../../../proxy/resilience/retry-budget.ts'

test('Breaker lets in up to its limit, and again after one has left', (t) => {
  const breaker = new Breaker(2)
  t.deepEqual([breaker.enter(), breaker.enter(), breaker.enter()], [true, true, false])
  breaker.leave()
  t.true(breaker.enter())
  t.is(breaker.active, 2)
})

test('Breaker follows a limit that is lowered while things are in flight', (t) => {
  const breaker = new Breaker(2)
  breaker.enter()
  breaker.enter()
  breaker.limit = 1
  breaker.leave()
  t.false(breaker.enter())
  breaker.leave()
  t.true(breaker.enter())
})

test('isWithinBudget() allows three retries however little there is', (t) => {
  const allowed = [0, 1, 2, 3].map((retries) => isWithinBudget({ retries, requests: 1 }))
  t.deepEqual(allowed, [true, true, true, false])
})

test('isWithinBudget() never lets retries be more than a fifth of what is in flight', (t) => {
  fc.assert(
    fc.property(fc.nat(10_000), fc.nat(10_000), (retries, requests) => {
      t.is(isWithinBudget({ retries, requests }), retries < 3 || retries < requests / 5)
    }),
  )
})

const LIMITS: OutlierLimits = {
  consecutive5xxErrors: 5,
  consecutiveGatewayErrors: 3,
  intervalMs: 10_000,
  baseEjectionTimeMs: 30_000,
}

function run(
  events: readonly HealthEvent[],
  from: Health = HEALTHY,
  moment: { nowMs?: number; mayEject?: boolean; limits?: OutlierLimits } = {},
): Health {
  return events.reduce<Health>(
    (state, event) =>
      stepHealth(state, event, { nowMs: 0, mayEject: true, limits: LIMITS, ...moment }),
    from,
  )
}

test('stepHealth() keeps the very object on a success after a success', (t) => {
  t.is(run(['success', 'success']), HEALTHY)
})

test('stepHealth() ejects at the fifth server error in a row', (t) => {
  t.is(run(['server-error', 'server-error', 'server-error', 'server-error']).kind, 'in')
  t.deepEqual(run(Array(5).fill('server-error')), {
    kind: 'ejected',
    ejections: 1,
    untilMs: 30_000,
  })
})

test('stepHealth() ejects at the third gateway error in a row, sooner than for any 5xx', (t) => {
  t.is(run(['gateway-error', 'gateway-error', 'gateway-error']).kind, 'ejected')
  t.is(run(['gateway-error', 'gateway-error', 'server-error', 'gateway-error']).kind, 'in')
})

test('stepHealth() starts to count anew after a success', (t) => {
  t.is(
    run([...Array(4).fill('server-error'), 'success', ...Array(4).fill('server-error')]).kind,
    'in',
  )
})

test('stepHealth() ejects nobody when a limit of 0 turns both off', (t) => {
  const limits = { ...LIMITS, consecutive5xxErrors: 0, consecutiveGatewayErrors: 0 }
  t.is(run(Array(1000).fill('gateway-error'), HEALTHY, { limits }).kind, 'in')
})

test('stepHealth() waits with an ejection until the share allows it', (t) => {
  const held = run(Array(7).fill('server-error'), HEALTHY, { mayEject: false })
  t.is(held.kind, 'in')
  t.is(run(['server-error'], held).kind, 'ejected')
})

test('stepHealth() lets an ejected endpoint back in with time alone', (t) => {
  const ejected = run(Array(5).fill('server-error'))
  t.is(run(['success', 'server-error'], ejected, { nowMs: 40_000 }), ejected)
  t.is(run(['tick'], ejected, { nowMs: 29_999 }), ejected)
  t.deepEqual(run(['tick'], ejected, { nowMs: 30_000 }), {
    ...HEALTHY,
    ejections: 1,
    returnedMs: 30_000,
  })
})

test('stepHealth() ejects for longer each time and forgives one for each quiet interval', (t) => {
  const back = run(['tick'], run(Array(5).fill('server-error')), { nowMs: 30_000 })
  const soon = run(Array(5).fill('server-error'), back, { nowMs: 30_001 })
  t.deepEqual(soon, { kind: 'ejected', ejections: 2, untilMs: 30_001 + 60_000 })
  const later = run(Array(5).fill('server-error'), back, { nowMs: 45_000 })
  t.deepEqual(later, { kind: 'ejected', ejections: 1, untilMs: 45_000 + 30_000 })
})

test('stepHealth() ejects for at most five minutes, or the base time if that is longer', (t) => {
  const often: Health = { ...HEALTHY, ejections: 100 }
  const until = (limits: OutlierLimits) => {
    const state = run(Array(5).fill('server-error'), often, { limits })
    return state.kind === 'ejected' ? state.untilMs : undefined
  }
  t.is(until(LIMITS), 300_000)
  t.is(until({ ...LIMITS, baseEjectionTimeMs: 900_000 }), 900_000)
})

test('stepHealth() is never in and ejected by a history, whatever the history', (t) => {
  const event = fc.constantFrom<HealthEvent>('success', 'server-error', 'gateway-error', 'tick')
  fc.assert(
    fc.property(fc.array(fc.tuple(event, fc.nat(20_000)), { maxLength: 200 }), (history) => {
      let nowMs = 0
      let state: Health = HEALTHY
      for (const [what, passedMs] of history) {
        nowMs += passedMs
        const before: Health = state
        state = stepHealth(state, what, { nowMs, mayEject: true, limits: LIMITS })
        if (before.kind === 'in' && state.kind === 'ejected') {
          t.true(what === 'server-error' || what === 'gateway-error')
          t.true(state.untilMs >= nowMs + LIMITS.baseEjectionTimeMs)
        }
        if (before.kind === 'ejected' && state.kind === 'in') {
          t.is(what, 'tick')
          t.true(nowMs >= before.untilMs)
        }
        if (state.kind === 'in') t.true(state.consecutive5xx < LIMITS.consecutive5xxErrors)
      }
    }),
  )
})

test('mayEjectOneMore() always allows the first and then keeps to the share', (t) => {
  t.true(mayEjectOneMore(0, { total: 2, maxPercent: 10 }))
  t.false(mayEjectOneMore(1, { total: 10, maxPercent: 10 }))
  t.true(mayEjectOneMore(1, { total: 20, maxPercent: 10 }))
  t.true(mayEjectOneMore(9, { total: 10, maxPercent: 100 }))
})
