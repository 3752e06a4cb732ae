import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import test from 'ava'

import { analyze } from '#deploy/cli/commands/analyze.ts'
import { runCommand } from '#test/fakes/fake-io.ts'
import { BASE, ROWS } from '../../policy/analyze/rules.ts'

const raised = (code: string): string =>
  BASE + (ROWS.find((row) => row.code === code && row.repaired !== undefined)?.raised ?? '')

test('analyze finds nothing in the sample and exits 0', async (t) => {
  const options = { file: ['deploy/samples/qotm'] }
  const { exitCode, out } = await runCommand(analyze, { cwd: process.cwd(), options })
  t.regex(out, /^\d+ documents, nothing found$/)
  t.is(exitCode, 0)
})

test('analyze prints file, line, sentence and what to do; JSON is a line a finding', async (t) => {
  const run = { stdin: raised('RDB0001'), options: { file: ['-'] } }
  const { exitCode, out } = await runCommand(analyze, run)
  t.is(exitCode, 1)
  t.regex(out, /^warning RDB0001 -:\d+ AuthorizationPolicy shop\/one\n {4}rule 1 repeats rule 0/m)
  t.regex(out, /→ remove it/)
  t.regex(out, /1 warning; --fix repairs 1$/)

  const json = await runCommand(analyze, { ...run, options: { file: ['-'], output: 'json' } })
  t.like(JSON.parse(json.out), {
    code: 'RDB0001',
    severity: 'warning',
    file: '-',
    kind: 'AuthorizationPolicy',
    namespace: 'shop',
    name: 'one',
    pointer: '/spec/rules/1',
    fixable: true,
  })
})

test('analyze --fix writes the repair, keeps the rest, and finds nothing after', async (t) => {
  const cwd = mkdtempSync(join(tmpdir(), 'redoubt-'))
  t.teardown(() => rmSync(cwd, { recursive: true }))
  const text = raised('RDB0021')
  writeFileSync(join(cwd, 'mesh.yaml'), text)
  const options = { file: ['mesh.yaml'], fix: true }
  const { exitCode, out, err } = await runCommand(analyze, { cwd, options })
  t.regex(err, /^fixed mesh\.yaml:\d+ RDB0021/)
  t.regex(out, /nothing found$/)
  t.is(exitCode, 0)
  t.is(readFileSync(join(cwd, 'mesh.yaml'), 'utf8'), text.replace('GET, POST, GET', 'GET, POST'))
})

test('analyze cannot tell without manifests, and info alone is no failure', async (t) => {
  await t.throwsAsync(runCommand(analyze, { options: { file: [] } }), { message: /expected -f/ })
  await t.throwsAsync(runCommand(analyze, { stdin: '', options: { file: ['-'] } }), {
    message: /no document/,
  })
  const row = ROWS.find(({ code }) => code === 'IST0118')
  const info = await runCommand(analyze, { stdin: BASE + row?.raised, options: { file: ['-'] } })
  t.is(info.exitCode, 0)
  t.regex(info.out, /^info IST0118/)
})
