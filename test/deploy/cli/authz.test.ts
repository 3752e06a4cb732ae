import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import test from 'ava'

import { authzCheck } from '#deploy/cli/commands/authz-check.ts'
import { authzExplain } from '#deploy/cli/commands/authz-explain.ts'
import { authzTest } from '#deploy/cli/commands/authz-test.ts'
import { runCommand } from '#test/fakes/fake-io.ts'
import { JWKS, makeToken } from '#test/fakes/fake-tokens.ts'

const cwd = process.cwd()
const id = (account: string): string => `spiffe://cluster.local/ns/qotm/sa/${account}`
const options = {
  file: ['deploy/samples/qotm'],
  to: 'qotm/qotm-v1',
  from: id('edge'),
  path: '/quote',
  output: 'json',
}
const decide = async (change: Readonly<Record<string, unknown>>) => {
  const { exitCode, out } = await runCommand(authzCheck, {
    cwd,
    options: { ...options, ...change },
  })
  return { exitCode, ...(JSON.parse(out) as Readonly<Record<string, unknown>>) }
}

test('authz check prints the contract’s object and exits 0 for allow', async (t) => {
  t.deepEqual(await decide({}), {
    exitCode: 0,
    decision: 'allow',
    status: null,
    action: 'ALLOW',
    policy: 'qotm/allow-edge',
    rule: 0,
    reason: 'allowed-by-policy',
    normalizedPath: '/quote',
    mtlsMode: 'STRICT',
    dryRun: [],
    audit: [],
  })
})

test('authz check exits 1 for deny: by name, by default, without a certificate', async (t) => {
  const named = { exitCode: 1, action: 'DENY', policy: 'qotm/deny-intruder', status: 403 }
  t.like(await decide({ from: id('intruder') }), named)
  t.like(await decide({ to: 'qotm/quotes-db:8080' }), { exitCode: 1, reason: 'no-allow-matched' })
  t.like(await decide({ from: 'none' }), { exitCode: 1, status: null, reason: 'mtls-required' })
})

test('authz check exits 2 when it cannot tell', async (t) => {
  t.like(await decide({ to: 'qotm/nobody' }), { exitCode: 2, reason: 'unknown-workload' })
})

test('authz check says what was probably meant (users §1.5)', async (t) => {
  const check = (change: Readonly<Record<string, unknown>>) =>
    runCommand(authzCheck, { cwd, options: { ...options, output: 'text', ...change } })
  const near = await check({ to: 'qotm/qotm-v3' })
  t.is(near.out, 'error  the manifests have no such workload; did you mean qotm/qotm-v1?')
  const far = await check({ to: 'elsewhere/something-else' })
  t.regex(far.out, /^error {2}the manifests have no such workload; they have qotm\/\S+, /)

  const unmeant = { from: id('edge').slice('spiffe://'.length) }
  await t.throwsAsync(check(unmeant), {
    message: `Cannot parse SPIFFE ID "${unmeant.from}": its scheme is not spiffe; did you mean "${id('edge')}"?`,
  })
  await t.throwsAsync(check({ from: 'qotm/edge' }), {
    message: /; did you mean "spiffe:\/\/<trust domain>\/ns\/qotm\/sa\/edge"\?$/,
  })
  await t.throwsAsync(check({ from: 'nobody' }), { message: /expected spiffe:.*, or none$/ })
  await t.throwsAsync(check({ sourceIp: '10.0.0' }), {
    message: /--source-ip "10.0.0": expected an IPv4 or IPv6 address/,
  })
})

test('whatever file is named and cannot be read is told by its name and why', async (t) => {
  const missing = { message: 'Cannot read gone.jsonl: there is no such file' }
  const cases = { ...options, cases: 'gone.jsonl' }
  await t.throwsAsync(runCommand(authzTest, { cwd, options: cases }), missing)
  const explained = { decision: '4f2a90c1d7e84b3f9a6c5d2e1b0f7a83', log: 'gone.jsonl' }
  await t.throwsAsync(runCommand(authzExplain, { cwd, options: explained }), missing)
  const folder = { ...cases, cases: 'deploy' }
  await t.throwsAsync(runCommand(authzTest, { cwd, options: folder }), {
    message: 'Cannot read deploy: it is a directory',
  })
})

test('authz test without a case has tested nothing', async (t) => {
  const run = { cwd, stdin: '\n', options: { ...options, cases: '-' } }
  await t.throwsAsync(runCommand(authzTest, run), { message: 'Cannot test: there is no case in -' })
})

test('authz check takes every flag', async (t) => {
  const change = {
    to: 'qotm/qotm-v1:8080',
    protocol: 'http2',
    method: 'GET',
    host: 'qotm',
    header: ['x-a=1', 'x-a=2=3'],
    claims: '{"iss":"i"}',
    sourceIp: '127.0.0.2',
    remoteIp: '127.0.0.3',
    destIp: '127.0.0.4',
    sni: 's',
    provider: ['opa=allow'],
  }
  t.like(await decide(change), { exitCode: 0, decision: 'allow' })
})

for (const [what, [change, message]] of Object.entries({
  'a target without a namespace': [{ to: 'web' }, 'Cannot read --to "web": expected namespace/'],
  'a port beyond 65535': [{ to: 'a/b:70000' }, 'Cannot read --to "a/b:70000"'],
  'a caller that is no SPIFFE ID': [{ from: 'edge' }, 'Cannot parse SPIFFE ID "edge"'],
  'a header without a value': [{ header: ['x'] }, 'Cannot read --header "x": expected name=value'],
  'claims that are no object': [{ claims: '[1]' }, 'Cannot read --claims "[1]": expected a JSON'],
  'claims that are no JSON': [{ claims: '{' }, 'Cannot read --claims "{": expected a JSON object'],
  'a provider that answers maybe': [{ provider: ['a=maybe'] }, 'Cannot read --provider "a=maybe"'],
  'no manifests': [{ file: [] }, 'Cannot decide without manifests: expected -f PATH'],
} as const)) {
  test(`authz check refuses ${what}`, async (t) => {
    const run = runCommand(authzCheck, { cwd, options: { ...options, ...change } })
    const error = await t.throwsAsync(run)
    t.true(error?.message.startsWith(message), error?.message)
  })
}

test('authz check does not decide on half of the manifests', async (t) => {
  const stdin =
    'apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: x, namespace: qotm}\nspec: {rulez: []}\n'
  const run = { cwd, stdin, options: { ...options, file: ['deploy/samples/qotm', '-'] } }
  await t.throwsAsync(runCommand(authzCheck, run), {
    message: /^Cannot decide: 1 of \d+ documents/,
  })
})

test('authz check tells people who decided and why', async (t) => {
  const text = async (change: object) => {
    const run = { cwd, options: { ...options, output: 'text', ...change } }
    return (await runCommand(authzCheck, run)).out
  }
  t.is(
    await text({ from: id('intruder') }),
    'deny 403  by DENY policy qotm/deny-intruder, rule 0\n  mTLS STRICT  path /quote',
  )
  t.is(
    await text({ path: '/secret' }),
    'deny 403  no ALLOW policy matched; those that apply: qotm/allow-edge, qotm/allow-nothing\n  mTLS STRICT  path /secret',
  )
})

test('authz explain names the field that stopped each rule, with both values', async (t) => {
  const run = { cwd, options: { ...options, output: 'text', path: '/secret' } }
  const { exitCode, out } = await runCommand(authzExplain, run)
  t.is(exitCode, 1)
  t.true(
    out.includes(
      'ALLOW qotm/allow-edge  no rule matched\n  rule 0 missed at to[0].operation.paths: wanted "/quote", "/quote/*", had "/secret"',
    ),
    out,
  )
  t.true(out.includes('ALLOW qotm/allow-nothing  no rule matched\n  has no rules'), out)
})

const decision = '4f2a90c1d7e84b3f9a6c5d2e1b0f7a83'
test('authz explain --decision finds a denial in an access log (users §1.4.35, §1.4.39)', async (t) => {
  const line = `{"method":"GET","path":"/quote","policy":"qotm/deny","decision_id":"${decision}"}`
  const run = (id: string) =>
    runCommand(authzExplain, { cwd, stdin: `{}\n${line}\n`, options: { decision: id, log: '-' } })
  const found = await run(decision)
  t.is(found.exitCode, 1)
  t.is(found.out, `method: GET\npath: /quote\npolicy: qotm/deny\ndecision_id: ${decision}`)
  t.is((await run(decision.replace('4', '5'))).exitCode, 2)
  await t.throwsAsync(run('x'), {
    message: /^Cannot find decision "x": expected the 32 hex digits/,
  })
})

test('authz explain --decision asks the sidecars of the running mesh', async (t) => {
  const state = mkdtempSync(join(tmpdir(), 'redoubt-explain-'))
  const server = createServer((request, response) => {
    const known = request.url === `/decisions?id=${decision}`
    response.writeHead(known ? 200 : 404).end(known ? `{"id":"${decision}","policy":"a/b"}` : '{}')
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  const workload = { namespace: 'qotm', name: 'edge', admin: `127.0.0.1:${port}` }
  const away = { namespace: 'qotm', name: 'away', admin: '127.0.0.1:1' }
  writeFileSync(join(state, 'mesh.json'), JSON.stringify({ workloads: [away, workload] }))
  const { out, exitCode } = await runCommand(authzExplain, {
    cwd,
    options: { decision, state, output: 'json' },
  })
  server.close()
  rmSync(state, { recursive: true })
  t.deepEqual(JSON.parse(out), { workload: 'qotm/edge', id: decision, policy: 'a/b' })
  t.is(exitCode, 1)
})

test('authz explain wants a query or a decision', async (t) => {
  await t.throwsAsync(runCommand(authzExplain, { cwd }), {
    message: /expected --to and --from, or/,
  })
})

test('authz test answers each line, and 1 when one is not as expected (users §1.5.49)', async (t) => {
  const base = { to: 'qotm/qotm-v1', from: id('edge'), path: '/quote' }
  const stdin = [
    { id: 1, ...base, expect: 'allow' },
    { id: 'b', ...base, from: null, expect: 'deny' },
    { id: 3, ...base, path: '/x', expect: { decision: 'deny', status: 403 } },
    { id: 4, ...base },
    { id: 5, ...base, expect: 'deny' },
  ]
  const run = (lines: readonly unknown[]) =>
    runCommand(authzTest, {
      cwd,
      stdin: `${lines.map((line) => JSON.stringify(line)).join('\n')}\n`,
      options: { file: ['deploy/samples/qotm'], cases: '-' },
    })
  const { exitCode, out, err } = await run(stdin)
  t.is(err, 'redoubt: Case 5 is not decided as expected: decision is "allow", not "deny"')
  const results = out.split('\n').map((line) => JSON.parse(line))
  t.deepEqual(
    results.map((one) => [one.id, one.decision, one.ok]),
    [
      [1, 'allow', true],
      ['b', 'deny', true],
      [3, 'deny', true],
      [4, 'allow', undefined],
      [5, 'allow', false],
    ],
  )
  t.is(exitCode, 1)
  t.is((await run(stdin.slice(0, 4))).exitCode, 0)
  const unreadable = await run([{ id: 6, ...base }, { to: 'x' }])
  t.is(unreadable.exitCode, 2)
  t.regex(unreadable.err, /^redoubt: Cannot read case on line 2: its "to" is/)
})

test('authz test decides 1,000 cases', async (t) => {
  const line = (n: number) =>
    JSON.stringify({ id: n, to: 'qotm/qotm-v1', from: id('edge'), path: `/quote/${n}` })
  const stdin = Array.from({ length: 1000 }, (_, n) => line(n)).join('\n')
  const options = { file: ['deploy/samples/qotm'], cases: '-' }
  const started = performance.now()
  const { out, exitCode } = await runCommand(authzTest, { cwd, stdin, options })
  t.log(`${Math.round(performance.now() - started)} ms for 1,000 cases`)
  t.is(out.split('\n').length, 1000)
  t.is(exitCode, 0)
})

test('authz check, test and explain verify tokens, and fetch keys only when told to', async (t) => {
  const server = createServer((_, response) => response.end(JWKS)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const folder = mkdtempSync(join(tmpdir(), 'redoubt-tokens-'))
  t.teardown(() => {
    server.close()
    rmSync(folder, { recursive: true })
  })
  const file = join(folder, 'mesh.yaml')
  writeFileSync(
    file,
    `
apiVersion: redoubt.io/v1alpha1
kind: Workload
metadata: { name: web, namespace: app }
spec: { serviceAccount: web, ports: [{ name: http, port: 80 }], run: { command: [x] } }
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: { name: jwt, namespace: app }
spec: { jwtRules: [{ issuer: near, jwks: '${JWKS}' }, { issuer: far, jwksUri: "http://127.0.0.1:${port}/" }] }
`,
  )
  const token = (iss: string) => `authorization=Bearer ${makeToken({ claims: { iss, sub: 'u' } })}`
  const given = { file: [file], to: 'app/web', from: 'none', path: '/', protocol: 'http1' }
  const near = await decide({ ...given, header: [token('near')] })
  t.like(near, { exitCode: 0, decision: 'allow' })
  const stranger = await decide({ ...given, header: [token('nobody')] })
  t.like(stranger, { exitCode: 1, status: 401, detail: 'Jwt issuer is not configured' })
  const far = { ...given, header: [token('far')] }
  t.like(await decide(far), { exitCode: 2, reason: 'needs-keys' })
  t.like(await decide({ ...far, fetch: true }), { exitCode: 0, decision: 'allow' })

  const explained = await runCommand(authzExplain, { cwd, options: { ...far, output: 'text' } })
  t.regex(explained.out, /give --fetch to ask for them/)
  const line = { id: 1, to: 'app/web', from: null, headers: { authorization: 'Bearer abc' } }
  const cases = join(folder, 'cases.jsonl')
  writeFileSync(cases, JSON.stringify({ ...line, expect: { status: 401 } }))
  const tested = await runCommand(authzTest, { cwd, options: { file: [file], cases } })
  t.is(tested.exitCode, 0, tested.out)
})
