import test from 'ava'
import {
  applyDenyChanges,
  compileDenyList,
  denialsInForce,
  denyChangesSince,
  type DenyKind,
  type DenyList,
  type DenyRecord,
  findDenied,
  MAX_DENIALS,
  NO_DENIALS,
  parseDenyEntry,
} from '#ca/x509/index.ts'

const NOW = Temporal.Instant.from('2026-11-21T12:00:00Z')
const SOON = NOW.add({ minutes: 10 })
const ID = 'spiffe://prod.example/ns/pay/sa/api'

function record(
  kind: DenyKind,
  value: string,
  generation: number,
  change: Partial<DenyRecord> = {},
): DenyRecord {
  return { kind, value, until: SOON, generation, lifted: false, ...change }
}

/** A list as its owner has it after each of `records` in turn. */
function listOf(...records: readonly DenyRecord[]): DenyList {
  return records.reduce(
    (list, entry) =>
      applyDenyChanges(
        list,
        { base: list.generation, generation: entry.generation, entries: [entry] },
        NOW,
      ),
    NO_DENIALS,
  )
}

const values = ({ entries }: { readonly entries: readonly DenyRecord[] }) =>
  entries.map(({ value }) => value).sort()

test('a peer is denied by its serial, its name, or a key on its path, and by nothing else', (t) => {
  const peer = { id: ID, serial: 'ab', keyIds: ['0102030405060708', '1112131415161718'] }
  const found = (entry: DenyRecord) => findDenied(compileDenyList(listOf(entry)), peer, NOW)
  t.like(found(record('serial', 'ab', 1)), { kind: 'serial', value: 'ab' })
  t.like(found(record('spiffe-id', ID, 1)), { kind: 'spiffe-id', value: ID })
  t.like(found(record('key-id', '1112131415161718', 1)), { kind: 'key-id' })
  t.is(found(record('serial', 'ac', 1)), undefined)
  t.is(found(record('key-id', 'ab', 1)), undefined, 'a value of another kind')
  t.is(found(record('spiffe-id', `${ID}x`, 1)), undefined)
})

test('an entry ends by itself, at its end, and is not kept beyond it', (t) => {
  const list = listOf(record('serial', 'ab', 1))
  const denies = compileDenyList(list)
  t.true(denies?.('serial', 'ab', SOON.subtract({ milliseconds: 1 })))
  t.false(denies?.('serial', 'ab', SOON))
  t.deepEqual(denialsInForce(list, SOON), [])
  const next = { base: 1, generation: 2, entries: [record('serial', 'cd', 2)] }
  const until = SOON.add({ hours: 1 })
  const later = applyDenyChanges(
    list,
    { ...next, entries: [record('serial', 'cd', 2, { until })] },
    SOON,
  )
  t.deepEqual(values(later), ['cd'])
})

test('an empty list compiles to nothing, so that a handshake asks nothing', (t) => {
  t.is(compileDenyList(NO_DENIALS), undefined)
  t.is(compileDenyList(listOf(record('serial', 'ab', 1, { lifted: true }))), undefined)
})

test('whoever holds a generation is told what came after it, what was lifted too (users §1.3.32)', (t) => {
  const list = listOf(
    record('serial', 'aa', 1),
    record('serial', 'bb', 2),
    record('serial', 'aa', 3, { lifted: true }),
  )
  t.deepEqual(values(denyChangesSince(list, 0, NOW)), ['aa', 'bb'])
  t.deepEqual(values(denyChangesSince(list, 2, NOW)), ['aa'])
  t.deepEqual(denyChangesSince(list, 3, NOW), { base: 3, generation: 3, entries: [] })
  t.deepEqual(denyChangesSince(list, 0, SOON).entries, [], 'what has ended is told to nobody')

  const holder = applyDenyChanges(
    listOf(record('serial', 'aa', 1)),
    denyChangesSince(list, 1, NOW),
    NOW,
  )
  t.deepEqual(
    denialsInForce(holder, NOW).map(({ value }) => value),
    ['bb'],
  )
})

test('however changes are cut, a holder ends with the list of their owner', (t) => {
  const history = Array.from({ length: 40 }, (_, at) =>
    record('serial', `0${at % 9}`.slice(-2), at + 1, { lifted: at % 4 === 3 }),
  )
  const owner = listOf(...history)
  for (let step = 1; step < 12; step += 1) {
    let held: DenyList = NO_DENIALS
    for (let upTo = step; upTo < 40 + step; upTo += step) {
      const then = listOf(...history.slice(0, upTo))
      held = applyDenyChanges(held, denyChangesSince(then, held.generation, NOW), NOW)
    }
    const inForce = (list: DenyList) =>
      denialsInForce(list, NOW)
        .map(({ value }) => value)
        .sort()
    t.deepEqual(inForce(held), inForce(owner), `in steps of ${step}`)
    t.is(held.generation, 40)
  }
})

test('a gap is refused: changes that something must come before leave the list as it was', (t) => {
  const changes = { base: 5, generation: 6, entries: [record('serial', 'ab', 6)] }
  t.throws(() => applyDenyChanges(listOf(record('serial', 'aa', 1)), changes, NOW), {
    code: 'CA_DENIAL_INVALID',
    message: /since generation 5: generation 1 is held/,
  })
})

test('a CA that was restored from a backup takes nothing back, and is heard again', (t) => {
  const held = listOf(record('serial', 'aa', 1), record('serial', 'bb', 7))
  const restored = listOf(record('serial', 'aa', 1))
  const changes = denyChangesSince(restored, held.generation, NOW)
  t.is(changes.base, 0, 'it never had that generation, so it tells all')
  const after = applyDenyChanges(held, changes, NOW)
  t.deepEqual(values(after), ['aa', 'bb'])
  t.is(after.generation, 1)
  const next = applyDenyChanges(
    restored,
    { base: 1, generation: 2, entries: [record('serial', 'cc', 2)] },
    NOW,
  )
  t.deepEqual(values(applyDenyChanges(after, denyChangesSince(next, 1, NOW), NOW)), [
    'aa',
    'bb',
    'cc',
  ])
})

test('a list has a bound, and one that would pass it is refused', (t) => {
  const entries = Array.from({ length: MAX_DENIALS + 1 }, (_, at) =>
    record('serial', (at + 0x100000).toString(16), 1),
  )
  t.throws(() => applyDenyChanges(NO_DENIALS, { base: 0, generation: 1, entries }, NOW), {
    code: 'CA_DENIAL_INVALID',
    message: /10001 entries, expected 10000/,
  })
})

const MALFORMED: readonly (readonly [kind: string, value: string])[] = [
  ['everything', 'ab'],
  ['serial', ''],
  ['serial', 'AB'],
  ['serial', 'abc'],
  ['serial', '00ab'],
  ['serial', 'ab'.repeat(21)],
  ['key-id', 'xyz'],
  ['key-id', 'ab'],
  ['spiffe-id', 'pay/api'],
  ['spiffe-id', 'spiffe://prod.example'],
  ['spiffe-id', `spiffe://prod.example/${'a'.repeat(3000)}`],
]

test('entries in a form that could never match are refused', (t) => {
  for (const [kind, value] of MALFORMED) {
    t.throws(() => parseDenyEntry({ kind, value, until: SOON }), { code: 'CA_DENIAL_INVALID' })
  }
  for (const [kind, value] of [
    ['serial', '00'],
    ['serial', '7f'.repeat(16)],
    ['key-id', 'ab'.repeat(20)],
    ['spiffe-id', ID],
  ] as const) {
    t.like(parseDenyEntry({ kind, value, until: SOON }), { kind, value })
  }
})
