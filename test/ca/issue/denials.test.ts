import test from 'ava'
import type { CallRow } from '#ca/issue/database.ts'
import { openCa, openLogState } from '#ca/index.ts'
import { parseSpiffeId } from '#ca/spiffe/index.ts'
import { denialsInForce } from '#ca/x509/index.ts'
import {
  attestedClient,
  configIn,
  newCsr,
  realClock,
  startCa,
  temporaryDir,
  workloadId,
} from '../harness.ts'

const start = Temporal.Instant.from('2026-11-21T12:00:00Z')

function call(action: string, detail: string): CallRow {
  return { at: start.epochMilliseconds, caller: 'root', action, detail, outcome: 'done' }
}

test('§1.1 a CA that is started again has forgotten nothing of its deny-list', async (t) => {
  await using dir = await temporaryDir()
  let nowMs = start.epochMilliseconds
  const now = () => Temporal.Instant.fromEpochMilliseconds(nowMs)
  const open = () => openCa(configIn(dir.path), { now, clock: realClock, log: () => {} })
  const until = start.add({ minutes: 10 })
  {
    await using ca = await open()
    t.is(ca.denials.list.current.generation, 0)
    const both = ['aa', 'bb'].map((value) => ({ kind: 'serial' as const, value, until }))
    t.is(await ca.denials.deny(both, call('revoke', 'aa bb')), 1)
    t.is(await ca.denials.lift([{ kind: 'serial', value: 'aa' }], call('allow', 'aa')), 2)
  }
  {
    await using ca = await open()
    const { current } = ca.denials.list
    t.is(current.generation, 2)
    t.deepEqual(
      denialsInForce(current, now()).map(({ value }) => value),
      ['bb'],
    )
    nowMs += 600_000
    const later = { kind: 'serial' as const, value: 'cc', until: now().add({ hours: 1 }) }
    t.is(await ca.denials.deny([later], call('revoke', 'cc')), 3)
  }
  await using ca = await open()
  t.deepEqual(
    ca.denials.list.current.entries.map(({ value }) => value),
    ['cc'],
    'what has ended is not kept',
  )
  t.is(ca.denials.list.current.generation, 3)
})

test('each change of the deny-list is in the log, with who asked for it', async (t) => {
  await using dir = await temporaryDir()
  {
    const deps = { now: () => start, clock: realClock, log: () => {} }
    await using ca = await openCa(configIn(dir.path), deps)
    const before = (await ca.log.head()).size
    const until = start.add({ hours: 1 })
    await ca.denials.deny([{ kind: 'serial', value: 'ab', until }], call('revoke', 'ab'))
    t.is((await ca.log.head()).size, before + 1)
  }
  using log = await openLogState(dir.path)
  t.deepEqual((await log.audit()).faults, [])
})

test('what cannot be denied is refused, and the list stays as it was', async (t) => {
  await using running = await startCa({}, { now: () => start })
  const { denials, serverId } = running.ca
  const until = start.add({ hours: 1 })
  const refuse = (
    kind: 'serial' | 'spiffe-id',
    value: string,
    end: Temporal.Instant,
    why: RegExp,
  ) =>
    t.throwsAsync(denials.deny([{ kind, value, until: end }], call('revoke', value)), {
      code: 'CA_DENIAL_INVALID',
      message: why,
    })
  await refuse('serial', 'XY', until, /lower-case hex/)
  await refuse('serial', 'ab', start, /ended at 2026/)
  await refuse('spiffe-id', serverId, until, /is the CA itself/)
  await t.throwsAsync(denials.lift([{ kind: 'serial', value: 'ab' }], call('allow', 'ab')), {
    message: /the serial ab is not on it/,
  })
  t.deepEqual(denials.list.current, { generation: 0, entries: [] })
})

test('a name on the deny-list gets neither certificate nor token, until it is taken off', async (t) => {
  await using running = await startCa()
  const { ca } = running
  using agent = await attestedClient(ca)
  const ask = async () => {
    const { results } = await agent.client.issue({ spiffeId: workloadId, csr: newCsr() })
    const [issued] = results
    return issued?.outcome?.$case === 'refusal' ? issued.outcome.refusal.message : 'issued'
  }
  const value = parseSpiffeId(workloadId)
  const until = Temporal.Now.instant().add({ hours: 1 })
  t.is(await ask(), 'issued')
  await ca.denials.deny([{ kind: 'spiffe-id', value, until }], call('revoke', value))
  t.regex(await ask(), /it is on the deny-list/)
  await ca.denials.lift([{ kind: 'spiffe-id', value }], call('allow', value))
  t.is(await ask(), 'issued')
})
