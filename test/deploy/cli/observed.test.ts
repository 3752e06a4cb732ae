import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import test from 'ava'
import { parseAllDocuments } from 'yaml'

import { authzLearn } from '#deploy/cli/commands/authz-learn.ts'
import { authzRollout } from '#deploy/cli/commands/authz-rollout.ts'
import { readManifests } from '#policy/index.ts'
import { runCommand } from '#test/fakes/fake-io.ts'

const cwd = process.cwd()
const file = ['deploy/samples/qotm']
const line = (change: Readonly<Record<string, unknown>> = {}): string =>
  JSON.stringify({
    start_time: '2026-01-02T03:04:05.006Z',
    method: 'GET',
    path: '/quote',
    upstream_cluster: 'inbound|8080||',
    reporter: 'destination',
    source_principal: 'spiffe://cluster.local/ns/qotm/sa/edge',
    destination_workload: 'qotm/qotm-v1',
    decision: 'allow',
    ...change,
  })
const stdin = [line(), line(), line({ path: '/quote/7' }), line({ decision: 'deny' })].join('\n')

test('authz learn prints valid dry-run manifests that count, and proves them by replay', async (t) => {
  const options = { file, log: ['-'] }
  const { exitCode, out, err } = await runCommand(authzLearn, { cwd, stdin, options })
  t.is(exitCode, 0)
  t.regex(out, /# Learned from 3 requests to qotm\/qotm-v1\./)
  t.regex(out, /# 3 requests, the last at 2026-01-02T03:04:05\.006Z/)
  t.regex(err, /left out: 1 request, refused/)
  t.regex(err, /1 policy from 3 requests; replayed, they deny 0 of them/)
  const { documents, intent } = readManifests([{ path: 'learned.yaml', text: out }])
  t.deepEqual(
    documents.map(({ valid, name }) => [valid, name]),
    [[true, 'learned-qotm-v1']],
  )
  t.true(intent.authorizationPolicies[0]?.policy.dryRun)

  const options2 = {
    ...options,
    enforce: true,
    pathTemplates: ['/quote/{*}'],
    methods: ['GET,HEAD'],
  }
  const enforced = await runCommand(authzLearn, { cwd, stdin, options: options2 })
  const [manifest] = [parseAllDocuments(enforced.out)].flat()
  t.is(manifest?.getIn(['metadata', 'annotations', 'istio.io/dry-run']), undefined)
  t.regex(enforced.out, /HEAD[\s\S]*\/quote\/\{\*\}/)

  const json = await runCommand(authzLearn, { cwd, stdin, options: { ...options, output: 'json' } })
  t.like(JSON.parse(json.out), { replay: { requests: 3, denied: [] }, policies: [{ requests: 3 }] })
})

test('authz learn cannot tell from refusals alone, nor without a log', async (t) => {
  const refused = await runCommand(authzLearn, {
    cwd,
    stdin: line({ decision: 'deny' }),
    options: { file, log: ['-'] },
  })
  t.is(refused.exitCode, 2)
  t.regex(refused.err, /accessLogFile/)
  const none = runCommand(authzLearn, { cwd, options: { file, state: '/nowhere' } })
  await t.throwsAsync(none, { message: /there are none in \/nowhere\/logs/ })
})

test('authz rollout exits 1 while somebody would be refused, 0 when nobody, 2 when unknown (users §1.5.48)', async (t) => {
  const state = mkdtempSync(join(tmpdir(), 'redoubt-'))
  t.teardown(() => rmSync(state, { recursive: true }))
  mkdirSync(join(state, 'logs'))
  const log = join(state, 'logs', 'qotm.qotm-v1.access.log')
  const run = (options = {}) => runCommand(authzRollout, { cwd, options: { state, ...options } })
  const dry = { policy: 'qotm/try', action: 'DENY', result: 'denied', rule: 0 }

  writeFileSync(
    log,
    `${line()}\n${line({ dry_run: [dry] })}\n${line({ source_principal: null })}\n`,
  )
  const some = await run()
  t.is(some.exitCode, 1)
  t.regex(some.out, /sa\/edge → qotm\/qotm-v1 {2}1 request, .*\n.*the dry-run DENY qotm\/try would/)
  t.regex(some.out, /a caller without a certificate → qotm\/qotm-v1.*\n.*STRICT would refuse it/)
  t.regex(some.out, /3 requests let through, 1 dry-run policy tried: 2 would be refused$/)
  t.is((await run({ since: '1h' })).exitCode, 2)

  writeFileSync(log, `${line()}\n`)
  const none = await run({ file })
  t.is(none.exitCode, 0)
  t.regex(none.out, /nobody would be refused/)
  t.regex(none.err, /no policy is tried out/)
  t.notRegex(some.err, /no policy is tried out/)
  t.like(JSON.parse((await run({ output: 'json' })).out), { refused: [], requests: 1 })

  writeFileSync(log, '')
  t.is((await run()).exitCode, 2)
})
