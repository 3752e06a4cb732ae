/** What the comparison makes of answers; nothing is asked. */
import test from 'ava'
import { DIFFERENCES, type Pair } from './differences.ts'
import { report } from './report.ts'
import { confirm } from './rounds.ts'
import { createTally, type Tally, type Verdict } from './tally.ts'

const DENIED: Verdict = { isAllowed: false, status: 403 }
const ALLOWED: Verdict = { isAllowed: true, status: null }
const request = {
  id: 'r1',
  from: 'none',
  protocol: 'h2',
  port: 8080,
  headers: [['cookie', '']],
} as const

/** A round of one request. */
function roundOf(ours: Verdict, theirs: 'allow' | 'deny' | undefined) {
  const tally = createTally()
  if (theirs !== undefined) noteTo(tally, ours, theirs)
  return { tally, unanswered: new Map<string, string>() }
}

function noteTo(tally: Tally, ours: Verdict, decision: 'allow' | 'deny'): void {
  const theirs = {
    set: 'paths7-1',
    id: 'r1',
    decision,
    ...(decision === 'deny' ? { status: 403 } : {}),
  }
  const decided = { decision: ours.isAllowed ? 'allow' : 'deny' } as NonNullable<Pair['decided']>
  tally.note(
    'sidecar',
    { request, theirs, decided, set: 'paths7-1', watched: [], text: '[]' },
    ours,
  )
}

test('a difference that comes twice is one', (t) => {
  const { faults, unsteady } = confirm(roundOf(ALLOWED, 'deny'), roundOf(ALLOWED, 'deny'))
  t.is(faults.length, 1)
  t.deepEqual(unsteady, [])
})

test('what the oracle says once and not again is none, and is told', (t) => {
  for (const rounds of [['deny', 'allow'] as const, ['allow', 'deny'] as const]) {
    const [first, again] = rounds.map((theirs) => roundOf(ALLOWED, theirs))
    const { faults, unsteady } = confirm(
      first ?? roundOf(ALLOWED, 'deny'),
      again ?? roundOf(ALLOWED, 'deny'),
    )
    t.deepEqual(faults, [])
    t.regex(unsteady.join(), /^sidecar paths7-1\/r1: the oracle answered otherwise/)
  }
})

test('an answer of ours that changes is a fault, whatever the oracle says', (t) => {
  const { faults } = confirm(roundOf(DENIED, 'allow'), roundOf(ALLOWED, 'allow'))
  t.is(faults.length, 1)
  t.regex(String(faults[0]?.['changed']), /403.*, then .*true/)
})

test('a difference about which the oracle cannot be asked again stands', (t) => {
  t.is(confirm(roundOf(ALLOWED, 'deny'), roundOf(ALLOWED, undefined)).faults.length, 1)
})

test('a report says where, what, both answers, and how to see it again', (t) => {
  const { faults } = confirm(roundOf(ALLOWED, 'deny'), roundOf(ALLOWED, 'deny'))
  const text = report(faults, 7)
  t.regex(text, /^1 differ; seed 7\n\nareas\/paths · set paths7-1 · request r1 · sidecar\n/)
  t.regex(text, /\n {2}request .*"cookie",""/)
  t.regex(text, /\n {2}ours {4}allow\n {2}theirs {2}403\n/)
  t.regex(text, /--seed 7 --only paths7-1$/)
  const many = Array.from({ length: 9 }, () => faults).flat()
  t.regex(report(many, 7), /^9 differ[^…]*… and 4 more/s)
})

test('a body that a provider may not be shown is named in HTTP’s words and in gRPC’s, and no other refusal is', (t) => {
  const named = DIFFERENCES.find(({ name }) => name === 'body-in-one-frame')
  const pair = {
    ...{ theirs: { set: 's', id: 'r1', decision: 'allow' } as const, decided: undefined },
    request: { ...request, protocol: 'grpc', body: 'x'.repeat(200) } as const,
    text: '"CUSTOM"',
  }
  const told = (status: number, body: string) =>
    named?.explains({ ...pair, ours: { isAllowed: false, status, body } })
  t.true(told(413, 'Payload Too Large'))
  t.true(told(200, 'Payload Too Large'))
  t.false(told(200, 'RBAC: access denied'))
})

test('a difference has a name and a reason, and explains nothing that it does not speak of', (t) => {
  const names = DIFFERENCES.map(({ name }) => name)
  t.is(new Set(names).size, names.length)
  const theirs = { set: 's', id: 'r1', decision: 'allow' } as const
  const decided = { decision: 'deny', status: 403 } as NonNullable<Pair['decided']>
  const text = JSON.stringify([
    { key: 'request.headers[te]' },
    { key: 'request.headers[x-envoy-a]' },
  ])
  const headers = [
    ['expect', '100-continue'],
    ['x-forwarded-proto', 'http'],
  ] as const
  const plain = {
    request: { ...request, path: '/a;v=1', headers },
    theirs,
    decided,
    text,
    ours: DENIED,
  }
  for (const { name, reason, explains } of DIFFERENCES) {
    t.true(reason.length > 40, name)
    t.false(explains(plain), name)
  }
})
