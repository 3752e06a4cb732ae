/** How much of an agent one caller can have, or a crowd of strangers. */
import { EventEmitter } from 'node:events'
import type { Socket } from 'node:net'
import { setImmediate } from 'node:timers/promises'
import test from 'ava'
import { parseSpiffeId, type SpiffeId } from '#ca/spiffe/index.ts'
import { FakeClock } from '#test/fakes/fake-clock.ts'
import { createCallers } from '../../agent/callers.ts'

const api = parseSpiffeId('spiffe://prod.example/ns/pay/sa/api')
const web = parseSpiffeId('spiffe://prod.example/ns/pay/sa/web')

class FakeSocket extends EventEmitter {
  destroyed = false
  readonly owner: SpiffeId | undefined

  constructor(owner: SpiffeId | undefined) {
    super()
    this.owner = owner
  }

  destroy(): void {
    if (this.destroyed) return
    this.destroyed = true
    this.emit('close')
  }
}

function story() {
  const ending = new AbortController()
  const clock = new FakeClock()
  const callers = createCallers(
    {
      identify: async (socket) => (socket as unknown as FakeSocket).owner,
      clock,
      log: () => {},
    },
    ending.signal,
  )
  const connect = (count: number, owner: SpiffeId | undefined) =>
    Array.from({ length: count }, () => {
      const socket = new FakeSocket(owner)
      callers.accept(socket as unknown as Socket)
      return socket
    })
  const open = (sockets: readonly FakeSocket[]) => sockets.filter((one) => !one.destroyed).length
  return { callers, connect, open, ending, clock }
}

test('one identity has so many connections and no more, and leaves others theirs', async (t) => {
  const { callers, connect, open } = story()
  const greedy = connect(300, api)
  await setImmediate()
  t.is(open(greedy), 256)
  const other = connect(2, web)
  await setImmediate()
  t.is(open(other), 2)
  greedy[0]?.destroy()
  const next = connect(1, api)
  await setImmediate()
  t.is(open(next), 1, 'one that ends makes room for one')
  t.is(callers.connections(), 258)
})

test('strangers cannot take the room of those who are known', async (t) => {
  const { callers, connect, open, ending } = story()
  const crowd = connect(5000, undefined)
  await setImmediate()
  t.is(open(crowd), 2048)
  t.true(crowd.at(-1)?.destroyed === false && crowd[0]?.destroyed, 'the first to come went first')
  const known = connect(3, api)
  await setImmediate()
  t.is(open(known), 3, 'whoever proves who it is finds room, however many do not')
  for (const socket of crowd) socket.destroy()
  t.is(callers.connections(), 3, 'nothing is kept of those who have gone')
  ending.abort()
})

test('whoever proves no identity is sent away after 10 s of his own, and nobody else', async (t) => {
  const { callers, connect, open, ending, clock } = story()
  const first = connect(2, undefined)
  const [known] = connect(1, api)
  const [gone] = connect(1, undefined)
  if (!known || !gone) return t.fail('there are no connections')
  await clock.advance(4000)
  await callers.open(new FakeCall(known)).identify()
  gone.destroy()
  const second = connect(3, undefined)
  await clock.advance(5999)
  t.is(open(first), 2)
  await clock.advance(1)
  t.deepEqual([open(first), open(second)], [0, 3])
  await clock.advance(3999)
  t.is(open(second), 3)
  await clock.advance(1)
  t.is(open(second), 0)
  await clock.advance(60_000)
  const third = connect(1, undefined)
  await clock.advance(10_000)
  t.is(open(third), 0, 'who comes when nobody waited has his time as well')
  t.is(open([known]), 1)
  ending.abort()
})

class FakeCall extends EventEmitter {
  cancelled = false
  readonly #peer: string

  constructor(socket: FakeSocket) {
    super()
    this.#peer = (socket as unknown as { remoteAddress: string }).remoteAddress
  }

  getPeer(): string {
    return this.#peer
  }
}

test('a call ends with itself, with its connection and with the agent, and with nothing else', async (t) => {
  const { callers, connect, ending } = story()
  const [first, second] = connect(2, api)
  if (!first || !second) return t.fail('there are no connections')
  const answered = new FakeCall(first)
  const calls = [answered, new FakeCall(first), new FakeCall(second)]
  const sessions = calls.map((call) => callers.open(call))
  const ended = () => sessions.map(({ signal }) => signal.aborted)
  for (const session of sessions) t.is(await session.identify(), api)
  t.is(callers.calls(), 3)
  t.deepEqual(ended(), [false, false, false])
  answered.emit('finish')
  t.deepEqual(ended(), [true, false, false])
  first.destroy()
  t.deepEqual(ended(), [true, true, false])
  ending.abort(new Error('the agent is closing'))
  t.deepEqual(ended(), [true, true, true])
  await t.throwsAsync(sessions[2]!.identify(), { message: 'the agent is closing' })
  t.throws(() => callers.open(new FakeCall(first)), { code: 'AGENT_PEER_UNKNOWN' })
  const late = callers.open(new FakeCall(second))
  t.true(late.signal.aborted, 'nor does one begin after the end')
  for (const session of sessions) session[Symbol.dispose]()
  t.is(callers.calls(), 0)
})
