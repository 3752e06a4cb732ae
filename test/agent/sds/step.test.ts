import test from 'ava'
import fc from 'fast-check'
import {
  DELTA_START,
  type DeltaEvent,
  STREAM_START,
  type StreamEvent,
  stepDelta,
  stepStream,
} from '../../../agent/sds/step.ts'

const request = (change: Partial<StreamEvent & { kind: 'request' }> = {}): StreamEvent => ({
  kind: 'request',
  names: ['default'],
  nonce: '',
  error: undefined,
  version: 'v1',
  ...change,
})

/** The state after subscribing to `default` and getting v1 with nonce 1. */
const subscribed = stepStream(STREAM_START, request()).state

test('stepStream() answers the first request with a fresh nonce', (t) => {
  const { state, send, heard } = stepStream(STREAM_START, request())
  t.deepEqual([send, heard], [true, 'nothing'])
  t.deepEqual(state, { names: ['default'], nonce: '1', version: 'v1', acked: '', sent: 1 })
})

test('identity-standards §2.3.5: stepStream() answers a first request whatever nonce of another stream it has', (t) => {
  const { state, send, heard } = stepStream(STREAM_START, request({ nonce: '7', error: 'old' }))
  t.deepEqual([send, heard, state.nonce], [true, 'nothing', '1'])
})

test('stepStream() is silent on an ACK', (t) => {
  const { state, send, heard } = stepStream(subscribed, request({ nonce: '1' }))
  t.deepEqual([send, heard, state.acked], [false, 'accepted', 'v1'])
})

test('stepStream() does not send a rejected version again, however often it is rejected', (t) => {
  let state = subscribed
  for (let round = 0; round < 3; round += 1) {
    const step = stepStream(state, request({ nonce: '1', error: 'no' }))
    t.deepEqual([step.send, step.heard, step.state.acked], [false, 'rejected', ''])
    state = step.state
  }
  t.false(stepStream(state, { kind: 'content', version: 'v1' }).send)
  const next = stepStream(state, { kind: 'content', version: 'v2' })
  t.deepEqual([next.send, next.state.nonce], [true, '2'])
})

test('stepStream() answers changed names at once, in an ACK and in a NACK', (t) => {
  for (const error of [undefined, 'no']) {
    const step = stepStream(subscribed, request({ nonce: '1', names: ['ROOTCA'], error }))
    t.deepEqual([step.send, step.state.nonce, step.state.names], [true, '2', ['ROOTCA']])
  }
})

test('stepStream() takes the same names in another order, or twice, as the same', (t) => {
  const { state } = stepStream(STREAM_START, request({ names: ['a', 'b'] }))
  t.false(stepStream(state, request({ nonce: '1', names: ['b', 'a', 'b'] })).send)
})

for (const nonce of ['', '0', '2', 'x']) {
  test(`stepStream() ignores a request whose nonce is ${JSON.stringify(nonce)} after nonce 1`, (t) => {
    const step = stepStream(subscribed, request({ nonce, names: ['other'], error: 'no' }))
    t.deepEqual(step, { state: subscribed, send: false, heard: 'stale' })
  })
}

test('stepStream() says nothing before the first request, and sends each content once after it', (t) => {
  t.false(stepStream(STREAM_START, { kind: 'content', version: 'v1' }).send)
  t.false(stepStream(subscribed, { kind: 'content', version: 'v1' }).send)
  t.true(stepStream(subscribed, { kind: 'content', version: 'v2' }).send)
})

test('stepStream() never repeats a nonce, and sends only new content or new names', (t) => {
  const event: fc.Arbitrary<StreamEvent> = fc.oneof(
    fc.record({ kind: fc.constant('content' as const), version: fc.constantFrom('a', 'b', 'c') }),
    fc.record({
      kind: fc.constant('request' as const),
      names: fc.subarray(['x', 'y', 'z']),
      nonce: fc.constantFrom('', '1', '2', '3', '4'),
      error: fc.constantFrom(undefined, 'no'),
      version: fc.constantFrom('a', 'b', 'c'),
    }),
  )
  let sends = 0
  fc.assert(
    fc.property(fc.array(event, { maxLength: 30 }), (events) => {
      const nonces: string[] = []
      let state = STREAM_START
      for (const each of events) {
        const before = state
        const step = stepStream(state, each)
        state = step.state
        if (step.send) {
          nonces.push(state.nonce)
          const sameNames = before.names?.toSorted().join() === state.names?.toSorted().join()
          if (sameNames && before.version === state.version) return false
        } else if (state.nonce !== before.nonce) return false
      }
      sends += nonces.length
      return new Set(nonces).size === nonces.length
    }),
    { numRuns: 2000 },
  )
  t.true(sends > 500, `only ${sends} sends`)
})

const available = new Map([
  ['id', 's1'],
  ['default', 's1'],
  ['td', 'g1'],
  ['ROOTCA', 'g1'],
])
const everything = ['id', 'td']
const delta = (change: Partial<DeltaEvent & { kind: 'request' }> = {}): DeltaEvent => ({
  kind: 'request',
  subscribe: [],
  unsubscribe: [],
  initial: new Map(),
  nonce: '',
  error: undefined,
  available,
  everything,
  ...change,
})

test('stepDelta() sends what is subscribed to, and then only what changes', (t) => {
  const first = stepDelta(DELTA_START, delta({ subscribe: ['default', 'ROOTCA'] }))
  t.deepEqual(first.send, { names: ['default', 'ROOTCA'], removed: [] })
  const same = stepDelta(first.state, { kind: 'content', available, everything })
  t.is(same.send, undefined)
  const rotated = new Map([...available, ['id', 's2'], ['default', 's2']])
  const next = stepDelta(same.state, { kind: 'content', available: rotated, everything })
  t.deepEqual(next.send, { names: ['default'], removed: [] })
})

test('stepDelta() stands for everything by its ID when the first request names nothing, or by *', (t) => {
  for (const subscribe of [[], ['*']]) {
    const step = stepDelta(DELTA_START, delta({ subscribe }))
    t.deepEqual(step.send, { names: ['id', 'td'], removed: [] })
    const ack = stepDelta(step.state, delta({ nonce: '1' }))
    t.deepEqual([ack.send, ack.heard], [undefined, 'accepted'])
  }
})

test('stepDelta() leaves out what a client that reconnects holds in the newest version', (t) => {
  const initial = new Map([
    ['id', 's0'],
    ['td', 'g1'],
  ])
  const step = stepDelta(DELTA_START, delta({ subscribe: ['id', 'td'], initial }))
  t.deepEqual(step.send, { names: ['id'], removed: [] })
})

test('stepDelta() answers a name that is subscribed to again, although the client has it', (t) => {
  const { state } = stepDelta(DELTA_START, delta({ subscribe: ['id'] }))
  const again = stepDelta(state, delta({ subscribe: ['id'], nonce: '1' }))
  t.deepEqual(again.send, { names: ['id'], removed: [] })
})

test('stepDelta() does not send a rejected secret again until it changes', (t) => {
  const { state } = stepDelta(DELTA_START, delta({ subscribe: ['id'] }))
  const nack = stepDelta(state, delta({ nonce: '1', error: 'no' }))
  t.deepEqual([nack.send, nack.heard], [undefined, 'rejected'])
  const rotated = new Map([...available, ['id', 's2']])
  const next = stepDelta(nack.state, { kind: 'content', available: rotated, everything })
  t.deepEqual(next.send, { names: ['id'], removed: [] })
})

test('stepDelta() says what is gone, once, and forgets what is unsubscribed', (t) => {
  const { state } = stepDelta(DELTA_START, delta({ subscribe: ['id', 'td'] }))
  const without = new Map([['td', 'g1']])
  const gone = stepDelta(state, { kind: 'content', available: without, everything })
  t.deepEqual(gone.send, { names: [], removed: ['id'] })
  t.is(stepDelta(gone.state, { kind: 'content', available: without, everything }).send, undefined)

  const left = stepDelta(state, delta({ unsubscribe: ['id'], nonce: '1' }))
  const rotated = new Map([...available, ['id', 's2']])
  t.is(stepDelta(left.state, { kind: 'content', available: rotated, everything }).send, undefined)
})

test('stepDelta() hears a stale nonce as saying nothing, and its subscriptions all the same', (t) => {
  const { state } = stepDelta(DELTA_START, delta({ subscribe: ['id'] }))
  const step = stepDelta(state, delta({ nonce: '7', error: 'no', subscribe: ['td'] }))
  t.deepEqual([step.heard, step.send], ['stale', { names: ['td'], removed: [] }])
})
