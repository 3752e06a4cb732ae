import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import test from 'ava'

import { loadCommands } from '#deploy/cli/commands/index.ts'
import { validate } from '#deploy/cli/commands/validate.ts'
import { runCommand } from '#test/fakes/fake-io.ts'

const cwd = mkdtempSync(join(tmpdir(), 'redoubt-validate-'))
test.after.always(() => rmSync(cwd, { recursive: true }))

const good = `apiVersion: v1
kind: Service
metadata: { name: web, namespace: shop }
spec:
  selector: { app: web }
  ports: [{ name: http, port: 80 }]
`
const bad = `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: deny-all
  namespace: shop
spec:
  rulez: []
`
mkdirSync(join(cwd, 'all/.hidden'), { recursive: true })
writeFileSync(join(cwd, 'good.yaml'), good)
writeFileSync(join(cwd, 'all/a.yaml'), good)
writeFileSync(join(cwd, 'all/b.yml'), `${good.replace('web', 'web2')}---\n${bad}`)
writeFileSync(join(cwd, 'all/.hidden/c.yaml'), 'not: [yaml')
writeFileSync(join(cwd, 'all/notes.txt'), 'not a manifest')

test('validate answers yes and 0 for what is valid', async (t) => {
  const { exitCode, out } = await runCommand(validate, { cwd, options: { file: ['good.yaml'] } })
  t.is(out, '✔ Service shop/web good.yaml:1\n1 document, all valid')
  t.is(exitCode, 0)
})

test('validate prints a JSON line a document, under the contract’s names, and 1', async (t) => {
  const options = { file: ['all'], output: 'json' }
  const { exitCode, out } = await runCommand(validate, { cwd, options })
  const lines = out.split('\n').map((line) => JSON.parse(line))
  t.is(exitCode, 1)
  t.deepEqual(lines.slice(0, 2), [
    {
      file: 'all/a.yaml',
      document: 1,
      line: 1,
      kind: 'Service',
      namespace: 'shop',
      name: 'web',
      valid: true,
      errors: [],
      warnings: [],
      unsupported: [],
    },
    {
      file: 'all/b.yml',
      document: 1,
      line: 1,
      kind: 'Service',
      namespace: 'shop',
      name: 'web2',
      valid: true,
      errors: [],
      warnings: [],
      unsupported: [],
    },
  ])
  const { errors, ...rest } = lines[2]
  t.like(rest, { file: 'all/b.yml', document: 2, line: 8, name: 'deny-all', valid: false })
  t.deepEqual(
    errors.map(({ pointer, line }: { pointer: string; line: number }) => [pointer, line]),
    [['/spec/rulez', 14]],
  )
})

test('validate tells people file, line, pointer, what is wrong and what to do', async (t) => {
  const { exitCode, out } = await runCommand(validate, { options: { file: ['-'] }, stdin: bad })
  t.is(exitCode, 1)
  t.regex(out, /^✘ AuthorizationPolicy shop\/deny-all -:1\n {4}-:7 \/spec\/rulez {2}\S.*\n {8}\S/)
  t.regex(out, /\n1 document, 1 invalid$/)
})

const held = `apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: web }
spec: { host: web, trafficPolicy: { tls: { mode: SIMPLE } } }
`

test('validate says what no mesh carries out, beside Istio’s verdict', async (t) => {
  const text = await runCommand(validate, { options: { file: ['-'] }, stdin: held })
  t.is(text.exitCode, 0)
  t.regex(text.out, /^✔ DestinationRule .*\n {4}-:4 \/spec\/trafficPolicy\/tls\/mode {2}\S/)
  t.regex(text.out, /1 document, all valid\n1 of them with what no mesh carries out yet/)
  const options = { file: ['-'], output: 'json' }
  const { exitCode, out } = await runCommand(validate, { options, stdin: held })
  t.is(exitCode, 0)
  const [{ pointer, line, message, hint }] = JSON.parse(out).unsupported
  t.deepEqual([pointer, line], ['/spec/trafficPolicy/tls/mode', 4])
  t.regex(`${message} ${hint}`, /not carried out yet.* carried out: ISTIO_MUTUAL, DISABLE/)
})

test('validate --batch judges each line alone and answers with its id', async (t) => {
  const questions = [
    { id: 1, manifest: good },
    { id: 'two', manifest: bad },
    { id: 3, manifest: good },
    { id: 4, manifest: '' },
    { id: 5, manifest: JSON.parse('{"apiVersion":"v1","kind":"Nope"}') },
  ]
  const stdin = questions.map((question) => JSON.stringify(question)).join('\n')
  const { exitCode, out } = await runCommand(validate, { options: { batch: '-' }, stdin })
  const answers = out.split('\n').map((line) => JSON.parse(line))
  t.deepEqual(
    answers.map(({ id, valid }) => [id, valid]),
    [
      [1, true],
      ['two', false],
      [3, true],
      [4, false],
      [5, false],
    ],
  )
  t.is(exitCode, 1)
})

test('validate --batch answers a line that cannot be read, and ends with 2', async (t) => {
  const stdin = `{"id":1\n${JSON.stringify({ id: 2, manifest: good })}\n`
  const { exitCode, out, err } = await runCommand(validate, { options: { batch: '-' }, stdin })
  t.deepEqual(
    out.split('\n').map((line) => JSON.parse(line).valid),
    [false, true],
  )
  t.regex(err, /Cannot read line 1 of the batch/)
  t.is(exitCode, 2)
})

for (const [what, options, said] of [
  ['nothing', {}, /expected a PATH, or --batch FILE/],
  ['a path that is not there', { file: ['nowhere'] }, /nowhere: there is no such file/],
  ['a directory without manifests', { file: ['all/.hidden'] }, /there is no document|not valid/],
] as const) {
  test(`validate cannot tell about ${what}`, async (t) => {
    if (what.startsWith('a directory')) mkdirSync(join(cwd, 'empty'), { recursive: true })
    const asked = what.startsWith('a directory') ? { file: ['empty'] } : options
    const error = await t.throwsAsync(runCommand(validate, { cwd, options: asked }))
    t.regex(error.message, said)
  })
}

test('folders in folders are read where they are named, and told of where they are not', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'redoubt-validate-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  for (const name of ['in/deep', 'none', '.git']) mkdirSync(join(folder, name), { recursive: true })
  for (const name of ['a.yaml', 'in/b.yaml', 'in/deep/c.json', 'none/x.txt', '.git/d.yaml'])
    writeFileSync(
      join(folder, name),
      `apiVersion: v1\nkind: Namespace\nmetadata: { name: ${name[0]} }\n`,
    )
  const ask = (...file: readonly string[]) =>
    runCommand(validate, { cwd: folder, options: { file } })
  const note = (path: string) =>
    `redoubt: did not read ${path}, a folder in a folder: name it too, where it is meant`
  const top = await ask('.')
  t.deepEqual([top.err, top.out.split('\n').at(-1)], [note('in'), '1 document, all valid'])
  const both = await ask('.', './in')
  t.deepEqual([both.err, both.out.split('\n').at(-1)], [note('in/deep'), '2 documents, all valid'])
  t.is((await ask('.', 'in', join(folder, 'in/deep'))).err, '')
})

test('validate tells what is no manifest at all, in words', async (t) => {
  const said = async (stdin: string) =>
    (await runCommand(validate, { stdin, options: { file: ['-'] } })).out
  t.regex(
    await said('a: b\n\0\0'),
    /^✘ document -:2\n {4}-:2 {2}Cannot read file: it is no text in UTF-8/,
  )
  t.regex(
    await said('apiVersion: v1\nkind: List\nitems: {}\n'),
    /^✘ List -:1\n {4}-:2 \/kind {2}a List has its objects in items[^\n]*\n {8}as kubectl get/,
  )
  t.is(
    await said(
      'apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: a }\n---\napiVersion: v1\nkind: Namespace\nmetadata: { name: a }\n',
    ),
    '– Deployment default/a -:1\n✔ Namespace a -:5\n2 documents, all valid, 1 skipped: no business of a mesh',
  )
  t.regex(
    await said('\ufeffapiVersion: v1\r\nkind: Namespace\r\nmetadata: { name: a }\r\n'),
    /^✔ Namespace a -:1\n/,
  )
})

test('the version is told without loading a command', async (t) => {
  t.deepEqual([await loadCommands('--version'), await loadCommands('-V')], [[], []])
})

test('commands that answer from files load neither gRPC nor an HTTP client', (t) => {
  const script = `
    import { createRequire } from 'node:module'
    import { loadCommands } from '#deploy/cli/commands/index.ts'
    for (const word of ['validate', 'analyze', 'authz']) await loadCommands(word)
    const loaded = [...process.moduleLoadList, ...Object.keys(createRequire(import.meta.url).cache)]
    console.log(loaded.filter((name) => /undici|grpc-js/.test(name)).join())`
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    encoding: 'utf8',
  })
  t.is(stderr, '')
  t.is(stdout.trim(), '')
})
