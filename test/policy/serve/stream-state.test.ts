import test from 'ava'
import * as fc from 'fast-check'

import { parseResourceName } from '#policy/serve/resource-name.ts'
import {
  EMPTY_STREAM,
  MAX_OUTSTANDING,
  MAX_SUBSCRIPTIONS,
  maySend,
  receive,
  type StreamMessage,
  type StreamState,
  send,
} from '#policy/serve/stream-state.ts'

const says = (message: Partial<StreamMessage>): StreamMessage => ({
  subscribe: [],
  unsubscribe: [],
  held: new Map(),
  nonce: '',
  rejected: new Map(),
  keysWanted: [],
  ...message,
})

function received(state: StreamState, message: Partial<StreamMessage>): StreamState {
  const result = receive(state, says(message))
  if (result.kind !== 'ok') throw new Error(result.kind)
  return result.state
}

const NAMES = ['a', 'b', 'c']

type Step =
  | { readonly kind: 'subscribe' | 'unsubscribe'; readonly name: string }
  | { readonly kind: 'change'; readonly name: string }
  | { readonly kind: 'push' }
  | { readonly kind: 'answer'; readonly which: number; readonly refuse: boolean }

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constantFrom('subscribe', 'unsubscribe'), name: fc.constantFrom(...NAMES) }),
  fc.record({ kind: fc.constant('change'), name: fc.constantFrom(...NAMES) }),
  fc.record({ kind: fc.constant('push') }),
  fc.record({ kind: fc.constant('answer'), which: fc.nat(20), refuse: fc.boolean() }),
)

/** A server and a sidecar that do `steps`; versions count up from 1. */
class Play {
  state = EMPTY_STREAM
  /** Responses that the sidecar has not answered. */
  readonly inbox: { nonce: string; versions: ReadonlyMap<string, string> }[] = []
  readonly desired = new Map(NAMES.map((name) => [name, 1]))
  mostOutstanding = 0

  do(one: Step): void {
    switch (one.kind) {
      case 'subscribe':
        if (!this.state.resources.has(one.name))
          this.state = received(this.state, { subscribe: [one.name] })
        break
      case 'unsubscribe':
        this.state = received(this.state, { unsubscribe: [one.name] })
        break
      case 'change':
        this.desired.set(one.name, (this.desired.get(one.name) ?? 0) + 1)
        break
      case 'push':
        this.push()
        break
      case 'answer': {
        const [response] = this.inbox.splice(one.which % Math.max(1, this.inbox.length), 1)
        if (response) this.answer(response, one.refuse)
        break
      }
      default:
        one satisfies never
    }
  }

  push(): void {
    const changed = [...this.state.resources]
      .map(([name, { sent }]) => [name, String(this.desired.get(name)), sent] as const)
      .filter(([, version, sent]) => version !== sent)
    if (changed.length === 0 || !maySend(this.state)) return
    const versions = new Map(changed.map(([name, version]) => [name, version]))
    const { state, nonce } = send(this.state, versions, [], 'x-')
    this.state = state
    this.inbox.push({ nonce, versions })
    this.mostOutstanding = Math.max(this.mostOutstanding, state.outstanding.size)
  }

  answer({ nonce, versions }: Play['inbox'][number], refuse: boolean): void {
    const rejected = new Map(refuse ? [...versions.keys()].map((name) => [name, 'no']) : [])
    this.state = received(this.state, { nonce, rejected })
  }
}

test('whatever happened, a sidecar that answers in order ends with the newest version of all that it wants', (t) => {
  t.notThrows(() =>
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const play = new Play()
        for (const one of steps) play.do(one)
        for (let round = 0; round < 3; round += 1) {
          for (const response of play.inbox.splice(0)) play.answer(response, false)
          play.push()
        }
        const all = [...play.state.resources]
        return (
          play.mostOutstanding <= MAX_OUTSTANDING &&
          play.state.outstanding.size === 0 &&
          all.every(([name, { sent }]) => sent === String(play.desired.get(name)))
        )
      }),
      { numRuns: 1000 },
    ),
  )
})

test('a version that was refused stays sent, and the one applied before stays applied', (t) => {
  let state = received(EMPTY_STREAM, { subscribe: ['a'] })
  const first = send(state, new Map([['a', '1']]), [], 'x-')
  state = received(first.state, { nonce: first.nonce })
  const second = send(state, new Map([['a', '2']]), [], 'x-')
  state = received(second.state, { nonce: second.nonce, rejected: new Map([['a', 'because']]) })
  t.deepEqual(state.resources.get('a'), {
    sent: '2',
    applied: '1',
    rejected: { version: '2', reason: 'because' },
  })
})

test('an answer to a nonce of another stream, or to none, changes nothing', (t) => {
  const { state } = send(
    received(EMPTY_STREAM, { subscribe: ['a'] }),
    new Map([['a', '1']]),
    [],
    'x-',
  )
  for (const nonce of ['y-1', 'x-2', '1']) {
    const result = receive(state, says({ nonce }))
    t.deepEqual(result.kind === 'ok' && result.answers, [])
    t.is(result.kind === 'ok' && result.state.outstanding.size, 1)
  }
})

test('a part of a response may be refused', (t) => {
  const subscribed = received(EMPTY_STREAM, { subscribe: ['a', 'b'] })
  const { state, nonce } = send(
    subscribed,
    new Map([
      ['a', '1'],
      ['b', '1'],
    ]),
    [],
    'x-',
  )
  const result = receive(state, says({ nonce, rejected: new Map([['b', 'x'.repeat(5000)]]) }))
  t.deepEqual(
    result.kind === 'ok' &&
      result.answers.map(({ kind, name, reason = '' }) => [kind, name, reason.length]),
    [
      ['applied', 'a', 0],
      ['rejected', 'b', 2000],
    ],
  )
})

test('subscriptions are bounded', (t) => {
  const names = Array.from({ length: MAX_SUBSCRIPTIONS + 1 }, (_, index) => `n${index}`)
  t.is(receive(EMPTY_STREAM, says({ subscribe: names })).kind, 'too-many')
  t.is(receive(EMPTY_STREAM, says({ subscribe: names.slice(1) })).kind, 'ok')
})

const RESOURCE_NAMES: readonly (readonly [string, unknown])[] = [
  ['inbound/ns/w', { kind: 'inbound', namespace: 'ns', workload: 'w' }],
  ['destination/a.b:80', { kind: 'destination', host: 'a.b', port: 80 }],
  ['destination/2001:db8::1:80', { kind: 'destination', host: '2001:db8::1', port: 80 }],
  ['destination/a:0', undefined],
  ['destination/a:65536', undefined],
  ['destination/:80', undefined],
  ['destination/a', undefined],
  ['destination/a b:80', undefined],
  ['destination/a/b:80', undefined],
  ['inbound/ns', undefined],
  ['inbound/ns/w/x', undefined],
  ['inbound//w', undefined],
  ['', undefined],
  [`destination/${'a'.repeat(400)}:80`, undefined],
]

for (const [name, wanted] of RESOURCE_NAMES) {
  test(`resource name ${JSON.stringify(name.slice(0, 40))}`, (t) => {
    t.deepEqual(parseResourceName(name), wanted)
  })
}
