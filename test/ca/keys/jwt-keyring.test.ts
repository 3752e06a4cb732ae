import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import { activeJwtKey, openJwtKeyring, planJwtKey } from '../../../ca/keys/jwt-keyring.ts'
import { createMemoryKeys } from '../../../ca/keys/memory-keys.ts'
import { openStateDir } from '../../../ca/keys/state-dir.ts'
import { temporaryDir } from '../harness.ts'

const start = Temporal.Instant.from('2026-11-21T00:00:00Z')
const at = (hours: number) => start.add({ milliseconds: hours * 3_600_000 })
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
