/** Every metric of an agent: the table is also its documentation. */
export const METRICS = {
  redoubt_agent_rotations_total: {
    kind: 'counter',
    help: 'Attempts to get an SVID from the CA, by result and stable reason',
    labels: ['result', 'reason'],
  },
  redoubt_agent_svid_not_after_seconds: {
    kind: 'gauge',
    help: "When each SVID in force runs out, this node's own too, seconds since the epoch",
    labels: ['spiffe_id'],
  },
  redoubt_agent_svid_renewal_due_seconds: {
    kind: 'gauge',
    help: 'When the successor of each SVID in force is due, seconds since the epoch',
    labels: ['spiffe_id'],
  },
  redoubt_agent_renewal_overdue_seconds: {
    kind: 'gauge',
    help: 'By how much the successor that is overdue the longest is overdue; 0 while none is',
    labels: [],
  },
  redoubt_agent_bundle_generation: {
    kind: 'gauge',
    help: 'Generation of the trust bundle in force',
    labels: [],
  },
  redoubt_agent_clock_offset_seconds: {
    kind: 'gauge',
    help: "By how much the CA's clock was ahead of this node's at its last answer, seconds",
    labels: [],
  },
  redoubt_agent_proof_expires_in_seconds: {
    kind: 'gauge',
    help: 'How long the token or certificate that this node proves itself by is good for; none if it does not end',
    labels: ['kind'],
  },
  redoubt_agent_clock_jumps_total: {
    kind: 'counter',
    help: 'Times that the clock of this node jumped: it slept, or was set',
    labels: [],
  },
  redoubt_agent_identities: {
    kind: 'gauge',
    help: 'Identities known here, by whether there is a certificate of theirs to serve',
    labels: ['state'],
  },
  redoubt_agent_deny_list_generation: {
    kind: 'gauge',
    help: 'Generation of the deny-list in force',
    labels: [],
  },
  redoubt_agent_deny_list_entries: {
    kind: 'gauge',
    help: 'Entries of the deny-list in force',
    labels: [],
  },
  redoubt_agent_connections: {
    kind: 'gauge',
    help: 'Connections open on the socket',
    labels: [],
  },
  redoubt_agent_calls: { kind: 'gauge', help: 'Calls of identified callers open', labels: [] },
  redoubt_agent_refused_calls_total: {
    kind: 'counter',
    help: 'Calls refused, by API and stable reason',
    labels: ['api', 'reason'],
  },
  redoubt_agent_sds_rejected_total: {
    kind: 'counter',
    help: 'Secrets that an SDS client refused to take (NACK)',
    labels: [],
  },
} as const

export type MetricName = keyof typeof METRICS

export interface AgentMetrics {
  readonly add: (name: MetricName, labels: Readonly<Record<string, string>>) => void
  /** Replaces every row of a gauge. */
  readonly set: (
    name: MetricName,
    rows: readonly { readonly labels: Readonly<Record<string, string>>; readonly value: number }[],
  ) => void
  /** Prometheus text. */
  readonly render: () => Promise<string>
}

type Labels = Readonly<Record<string, string>>

interface Row {
  readonly labels: Labels
  value: number
}

/** Its package is loaded when somebody first reads them: it is a twentieth of what an agent is to weigh. */
export function createMetrics(): AgentMetrics {
  const rows = new Map<MetricName, Row[]>()
  return {
    add(name, labels) {
      const known = rows.get(name) ?? []
      const row = known.find((one) => sameLabels(one.labels, labels))
      if (row) row.value += 1
      else rows.set(name, [...known, { labels, value: 1 }])
    },
    set: (name, all) => void rows.set(name, [...all]),
    async render() {
      const { Counter, Gauge, Registry } = await import('prom-client')
      const registry = new Registry()
      for (const name of Object.keys(METRICS) as MetricName[]) {
        const { kind, help, labels } = METRICS[name]
        const options = { name, help, labelNames: [...labels], registers: [registry] }
        const metric = kind === 'counter' ? new Counter(options) : new Gauge(options)
        for (const row of rows.get(name) ?? []) metric.inc(row.labels, row.value)
      }
      return registry.metrics()
    },
  }
}

function sameLabels(a: Labels, b: Labels): boolean {
  return (
    Object.keys(a).length === Object.keys(b).length &&
    Object.keys(a).every((key) => a[key] === b[key])
  )
}
