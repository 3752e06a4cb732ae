import { Counter, Gauge, Histogram, Registry } from 'prom-client'

/** What the policy server counts. */
export interface PolicyMetrics {
  readonly streams: (count: number) => void
  readonly pushed: (resources: number, bytes: number) => void
  readonly answered: (kind: 'applied' | 'rejected') => void
  readonly refused: (reason: string) => void
  /** Milliseconds to bring every stream up to date. */
  readonly pushTook: (ms: number) => void
  /** Prometheus text. */
  readonly render: () => Promise<string>
}

export function createPolicyMetrics(): PolicyMetrics {
  const registers = [new Registry()]
  const streams = new Gauge({
    name: 'redoubt_policy_streams',
    help: 'Sidecars connected',
    registers,
  })
  const pushes = new Counter({
    name: 'redoubt_policy_resources_sent_total',
    help: 'Resources sent to sidecars',
    registers,
  })
  const bytes = new Counter({
    name: 'redoubt_policy_bytes_sent_total',
    help: 'Bytes of resources sent to sidecars',
    registers,
  })
  const answers = new Counter({
    name: 'redoubt_policy_answers_total',
    help: 'Answers of sidecars to what they were sent',
    labelNames: ['result'],
    registers,
  })
  const refusals = new Counter({
    name: 'redoubt_policy_streams_refused_total',
    help: 'Streams ended by the server, by gRPC status',
    labelNames: ['status'],
    registers,
  })
  const pushSeconds = new Histogram({
    name: 'redoubt_policy_push_duration_seconds',
    help: 'Time to bring every stream up to date with a change',
    buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2],
    registers,
  })
  return {
    streams: (count) => streams.set(count),
    pushed(resources, size) {
      pushes.inc(resources)
      bytes.inc(size)
    },
    answered: (result) => answers.inc({ result }),
    refused: (status) => refusals.inc({ status }),
    pushTook: (ms) => pushSeconds.observe(ms / 1000),
    render: async () =>
      (await Promise.all(registers.map((registry) => registry.metrics()))).join('\n'),
  }
}
