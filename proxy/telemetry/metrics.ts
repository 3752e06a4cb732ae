/** Every metric that a sidecar has, and their numbers. */
import type { Decision } from '#policy/model/index.ts'
import { Edge, type EdgeLabels, type RequestSeries } from './edge.ts'
import { renderEdge } from './edge-labels.ts'
import { heading, histogramSamples, labelText, sample } from './prometheus.ts'
import type { RequestRecord } from './record.ts'

/**
 * The table of metrics. A metric always has all of its labels, and no label takes its values from a
 * request: paths, hosts and user agents would let a client grow our memory.
 */
export const METRICS = {
  istio_requests_total: { kind: 'counter', help: 'Requests by source, destination and outcome' },
  istio_request_duration_milliseconds: {
    kind: 'histogram',
    help: 'First byte of a request to last byte of its response',
  },
  istio_request_bytes: { kind: 'histogram', help: 'Size of requests, heads included' },
  istio_response_bytes: { kind: 'histogram', help: 'Size of responses, heads included' },
  istio_tcp_connections_opened_total: { kind: 'counter', help: 'Opaque connections opened' },
  istio_tcp_connections_closed_total: { kind: 'counter', help: 'Opaque connections closed' },
  istio_tcp_sent_bytes_total: { kind: 'counter', help: 'Bytes sent downstream' },
  istio_tcp_received_bytes_total: { kind: 'counter', help: 'Bytes received from downstream' },
  istio_build: { kind: 'gauge', help: 'Which component and version this is' },
  redoubt_authz_decisions_total: {
    kind: 'counter',
    help: 'Authorization decisions, by the policy that made them',
  },
  redoubt_authz_dry_run_total: {
    kind: 'counter',
    help: 'What dry-run policies would have decided',
  },
  redoubt_authz_provider_answers_total: {
    kind: 'counter',
    help: 'What external providers answered; failed: they could not be asked, or nobody understood them',
  },
  redoubt_request_retries_total: { kind: 'counter', help: 'Attempts beyond the first' },
  redoubt_access_log_dropped_total: {
    kind: 'counter',
    help: 'Access log lines that found no room because their reader is slow',
  },
  redoubt_config_resources: {
    kind: 'gauge',
    help: 'Resources of the policy stream, by whether the newest version is in force',
  },
  redoubt_policy_stream_connected: {
    kind: 'gauge',
    help: 'Whether the policy server is connected',
  },
  redoubt_svid_expiry_timestamp_seconds: { kind: 'gauge', help: 'When the certificate expires' },
  redoubt_svid_rotations_total: { kind: 'counter', help: 'Certificates that replaced another' },
  redoubt_ready: { kind: 'gauge', help: 'Whether this sidecar serves' },
} as const

export type MetricName = keyof typeof METRICS

/** One value of a metric that is looked at rather than counted. */
export interface Sample {
  readonly name: MetricName
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

/** Edges apart from each other; whoever comes later shares one that says nothing. */
const MAX_EDGES = 2000

export interface Metrics {
  /** Finds or makes the edge of these labels. Not for the request path: hold on to what it returns. */
  readonly edge: (labels: EdgeLabels) => Edge
  readonly count: (record: RequestRecord) => void
  /** Counts what a provider answered. Both are words of the configuration or ours. */
  readonly countAnswer: (provider: string, answer: string) => void
  readonly render: (samples: readonly Sample[]) => string
}

/** Numbers that start at zero. `maxEdges` is at least 1. */
export function createMetrics(maxEdges: number = MAX_EDGES): Metrics {
  const edges = new Map<string, Edge>()
  const decisions = new Map<string | null, Counted>()
  const dryRuns = new Map<string, DryRunCount>()
  const answers = new Map<string, number>()

  function edge(labels: EdgeLabels): Edge {
    const rendered = renderEdge(labels)
    const key = rendered.head + rendered.tail
    const found = edges.get(key)
    if (found !== undefined) return found
    const { reporter } = labels
    if (edges.size >= maxEdges && labels !== ANYBODY[reporter]) return edge(ANYBODY[reporter])
    const made = new Edge(labels, rendered)
    edges.set(key, made)
    return made
  }

  return {
    edge,
    count(record) {
      const { edge: counted, status, flags, grpcStatus, attempts, decision } = record
      const series = counted.series(status, flags, grpcStatus)
      series.requests += 1
      series.durationMs.observe(record.durationMs)
      series.requestBytes.observe(record.requestHeadBytes + record.bytesReceived)
      series.responseBytes.observe(record.responseHeadBytes + record.bytesSent)
      if (attempts > 1) counted.retries += attempts - 1
      if (decision === undefined) return
      countDecision(decisions, decision)
      if (decision.dryRun.length > 0) countDryRuns(dryRuns, decision.dryRun)
    },
    countAnswer(provider, answer) {
      const labels = labelText({ provider, answer })
      answers.set(labels, (answers.get(labels) ?? 0) + 1)
    },
    render: (samples) =>
      renderEdges([...edges.values()]) +
      renderDecisions(decisions) +
      counter('redoubt_authz_dry_run_total', [...dryRuns.values()], (one) => one.count) +
      renderAnswers(answers) +
      renderSamples(samples),
  }
}

const ANYBODY = {
  source: { reporter: 'source', protocol: 'http', security: 'unknown' },
  destination: { reporter: 'destination', protocol: 'http', security: 'unknown' },
} as const

interface Counted {
  allowed: number
  denied: number
}

function countDecision(decisions: Map<string | null, Counted>, decision: Decision): void {
  const policy = decision.kind === 'allow' ? decision.permit.policy : decision.policy
  let counted = decisions.get(policy)
  if (counted === undefined) {
    counted = { allowed: 0, denied: 0 }
    decisions.set(policy, counted)
  }
  if (decision.kind === 'allow') counted.allowed += 1
  else counted.denied += 1
}

interface DryRunCount {
  readonly labels: string
  count: number
}

function countDryRuns(counts: Map<string, DryRunCount>, results: Decision['dryRun']): void {
  for (const { action, policy, result } of results) {
    const labels = labelText({ action, policy, result })
    const counted = counts.get(labels) ?? { labels, count: 0 }
    counted.count += 1
    counts.set(labels, counted)
  }
}

function renderDecisions(decisions: ReadonlyMap<string | null, Counted>): string {
  const name = 'redoubt_authz_decisions_total'
  let text = head(name)
  for (const [policy, { allowed, denied }] of decisions) {
    for (const [decision, value] of [
      ['allow', allowed],
      ['deny', denied],
    ] as const) {
      if (value > 0) text += sample(name, labelText({ decision, policy: policy ?? 'none' }), value)
    }
  }
  return text
}

function renderAnswers(answers: ReadonlyMap<string, number>): string {
  const name = 'redoubt_authz_provider_answers_total'
  let text = answers.size === 0 ? '' : head(name)
  for (const [labels, value] of answers) text += sample(name, labels, value)
  return text
}

function renderEdges(edges: readonly Edge[]): string {
  const requests = edges.flatMap((edge) => edge.requests)
  const connections = edges.flatMap((edge) => edge.connections)
  return (
    counter('istio_requests_total', requests, (one) => one.requests) +
    histogram('istio_request_duration_milliseconds', requests, (one) => one.durationMs) +
    histogram('istio_request_bytes', requests, (one) => one.requestBytes) +
    histogram('istio_response_bytes', requests, (one) => one.responseBytes) +
    counter('istio_tcp_connections_opened_total', connections, (one) => one.opened) +
    counter('istio_tcp_connections_closed_total', connections, (one) => one.closed) +
    counter('istio_tcp_sent_bytes_total', connections, (one) => one.sentBytes) +
    counter('istio_tcp_received_bytes_total', connections, (one) => one.receivedBytes) +
    counter(
      'redoubt_request_retries_total',
      edges
        .filter(({ retries }) => retries > 0)
        .map(({ id, retries }) => ({ labels: id, retries })),
      (one) => one.retries,
    )
  )
}

function counter<T extends { readonly labels: string }>(
  name: MetricName,
  series: readonly T[],
  numberOf: (one: T) => number,
): string {
  let text = head(name)
  for (const one of series) text += sample(name, one.labels, numberOf(one))
  return text
}

function histogram(
  name: MetricName,
  series: readonly RequestSeries[],
  of: (one: RequestSeries) => RequestSeries['durationMs'],
): string {
  let text = head(name)
  for (const one of series) text += histogramSamples(name, one.labels, of(one))
  return text
}

function renderSamples(samples: readonly Sample[]): string {
  const byName = Map.groupBy(samples, ({ name }) => name)
  let text = ''
  for (const [name, group] of byName) {
    text += head(name)
    for (const { labels, value } of group) text += sample(name, labelText(labels), value)
  }
  return text
}

function head(name: MetricName): string {
  const { kind, help } = METRICS[name]
  return heading(name, kind, help)
}
