import { rename, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { once } from 'node:events'
import { join } from 'node:path'
import { status } from '@grpc/grpc-js'
import test from 'ava'
import { endsSoon, healthOf, withOwn } from '#ca/health.ts'
import { openCa } from '#ca/index.ts'
import { readCertificate, verifySvid } from '#ca/x509/index.ts'
import { FakeClock } from '../fakes/fake-clock.ts'
import { administrator } from './admin/harness.ts'
import {
  agentId,
  attestedClient,
  Client,
  configIn,
  failureOf,
  newCsr,
  newToken,
  realClock,
  startCa,
  svidOf,
  temporaryDir,
  workloadId,
} from './harness.ts'

test('openCa() issues an SVID to an agent that attested, from attestation to a verified chain', async (t) => {
  await using running = await startCa()
  const { ca } = running
  using agent = await attestedClient(ca)
  t.is(agent.svid.spiffeId, agentId)

  const svid = svidOf(await agent.client.issue({ spiffeId: workloadId, csr: newCsr() }))
  const now = Temporal.Now.instant()
  const verdict = verifySvid(svid.chain, [ca.bundle.current], now, 'server')
  t.is(verdict.kind, 'ok')
  t.is(verdict.kind === 'ok' && verdict.id, workloadId)
  t.true(ca.health().ready)
  t.deepEqual(ca.health().reasons, [])
  t.regex(await ca.metrics(), /redoubt_ca_svids_issued_total 2\n/)
})

/**
 * Waits for what the disk, whose time is not the clock's, has yet to finish. The clock goes on
 * meanwhile: who was at the disk when it moved begins to wait by it only now.
 */
async function until(holds: () => boolean, clock: FakeClock): Promise<void> {
  const signal = AbortSignal.timeout(20_000)
  while (!holds()) {
    await realClock.sleep(5, signal)
    await clock.advance(1000)
  }
}

test('identity-standards §5.9: the next issuing CA signs from 5/6 of a life; what the other signed stays good', async (t) => {
  const clock = new FakeClock()
  const start = Temporal.Now.instant()
  const now = () => start.add({ milliseconds: Math.round(clock.nowMs()) })
  const caTtl = Temporal.Duration.from('PT6H')
  await using running = await startCa({ caTtl }, { clock, now, random: () => 0 })
  const { ca } = running
  const rootsBefore = ca.bundle.current.roots
  const attest = async () => {
    using stranger = new Client(ca, undefined, {}, false)
    const token = await newToken(ca, undefined, now().add({ minutes: 5 }))
    const { svid } = await stranger.attest(token, newCsr())
    return svid?.chain ?? []
  }
  const states = async () => {
    using admin = await administrator(ca)
    const { authorities } = await admin.call('status', {})
    return authorities.map(({ kind, state }) => `${kind} ${state}`)
  }
  const has = (what: string) => () => running.log.some(({ event }) => event === what)
  await clock.advance(2.9 * 3_600_000)
  t.deepEqual(await states(), ['root active', 'issuing active'])
  t.false(has('ca-issuing-prepared')())
  await clock.advance(0.2 * 3_600_000)
  await until(has('ca-issuing-prepared'), clock)
  t.deepEqual(await states(), ['root active', 'issuing active', 'issuing prepared'])
  await clock.advance(1.8 * 3_600_000)
  t.false(has('ca-issuing-renewed')())
  const before = await attest()
  await clock.advance(0.2 * 3_600_000)
  await until(has('ca-issuing-renewed'), clock)
  t.deepEqual(await states(), ['root active', 'issuing old', 'issuing active'])

  const after = await attest()
  const bundles = [ca.bundle.current]
  t.is(verifySvid(after, bundles, now(), 'client').kind, 'ok')
  t.not(after[1]?.toString('hex'), before[1]?.toString('hex'))
  t.is(verifySvid(before, bundles, now(), 'client').kind, 'ok')
  t.deepEqual(ca.bundle.current.roots, rootsBefore, 'the root is the same')
})

test('users §1.2.27: a CA whose own chain has ended signs nothing, for anyone, and says so', async (t) => {
  const clock = new FakeClock()
  const start = Temporal.Now.instant()
  const now = () => start.add({ milliseconds: Math.round(clock.nowMs()) })
  const lives = { caTtl: Temporal.Duration.from('PT6H'), rootTtl: Temporal.Duration.from('PT6H') }
  await using running = await startCa(lives, { clock, now, random: () => 0.5 })
  const { ca } = running
  await clock.advance(6.1 * 3_600_000)
  const { ready, reasons } = ca.health()
  t.false(ready)
  t.regex(reasons[0] ?? '', /^nothing is signed: the root ended at .*rotate start --force\)$/)
  using stranger = new Client(ca, undefined, {}, false)
  const token = await newToken(ca, undefined, now().add({ minutes: 5 }))
  t.like(await failureOf(stranger.attest(token, newCsr())), {
    code: status.UNAVAILABLE,
    reason: 'CA_SIGNER_UNAVAILABLE',
  })
  await t.throwsAsync(ca.admitAdministrator({ name: 'uid:1000' }, newCsr()), {
    code: 'CA_SIGNER_UNAVAILABLE',
    message: /^Cannot sign: the root ended at /,
  })
})

test('users §1.2.27: a CA that starts under a root that has ended opens, shows no certificate, and says why', async (t) => {
  await using dir = await temporaryDir()
  await (await openCa(configIn(dir.path), deps))[Symbol.asyncDispose]()
  const now = () => Temporal.Now.instant().add({ hours: 366 * 24 })
  await using ca = await openCa(configIn(dir.path), { ...deps, now })
  t.false(ca.health().ready)
  t.regex(ca.health().reasons[0] ?? '', /^nothing is signed: the root ended at /)
  using stranger = new Client(ca, undefined, {}, false)
  t.like(await failureOf(stranger.attest('00', newCsr())), { code: status.UNAVAILABLE, reason: '' })
})

test('openCa() tells in health when the root would cut a new issuing CA short', async (t) => {
  const rootTtl = Temporal.Duration.from('P7D')
  await using running = await startCa({ rootTtl })
  const { ready, reasons } = running.ca.health()
  t.true(ready)
  t.is(reasons.length, 1)
  t.regex(reasons[0] ?? '', /^the root ends at .*, before a new issuing CA would$/)
})

test('users §1.2.27: health tells of the end of the root 60, 30 and 7 days ahead, and not before', async (t) => {
  await using running = await startCa()
  const { book } = running.ca.authorities
  const { notAfter } = readCertificate(running.ca.bundle.current.roots[0] ?? new Uint8Array())
  const toldAt = (daysLeft: number) => {
    const now = notAfter.subtract({ hours: 24 * daysLeft })
    return healthOf({ book, fault: () => undefined }, Temporal.Duration.from('PT1H'), now)
  }
  t.deepEqual(toldAt(61), { ready: true, reasons: [] })
  for (const [daysLeft, within] of [
    [59, 60],
    [29, 30],
    [6, 7],
  ] as const) {
    const reason = `the root ends at ${notAfter}, within ${within} days (redoubt ca rotate start)`
    t.deepEqual(toldAt(daysLeft), { ready: true, reasons: [reason] })
  }
})

test('users §1.1.19: a CA of somebody else’s is told of in its last sixth, be its life short or long', (t) => {
  const notBefore = Temporal.Now.instant()
  const isTold = (lifeDays: number, daysLeft: number) => {
    const notAfter = notBefore.add({ hours: 24 * lifeDays })
    return endsSoon(
      { notBefore, notAfter },
      notAfter.subtract({ minutes: Math.round(1440 * daysLeft) }),
    )
  }
  const [short, medium, long] = [
    [20, 3.4],
    [200, 61],
    [3650, 61],
  ] as const
  for (const [life, left] of [short, medium, long]) {
    t.false(isTold(life, left))
    t.true(isTold(life, left - 1))
  }
})

test('users §1.1.7, §1.1.19: what the CA cannot replace is told from the first failure on, in health, log and metrics, until it can', async (t) => {
  const clock = new FakeClock()
  const start = Temporal.Now.instant()
  const now = () => start.add({ milliseconds: Math.round(clock.nowMs()) })
  const caTtl = Temporal.Duration.from('PT6H')
  await using running = await startCa({ caTtl }, { clock, now, random: () => 0 })
  const { ca, log, stateDir } = running
  const lines = async () =>
    (await ca.metrics())
      .split('\n')
      .filter((line) => /^redoubt_ca_(rotations_total{|ready |warnings )/.test(line))
  t.deepEqual(await lines(), ['redoubt_ca_ready 1', 'redoubt_ca_warnings 0'])

  // Where new keys are kept is away, as a disk or an HSM may be: the next ones are due, and cannot be made.
  const keys = join(stateDir, 'keys')
  await rename(keys, `${keys}.away`)
  await writeFile(keys, '')
  await clock.advance(3.1 * 3_600_000)
  const said = () => log.findLast(({ event }) => event === 'ca-health')?.fields['reasons']
  await until(() => ca.health().reasons.length === 2 && /tokens/.test(String(said())), clock)
  t.true(ca.health().ready, 'what is in force goes on')
  t.regex(
    ca.health().reasons.join('\n'),
    /^the state of the CA cannot be kept up since 2.*: Cannot use the CA.s state/m,
  )
  t.regex(
    ca.health().reasons.join('\n'),
    /^the key for tokens cannot be kept up since 2.*: Cannot use/m,
  )
  const failing = (await lines()).join('\n')
  t.regex(failing, /_rotations_total{certificate="issuing",result="failed",reason="[A-Z_]+"} [1-9]/)
  t.regex(failing, /_rotations_total{certificate="jwt",result="failed",reason="[A-Z_]+"} [1-9]/)
  t.regex(failing, /_rotations_total{certificate="server",result="taken",reason=""} [1-9]/)
  t.regex(failing, /redoubt_ca_warnings 2$/m)

  await rm(keys)
  await rename(`${keys}.away`, keys)
  await until(() => ca.health().reasons.length === 0 && said() === '', clock)
  t.regex(
    (await lines()).join('\n'),
    /_rotations_total{certificate="jwt",result="taken",reason=""} 1$/m,
  )
})

test('users §1.1.15: a CA whose own certificate has ended is not ready, and says so first', (t) => {
  const now = Temporal.Now.instant()
  const health = { ready: true, reasons: ['x'] }
  const nothing = { reasons: () => [] }
  const own = (minutes: number) => ({ life: { notAfter: now.add({ minutes }) } })
  t.deepEqual(withOwn(health, nothing, own(1), now), health)
  const over = withOwn(health, { reasons: () => ['why'] }, own(-1), now)
  const end = now.subtract({ minutes: 1 })
  const reason = `nobody is answered: the CA's own certificate ended at ${end}`
  t.deepEqual(over, { ready: false, reasons: [reason, 'x', 'why'] })
})

const deps = { now: () => Temporal.Now.instant(), clock: realClock, log: () => undefined }

test('openCa() refuses a bad configuration in one line that names every fault', async (t) => {
  const config = configIn('state', { caTtl: Temporal.Duration.from('PT1H') })
  await t.throwsAsync(openCa(config, deps), {
    code: 'CA_CONFIG_INVALID',
    message:
      'Cannot start the CA: stateDir is "state", expected an absolute path; ' +
      'caTtl is PT1H, expected at least 6 times leafTtl (PT1H)',
  })
})

test('openCa() refuses a state directory below a file, one in use, and a port that is taken', async (t) => {
  await using dir = await temporaryDir()
  const file = join(dir.path, 'file')
  await writeFile(file, '')
  await t.throwsAsync(openCa(configIn(join(file, 'state')), deps), { code: 'CA_STATE_UNUSABLE' })

  const holder = createServer().listen(0, '127.0.0.1')
  await once(holder, 'listening')
  const { port } = holder.address() as { port: number }
  const state = join(dir.path, 'state')
  const taken = configIn(state, { listen: { host: '127.0.0.1', port } })
  await t.throwsAsync(openCa(taken, deps), { code: 'CA_LISTEN_FAILED' })
  holder.close()

  await using _ca = await openCa(configIn(state), deps) // so a failed start lets go of the state
  await t.throwsAsync(openCa(configIn(state), deps), { code: 'CA_STATE_UNUSABLE' })
})

test('two CAs of one process share nothing', async (t) => {
  await using one = await startCa()
  await using other = await startCa()
  using agent = await attestedClient(one.ca)
  t.notRegex(await other.ca.metrics(), /svids_issued_total [1-9]/)
  const { chain } = agent.svid
  const now = Temporal.Now.instant()
  t.like(verifySvid(chain, [other.ca.bundle.current], now, 'client'), {
    reason: 'untrusted-issuer',
  })
})
