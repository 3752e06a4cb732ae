/** Rotating, tainting and revoking the keys of a CA, as its administrator sees it. */
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { status } from '@grpc/grpc-js'
import test from 'ava'
import type { Ca } from '#ca/index.ts'
import type { Bundle, BundleAck } from '#ca/proto/gen/ca.ts'
import { compileDenyList, readCertificate, verifySvid } from '#ca/x509/index.ts'
import { FakeClock } from '../../fakes/fake-clock.ts'
import { type AdminClient, administrator } from '../admin/harness.ts'
import {
  attestedClient,
  failureOf,
  newCsr,
  realClock,
  type RunningCa,
  startCa,
  workloadId,
} from '../harness.ts'

const step = (admin: AdminClient, name: string, force = false) =>
  admin.call('rotate', { step: name, force })

const statesOf = async (admin: AdminClient) => {
  const { authorities } = await admin.call('status', {})
  return authorities.map(({ kind, state }) => `${kind} ${state}`)
}

interface Story extends RunningCa {
  readonly clock: FakeClock
  readonly now: () => Temporal.Instant
  /** Moves civil time alone: a machine that was switched off. */
  readonly jump: (hours: number) => void
}

/** A CA on a clock that the test moves. */
async function story(): Promise<Story> {
  const clock = new FakeClock()
  let start = Temporal.Now.instant()
  const now = () => start.add({ milliseconds: Math.round(clock.nowMs()) })
  const jump = (hours: number): void => {
    start = start.add({ hours })
  }
  return Object.assign(await startCa({}, { clock, now, random: () => 0.5 }), { clock, now, jump })
}

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  const signal = AbortSignal.timeout(5000)
  while (!(await holds())) await realClock.sleep(5, signal)
}

/** An agent that hears of bundles, and acknowledges them when it is told to. */
async function follower(ca: Ca) {
  const agent = await attestedClient(ca)
  const stream = agent.client.raw.bundles()
  const seen: Bundle[] = []
  stream.on('data', (bundle: Bundle) => seen.push(bundle)).on('error', () => {})
  const hear = (generation: bigint): void => {
    const acknowledgement: BundleAck = { generation, denials: 0n, name: 'node-1', subscribers: [] }
    stream.write(acknowledgement)
  }
  hear(0n)
  await until(() => seen.length > 0)
  return {
    ...agent,
    seen,
    acknowledge: () => hear(seen.at(-1)?.generation ?? 0n),
    [Symbol.dispose]() {
      stream.cancel()
      agent[Symbol.dispose]()
    },
  }
}

test('users §1.2.20: ca rotate start, promote, finish lead from one root to the next, through bundles that hold both', async (t) => {
  await using running = await story()
  const { ca } = running
  using admin = await administrator(ca)
  const [before] = ca.bundle.current.roots
  t.deepEqual(await statesOf(admin), ['root active', 'issuing active'])

  const started = await step(admin, 'start')
  t.is(started.status?.rotation?.phase, 'started')
  t.is(started.status?.generation, 2n)
  t.deepEqual(await statesOf(admin), [
    'root active',
    'issuing active',
    'root prepared',
    'issuing prepared',
  ])
  t.is(ca.bundle.current.roots.length, 2, 'A + B')
  t.deepEqual(ca.bundle.current.roots[0], before, 'A signs')

  const promoted = await step(admin, 'promote')
  t.is(promoted.notYet, undefined)
  t.deepEqual(await statesOf(admin), ['root old', 'issuing old', 'root active', 'issuing active'])
  t.not(ca.bundle.current.roots[0], before, 'B signs')
  t.is(ca.bundle.current.roots.length, 2)
  const old = promoted.status?.authorities.find(
    ({ kind, state }) => kind === 'issuing' && state === 'old',
  )
  t.deepEqual(ca.bundle.current.renewKeys, [old?.keyId ?? ''])

  const finished = await step(admin, 'finish')
  t.is(finished.notYet, undefined)
  t.is(finished.status?.rotation, undefined)
  t.deepEqual(await statesOf(admin), [
    'root revoked',
    'issuing revoked',
    'root active',
    'issuing active',
  ])
  t.is(ca.bundle.current.roots.length, 1, 'B only')
  t.deepEqual(ca.bundle.current.renewKeys, [])
  t.deepEqual(ca.health(), { ready: true, reasons: [] })
})

test('promote waits until every connected agent has acknowledged the bundle with the next root', async (t) => {
  await using running = await story()
  using admin = await administrator(running.ca)
  using agent = await follower(running.ca)
  await step(admin, 'start')
  const refused = await step(admin, 'promote')
  t.like(refused.notYet, { reason: 'CA_ROTATION_NOT_YET', retryAfterMs: 1000 })
  t.like(refused.laggards, [{ kind: 'agent', name: 'node-1', generation: 0n, connected: true }])
  t.is(refused.status?.rotation?.phase, 'started', 'nothing has changed')

  await until(() => agent.seen.at(-1)?.roots.length === 2)
  agent.acknowledge()
  await until(async () => (await admin.call('status', {})).subscribers[0]?.generation === 2n)
  t.is((await step(admin, 'promote')).notYet, undefined)
  await until(() => (agent.seen.at(-1)?.renewKeys.length ?? 0) > 0)
  t.is(agent.seen.at(-1)?.renewKeys.length, 1, 'it is told what to renew')
})

test('promote --force waits for nobody', async (t) => {
  await using running = await story()
  using admin = await administrator(running.ca)
  using _agent = await follower(running.ca)
  await step(admin, 'start')
  t.is((await step(admin, 'promote', true)).status?.rotation?.phase, 'promoted')
})

test('users §1.2.25: finish is refused while any live leaf chains to the old root, with the list', async (t) => {
  await using running = await story()
  const { ca, clock } = running
  using admin = await administrator(ca)
  const issue = async () => {
    const request = { spiffeId: workloadId, csr: newCsr(), ttlSeconds: 600 }
    return (await admin.call('issueFor', request)).svid
  }
  await issue()
  await step(admin, 'start')
  await step(admin, 'promote')
  const refused = await step(admin, 'finish')
  t.like(refused.notYet, { reason: 'CA_ROTATION_NOT_YET' })
  t.regex(
    refused.notYet?.message ?? '',
    /: live leaves chain to the old root: 1, of them replaced already: 0,/,
  )
  t.like(refused.leaves, [{ subject: workloadId }])
  t.is(refused.leafCount, 1n)
  t.true((refused.notYet?.retryAfterMs ?? 0) > 590_000)
  t.is(ca.bundle.current.roots.length, 2, 'nothing has changed')

  await issue()
  t.is((await step(admin, 'finish')).replacedCount, 1n, 'it may be in use all the same')
  await clock.advance(601_000)
  using later = await administrator(ca)
  t.is((await step(later, 'finish')).notYet, undefined)
  t.is(ca.bundle.current.roots.length, 1)
})

test('finish is refused while an agent shows a certificate of the old root (users §1.2.23)', async (t) => {
  await using running = await story()
  using admin = await administrator(running.ca)
  using agent = await follower(running.ca)
  await step(admin, 'start')
  await until(() => agent.seen.at(-1)?.roots.length === 2)
  agent.acknowledge()
  await until(async () => (await step(admin, 'promote')).notYet === undefined)
  const refused = await step(admin, 'finish')
  t.regex(refused.notYet?.message ?? '', /: agents that show a certificate of the old root: 1$/)
  t.like(refused.laggards, [{ kind: 'agent', name: 'node-1' }])
})

test('finish --force cuts off what is left', async (t) => {
  await using running = await story()
  using admin = await administrator(running.ca)
  const { svid } = await admin.call('issueFor', {
    spiffeId: workloadId,
    csr: newCsr(),
    ttlSeconds: 600,
  })
  await step(admin, 'start')
  await step(admin, 'promote')
  t.is((await step(admin, 'finish', true)).notYet, undefined)
  const verdict = verifySvid(
    svid?.chain ?? [],
    [running.ca.bundle.current],
    running.now(),
    'client',
  )
  t.like(verdict, { kind: 'refused', reason: 'untrusted-issuer' })
})

test('cancel takes back what was started, and goes back from what was promoted', async (t) => {
  await using running = await story()
  const { ca } = running
  using admin = await administrator(ca)
  const [first] = ca.bundle.current.roots
  await step(admin, 'start')
  await step(admin, 'cancel')
  t.deepEqual(ca.bundle.current.roots, [first])
  t.is(ca.bundle.current.generation, 3, 'a change like any other')

  await step(admin, 'start')
  await step(admin, 'promote')
  const back = await step(admin, 'cancel')
  t.is(back.status?.rotation?.phase, 'promoted', 'what the other signed has to go, too')
  t.deepEqual(ca.bundle.current.roots[0], first, 'A signs again')
  t.is(ca.bundle.current.roots.length, 2)
  await step(admin, 'finish')
  t.deepEqual(ca.bundle.current.roots, [first])
})

const outOfTurn: readonly (readonly [string, readonly string[], RegExp])[] = [
  ['promote before start', ['promote'], /^Cannot promote the next root: none is under way$/],
  ['finish before start', ['finish'], /^Cannot finish the rotation: none is under way$/],
  ['finish before promote', ['start', 'finish'], /: one is started; rotate promote goes on/],
  ['cancel of nothing', ['cancel'], /^Cannot cancel a rotation: none is under way$/],
  ['a second start', ['start', 'start'], /^Cannot start a rotation: one is started;/],
  ['a start after promote', ['start', 'promote', 'start'], /: one is promoted; rotate finish/],
  ['a step that is none', ['advance'], /the step is "advance", expected start, promote, finish/],
]
for (const [what, steps, message] of outOfTurn) {
  test(`a step out of turn is refused and changes nothing: ${what}`, async (t) => {
    await using running = await story()
    using admin = await administrator(running.ca)
    for (const name of steps.slice(0, -1)) await step(admin, name)
    const before = await statesOf(admin)
    const failure = await failureOf(step(admin, steps.at(-1) ?? ''))
    t.like(failure, { code: status.FAILED_PRECONDITION, reason: 'CA_ROTATION_REFUSED' })
    t.regex(failure.details, message)
    t.deepEqual(await statesOf(admin), before)
  })
}

test('users §1.3.34: taint renews everything that a key signed, and what signs now is replaced first', async (t) => {
  await using running = await story()
  const { ca } = running
  using admin = await administrator(ca)
  const active = (await admin.call('status', {})).authorities[1]
  const tainted = await admin.call('taint', { keyId: active?.keyId ?? '' })
  t.deepEqual(
    tainted.status?.authorities.map(({ kind, state }) => `${kind} ${state}`),
    ['root active', 'issuing tainted', 'issuing active'],
  )
  t.deepEqual(ca.bundle.current.renewKeys, [active?.keyId ?? ''])
  t.is(ca.bundle.current.roots.length, 1)
  const { svid } = await admin.call('issueFor', {
    spiffeId: workloadId,
    csr: newCsr(),
    ttlSeconds: 60,
  })
  const issuer = readCertificate(svid?.chain[1] ?? new Uint8Array())
  t.not(issuer.serial, active?.serial, 'another signs now')
})

test('identity-standards §5.9: revoke takes a tainted key only; what it signed is then refused though its root is trusted', async (t) => {
  await using running = await story()
  const { ca, now } = running
  using admin = await administrator(ca)
  const { svid } = await admin.call('issueFor', {
    spiffeId: workloadId,
    csr: newCsr(),
    ttlSeconds: 600,
  })
  const keyId = (await admin.call('status', {})).authorities[1]?.keyId ?? ''
  const revoke = (force = false) => admin.call('revoke', { subject: keyId, undo: false, force })
  const early = await failureOf(revoke())
  t.is(early.details, `Cannot revoke ${keyId}: it is active, expected tainted (redoubt ca taint)`)
  await admin.call('taint', { keyId })

  const bare = await revoke()
  t.regex(bare.notYet?.message ?? '', /1 live leaves that it signed have no successor yet$/)
  t.like(bare.leaves, [{ subject: workloadId }])
  const judge = () => {
    const bundle = { ...ca.bundle.current, denies: compileDenyList(ca.denials.list.current) }
    return verifySvid(svid?.chain ?? [], [bundle], now(), 'client')
  }
  t.is(judge().kind, 'ok')
  using fresh = await administrator(ca)
  t.is((await fresh.call('revoke', { subject: keyId, undo: false, force: true })).notYet, undefined)
  t.like(judge(), { kind: 'refused', reason: 'denied' })
  t.deepEqual(await statesOf(fresh), ['root active', 'issuing revoked', 'issuing active'])
})

test('users §1.2.25: revoke of a key takes nothing for a successor that is older, and tells of what has none alone', async (t) => {
  await using running = await story()
  const { ca, clock } = running
  using admin = await administrator(ca)
  const keyId = (await admin.call('status', {})).authorities[1]?.keyId ?? ''
  const issue = async (name: string) => {
    await clock.advance(1000)
    const spiffeId = `spiffe://prod.example/ns/pay/sa/${name}`
    await admin.call('issueFor', { spiffeId, csr: newCsr(), ttlSeconds: 600 })
  }
  // There and back: what the other root signed meanwhile is older than what is in use again.
  await step(admin, 'start')
  await step(admin, 'promote')
  await issue('api')
  await step(admin, 'cancel')
  await issue('api')
  await issue('web')
  await admin.call('taint', { keyId })
  await issue('web')
  const refused = await admin.call('revoke', { subject: keyId, undo: false, force: false })
  t.regex(refused.notYet?.message ?? '', /1 live leaves that it signed have no successor yet$/)
  t.deepEqual(
    refused.leaves.map(({ subject }) => subject),
    ['spiffe://prod.example/ns/pay/sa/api'],
  )
  await issue('api')
  const done = await admin.call('revoke', { subject: keyId, undo: false, force: false })
  t.is(done.notYet, undefined)
})

test('the active root is not tainted but left: taint says how, and takes the old one', async (t) => {
  await using running = await story()
  const { ca } = running
  using admin = await administrator(ca)
  const keyId = (await admin.call('status', {})).authorities[0]?.keyId ?? ''
  const failure = await failureOf(admin.call('taint', { keyId }))
  t.regex(
    failure.details,
    /it is the active root; rotate to another first \(rotate start, rotate promote\)/,
  )
  await step(admin, 'start')
  await step(admin, 'promote')
  await admin.call('taint', { keyId })
  t.deepEqual(await statesOf(admin), [
    'root tainted',
    'issuing tainted',
    'root active',
    'issuing active',
  ])
  t.like(await failureOf(step(admin, 'cancel')), { reason: 'CA_ROTATION_REFUSED' })
  const { status: after } = await admin.call('revoke', {
    subject: keyId,
    undo: false,
    force: false,
  })
  t.is(after?.rotation, undefined, 'that is the end of the rotation, too')
  t.is(ca.bundle.current.roots.length, 1)
  t.like(await failureOf(admin.call('taint', { keyId: 'ff' })), { reason: 'CA_ROTATION_REFUSED' })
})

test('users §1.2.26: a rotation works with everything expired, by force, and by no caller on the network', async (t) => {
  await using running = await story()
  const { ca, clock, now, jump } = running
  jump(366 * 24)
  await clock.advance(60_000)
  t.false(ca.health().ready)
  await t.throwsAsync(ca.admitAdministrator({ name: 'uid:1000' }, newCsr()), {
    code: 'CA_SIGNER_UNAVAILABLE',
  })
  const by = { name: 'uid:1000' }
  await ca.rotate(by, { step: 'start', force: true })
  await ca.rotate(by, { step: 'promote', force: true })
  await until(() => ca.health().ready)
  await ca.rotate(by, { step: 'finish', force: true })
  t.deepEqual(ca.health(), { ready: true, reasons: [] })
  await clock.advance(60_000) // its own certificate, too
  using admin = await administrator(ca)
  const asked = { spiffeId: workloadId, csr: newCsr(), ttlSeconds: 60 }
  const { svid } = await admin.call('issueFor', asked)
  t.is(verifySvid(svid?.chain ?? [], [ca.bundle.current], now(), 'client').kind, 'ok')
})

test('every step is a row of the log, done or not, with who asked', async (t) => {
  const running = await story()
  try {
    using admin = await administrator(running.ca)
    await admin.call('issueFor', { spiffeId: workloadId, csr: newCsr(), ttlSeconds: 600 })
    const keyId = (await admin.call('status', {})).authorities[1]?.keyId ?? ''
    await step(admin, 'start')
    await step(admin, 'promote')
    await step(admin, 'finish')
    await t.throwsAsync(step(admin, 'start'))
    await admin.call('taint', { keyId })
    await admin.call('revoke', { subject: workloadId, undo: false, force: false })
    t.true((await running.ca.log.audit()).ok)
    await running.ca[Symbol.asyncDispose]()
    using database = new DatabaseSync(join(running.stateDir, 'ledger.db'), { readOnly: true })
    const rows = database
      .prepare('SELECT action, outcome, caller FROM calls ORDER BY log_index')
      .all()
    t.deepEqual(
      rows.map(({ action, outcome }) => `${action} ${outcome}`),
      [
        'admit-administrator done',
        'issue done',
        'rotate-start done',
        'rotate-promote done',
        'rotate-finish CA_ROTATION_NOT_YET',
        'rotate-start CA_ROTATION_REFUSED',
        'taint done',
        'revoke done',
      ],
    )
    t.true(rows.slice(1).every(({ caller }) => String(caller).endsWith('redoubt-admin')))
  } finally {
    await running[Symbol.asyncDispose]()
  }
})
