import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import test from 'ava'

import { authzCheck } from '#deploy/cli/commands/authz-check.ts'
import { authzProve } from '#deploy/cli/commands/authz-prove.ts'
import { runCommand } from '#test/fakes/fake-io.ts'

const cwd = process.cwd()
const EDGE = 'spiffe://cluster.local/ns/qotm/sa/edge'
const ONLY_EDGE = `
assertions:
  - name: only edge reads quotes
    workload: qotm/qotm-v1
    only:
      - from: [{ source: { principals: [cluster.local/ns/qotm/sa/edge] } }]
        to: [{ operation: { methods: [GET], paths: [/quote, /quote/*] } }]
  - name: nobody deletes
    workload: qotm/*
    never:
      - to: [{ operation: { methods: [DELETE] } }]
  - name: edge reads quotes
    workload: qotm/qotm-v1
    always:
      - from: [{ source: { principals: [cluster.local/ns/qotm/sa/edge] } }]
        to: [{ operation: { methods: [GET], paths: [/quote/*] } }]
`
const prove = (stdin: string, options: object = {}) =>
  runCommand(authzProve, {
    cwd,
    stdin,
    options: { file: ['deploy/samples/qotm'], assertions: '-', ...options },
  })

test('authz prove exits 0 when every assertion holds', async (t) => {
  const { exitCode, out } = await prove(ONLY_EDGE)
  t.is(exitCode, 0, out)
  t.is(
    out,
    `✔ only edge reads quotes  qotm/qotm-v1
✔ nobody deletes  5 workloads
✔ edge reads quotes  qotm/qotm-v1
3 hold, 0 do not, 0 cannot be told`,
  )
})

test('authz prove exits 1 with a counterexample that authz check confirms', async (t) => {
  const { exitCode, out } = await prove(ONLY_EDGE.replaceAll('/quote, /quote/*', '/quote'))
  t.is(exitCode, 1)
  t.true(
    out.startsWith(`✘ only edge reads quotes  qotm/qotm-v1
    at qotm/qotm-v1 it is allowed when the request is HTTP, and the caller is "cluster.local/ns/qotm/sa/edge", and the method is "GET", and the path begins with "/quote/"
    by ALLOW policy qotm/allow-edge, rule 0
    such as: redoubt authz check --to qotm/qotm-v1:8080 --from ${EDGE} --method GET --path /quote/`),
    out,
  )
  const options = {
    file: ['deploy/samples/qotm'],
    to: 'qotm/qotm-v1:8080',
    from: EDGE,
    method: 'GET',
    path: '/quote/',
  }
  t.is((await runCommand(authzCheck, { cwd, options })).exitCode, 0)
})

test('authz prove exits 1 when always is denied to someone', async (t) => {
  const text = ONLY_EDGE.replace('paths: [/quote/*]', 'paths: [/quote/*, /health]')
  const { exitCode, out } = await prove(text, { output: 'json' })
  t.is(exitCode, 1)
  const [, , proof] = JSON.parse(out).proofs
  t.like(proof, { verdict: 'false', kind: 'always', line: 12 })
  t.like(proof.counterexample, {
    workload: 'qotm/qotm-v1',
    witness: { from: EDGE, path: '/health' },
  })
  t.is(proof.counterexample.result.reason, 'no-allow-matched')
})

test('authz prove exits 2 where there is nothing to prove it of', async (t) => {
  const { exitCode, out } = await prove(ONLY_EDGE.replace('qotm/*', 'nowhere/*'))
  t.is(exitCode, 2)
  t.regex(out, /^\? nobody deletes {2}0 workloads\n {4}there is no workload nowhere\/\*$/m)
  const near = await prove(ONLY_EDGE.replace('qotm/*', 'qotm/qotm-v3'))
  t.regex(near.out, /there is no workload qotm\/qotm-v3; did you mean qotm\/qotm-v\d\?/)
})

test('authz prove exits 2 where a provider decides, unless its answer is given', async (t) => {
  const policy =
    'apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: { name: ask, namespace: qotm }\nspec: { action: CUSTOM, provider: { name: opa }, rules: [{}] }\n'
  const directory = mkdtempSync(join(tmpdir(), 'redoubt-prove-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  const file = join(directory, 'assertions.yaml')
  const read = (path: string) =>
    path === file ? Promise.resolve(ONLY_EDGE) : Promise.reject(new Error(path))
  const withFile = (provider: readonly string[]) =>
    runCommand(authzProve, {
      cwd,
      stdin: policy,
      readFile: read,
      options: { file: ['deploy/samples/qotm', '-'], assertions: file, provider },
    })
  const unknown = await withFile([])
  t.is(unknown.exitCode, 2)
  t.true(unknown.out.includes('it is decided by a provider'), unknown.out)
  t.is((await withFile(['opa=allow'])).exitCode, 0)
  t.is((await withFile(['opa=deny'])).exitCode, 1)
})

test('authz prove writes JUnit, with what is wrong as text', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'redoubt-prove-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  const junit = join(directory, 'junit.xml')
  await prove(ONLY_EDGE.replaceAll('/quote, /quote/*', '/quote').replace('nobody', 'no <&"body'), {
    junit,
  })
  const xml = readFileSync(junit, 'utf8')
  t.true(xml.startsWith('<?xml version="1.0" encoding="UTF-8"?>'))
  t.regex(xml, /<testsuite name="redoubt authz prove" tests="3" failures="1" errors="0">/)
  t.regex(xml, /<failure message="at qotm\/qotm-v1 it is allowed when/)
  t.true(xml.includes('name="no &lt;&amp;&quot;body deletes"'), xml)
})

for (const [what, [text, said]] of Object.entries({
  'two kinds at once': [
    'assertions: [{name: a, workload: a/b, never: [{}], only: [{}]}]',
    '-:1 /assertions/0 it has never and only: expected one of never, always, only',
  ],
  'a field that is none': [
    'assertions: [{name: a, workload: a/b, nevr: [{}]}]',
    'did you mean "never"',
  ],
  'a workload without a namespace': [
    'assertions: [{name: a, workload: b, never: [{}]}]',
    'expected namespace/workload',
  ],
  'a block that is none': [
    'assertions: [{name: a, workload: a/b, never: [{from: [{source: {ipBlocks: [x]}}]}]}]',
    '/assertions/0/never/0/from/0/source/ipBlocks/0',
  ],
  'a name twice': [
    'assertions: [{name: a, workload: a/b, never: [{}]}, {name: a, workload: a/b, never: [{}]}]',
    'there is already an assertion "a"',
  ],
  'no YAML': ['assertions: [', 'Cannot read'],
} as const)) {
  test(`authz prove refuses ${what}, with its place`, async (t) => {
    const printed: string[] = []
    const run = runCommand(authzProve, {
      cwd,
      stdin: text,
      err: (line) => void printed.push(line),
      options: { file: ['deploy/samples/qotm'], assertions: '-' },
    })
    const error = await t.throwsAsync(run, {
      message: /^Cannot read assertions: - has \d+ faults?$/,
    })
    t.true([...printed, error?.message ?? ''].join('\n').includes(said), printed.join('\n'))
  })
}
