import test from 'ava'
import fc from 'fast-check'
import type { Connection, Decision, Denied, HttpAttributes } from '#policy/model/index.ts'
import { mintPermit } from '#policy/model/index.ts'
import { createAccessLog } from '../../../proxy/telemetry/access-log.ts'
import { accessLogLine } from '../../../proxy/telemetry/access-log-line.ts'
import { BUCKETS, Histogram } from '../../../proxy/telemetry/buckets.ts'
import { attributesRead, createDecisionRing } from '../../../proxy/telemetry/decisions.ts'
import type { EdgeLabels } from '../../../proxy/telemetry/edge.ts'
import { createMetrics } from '../../../proxy/telemetry/metrics.ts'
import { RequestRecord } from '../../../proxy/telemetry/record.ts'
import { createTelemetry } from '../../../proxy/telemetry/telemetry.ts'
import { continueTrace, traceIdOf } from '../../../proxy/telemetry/trace-context.ts'
import { FakeClock } from '../../fakes/fake-clock.ts'
import { readExposition } from './exposition.ts'

const LABELS: EdgeLabels = {
  reporter: 'source',
  source: { namespace: 'qotm', name: 'edge', labels: { app: 'edge' } },
  sourcePrincipal: 'spiffe://cluster.local/ns/qotm/sa/edge' as never,
  destination: { namespace: 'qotm', name: 'qotm-v1', labels: { app: 'qotm', version: 'v1' } },
  destinationPrincipal: 'spiffe://cluster.local/ns/qotm/sa/qotm' as never,
  service: { host: 'qotm.qotm.svc.cluster.local', name: 'qotm', namespace: 'qotm' },
  protocol: 'http',
  security: 'unknown',
}

function recordOf(
  metrics: { readonly edge: (labels: EdgeLabels) => RequestRecord['edge'] },
  change: Partial<RequestRecord> = {},
  labels = LABELS,
): RequestRecord {
  return Object.assign(new RequestRecord(metrics.edge(labels), 0), { status: 200 }, change)
}

// Metrics.

/** §13.2, in emission order. */
const LABEL_ORDER = `reporter source_workload source_canonical_service source_canonical_revision
  source_workload_namespace source_principal source_app source_version source_cluster
  destination_workload destination_workload_namespace destination_principal destination_app
  destination_version destination_service destination_canonical_service
  destination_canonical_revision destination_service_name destination_service_namespace
  destination_cluster request_protocol response_code grpc_response_status response_flags
  connection_security_policy`.split(/\s+/)

test('createMetrics() counts a request with every label of §13.2, in order', (t) => {
  const metrics = createMetrics()
  metrics.count(recordOf(metrics, { durationMs: 3 }))
  const [sample] = readExposition(metrics.render([])).samples.filter(
    ({ name }) => name === 'istio_requests_total',
  )
  t.deepEqual(Object.keys(sample?.labels ?? {}), LABEL_ORDER)
  t.is(sample?.value, 1)
  t.deepEqual(sample?.labels, {
    reporter: 'source',
    source_workload: 'edge',
    source_canonical_service: 'edge',
    source_canonical_revision: 'latest',
    source_workload_namespace: 'qotm',
    source_principal: 'spiffe://cluster.local/ns/qotm/sa/edge',
    source_app: 'edge',
    source_version: 'unknown',
    source_cluster: 'unknown',
    destination_workload: 'qotm-v1',
    destination_workload_namespace: 'qotm',
    destination_principal: 'spiffe://cluster.local/ns/qotm/sa/qotm',
    destination_app: 'qotm',
    destination_version: 'v1',
    destination_service: 'qotm.qotm.svc.cluster.local',
    destination_canonical_service: 'qotm',
    destination_canonical_revision: 'v1',
    destination_service_name: 'qotm',
    destination_service_namespace: 'qotm',
    destination_cluster: 'unknown',
    request_protocol: 'http',
    response_code: '200',
    grpc_response_status: '',
    response_flags: '-',
    connection_security_policy: 'unknown',
  })
})

test('createMetrics() gives equal labels one edge', (t) => {
  const metrics = createMetrics()
  t.is(metrics.edge(LABELS), metrics.edge({ ...LABELS }))
  t.not(metrics.edge(LABELS), metrics.edge({ ...LABELS, reporter: 'destination' }))
})

test('createMetrics() calls what it does not know unknown, and a revision latest', (t) => {
  const metrics = createMetrics()
  const labels: EdgeLabels = { reporter: 'destination', protocol: 'http', security: 'none' }
  metrics.count(recordOf(metrics, {}, labels))
  const [sample] = readExposition(metrics.render([])).samples
  const values = Object.entries(sample?.labels ?? {}).filter(([name]) =>
    /^(source|destination)_/.test(name),
  )
  for (const [name, value] of values) {
    t.is(value, name.endsWith('revision') ? 'latest' : 'unknown', name)
  }
})

test('createMetrics() counts statuses, flags and gRPC statuses apart', (t) => {
  const metrics = createMetrics()
  for (const change of [
    { status: 200 },
    { status: 200 },
    { status: 503, flags: 'UF' },
    { status: 503, flags: 'UF,URX' },
    { status: 200, grpcStatus: 14 },
    { status: 0 },
    { status: 999 },
  ]) {
    metrics.count(recordOf(metrics, change))
  }
  const counted = readExposition(metrics.render([]))
    .samples.filter(({ name }) => name === 'istio_requests_total')
    .map(({ labels, value }) => [
      labels['response_code'],
      labels['response_flags'],
      labels['grpc_response_status'],
      value,
    ])
  t.deepEqual(counted, [
    ['200', '-', '', 2],
    ['503', 'UF', '', 1],
    ['503', 'UF,URX', '', 1],
    ['200', '-', '14', 1],
    ['0', '-', '', 2],
  ])
})

test('createMetrics() bounds edges and flags, and still counts every request', (t) => {
  const metrics = createMetrics(3)
  for (let at = 0; at < 50; at += 1) {
    const labels = { ...LABELS, source: { ...LABELS.source, name: `w${at}` } }
    metrics.count(recordOf(metrics, { flags: `F${at}` }, labels))
  }
  const edge = metrics.edge(LABELS)
  for (let at = 0; at < 100; at += 1) metrics.count(recordOf(metrics, { edge, flags: `G${at}` }))
  const series = readExposition(metrics.render([])).samples.filter(
    ({ name }) => name === 'istio_requests_total',
  )
  t.true(series.length < 100, String(series.length))
  t.is(
    series.reduce((sum, { value }) => sum + value, 0),
    150,
  )
})

test('createMetrics() counts decisions by policy, and attempts beyond the first', (t) => {
  const metrics = createMetrics()
  const allow = allowed('qotm/allow', 0)
  metrics.count(recordOf(metrics, { decision: allow, attempts: 3 }))
  metrics.count(recordOf(metrics, { decision: allow, attempts: 1 }))
  metrics.count(recordOf(metrics, { decision: denied({ policy: 'qotm/"odd"\\', rule: 1 }) }))
  metrics.count(recordOf(metrics, { decision: denied({}) }))
  const { samples } = readExposition(metrics.render([]))
  const decisions = samples
    .filter(({ name }) => name === 'redoubt_authz_decisions_total')
    .map(({ labels, value }) => [labels['decision'], labels['policy'], value])
  t.deepEqual(decisions, [
    ['allow', 'qotm/allow', 2],
    ['deny', 'qotm/"odd"\\', 1],
    ['deny', 'none', 1],
  ])
  const retries = samples.filter(({ name }) => name === 'redoubt_request_retries_total')
  t.deepEqual(
    retries.map(({ value }) => value),
    [2],
  )
})

test('Histogram counts every value once, at the first bound that holds it', (t) => {
  fc.assert(
    fc.property(fc.array(fc.double({ min: 0, max: 1e7, noNaN: true })), (values) => {
      const histogram = new Histogram()
      for (const value of values) histogram.observe(value)
      let below = 0
      for (const [index, bound] of BUCKETS.entries()) {
        below += histogram.counts[index] ?? 0
        t.is(below, values.filter((value) => value <= bound).length)
      }
      t.is(below + (histogram.counts.at(-1) ?? 0), values.length)
    }),
  )
})

test('createMetrics() renders text that Prometheus reads, histograms that add up', (t) => {
  const name = fc.string({ unit: 'binary', maxLength: 8 })
  const outcome = fc.record({
    workload: name,
    status: fc.integer({ min: 0, max: 599 }),
    durationMs: fc.double({ min: 0, max: 4e6, noNaN: true }),
    bytesSent: fc.nat(1e9),
  })
  fc.assert(
    fc.property(fc.array(outcome, { maxLength: 30 }), (outcomes) => {
      const metrics = createMetrics()
      for (const { workload, ...change } of outcomes) {
        const labels = { ...LABELS, source: { name: workload } }
        metrics.count(recordOf(metrics, change, labels))
      }
      const { samples } = readExposition(metrics.render([]))
      const requests = samples.filter((one) => one.name === 'istio_requests_total')
      t.is(
        requests.reduce((sum, { value }) => sum + value, 0),
        outcomes.length,
      )
    }),
    { numRuns: 50 },
  )
})

// The access log.

function evidence(): Pick<Denied, 'dryRun' | 'audit'> {
  return { dryRun: [], audit: [] }
}

function allowed(policy: string | null, rule: number | null): Decision {
  return { kind: 'allow', permit: mintPermit(policy, rule), ...evidence() }
}

function denied(change: Partial<Denied>): Denied {
  return {
    kind: 'deny',
    action: change.policy === undefined ? 'ALLOW' : 'DENY',
    reason: change.policy === undefined ? 'no-allow-matched' : 'denied-by-policy',
    policy: null,
    rule: null,
    considered: [],
    ...evidence(),
    ...change,
  }
}

function lineOf(change: Partial<RequestRecord>): Record<string, unknown> {
  const record = recordOf(createMetrics(), change)
  return JSON.parse(accessLogLine(record, '2026-01-02T03:04:05.006Z')) as Record<string, unknown>
}

/** §13.3, JSON encoding. */
const DEFAULT_KEYS =
  `start_time method path protocol response_code response_flags response_code_details
  connection_termination_details upstream_transport_failure_reason bytes_received bytes_sent duration
  upstream_service_time x_forwarded_for user_agent request_id authority upstream_host upstream_cluster
  upstream_local_address downstream_local_address downstream_remote_address requested_server_name
  route_name`.split(/\s+/)

test('accessLogLine() has the default keys of §13.3 in order, null for what is absent', (t) => {
  const line = lineOf({ status: 200 })
  t.deepEqual(Object.keys(line).slice(0, DEFAULT_KEYS.length), DEFAULT_KEYS)
  t.is(line['upstream_service_time'], null)
  t.is(line['user_agent'], null)
  t.is(line['response_code'], 200)
  t.is(line['response_flags'], '-')
})

test('accessLogLine() names the DENY policy and its rule', (t) => {
  const line = lineOf({
    status: 403,
    decision: denied({ policy: 'qotm/deny-intruder', rule: 2 }),
    decisionId: 'ab'.repeat(16),
  })
  t.like(line, {
    response_code: 403,
    response_code_details:
      'rbac_access_denied_matched_policy[ns[qotm]-policy[deny-intruder]-rule[2]]',
    decision: 'deny',
    action: 'DENY',
    policy: 'qotm/deny-intruder',
    rule: 2,
    reason: 'denied-by-policy',
    decision_reason: 'DENY policy qotm/deny-intruder matched by rule 2',
    decision_id: 'ab'.repeat(16),
  })
  t.false('considered' in line)
})

test('accessLogLine() names the ALLOW policies that a default denial considered', (t) => {
  const line = lineOf({
    status: 403,
    decision: denied({ considered: ['qotm/allow-nothing', 'qotm/allow-edge'] }),
  })
  t.like(line, {
    response_code_details: 'rbac_access_denied_matched_policy[none]',
    action: 'ALLOW',
    policy: null,
    rule: null,
    reason: 'no-allow-matched',
    considered: ['qotm/allow-nothing', 'qotm/allow-edge'],
    decision_reason:
      'none of the ALLOW policies that apply matched: qotm/allow-nothing, qotm/allow-edge',
  })
})

test('accessLogLine() tells a path that servers read differently apart from a denial', (t) => {
  t.like(lineOf({ status: 400, decision: denied({ reason: 'ambiguous-path' }) }), {
    response_code: 400,
    response_code_details: 'path_normalization_failed',
    reason: 'ambiguous-path',
  })
})

test('accessLogLine() names the policy that allowed, and says none when none applied', (t) => {
  t.like(lineOf({ decision: allowed('qotm/allow-edge', 0) }), {
    decision: 'allow',
    action: 'ALLOW',
    policy: 'qotm/allow-edge',
    rule: 0,
  })
  t.like(lineOf({ decision: allowed(null, null) }), { decision: 'allow', action: 'none' })
})

test('accessLogLine() says who spoke to whom', (t) => {
  t.like(lineOf({}), {
    reporter: 'source',
    source_workload: 'qotm/edge',
    source_principal: 'spiffe://cluster.local/ns/qotm/sa/edge',
    destination_workload: 'qotm/qotm-v1',
    destination_principal: 'spiffe://cluster.local/ns/qotm/sa/qotm',
    destination_service: 'qotm.qotm.svc.cluster.local',
  })
})

test('accessLogLine() is one line of JSON whatever a client sends (users §2.3.50)', (t) => {
  const anything = fc.string({ unit: 'binary' })
  fc.assert(
    fc.property(anything, anything, anything, (target, userAgent, authority) => {
      const record = recordOf(createMetrics(), { target, userAgent, authority })
      const line = accessLogLine(record, '')
      t.false(/[\n\r]/.test(line))
      const read = JSON.parse(line) as Record<string, unknown>
      t.is(read['path'], target === '' ? null : target)
      t.is(read['user_agent'], userAgent === '' ? null : userAgent)
      t.is(read['authority'], authority === '' ? null : authority)
    }),
  )
})

const EPOCH = Temporal.Instant.from('2026-01-02T03:04:05.006Z')

function openLog(write: (line: string) => unknown) {
  const clock = new FakeClock()
  const aborter = new AbortController()
  const now = () => EPOCH.add({ milliseconds: clock.nowMs() })
  const log = createAccessLog({ write, clock, now }, aborter.signal)
  const record = (startMs = clock.nowMs()) =>
    Object.assign(new RequestRecord(createMetrics().edge(LABELS), startMs), { status: 200 })
  return { clock, log, record, aborter }
}

test('createAccessLog() writes lines a tenth of a second later, in order, with civil time', async (t) => {
  const lines: string[] = []
  const { clock, log, record } = openLog((line) => lines.push(line))
  log.add(record())
  await clock.advance(50)
  log.add(record())
  t.deepEqual(lines, [])
  await clock.advance(50)
  const times = lines.map((line) => (JSON.parse(line) as { start_time: string }).start_time)
  t.deepEqual(times, ['2026-01-02T03:04:05.006Z', '2026-01-02T03:04:05.056Z'])
})

test('createAccessLog() carries civil time over seconds, days and years', async (t) => {
  const times: string[] = []
  const { clock, log, record } = openLog((line) =>
    times.push((JSON.parse(line) as { start_time: string }).start_time),
  )
  for (const ms of [993, 1, 86_400_000, 364 * 86_400_000]) {
    await clock.advance(ms)
    log.add(record())
    log.flush()
  }
  t.deepEqual(times, [
    '2026-01-02T03:04:05.999Z',
    '2026-01-02T03:04:06.000Z',
    '2026-01-03T03:04:06.000Z',
    '2027-01-02T03:04:06.000Z',
  ])
})

test('createAccessLog() keeps a bounded number of lines for a slow reader and counts the rest', async (t) => {
  let isFull = true
  let written = 0
  const { clock, log, record } = openLog(() => {
    written += 1
    return !isFull
  })
  for (let at = 0; at < 5000; at += 1) log.add(record())
  await clock.advance(100)
  const dropped = log.dropped()
  t.true(dropped > 0 && dropped < 5000, String(dropped))
  isFull = false
  await clock.advance(1000)
  t.is(written + dropped, 5000)
})

test('createAccessLog() writes what is left after its end', (t) => {
  const lines: string[] = []
  const { log, record, aborter } = openLog((line) => lines.push(line))
  log.add(record())
  aborter.abort()
  log.add(record())
  log.flush()
  t.is(lines.length, 2)
})

// Denials.

const CONNECTION: Connection = {
  peer: 'spiffe://cluster.local/ns/qotm/sa/intruder' as never,
  sourceIp: '127.0.0.1',
  destinationIp: '127.0.0.1',
  destinationPort: 8080,
  sni: undefined,
}

const ATTRIBUTES: HttpAttributes = {
  method: 'GET',
  path: '/quote',
  host: 'qotm',
  remoteIp: '127.0.0.1',
  header: (name) => (name === 'authorization' ? ['Bearer secret'] : []),
  claims: undefined,
}

test('attributesRead() keeps what a decision read and nothing else', (t) => {
  const decide = (http: HttpAttributes | undefined) => {
    http?.header('authorization')
    return denied({ considered: [http?.method ?? ''] })
  }
  t.deepEqual(attributesRead(decide, ATTRIBUTES), {
    method: 'GET',
    headers: { authorization: ['Bearer secret'] },
  })
})

test('createDecisionRing() keeps the newest and lists them from where one left off', (t) => {
  const ring = createDecisionRing(3)
  for (let at = 1; at <= 5; at += 1) {
    const { action, reason, policy, rule, considered } = denied({})
    const rest = { time: '', action, reason, policy, rule, considered }
    ring.add({ id: `id${at}`, ...rest, connection: CONNECTION, request: undefined })
  }
  const sequences = (since: number, limit: number) =>
    ring.list({ since, limit }).map(({ sequence }) => sequence)
  t.deepEqual(sequences(0, 10), [3, 4, 5])
  t.deepEqual(sequences(3, 10), [4, 5])
  t.deepEqual(sequences(0, 1), [3])
  t.deepEqual(sequences(5, 10), [])
  t.deepEqual(sequences(99, 10), [])
  t.is(ring.find('id2'), undefined)
  t.is(ring.find('id4')?.sequence, 4)
})

test('createTelemetry() gives a denial an id by which it is found again', (t) => {
  const clock = new FakeClock()
  const deps = { clock, now: () => EPOCH, random: Math.random }
  using telemetry = createTelemetry(deps, new AbortController().signal)
  const decision = denied({ considered: ['qotm/allow-edge'] })
  const denial = { decision, connection: CONNECTION, attributes: ATTRIBUTES }
  const id = telemetry.noteDenial({ ...denial, decide: () => decision })
  t.regex(id, /^[0-9a-f]{32}$/)
  t.like(telemetry.decisions.find(id), {
    time: '2026-01-02T03:04:05.006Z',
    reason: 'no-allow-matched',
    considered: ['qotm/allow-edge'],
    connection: CONNECTION,
  })
})

test('§1.10 rows 3, 4, 5: createTelemetry() logs refusals alone when told so, and counts all the same (users §1.5.45)', (t) => {
  const lines: string[] = []
  const telemetry = createTelemetry(
    {
      clock: new FakeClock(),
      now: () => EPOCH,
      random: Math.random,
      writeAccessLog: (line) => lines.push(line),
      logs: 'refusals',
    },
    new AbortController().signal,
  )
  const record = (decision: Decision) =>
    telemetry.record(
      recordOf(telemetry, { decision, status: decision.kind === 'deny' ? 403 : 200 }),
    )
  record(allowed('qotm/allow-edge', 0))
  record({ ...denied({ policy: 'qotm/deny-intruder', rule: 0 }), kind: 'deny' })
  // What a dry-run policy would refuse is the evidence of `redoubt authz rollout`.
  const tried = { policy: 'qotm/dry', action: 'DENY', rule: 0 } as const
  record({ ...allowed('qotm/told', 0), dryRun: [{ ...tried, result: 'denied' }] })
  record({ ...allowed('qotm/untold', 0), dryRun: [{ ...tried, result: 'allowed' }] })
  telemetry[Symbol.dispose]()
  t.false(telemetry.isLogging)
  t.deepEqual(
    lines.map((line) => JSON.parse(line).policy),
    ['qotm/deny-intruder', 'qotm/told'],
  )
  const text = telemetry.render([])
  t.regex(text, /redoubt_authz_dry_run_total\{action="DENY",policy="qotm\/dry",result="denied"\} 1/)
  t.regex(
    text,
    /redoubt_authz_dry_run_total\{action="DENY",policy="qotm\/dry",result="allowed"\} 1/,
  )
  t.deepEqual(JSON.parse(lines[1] ?? '{}').dry_run, [{ ...tried, result: 'denied' }])
  const counted = telemetry.render([]).match(/^istio_requests_total\{/gm) ?? []
  t.is(counted.length, 2)
})

test('createTelemetry() counts opaque connections, and their bytes when they close', (t) => {
  const deps = { clock: new FakeClock(), now: () => EPOCH, random: Math.random }
  using telemetry = createTelemetry(deps, new AbortController().signal)
  const close = telemetry.openTunnel(LABELS)
  telemetry.openTunnel(LABELS)
  close({ fromDownstream: 10, toDownstream: 2000 })
  const { samples } = readExposition(telemetry.render([]))
  const tcp = samples.filter(({ name }) => name.startsWith('istio_tcp_'))
  t.deepEqual(
    tcp.map(({ name, value }) => [name, value]),
    [
      ['istio_tcp_connections_opened_total', 2],
      ['istio_tcp_connections_closed_total', 1],
      ['istio_tcp_sent_bytes_total', 2000],
      ['istio_tcp_received_bytes_total', 10],
    ],
  )
  const expected = LABEL_ORDER.filter((one) => !/^(response_code|grpc_response_status)$/.test(one))
  t.deepEqual(Object.keys(tcp[0]?.labels ?? {}), expected)
  t.is(tcp[0]?.labels['request_protocol'], 'tcp')
})

// Trace context.

function fieldsOf(lines: readonly (readonly [name: string, value: string])[]) {
  let left = [...lines]
  return {
    left: () => left.map(([name]) => name),
    first: (name: string) => left.find(([one]) => one === name)?.[1],
    values: (name: string) => left.filter(([one]) => one === name).map(([, value]) => value),
    dropNamed: (name: string) => {
      left = left.filter(([one]) => one !== name)
    },
  }
}

const GOOD = `00-${'0af7651916cd43dd8448eb211c80319c'}-b7ad6b7169203331-01`

test('continueTrace() leaves a trace that came in as it is', (t) => {
  const fields = fieldsOf([
    ['traceparent', GOOD],
    ['tracestate', 'a=1'],
  ])
  const record = { traceId: '' }
  t.is(continueTrace(fields, record, { random: () => 0.5 }), '')
  t.is(record.traceId, '0af7651916cd43dd8448eb211c80319c')
  t.deepEqual(fields.left(), ['traceparent', 'tracestate'])
})

test('continueTrace() begins a trace where there is none, one in a hundred sampled', (t) => {
  const begun = Array.from({ length: 20_000 }, () => {
    const record = { traceId: '' }
    const line = continueTrace(fieldsOf([]), record, { random: Math.random })
    const [, traceparent = ''] = /^traceparent: (.*)\r\n$/.exec(line) ?? []
    t.is(traceIdOf(traceparent), record.traceId)
    return traceparent
  })
  t.is(new Set(begun).size, begun.length)
  const sampled = begun.filter((one) => one.endsWith('-01')).length
  t.true(sampled > 100 && sampled < 320, String(sampled))
})

for (const bad of [
  '',
  GOOD.toUpperCase(),
  GOOD.slice(0, -1),
  `${GOOD}-x`,
  GOOD.replace('00-', 'ff-'),
  `00-${'0'.repeat(32)}-b7ad6b7169203331-01`,
  `00-0af7651916cd43dd8448eb211c80319c-${'0'.repeat(16)}-01`,
]) {
  test(`continueTrace() begins anew instead of ${JSON.stringify(bad)}`, (t) => {
    const fields = fieldsOf([
      ['traceparent', bad],
      ['tracestate', 'a=1'],
      ['x', 'y'],
    ])
    t.regex(continueTrace(fields, { traceId: '' }, { random: Math.random }), /^traceparent: 00-/)
    t.deepEqual(fields.left(), ['x'])
  })
}

test('continueTrace() begins anew when there are two', (t) => {
  const fields = fieldsOf([
    ['traceparent', GOOD],
    ['traceparent', GOOD],
  ])
  t.regex(continueTrace(fields, { traceId: '' }, { random: Math.random }), /^traceparent: 00-/)
})

test('traceIdOf() takes a later version that goes on after what is known', (t) => {
  t.is(traceIdOf(`${GOOD.replace('00-', '01-')}-more`), '0af7651916cd43dd8448eb211c80319c')
})
