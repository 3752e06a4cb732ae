/** Questions about policy, asked of the mesh that runs: no manifests are named, those in force count. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import test from 'ava'

import type { Command } from '#deploy/cli/command.ts'
import { analyze } from '#deploy/cli/commands/analyze.ts'
import { authzCheck } from '#deploy/cli/commands/authz-check.ts'
import { authzDiff } from '#deploy/cli/commands/authz-diff.ts'
import { authzExplain } from '#deploy/cli/commands/authz-explain.ts'
import { authzExport } from '#deploy/cli/commands/authz-export.ts'
import { authzLearn } from '#deploy/cli/commands/authz-learn.ts'
import { authzProve } from '#deploy/cli/commands/authz-prove.ts'
import { authzRollout } from '#deploy/cli/commands/authz-rollout.ts'
import { authzTest } from '#deploy/cli/commands/authz-test.ts'
import { listenAdmin } from '#deploy/standalone/admin-server.ts'
import { inForce } from '#deploy/standalone/in-force.ts'
import { keepLastGood } from '#deploy/standalone/last-good.ts'
import { openStateDir } from '#deploy/standalone/state-dir.ts'
import { readManifests } from '#policy/index.ts'
import { runCommand, type Run } from '#test/fakes/fake-io.ts'
import { temporary } from '#test/process/mesh.ts'

const uid = process.getuid?.() ?? 0
const MESH = `
apiVersion: redoubt.io/v1alpha1
kind: Workload
metadata: { name: api, namespace: shop, labels: { app: api } }
spec: { serviceAccount: api, ports: [{ name: http, port: 8080 }] }
---
apiVersion: redoubt.io/v1alpha1
kind: Workload
metadata: { name: web, namespace: shop, labels: { app: web } }
spec: { serviceAccount: web, ports: [{ name: http, port: 8080 }] }
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: try, namespace: shop, annotations: { redoubt.io/dry-run: "true" } }
spec: { mtls: { mode: STRICT } }
`
const POLICY = `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: allow-web, namespace: shop }
spec:
  selector: { matchLabels: { app: api } }
  rules:
    - from: [{ source: { serviceAccounts: [web] } }]
      to: [{ operation: { methods: [GET] } }]
`
const DECISION = '4f2a90c1d7e84b3f9a6c5d2e1b0f7a83'
const WEB = 'spiffe://cluster.local/ns/shop/sa/web'
const line = (change: object): string =>
  JSON.stringify({
    start_time: '2026-01-02T03:04:05.006Z',
    method: 'GET',
    path: '/orders/1',
    protocol: 'HTTP/1.1',
    reporter: 'destination',
    upstream_cluster: 'inbound|8080||',
    destination_workload: 'shop/api',
    source_principal: WEB,
    decision: 'allow',
    action: 'ALLOW',
    ...change,
  })
const LOG = [
  line({}),
  line({ method: 'HEAD', decision: 'deny', decision_id: DECISION }),
  line({ source_principal: null, downstream_remote_address: '10.9.8.7:1' }),
]

/** A mesh as commands see one: its socket, its logs, a file whose newest text is faulty. */
async function openLive() {
  await using opening = new AsyncDisposableStack()
  const folder = opening.use(await temporary())
  const path = join(folder.path, 's')
  const state = opening.use(await openStateDir(path, { pid: process.pid, uid, env: {} }))
  const good = [
    { path: 'mesh.yaml', text: MESH },
    { path: 'policy.yaml', text: POLICY },
  ]
  const broken = good.map((file) =>
    file.path === 'mesh.yaml' ? file : { ...file, text: POLICY.replace('rules', 'roles') },
  )
  const reading = keepLastGood(broken, good, readManifests)
  const subscribers = [
    {
      workload: 'shop/api',
      connected: true,
      resources: [{ name: 'inbound/shop/api', desired: 'v2', applied: 'v1' }],
    },
  ]
  const served = inForce(reading, [{ namespace: 'shop', name: 'api' } as never], subscribers)
  const answers = { '/manifests': () => served }
  opening.use(await listenAdmin(state.sockets, answers, { uid, log: () => {} }))
  mkdirSync(join(path, 'logs'), { recursive: true })
  writeFileSync(join(path, 'logs', 'shop.api.access.log'), LOG.join('\n'))
  const owned = opening.move()
  return {
    cwd: folder.path,
    ask: (command: Command, run: Run = {}) =>
      runCommand(command, {
        uid,
        cwd: folder.path,
        ...run,
        options: { state: path, ...run.options },
      }),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

test('every question is answered for the running mesh: by the manifests in force and by its access logs', async (t) => {
  await using live = await openLive()
  const post = { to: 'shop/api', from: WEB, method: 'POST' }
  const checked = await live.ask(authzCheck, { options: { ...post, output: 'json' } })
  t.like(JSON.parse(checked.out), { decision: 'deny', considered: ['shop/allow-web'] })
  t.deepEqual(checked.err.split('\n'), [
    'note: an older text is in force, for the newest has a fault, of policy.yaml',
    'note: the newest configuration is not applied yet by shop/api',
    'note: these do not serve now: shop/web',
  ])

  const explained = await live.ask(authzExplain, { options: post })
  const miss = 'rule 0 of shop/allow-web would have matched but for method: is POST, must be GET'
  t.true(explained.out.includes(miss), explained.out)

  const cases = `${JSON.stringify({ id: 1, to: 'shop/api', from: WEB, expect: 'allow' })}\n`
  t.is((await live.ask(authzTest, { stdin: cases, options: { cases: '-' } })).exitCode, 0)
  const exported = await live.ask(authzExport, { options: { to: 'shop/api' } })
  t.regex(exported.out, /p, shop\/allow-web, 0/)

  const stdin =
    'assertions: [{ name: web alone, workload: shop/api, only: [{ from: [{ source: { serviceAccounts: [shop/web] } }] }] }]'
  t.is((await live.ask(authzProve, { stdin, options: { assertions: '-' } })).exitCode, 0)
  t.true((await live.ask(analyze)).out.includes('3 warnings'))

  const learned = await live.ask(authzLearn)
  t.regex(learned.err, /1 policy from 2 requests; replayed, they deny 0 of them/)

  const rollout = await live.ask(authzRollout)
  t.is(rollout.exitCode, 1)
  t.regex(
    rollout.out,
    /a caller without a certificate \(from 10\.9\.8\.7\) → shop\/api {2}1 request/,
  )
  t.regex(rollout.out, /the dry-run PeerAuthentication shop\/try is STRICT/)
})

test('authz diff with one set of manifests compares it with what is in force, and counts the mesh’s own traffic', async (t) => {
  await using live = await openLive()
  writeFileSync(join(live.cwd, 'new.yaml'), `${MESH}---${POLICY.replace('GET', 'GET, HEAD')}`)
  const { out, exitCode } = await live.ask(authzDiff, { arguments: ['new.yaml'] })
  t.is(exitCode, 1)
  t.regex(out, /deny → allow.*the method is "HEAD"/)
  t.true(out.includes('of 3 logged requests 1 would be decided otherwise'), out)
  await t.throwsAsync(live.ask(authzDiff, { arguments: ['new.yaml', 'b', 'c'] }), {
    message: /^Cannot compare 3 sets of manifests/,
  })
})

test('authz explain --decision finds a denial in the logs of the mesh, and says what came nearest', async (t) => {
  await using live = await openLive()
  const { out, exitCode } = await live.ask(authzExplain, { options: { decision: DECISION } })
  t.is(exitCode, 1)
  t.true(out.startsWith('start_time: 2026-01-02T03:04:05.006Z\nmethod: HEAD'), out)
  t.regex(
    out,
    /under the manifests it is refused\n {2}rule 0 of shop\/allow-web would have matched/,
  )
  const none = await live.ask(authzExplain, { options: { decision: DECISION.replace('4', '5') } })
  t.is(none.exitCode, 2)
})

test('without manifests and without a mesh each says what it wants', async (t) => {
  const options = { state: '/no/mesh', to: 'a/b', from: 'none', assertions: '-', cases: '-' }
  for (const command of [authzCheck, authzExport, authzTest, authzProve, analyze]) {
    const stdin =
      command === authzProve ? 'assertions: [{ name: a, workload: a/b, never: [{}] }]' : ''
    await t.throwsAsync(runCommand(command, { uid, stdin, options }), {
      message:
        /^Cannot decide without manifests: expected -f PATH, or a mesh that runs \(none does on \/no\/mesh/,
    })
  }
  await t.throwsAsync(runCommand(analyze, { uid, options: { ...options, fix: true } }), {
    message: /^Cannot fix the running mesh/,
  })
})
