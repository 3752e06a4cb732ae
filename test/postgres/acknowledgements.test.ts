/** A root rotation waits for whoever is connected, at whichever of the CAs on one database. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import test from 'ava'

import { type Ca, openCa } from '#ca/index.ts'
import type { Bundle } from '#ca/proto/gen/ca.ts'
import { openAuthority } from '#ca/open-authority.ts'
import type { BoardRow, SubscriberBoard } from '#ca/serve/board.ts'
import { type AdminClient, administrator } from '../ca/admin/harness.ts'
import { agentId, attestedClient, configIn, realClock, temporaryDir } from '../ca/harness.ts'
import { FakeClock } from '../fakes/fake-clock.ts'
import { newDatabase } from './database.ts'

const run = process.env['REDOUBT_TEST_POSTGRES'] === undefined ? test.skip : test.serial
const now = () => Temporal.Now.instant()

/** Several CAs on a database of their own. */
async function replicas(names: readonly string[]) {
  await using opening = new AsyncDisposableStack()
  const shared = opening.use(await newDatabase())
  const dir = opening.use(await temporaryDir())
  const passphrase = join(dir.path, 'passphrase')
  await writeFile(passphrase, 'a passphrase of the ledger\n', { mode: 0o600 })
  const ledger = { ...shared.ledger, passphrase: { file: passphrase } }
  const config = (name: string) => configIn(join(dir.path, name), { ledger })
  const cas = new Map<string, Ca>()
  for (const name of names) {
    const ca = await openCa(config(name), { now, clock: realClock, log: () => {} })
    cas.set(name, opening.use(ca))
  }
  const opened = opening.move()
  return {
    ...{ shared, config },
    ca(name: string): Ca {
      const ca = cas.get(name)
      if (!ca) throw new Error(`there is no ${name}`)
      return ca
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  }
}

async function until(holds: () => boolean | Promise<boolean>, withinMs = 15_000): Promise<void> {
  const signal = AbortSignal.timeout(withinMs)
  while (!(await holds())) await realClock.sleep(20, signal)
}

/** An agent called `name` at one CA, with two sidecars, that acknowledges only when it is told to. */
async function follower(ca: Ca, name: string, known = 0n) {
  const agent = await attestedClient(ca)
  const stream = agent.client.raw.bundles()
  const seen: Bundle[] = []
  stream.on('data', (bundle: Bundle) => seen.push(bundle)).on('error', () => {})
  const sidecar = (number: bigint, generation: bigint) => ({
    ...{ number, spiffeId: `spiffe://prod.example/ns/pay/sa/s${number}`, name: `pid ${number}` },
    ...{ generation, denials: 0n, gone: false },
  })
  const say = (generation: bigint, ofSidecars: bigint): void => {
    const subscribers = [1n, 2n].map((number) => sidecar(number, ofSidecars))
    stream.write({ generation, denials: 0n, name, subscribers })
  }
  say(known, known)
  await until(() => seen.length > 0)
  const newest = (): bigint => seen.at(-1)?.generation ?? 0n
  return {
    ...{ seen, newest },
    acknowledge: (ofSidecars = newest()) => say(newest(), ofSidecars),
    [Symbol.dispose]() {
      stream.cancel()
      agent[Symbol.dispose]()
    },
  }
}

const rotate = (admin: AdminClient, step: string) => admin.call('rotate', { step, force: false })
const laggardsOf = (list: readonly { name: string; connected: boolean }[]) =>
  list.map(({ name, connected }) => `${name}${connected ? '' : ' away'}`).toSorted()

run(
  'users §1.2.20: a rotation that one CA starts waits for agents and sidecars that another serves; either takes the steps',
  async (t) => {
    await using mesh = await replicas(['one', 'two'])
    const [one, two] = [mesh.ca('one'), mesh.ca('two')]
    using asked = await administrator(one)
    using other = await administrator(two)
    using near = await follower(one, 'near')
    using far = await follower(two, 'far')
    t.is((await rotate(asked, 'start')).status?.generation, 2n)
    await until(() => near.newest() === 2n && far.newest() === 2n)
    near.acknowledge()
    await until(() => one.subscribers().every(({ generation }) => generation === 2))

    const refused = await rotate(asked, 'promote')
    t.is(refused.notYet?.reason, 'CA_ROTATION_NOT_YET')
    t.deepEqual(laggardsOf(refused.laggards), ['far', 'pid 1', 'pid 2'], 'nobody of its own')
    t.deepEqual(
      laggardsOf((await rotate(other, 'promote')).laggards),
      ['far', 'pid 1', 'pid 2'],
      'both CAs say the same',
    )

    far.acknowledge(1n) // the agent has it, its sidecars do not
    await until(() => two.subscribers().some(({ generation }) => generation === 2))
    t.deepEqual(laggardsOf((await rotate(asked, 'promote')).laggards), ['pid 1', 'pid 2'])
    far.acknowledge()
    await until(() => two.subscribers().every(({ generation }) => generation === 2))
    const both = await Promise.allSettled([rotate(asked, 'promote'), rotate(other, 'promote')])
    const done = both.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
    t.true(done.length > 0 && done.every(({ notYet }) => notYet === undefined))
    const books = await mesh.shared.query('SELECT version FROM authority_books ORDER BY version')
    t.is(books.length, 3, 'first, start, promote: no step is taken twice')

    // Both agents still show a certificate of the old root: whoever is asked says so of both.
    const held = await rotate(other, 'finish')
    t.deepEqual(laggardsOf(held.laggards), ['far', 'near'])
    for (const ca of [asked, other]) {
      const { subscribers, replicas: all } = await ca.call('status', {})
      t.is(subscribers.length, 6)
      t.is(all.filter(({ alive }) => alive).length, 2)
      t.is(all.filter(({ self }) => self).length, 1)
    }
  },
)

run(
  'an agent that moves to another CA is counted once, and what is late from the CA that it left changes nothing',
  async (t) => {
    await using mesh = await replicas(['one', 'two'])
    using asked = await administrator(mesh.ca('one'))
    const names = async () => {
      const { subscribers } = await asked.call('status', {})
      return laggardsOf(subscribers.filter(({ kind }) => kind === 'agent'))
    }
    using before = await follower(mesh.ca('one'), 'node')
    t.deepEqual(await names(), ['node'])
    using after = await follower(mesh.ca('two'), 'node', 1n)
    t.deepEqual(await names(), ['node'])
    before.acknowledge() // the older stream, which has not ended yet
    await until(() =>
      mesh
        .ca('one')
        .subscribers()
        .every(({ generation }) => generation === 1),
    )
    before[Symbol.dispose]()
    await until(() =>
      mesh
        .ca('one')
        .subscribers()
        .every(({ connected }) => !connected),
    )
    t.deepEqual(await names(), ['node'], 'it is connected, elsewhere')
    after[Symbol.dispose]()
    await until(async () => (await names())[0] === 'node away')
    t.deepEqual(await names(), ['node away'])
  },
)

run(
  'what a CA closes with is known to the others at once: its agents are away, and it is gone',
  async (t) => {
    await using mesh = await replicas(['one', 'two'])
    using asked = await administrator(mesh.ca('one'))
    using _far = await follower(mesh.ca('two'), 'far')
    await until(async () => (await asked.call('status', {})).subscribers.length === 3)
    await mesh.ca('two')[Symbol.asyncDispose]()
    const { subscribers, replicas: all } = await asked.call('status', {})
    t.deepEqual(laggardsOf(subscribers), ['far away', 'pid 1 away', 'pid 2 away'])
    t.is(all.length, 1)
    await rotate(asked, 'start')
    t.is((await rotate(asked, 'promote')).notYet, undefined, 'nobody waits for who is away')
  },
)

/** A CA's end of the board, whose signs of life are in the hands of the test. */
async function member(config: ReturnType<typeof configIn>, address: string) {
  const clock = new FakeClock()
  const authority = await openAuthority(config, now)
  const rows: BoardRow[] = []
  const board = await authority.openBoard?.({ address, present: () => rows }, clock)
  if (!board) throw new Error('there is no board')
  return {
    ...{ board, clock, rows },
    async [Symbol.asyncDispose]() {
      await board[Symbol.asyncDispose]()
      await authority[Symbol.asyncDispose]()
    },
  }
}

const rowOf = (change: Partial<BoardRow> & { readonly generation: number }): BoardRow => ({
  ...{ agent: 'a node', stream: 'first', openedAt: 1, connected: true },
  until: now().add({ hours: 1 }).epochMilliseconds,
  subscribers: [
    {
      ...{ id: agentId, kind: 'agent', name: 'node', generation: change.generation },
      ...{ denials: 0, connected: true, keyIds: ['ab'] },
    },
  ],
  ...change,
})

const seen = async (board: SubscriberBoard) =>
  (await board.everyone()).map(({ generation, connected }) => [generation, connected])

run(
  'a CA that gives no sign of life for 15 s holds nobody up; when it is back, what is missing of it is put back',
  async (t) => {
    await using mesh = await replicas([])
    await using one = await member(mesh.config('one'), '127.0.0.1:1')
    await using two = await member(mesh.config('two'), '127.0.0.1:2')
    two.board.put(rowOf({ generation: 4 }))
    await two.board.everyone()
    t.deepEqual(await seen(one.board), [[4, true]])

    // As if it had been killed: nobody is asked to wait for 15 s here.
    await mesh.shared.query(
      `UPDATE replicas SET seen_at = seen_at - 16000 WHERE address = '127.0.0.1:2'`,
    )
    t.deepEqual(await seen(one.board), [[4, false]], 'it shows that certificate still, and is away')
    t.deepEqual((await one.board.everyone())[0]?.keyIds, ['ab'])
    t.deepEqual(
      (await one.board.replicas()).map(({ address, alive }) => [address, alive]),
      [
        ['127.0.0.1:1', true],
        ['127.0.0.1:2', false],
      ],
    )
    // Somebody restored or cleaned the table meanwhile.
    await mesh.shared.query('DELETE FROM subscribers')
    two.rows.push(rowOf({ generation: 4 }))
    await two.clock.advance(4000)
    await until(async () => (await seen(one.board)).length === 1)
    t.deepEqual(await seen(one.board), [[4, true]])
  },
)

run(
  'of two CAs that speak for one agent the newer stream is heard, whatever comes late',
  async (t) => {
    await using mesh = await replicas([])
    await using one = await member(mesh.config('one'), '127.0.0.1:1')
    await using two = await member(mesh.config('two'), '127.0.0.1:2')
    two.board.put(rowOf({ generation: 5, stream: 'second', openedAt: 2 }))
    await two.board.everyone()
    one.board.put(rowOf({ generation: 4 }))
    t.deepEqual(await seen(one.board), [[5, true]], 'the first word of a stream that is older')
    one.board.put(rowOf({ generation: 4, connected: false }))
    t.deepEqual(await seen(one.board), [[5, true]], 'and its end')
    two.board.put(rowOf({ generation: 5, stream: 'second', openedAt: 2, connected: false }))
    await two.board.everyone()
    one.board.put(rowOf({ generation: 4 }))
    t.deepEqual(await seen(one.board), [[4, true]], 'unless nobody else speaks for it')
    const ended = now().subtract({ seconds: 1 }).epochMilliseconds
    one.board.put(rowOf({ generation: 4, connected: false, until: ended }))
    t.deepEqual(await seen(one.board), [], 'an agent whose certificate has ended is nobody')
    await two.clock.advance(4000)
    const stored = () => mesh.shared.query('SELECT agent FROM subscribers')
    await until(async () => (await stored()).length === 0)
    t.deepEqual(await seen(two.board), [], 'and leaves the table')
  },
)

run(
  'the same trust has one number at all CAs, and no number from after a step is without what it put in the bundle',
  async (t) => {
    await using mesh = await replicas([])
    await using one = await openAuthority(mesh.config('one'), now)
    await using two = await openAuthority(mesh.config('two'), now)
    t.is(one.bundle.current.generation, two.bundle.current.generation)
    const before = two.bundle.current
    // Two has not heard of the step when something else of its bundle changes.
    await mesh.shared.query(
      'INSERT INTO authority_books SELECT version + 1, at, book FROM authority_books ORDER BY version DESC LIMIT 1',
    )
    await one.keepUp()
    const foreign = { ...before, trustDomain: 'other.example' as never }
    await two.publish({ federated: [foreign] })
    t.is(two.bundle.current, before, 'authorities that are not the newest get no number')
    await two.keepUp()
    t.is(two.bundle.current.federated?.length, 1, 'with the newest, it is published')
    await one.publish({ federated: [foreign] })
    const [mine, theirs] = [one.bundle.current.generation, two.bundle.current.generation]
    t.is(mine, theirs)

    // One goes back and forth, as a CA does that hears of two changes in another order.
    await one.publish({ federated: [] })
    await one.publish({ federated: [foreign] })
    t.true(one.bundle.current.generation > theirs)
    await two.keepUp()
    t.is(two.bundle.current.generation, one.bundle.current.generation)
  },
)
