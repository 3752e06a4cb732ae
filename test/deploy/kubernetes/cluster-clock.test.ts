import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import test from 'ava'
import { withClusterClock } from '#deploy/kubernetes/cluster-clock.ts'
import { createTokenReview } from '#deploy/kubernetes/token-review.ts'
import { realClock, temporaryDir } from '#test/ca/harness.ts'

const WELL = { ready: true, reasons: ['the root ends soon'] }

// The API server of test/kubernetes is real, and its clock is ours; this one's is where it is set.
test('users §1.1.14: the clock of the API server is compared by its answers, as well as their whole seconds allow', async (t) => {
  let nowMs = Date.UTC(2026, 5, 1, 12)
  let date: string | undefined
  const server = createServer((_, response) => {
    response.sendDate = false
    if (date !== undefined) response.setHeader('date', date)
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ spec: {}, status: { authenticated: false } }))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close().closeAllConnections())
  await using dir = await temporaryDir()
  const kubeconfig = join(dir.path, 'kubeconfig')
  const { port } = server.address() as AddressInfo
  await writeFile(
    kubeconfig,
    JSON.stringify({
      clusters: [
        {
          name: 'one',
          cluster: { server: `http://127.0.0.1:${port}`, 'insecure-skip-tls-verify': true },
        },
      ],
      users: [{ name: 'ca', user: {} }],
      contexts: [{ name: 'one', context: { cluster: 'one', user: 'ca' } }],
      'current-context': 'one',
    }),
  )
  const now = () => Temporal.Instant.fromEpochMilliseconds(nowMs)
  const { review, clockOffsetMs } = createTokenReview(kubeconfig, { clock: realClock, now })
  t.is(clockOffsetMs(), undefined)
  for (const [apartMs, offsetMs] of [
    [0, 0],
    [-999, 0],
    [-1500, -500],
    [7000, 7000],
    [-61_000, -60_000],
  ] as const) {
    date = new Date(nowMs + apartMs).toUTCString()
    nowMs = Date.parse(date) - apartMs
    t.is((await review('a.b.c', ['x'])).kind, 'refused')
    t.is(clockOffsetMs(), offsetMs)
  }
  date = undefined
  await review('a.b.c', ['x'])
  t.is(clockOffsetMs(), -60_000, 'an answer without a time says nothing new')
})

test('users §1.1.14: a CA tells how far its clock is from the API server, and warns above 30 s', (t) => {
  t.deepEqual(withClusterClock(WELL, undefined), WELL)
  t.deepEqual(withClusterClock(WELL, -30_000), { ...WELL, clockOffsetMs: -30_000 })
  const { ready, reasons } = withClusterClock(WELL, 30_500)
  t.true(ready)
  t.deepEqual(reasons, [
    'the root ends soon',
    "clock skew: the clock of this CA is 31 s behind the API server's, expected at most 30 s",
  ])
  t.regex(withClusterClock(WELL, -45_000).reasons.join(), /is 45 s ahead of the API server's/)
})
