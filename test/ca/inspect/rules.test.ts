/** Each rule of `cert inspect` by itself: what keeps it, what breaks it, and what would be missed without it. */
import test from 'ava'

import { urisOf } from '#ca/inspect/describe.ts'
import { readFacts } from '#ca/inspect/facts.ts'
import { judge, type Subject } from '#ca/inspect/findings/finding.ts'
import { describeCertificate, type Rule, RULES } from '#ca/inspect/index.ts'
import { verifySvid } from '#ca/x509/index.ts'
import { bundleOf, NOW } from '../x509/forge.ts'
import { BROKEN, leafWith, rootWith } from './broken.ts'

function subjectOf(der: Uint8Array): Subject {
  const facts = readFacts(der)
  return { facts, now: NOW, uris: urisOf(facts) }
}

const GOOD = [leafWith(), rootWith()].map(subjectOf)
const broken = new Map(Object.entries(BROKEN).map(([rule, make]) => [rule, make()]))
const subjects = new Map([...broken].map(([rule, der]) => [rule, subjectOf(der)]))

/** The rules that are broken, of those of a table. */
function foundIn(subject: Subject | undefined, rules: readonly Rule[]): readonly string[] {
  return subject ? judge(rules, subject).map(({ rule }) => rule) : ['no certificate']
}

/** What the test of one rule asserts, of any table: the good are good, and its own broken one is only that. */
function holds(rule: string, rules: readonly Rule[]): boolean {
  return (
    GOOD.every((good) => foundIn(good, rules).length === 0) &&
    foundIn(subjects.get(rule), rules).join() === rule
  )
}

test('RULES are at least 40, each with a clause and a broken certificate of its own', (t) => {
  t.true(RULES.length >= 40, `${RULES.length}`)
  t.deepEqual(RULES.map(({ rule }) => rule).sort(), [...broken.keys()].sort())
  const sources = RULES.map(({ source }) => source)
  t.deepEqual(
    sources.filter((source, index) => sources.indexOf(source) !== index),
    [],
  )
  for (const { source } of RULES) {
    t.regex(source, /^(RFC \d+ §|X509-SVID |SPIFFE-ID §|CA\/B BR §|X\.690 §|Redoubt: )/)
  }
})

test('RULES find nothing in a good leaf and a good root', (t) => {
  for (const good of GOOD) t.deepEqual(foundIn(good, RULES), [])
})

for (const { rule, severity, source } of RULES) {
  test(`${source}: ${rule} is found, and nothing else`, (t) => {
    const { findings } = describeCertificate(broken.get(rule) ?? new Uint8Array(), NOW)
    t.deepEqual(
      findings.map((finding) => finding.rule),
      [rule],
      findings.map(({ message }) => message).join('; '),
    )
    t.like(findings[0], { severity, source })
    t.regex(findings[0]?.message ?? '', /^[a-z][^\n]*[^.]$|^Cannot |^spiffe:/)
    t.true(holds(rule, RULES))
  })
}

test('RULES without one of them fail the test of that one and of no other', (t) => {
  for (const { rule: removed } of RULES) {
    const rest = RULES.filter(({ rule }) => rule !== removed)
    const failed = RULES.map(({ rule }) => rule).filter((rule) => !holds(rule, rest))
    t.deepEqual(failed, [removed])
  }
})

/** Reasons that lie in who signed it, and in what is no leaf. */
const ELSEWHERE: ReadonlySet<string> = new Set(['untrusted-issuer', 'bad-signature', 'leaf-is-ca'])

test('RULES have an error for every leaf that verifySvid() refuses on its own', (t) => {
  let refused = 0
  for (const [rule, der] of broken) {
    const verdict = verifySvid([der], [bundleOf('prod.example')], NOW, 'client')
    if (verdict.kind === 'ok' || ELSEWHERE.has(verdict.reason)) continue
    refused += 1
    const { findings } = describeCertificate(der, NOW)
    const said = `${rule}: sidecars refuse it (${verdict.reason}: ${verdict.detail})`
    t.true(
      findings.some(({ severity }) => severity === 'error'),
      `${said}, no error finding`,
    )
  }
  t.true(refused > 20, `${refused}`)
})
