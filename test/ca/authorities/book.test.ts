/** The book of authorities: two who write at once, and an end at any moment. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import test from 'ava'
import fc from 'fast-check'
import {
  activateIssuing,
  activePair,
  type AuthorityEntry,
  type Book,
  bundledRoots,
  cancelRotation,
  finishRotation,
  firstBook,
  promoteRotation,
  prepareIssuing,
  pruned,
  revokeKey,
  startRotation,
  taintKey,
} from '#ca/authorities/book.ts'
import { makePair, openAuthorities } from '#ca/authorities/open-authorities.ts'
import { CaError } from '#ca/index.ts'
import { openAuthority } from '#ca/open-authority.ts'
import { configIn, temporaryDir, trustDomain } from '../harness.ts'
import { createMemoryKeys } from '#ca/keys/memory-keys.ts'
import type { KeyStore } from '#ca/keys/signing-key.ts'

let count = 0
const entry = (kind: 'root' | 'issuing', issuerKeyId?: string): AuthorityEntry => {
  count += 1
  const keyId = count.toString(16).padStart(40, '0')
  return {
    ...{ kind, state: 'prepared', keyId, issuerKeyId: issuerKeyId ?? keyId, serial: `${count}` },
    ...{ certificate: '', issuedAt: 0, notAfter: 1000 },
  } as const
}
const pair = () => {
  const root = entry('root')
  return { root, issuing: entry('issuing', root.keyId) }
}

/** One step, drawn by a number; a refusal changes nothing. */
function anyStep(book: Book, draw: number): Book {
  const keyId = book.authorities[draw % book.authorities.length]?.keyId ?? ''
  const { root } = activePair(book)
  const steps: readonly (() => Book)[] = [
    () => startRotation(book, pair(), draw),
    () => promoteRotation(book),
    () => finishRotation(book),
    () => cancelRotation(book),
    () => taintKey(book, keyId, entry('issuing', root.keyId)),
    () => revokeKey(book, keyId),
    () => prepareIssuing(book, entry('issuing', root.keyId), draw),
    () => activateIssuing(book),
    () => pruned(book, 0) ?? book,
    () => pruned(book, 1000 + 2 * 86_400_000) ?? book,
  ]
  try {
    return steps[draw % steps.length]?.() ?? book
  } catch (cause) {
    if (cause instanceof CaError && cause.code === 'CA_ROTATION_REFUSED') return book
    throw cause
  }
}

test('whatever steps are taken, exactly one root and one issuing CA under it sign, and both are trusted', (t) => {
  const property = fc.property(fc.array(fc.nat(10_000), { maxLength: 60 }), (draws) => {
    let book = firstBook(pair())
    for (const draw of draws) {
      const next = anyStep(book, draw)
      t.is(next.version, next === book ? book.version : book.version + 1)
      const active = next.authorities.filter(({ state }) => state === 'active')
      t.deepEqual(active.map(({ kind }) => kind).toSorted(), ['issuing', 'root'])
      const { root, issuing } = activePair(next)
      t.is(issuing.issuerKeyId, root.keyId)
      t.is(bundledRoots(next)[0]?.keyId, root.keyId)
      const keyIds = next.authorities.map(({ keyId }) => keyId)
      const { from = root.keyId, to = root.keyId } = next.rotation ?? {}
      t.true(keyIds.includes(from) && keyIds.includes(to), 'a rotation knows both of its roots')
      // Nobody goes straight from trusted to gone while it signs, and what is gone stays gone.
      for (const before of book.authorities) {
        const after = next.authorities.find(({ keyId }) => keyId === before.keyId)
        if (before.state === 'active') t.not(after?.state, 'revoked')
        if (!after) continue // it ended long ago
        if (before.state === 'revoked') t.is(after.state, 'revoked')
        if (before.state === 'tainted') t.true(['tainted', 'revoked'].includes(after.state))
      }
      book = next
    }
  })
  t.notThrows(() => fc.assert(property, { numRuns: 200 }))
})

const now = () => Temporal.Instant.from('2026-06-01T12:00:00Z')

test('of two CAs on one database exactly one takes a step; the other judges it anew', async (t) => {
  await using dir = await temporaryDir()
  await using one = await openAuthority(configIn(dir.path), now)
  const { queries, ledger, authorities } = one
  // The other has the same keys, as CAs on one database do, and makes its own elsewhere.
  const own = createMemoryKeys()
  const store: KeyStore = {
    ...own,
    async open(id) {
      const known = authorities.book.current.authorities.find(({ keyId }) => keyId === id)
      return (await own.open(id)) ?? (known && (await authorities.open(known)).key)
    },
  }
  const lives = { caTtl: hours(168), rootTtl: hours(8760) }
  const other = await openAuthorities({
    ...{ queries, ledger, store, trustDomain, now, ...lives },
    before: async () => undefined,
    changed: async () => undefined,
  })
  t.deepEqual(other.book.current, authorities.book.current)

  const start = (each: typeof other) =>
    each.step(async (book, make) => startRotation(book, await makePair(make), 1))
  const outcomes = await Promise.allSettled([start(authorities), start(other)])
  t.is(outcomes.filter(({ status }) => status === 'fulfilled').length, 1)
  const [refused] = outcomes.flatMap((each) => (each.status === 'rejected' ? [each.reason] : []))
  t.is(refused.code, 'CA_ROTATION_REFUSED')
  await Promise.all([authorities.keepUp(), other.keepUp()])
  t.deepEqual(other.book.current, authorities.book.current, 'both know of the one that was taken')
  t.is(other.book.current.version, 2)
  const books = await queries.selectFrom('authority_books').select('version').execute()
  t.deepEqual(
    books.map(({ version }) => version),
    [1, 2],
  )
  const roots = await queries
    .selectFrom('certificates')
    .select('serial')
    .where('kind', '=', 'root')
    .execute()
  t.is(roots.length, 2, 'and no certificate of the other')
})

const hours = (count: number) => Temporal.Duration.from({ hours: count })

test('a step that fails shares its commit with nobody', async (t) => {
  await using dir = await temporaryDir()
  await using authority = await openAuthority(configIn(dir.path), now)
  const { queries, ledger } = authority
  const row = { version: 1, at: 0, book: '{}' }
  const changes = [queries.insertInto('authority_books').values(row).compile()]
  const call = (action: string) => ({ at: 1, caller: 'x', action, detail: '{}', outcome: 'done' })
  const outcomes = await Promise.allSettled([
    ledger.record({ calls: [call('before')] }),
    ledger.recordAlone({ calls: [call('with')], changes }),
    ledger.record({ calls: [call('after')] }),
  ])
  t.deepEqual(
    outcomes.map(({ status }) => status),
    ['fulfilled', 'rejected', 'fulfilled'],
  )
  const calls = await queries.selectFrom('calls').select('action').execute()
  t.deepEqual(
    calls.map(({ action }) => action),
    ['before', 'after'],
  )
  t.true((await authority.caLog.audit()).ok)
})

test('users §1.2: a CA that is killed between or amid the steps of a rotation has taken each or not, and goes on', async (t) => {
  await using dir = await temporaryDir()
  const script = `
    import { startRotation, promoteRotation, finishRotation } from '#ca/authorities/book.ts'
    import { makePair } from '#ca/authorities/open-authorities.ts'
    import { openAuthority } from '#ca/open-authority.ts'
    import { configIn } from '#test/ca/harness.ts'
    const config = configIn(${JSON.stringify(dir.path)})
    const { authorities } = await openAuthority(config, () => Temporal.Instant.from('2026-06-01T12:00:00Z'))
    const steps = {
      none: async (book, make) => startRotation(book, await makePair(make), 1),
      started: promoteRotation,
      promoted: finishRotation,
    }
    for (;;) {
      const phase = authorities.book.current.rotation?.phase ?? 'none'
      const { version } = await authorities.step(steps[phase])
      process.send(version)
    }`
  let acknowledged = 0
  for (let kill = 0; kill < 3; kill += 1) {
    const child = fork('-', { execArgv: ['--input-type=module-typescript', '-e', script] })
    const wanted = acknowledged + 1 + kill
    for (;;) {
      const [version] = (await once(child, 'message')) as [number]
      t.true(version > acknowledged, 'no step is lost, none is taken twice')
      acknowledged = version
      if (version >= wanted) break
    }
    child.kill('SIGKILL')
    await once(child, 'exit')
    await using authority = await openAuthority(configIn(dir.path), now)
    const book = authority.authorities.book.current
    t.true(book.version >= acknowledged)
    acknowledged = book.version
    t.is(authority.authorities.fault(), undefined)
    t.true((await authority.caLog.audit()).ok)
    const isRotating = book.rotation !== undefined
    t.is(authority.bundle.current.roots.length, isRotating ? 2 : 1, 'the bundle is the book’s')
  }
})
