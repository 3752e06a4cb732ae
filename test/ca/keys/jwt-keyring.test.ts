import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import type { CaError } from '#ca/index.ts'
import { activeJwtKey, planJwtKey } from '../../../ca/keys/jwt-key-times.ts'
import { openJwtKeyring } from '../../../ca/keys/jwt-keyring.ts'
import { createMemoryKeys } from '../../../ca/keys/memory-keys.ts'
import { openStateDir } from '../../../ca/keys/state-dir.ts'
import { temporaryDir } from '../harness.ts'

const start = Temporal.Instant.from('2026-11-21T00:00:00Z')
const at = (hours: number) => start.add({ milliseconds: Math.round(hours * 3_600_000) })
const life = Temporal.Duration.from({ hours: 24 })
const hours = (instant: Temporal.Instant) =>
  (instant.epochMilliseconds - start.epochMilliseconds) / 3_600_000

test('planJwtKey() lets a key sign from 5/6 of the life of the one before it', (t) => {
  const first = planJwtKey(undefined, at(0), life)
  t.deepEqual([hours(first.activeAt), hours(first.notAfter)], [0, 24])
  const second = planJwtKey(first, at(12), life)
  t.deepEqual([hours(second.activeAt), hours(second.notAfter)], [20, 36])
  t.is(activeJwtKey([first, second], at(19.9)), first)
  t.is(activeJwtKey([first, second], at(20)), second)
})

test('planJwtKey() lets a key that is prepared late be known for a while before it signs', (t) => {
  const first = planJwtKey(undefined, at(0), life)
  t.is(hours(planJwtKey(first, at(21), life).activeAt), 22)
  t.is(hours(planJwtKey(first, at(23.5), life).activeAt), 24, 'but not beyond the end of the last')
  t.is(
    hours(planJwtKey(first, at(30), life).activeAt),
    30,
    'after which there is nothing to wait for',
  )
})

test('openJwtKeyring() keeps its keys in a file of its owner alone, and finds them again', async (t) => {
  await using dir = await temporaryDir()
  const state = await openStateDir(dir.path)
  const places = { state, store: createMemoryKeys() }
  const first = await openJwtKeyring(places, life, at(0))
  t.is((await stat(join(dir.path, 'jwt-keys.json'))).mode & 0o777, 0o600)
  const again = await openJwtKeyring(places, life, at(11))
  t.deepEqual(again.publicKeys(), first.publicKeys())
  t.is(again.publicKeys().length, 1)

  const half = await openJwtKeyring(places, life, at(12.1))
  const [old, next] = half.publicKeys()
  t.deepEqual(old, first.publicKeys()[0])
  t.is(half.signer(at(12.1)).kid, old?.kid ?? '')
  t.is(half.signer(at(20)).kid, next?.kid ?? '')

  await half.prepare(at(24.2))
  const kids = half.publicKeys().map(({ kid }) => kid)
  t.is(kids.length, 2)
  t.false(kids.includes(old?.kid ?? ''), 'a key that has ended is let go')
  t.false((await readFile(join(dir.path, 'jwt-keys.json'), 'utf8')).includes(old?.kid ?? '?'))
})

test('openJwtKeyring() signs nothing by a key that has ended', async (t) => {
  await using dir = await temporaryDir()
  const keyring = await openJwtKeyring(
    { state: await openStateDir(dir.path), store: createMemoryKeys() },
    life,
    at(0),
  )
  t.throws(() => keyring.signer(at(24)), { code: 'CA_SIGNER_UNAVAILABLE' })
})

test('openJwtKeyring() refuses a file that it cannot read', async (t) => {
  await using dir = await temporaryDir()
  const places = { state: await openStateDir(dir.path), store: createMemoryKeys() }
  for (const text of ['', '{}', '{"keys":[{}]}']) {
    await writeFile(join(dir.path, 'jwt-keys.json'), text, { mode: 0o600 })
    await t.throwsAsync(openJwtKeyring(places, life, at(0)), {
      code: 'CA_STATE_UNUSABLE',
      message: /^Cannot use the stored JWT keys jwt-keys\.json: /,
    })
  }
})

async function opened(t: ExecutionContext, hour = 0) {
  const dir = await temporaryDir()
  t.teardown(() => dir[Symbol.asyncDispose]())
  const places = { state: await openStateDir(dir.path), store: createMemoryKeys() }
  const keyring = await openJwtKeyring(places, life, at(hour))
  const reopened = (now: number) => openJwtKeyring(places, life, at(now))
  const states = (now: number, of = keyring) => of.list(at(now)).map(({ state }) => state)
  return { keyring, reopened, states, kid: () => keyring.publicKeys()[0]?.kid ?? '' }
}
const MOMENT = 2 / 3600

test('identity-standards §3.5: a key for tokens that is tainted signs until everybody can know its successor, and no longer', async (t) => {
  const { keyring, reopened, states, kid } = await opened(t)
  const old = kid()
  await keyring.taint(old, at(1))
  t.deepEqual(states(1), ['tainted', 'prepared'])
  t.deepEqual(keyring.taintedKeys(), [old])
  t.is(keyring.signer(at(1)).kid, old)
  const next = keyring.publicKeys()[1]?.kid ?? ''
  t.is(keyring.signer(at(1 + MOMENT)).kid, next)
  t.deepEqual(states(1 + MOMENT), ['tainted', 'active'])
  t.is(keyring.publicKeys().length, 2, 'what it signed is believed still')
  const again = await reopened(2)
  t.deepEqual([states(2, again), again.taintedKeys()], [['tainted', 'active'], [old]])

  await keyring.revoke(old, false, at(2))
  t.deepEqual(
    keyring.publicKeys().map((key) => key.kid),
    [next],
  )
  t.deepEqual(states(2), ['revoked', 'active'])
  t.deepEqual(states(2, await reopened(2)), ['revoked', 'active'])
  await keyring.prepare(at(49))
  t.deepEqual(states(49), ['active'], 'told of for a day after its end')
})

test('a key for tokens that is tainted is succeeded at once by one that everybody knows already', async (t) => {
  const { keyring, reopened, states, kid } = await opened(t)
  const half = await reopened(12.1)
  await half.taint(kid(), at(13))
  t.deepEqual(states(13, half), ['tainted', 'active'])
  t.true(await keyring.reload(), 'another CA on these files hears of it')
  t.deepEqual(states(13), ['tainted', 'active'])
  t.false(await keyring.reload())
})

test('a key for tokens that has signed nothing is revoked when it is tainted, and another is prepared', async (t) => {
  const { reopened, states } = await opened(t)
  const half = await reopened(12.1)
  const [first, second] = half.publicKeys().map((key) => key.kid)
  await half.taint(second ?? '', at(13))
  t.deepEqual(states(13, half), ['revoked', 'active', 'prepared'])
  t.is(half.signer(at(13)).kid, first ?? '')
  t.false(half.publicKeys().some((key) => key.kid === second))
})

test('a key for tokens is revoked when it is tainted and another signs, sooner by force alone', async (t) => {
  const { keyring, states, kid } = await opened(t)
  const old = kid()
  const refused = { code: 'CA_ROTATION_REFUSED' }
  const early = {
    ...refused,
    message: `Cannot revoke ${old}: it is active, expected tainted (redoubt ca taint)`,
  }
  await t.throwsAsync(keyring.revoke(old, false, at(1)), early)
  await keyring.taint(old, at(1))
  await t.throwsAsync(keyring.taint(old, at(1)), { ...refused, message: /it is tainted already$/ })
  const soon = await t.throwsAsync(keyring.revoke(old, false, at(1)), {
    code: 'CA_ROTATION_NOT_YET',
    message: `Cannot revoke ${old}: its successor signs from 2026-11-21T01:00:02Z on`,
  })
  t.is((soon as CaError).retryAfterMs, 2000)
  await keyring.revoke(old, true, at(1))
  t.deepEqual(states(1), ['revoked', 'active'])
  for (const step of [keyring.taint(old, at(1)), keyring.revoke(old, true, at(1))]) {
    await t.throwsAsync(step, { ...refused, message: /it is revoked already$/ })
  }
  await t.throwsAsync(keyring.taint('ff', at(1)), {
    ...refused,
    message: /the CA has no such key$/,
  })
})
