import { readFileSync } from 'node:fs'

import test from 'ava'

import { analyze, CODES } from '#policy/analyze/index.ts'
import { BASE, ROWS } from './rules.ts'
import { cpuStopwatch } from '../../fakes/cpu-time.ts'

const found = (text: string) => analyze([{ path: 'mesh.yaml', text }]).findings
const codesOf = (text: string): readonly string[] => found(text).map(({ code }) => code)
const hasTokens = !codesOf(
  `${BASE}${ROWS.find(({ code }) => code === 'RDB0017')?.silent}`,
).includes('IST0106')

test('analyze() finds nothing in manifests that are in order', (t) => {
  t.deepEqual(found(BASE), [])
})

test('users §1.4.37, §1.4.41, §1.4.42: a provider that is none, HTTP on a TCP port and a stray "-" are findings', (t) => {
  const codes = ROWS.map(({ code, raised }) => codesOf(BASE + raised).filter((one) => one === code))
  for (const code of ['RDB0023', 'RDB0011', 'RDB0006']) t.true(codes.flat().includes(code), code)
})

for (const [at, { code, raised, on, silent, repaired }] of ROWS.entries()) {
  test(`${code} is raised and not raised, row ${at}`, (t) => {
    const text = BASE + raised
    const own = found(text).filter((one) => one.code === code)
    t.is(own.length, 1, JSON.stringify(found(text), undefined, 1))
    const [finding] = own
    const line = text.split('\n')[(finding?.line ?? 0) - 1] ?? ''
    t.regex(line, on, `line ${finding?.line}: ${finding?.message}`)
    t.is(finding?.file, 'mesh.yaml')
    t.false(codesOf(BASE + silent).includes(code), 'the second is in order')
    if (!(silent.includes('kind: RequestAuthentication') && !hasTokens)) {
      t.false(codesOf(BASE + silent).includes('IST0106'), 'the second is valid')
    }

    t.is(finding?.fixable, repaired !== undefined)
    if (repaired === undefined) return
    const [file] = analyze([{ path: 'mesh.yaml', text }]).repaired
    t.regex(file?.text ?? '', repaired)
    t.true(file?.text.startsWith(BASE), 'other documents stay byte for byte')
    t.regex(file?.text ?? '', /namespace: shop \} # \w+\n/, 'comments stay')
    t.false(codesOf(file?.text ?? '').includes(code), 'what is repaired is not found again')
  })
}

test('every code has a row, and the README has them all', (t) => {
  t.deepEqual([...new Set(ROWS.map(({ code }) => code))].sort(), Object.keys(CODES).sort())
  const readme = readFileSync('policy/analyze/README.md', 'utf8')
  for (const [code, { severity, title, when }] of Object.entries(CODES)) {
    t.true(readme.includes(`| ${code} | ${severity} | ${title} | ${when} |`), code)
  }
})

test('without workloads nothing is said to be unknown or to select nothing', (t) => {
  const [, , , , ...rest] = BASE.split('\n---\n')
  const [mesh = ''] = BASE.split('\n---\n')
  const alone = [mesh, ...rest].join('\n---\n')
  const raised = ROWS.filter(({ code }) => /IST0127|RDB00(14|16|07)/.test(code))
  t.true(raised.length >= 5)
  for (const row of raised) {
    const analysis = analyze([{ path: 'mesh.yaml', text: alone + row.raised }])
    t.true(analysis.withoutWorkloads)
    t.false(
      analysis.findings.some(({ code }) => code === row.code),
      row.code,
    )
  }
})

test('an annotation of the object silences a code for it', (t) => {
  const row = ROWS.find(({ code }) => code === 'IST0127')
  const text = BASE + (row?.raised ?? '')
  const silenced = (codes: string): string =>
    text.replace(
      'name: one, namespace: shop }',
      `name: one, namespace: shop, annotations: { galley.istio.io/analyze-suppress: "${codes}" } }`,
    )
  t.true(codesOf(silenced('RDB0001')).includes('IST0127'))
  t.false(codesOf(silenced('IST0127')).includes('IST0127'))
  t.false(codesOf(silenced('*')).includes('IST0127'))
})

test('500 policies are analyzed in bounded time', (t) => {
  const policies = Array.from({ length: 500 }, (_, at) => {
    const [, one = ''] = (ROWS.find(({ code }) => code === 'RDB0013')?.raised ?? '').split('---\n')
    return `---\n${one.replaceAll('name: one', `name: p${at}`).replace('8080', `${at}`)}`
  })
  const cpuMs = cpuStopwatch()
  t.true(found(BASE + policies.join('')).length >= 500)
  t.true(cpuMs() < 10_000)
})
