/** Clocks that are wrong, machines that slept: what an agent says, and what it serves. */
import test from 'ava'
import { startStory, until, WorkloadClient } from './harness.ts'

for (const [aheadMs, said] of [
  [45_000, /clock skew: the clock of this node is 45 s ahead of the CA's, expected at most 30 s/],
  [-45_000, /clock skew: the clock of this node is 45 s behind the CA's/],
] as const) {
  test(`users §1.1.14: a clock ${aheadMs / 1000} s off is reported as skew, in health, metric and log`, async (t) => {
    await using story = await startStory({ leafTtl: 'PT1H' })
    t.true(story.agent.health().ready)
    story.offsetAgent(aheadMs)
    using client = new WorkloadClient(story.agent)
    const heard = client.svids()
    await until(() => heard.messages.length === 1)
    t.regex(story.agent.health().reasons.join(), said)
    t.false(story.agent.health().ready)
    t.is(story.agent.clockOffsetMs(), -aheadMs)
    const offset = String(-aheadMs / 1000)
    t.true((await story.agent.metrics()).includes(`redoubt_agent_clock_offset_seconds ${offset}`))
    const skews = story.log.filter(({ event }) => event === 'clock-skew')
    t.deepEqual(
      skews.map(({ fields }) => fields['seconds']),
      [-aheadMs / 1000],
      'once, not at each answer',
    )
  })
}

test('users §1.1.14: what a clock is off is measured below the limit, too', async (t) => {
  await using story = await startStory({ leafTtl: 'PT1H' })
  t.is(story.agent.clockOffsetMs(), 0)
  story.offsetAgent(-7000)
  using client = new WorkloadClient(story.agent)
  const heard = client.svids()
  await until(() => heard.messages.length === 1)
  t.is(story.agent.clockOffsetMs(), 7000)
  t.true(story.agent.health().ready, 'and is no fault')
})

test('an answer of a CA that is ahead by more than its back-date is not served, and the reason is told', async (t) => {
  await using story = await startStory()
  story.offsetAgent(-180_000)
  using client = new WorkloadClient(story.agent)
  const heard = client.svids()
  const reasons = () => story.agent.health().reasons.join()
  await until(() => /has no certificate/.test(reasons()), 'health to say so')
  t.regex(reasons(), /clock skew: the CA's certificate is not valid yet: leaf is valid from/)
  t.regex(
    reasons(),
    /"spiffe:\/\/prod.example\/ns\/pay\/sa\/api" has no certificate: .*not-yet-valid/,
  )
  t.deepEqual(heard.messages, [])
  story.offsetAgent(0)
  await story.pass(2000)
  await until(() => heard.messages.length === 1)
  t.true(story.agent.health().ready)
  t.true(story.log.some(({ event }) => event === 'clock-skew-over'))
})

test('users §1.1.8: an agent that slept renews everything at once, and serves nothing that ran out meanwhile', async (t) => {
  await using story = await startStory({ leafTtl: 'PT1H' })
  using client = new WorkloadClient(story.agent)
  const heard = client.svids()
  await until(() => heard.messages.length === 1)
  await story.pass(2000)
  story.offsetAgent(40 * 60_000) // beyond half of its life: it is due
  await story.pass(1000)
  await until(() => story.rotations.length === 2, 'its renewal, long before any timer')
  t.true(story.log.some(({ event }) => event === 'clock-jumped'))
  t.regex(await story.agent.metrics(), /redoubt_agent_clock_jumps_total 1/)
})
