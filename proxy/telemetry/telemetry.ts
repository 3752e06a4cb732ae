import type { Connection, Decide, Decision, Denied, HttpAttributes } from '#policy/model/index.ts'
import type { Clock } from '#core/clock.ts'
import { decisionId } from '../stack/identifiers.ts'
import { type AccessLog, createAccessLog, type WriteLine } from './access-log.ts'
import { attributesRead, createDecisionRing, type DecisionRing } from './decisions.ts'
import type { Edge, EdgeLabels } from './edge.ts'
import { createMetrics, type Sample } from './metrics.ts'
import type { RequestRecord } from './record.ts'

export interface TelemetryDeps {
  readonly clock: Clock
  readonly now: () => Temporal.Instant
  /** Numbers in [0, 1). */
  readonly random: () => number
  /** Left out: no access log. */
  readonly writeAccessLog?: WriteLine | undefined
  /** What is logged. @default 'all' */
  readonly logs?: 'all' | 'refusals' | undefined
}

/** What is known of a request or connection that was refused. */
export interface Denial {
  readonly decision: Denied
  readonly connection: Connection
  readonly decide: Decide
  /** `undefined` for an opaque connection. */
  readonly attributes: HttpAttributes | undefined
}

/** Bytes of one opaque connection. */
export interface CarriedBytes {
  readonly fromDownstream: number
  readonly toDownstream: number
}

export interface Telemetry extends Disposable {
  /** Finds or makes an edge; for the moment when a peer or an endpoint becomes known. */
  readonly edge: (labels: EdgeLabels) => Edge
  /** Counts and logs a request that is over. Called once for each. */
  readonly record: (record: RequestRecord) => void
  /** Counts an opaque connection in; what it returns is called once, when it is over. */
  readonly openTunnel: (labels: EdgeLabels) => (carried: CarriedBytes) => void
  /** Whether `record` writes a line for every request, so that fields only it reads are worth reading. */
  readonly isLogging: boolean
  /** Whether an opaque connection of which this was decided gets a line when it is over. */
  readonly logsConnection: (decision: Decision) => boolean
  /** Logs an opaque connection that is over; `openTunnel` counts it. */
  readonly logConnection: (record: RequestRecord) => void
  /** Keeps a denial for `/decisions` and returns its new id. */
  readonly noteDenial: (denial: Denial) => string
  /** Counts what an external provider answered. */
  readonly countAnswer: (provider: string, answer: string) => void
  readonly decisions: DecisionRing
  /** Prometheus text: what was counted, and `samples` of what is looked at now. */
  readonly render: (samples: readonly Sample[]) => string
}

/** Evidence of one sidecar. `signal` ends its timers; disposing it writes the last lines. */
export function createTelemetry(deps: TelemetryDeps, signal: AbortSignal): Telemetry {
  const { clock, now, random, writeAccessLog: write, logs = 'all' } = deps
  const metrics = createMetrics()
  const decisions = createDecisionRing()
  const log: AccessLog | undefined = write && createAccessLog({ write, clock, now }, signal)
  return {
    edge: metrics.edge,
    isLogging: log !== undefined && logs === 'all',
    decisions,
    countAnswer: metrics.countAnswer,
    openTunnel(labels) {
      const series = metrics.edge({ ...labels, protocol: 'tcp' }).tcpSeries()
      series.opened += 1
      return ({ fromDownstream, toDownstream }) => {
        series.closed += 1
        series.receivedBytes += fromDownstream
        series.sentBytes += toDownstream
      }
    },
    record:
      log === undefined
        ? metrics.count
        : (record) => {
            metrics.count(record)
            if (logs === 'all' || isRefusal(record.decision)) log.add(record)
          },
    logsConnection: (decision) => log !== undefined && (logs === 'all' || isRefusal(decision)),
    logConnection: (record) => log?.add(record),
    noteDenial({ decision, connection, decide, attributes }) {
      const { action, reason, policy, rule, considered } = decision
      const id = decisionId(random)
      const request = attributes && attributesRead(decide, attributes)
      const time = now().toString({ smallestUnit: 'millisecond' })
      decisions.add({ id, time, action, reason, policy, rule, considered, connection, request })
      return id
    },
    render: (samples) => metrics.render([...samples, ...droppedLines(log)]),
    [Symbol.dispose]: () => log?.flush(),
  }
}

/** Refused, or what a dry-run policy would refuse: the evidence of `redoubt authz rollout`. */
function isRefusal(decision: RequestRecord['decision']): boolean {
  if (decision === undefined || decision.kind === 'deny') return decision !== undefined
  return decision.dryRun.length > 0 && decision.dryRun.some(({ result }) => result === 'denied')
}

function droppedLines(log: AccessLog | undefined): readonly Sample[] {
  const value = log?.dropped() ?? 0
  return [{ name: 'redoubt_access_log_dropped_total', labels: {}, value }]
}
