import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import test from 'ava'

import { authzCheck } from '#deploy/cli/commands/authz-check.ts'
import { authzDiff } from '#deploy/cli/commands/authz-diff.ts'
import { runCommand } from '#test/fakes/fake-io.ts'

const cwd = process.cwd()
const SAMPLE = 'deploy/samples/qotm'
const EDGE = 'spiffe://cluster.local/ns/qotm/sa/edge'

/** The sample with one text of its policies replaced. */
function edited(from: string, to: string): { readonly path: string; [Symbol.dispose](): void } {
  const path = mkdtempSync(join(tmpdir(), 'redoubt-diff-'))
  cpSync(SAMPLE, path, { recursive: true })
  const file = join(path, 'policy.yaml')
  writeFileSync(file, readFileSync(file, 'utf8').replaceAll(from, to))
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true }) }
}

const diff = (path: string, options: object = {}, rest: object = {}) =>
  runCommand(authzDiff, {
    cwd,
    arguments: [SAMPLE, path],
    options: { limit: '50', ...options },
    ...rest,
  })

test('authz diff exits 0 when every request is decided as before', async (t) => {
  const { exitCode, out } = await diff(SAMPLE)
  t.is(exitCode, 0)
  t.is(out, 'every request is decided as before')
})

test('authz diff tells a class in a sentence, who decided, and a request to check', async (t) => {
  using next = edited('/quote/*', '/q*')
  const { exitCode, out } = await diff(next.path)
  t.is(exitCode, 1)
  t.is(
    out,
    `qotm/qotm-v1, qotm/qotm-v2  1 class of requests changes
  deny → allow  when the request is HTTP, and the caller is "cluster.local/ns/qotm/sa/edge", and the method is "GET", and the path begins with "/q" and is not "/quote" and does not begin with "/quote/"
      was: no ALLOW policy matched; those that apply: qotm/allow-edge, qotm/allow-nothing
      now: by ALLOW policy qotm/allow-edge, rule 0
      such as: redoubt authz check --to qotm/qotm-v1:8080 --from ${EDGE} --method GET --path /q`,
  )
  const options = { to: 'qotm/qotm-v1:8080', from: EDGE, method: 'GET', path: '/q' }
  const before = await runCommand(authzCheck, { cwd, options: { ...options, file: [SAMPLE] } })
  const after = await runCommand(authzCheck, { cwd, options: { ...options, file: [next.path] } })
  t.deepEqual([before.exitCode, after.exitCode], [1, 0])
})

test('authz diff prints JSON with a witness for each class', async (t) => {
  using next = edited('principals: [cluster.local/ns/qotm/sa/qotm]', 'namespaces: [qotm]')
  const { out } = await diff(next.path, { output: 'json', to: 'qotm/quotes-db' })
  const { same, comparisons } = JSON.parse(out)
  t.is(same, false)
  t.deepEqual(comparisons[0].workloads, ['qotm/quotes-db'])
  t.like(comparisons[0].changes[0], { before: 'deny', after: 'allow', witness: { method: 'GET' } })
  t.regex(comparisons[0].changes[0].witness.from, /\/ns\/qotm\/sa\/(?!qotm$)/)
})

test('authz diff says unknown where a provider decides, unless it is told', async (t) => {
  using next = edited(
    'name: deny-intruder, namespace: qotm }\nspec:\n  selector: { matchLabels: { app: qotm } }\n  action: DENY\n  rules:\n    - from: [{ source: { principals: [cluster.local/ns/qotm/sa/intruder] } }]',
    'name: ask, namespace: qotm }\nspec:\n  selector: { matchLabels: { app: qotm } }\n  action: CUSTOM\n  provider: { name: opa }\n  rules:\n    - to: [{ operation: { paths: ["/quote/x"] } }]',
  )
  const { out } = await diff(next.path)
  t.regex(out, /allow → unknown {2}\(provider opa decides\) {2}when .*the path is "\/quote\/x"/)
  t.is((await diff(next.path, { provider: ['opa=allow'] })).exitCode, 0)
})

test('authz diff takes PeerAuthentication into account', async (t) => {
  using strict = edited('namespaces: [x]', 'namespaces: [x]')
  writeFileSync(
    join(strict.path, 'disable.yaml'),
    'apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: { name: off, namespace: qotm }\nspec: { selector: { matchLabels: { app: qotm } }, mtls: { mode: DISABLE } }\n',
  )
  const { out } = await diff(strict.path)
  t.regex(out, /allow → deny {2}when .*the caller is "cluster.local\/ns\/qotm\/sa\/edge"/)
  t.true(out.includes('now: the caller speaks mTLS, and the port takes plaintext only'), out)
})

test('authz diff takes RequestAuthentication into account, and exits 2 where keys are others', async (t) => {
  const tokens = (keys: string): string =>
    `apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: { name: tokens, namespace: qotm }\nspec: { jwtRules: [{ issuer: "https://issuer", ${keys} }] }\n`
  using next = edited('namespaces: [x]', 'namespaces: [x]')
  writeFileSync(join(next.path, 'tokens.yaml'), tokens('jwks: "{\\"keys\\":[]}"'))
  const { exitCode, out } = await diff(next.path)
  t.is(exitCode, 1, out)
  t.regex(
    out,
    /allow → deny {2}when .*the request carries an invalid token \(header authorization\)/,
  )
  t.true(out.includes("--header 'authorization=Bearer not-a-token'"), out)

  using other = edited('namespaces: [x]', 'namespaces: [x]')
  writeFileSync(join(other.path, 'tokens.yaml'), tokens('jwksUri: "https://issuer/keys"'))
  const keys = await runCommand(authzDiff, { cwd, arguments: [next.path, other.path] })
  t.is(keys.exitCode, 2, keys.out)
  t.regex(keys.out, /no request changes\n {2}note: the keys of https:\/\/issuer change: /)
})

test('authz diff counts the logged requests that it would have hit', async (t) => {
  using next = edited('paths: [/quote, /quote/*]', 'paths: [/quote]')
  const line = (path: string, more: object = {}): string =>
    JSON.stringify({
      method: 'GET',
      path,
      reporter: 'destination',
      destination_workload: 'qotm/qotm-v1',
      source_principal: EDGE,
      upstream_cluster: 'inbound|8080||',
      downstream_remote_address: '127.0.0.1:40000',
      ...more,
    })
  const stdin = [
    line('/quote'),
    line('/quote/1?x'),
    line('/quote/2'),
    line('/quote/2', { reporter: 'source' }),
    line('/quote/2', { destination_workload: 'qotm/other' }),
    'no JSON',
  ].join('\n')
  const { out } = await diff(next.path, { traffic: '-' }, { stdin })
  t.true(out.includes('of 3 logged requests 2 would be decided otherwise'), out)
  t.true(out.includes(`2 × allow → deny, such as GET /quote/1?x to qotm/qotm-v1 from ${EDGE}`), out)
})

test('authz diff says that a log has no requests, rather than that none would be hit', async (t) => {
  const { out } = await diff(SAMPLE, { traffic: '-' }, { stdin: 'no log\n' })
  t.regex(out, /^no request is logged there/m)
})

test('authz diff refuses a time without the traffic that it is about', async (t) => {
  await t.throwsAsync(diff(SAMPLE, { since: '2h' }), {
    message: /^Cannot go by --since without traffic: expected --traffic FILE/,
  })
})

test('authz diff refuses a workload that neither has', async (t) => {
  await t.throwsAsync(diff(SAMPLE, { to: 'qotm/nobody' }), {
    message: /has the workload qotm\/nobody/,
  })
})
