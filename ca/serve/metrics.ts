import { Counter, Gauge, Histogram, Registry } from 'prom-client'

import type { Clock } from '#core/clock.ts'
import type { CaHealth } from '../health.ts'
import type { Ledger, LedgerEntries } from '../issue/ledger.ts'

/** What the CA counts. The table is also the documentation; no label comes from a request. */
const METRICS = {
  redoubt_ca_svids_issued_total: 'SVIDs signed, recorded and handed out',
  redoubt_ca_refusals_total: 'Requests refused, by stable reason',
  redoubt_ca_attestations_total: 'Agents that proved their node, or did not',
  redoubt_ca_issue_batch_seconds: 'Time to answer one call for certificates, ledger included',
  redoubt_ca_ledger_record_seconds:
    'Time from something to record until it is on the disk: how far the ledger lags',
  redoubt_ca_ledger_pending: 'Records that wait for the disk',
  redoubt_ca_ledger_failures_total: 'Records that could not be written; nothing of them was issued',
  redoubt_ca_bundle_generation: 'Generation of the trust bundle',
  redoubt_ca_certificate_expiry_seconds:
    'Epoch seconds at which a certificate of the CA, or its newest JWT key, ends',
  redoubt_ca_jwt_svids_issued_total: 'JWT-SVIDs signed and handed out',
  redoubt_ca_rotations_total:
    'Keys and certificates of the CA that were replaced, or could not be, by result and stable reason',
  redoubt_ca_ready: '1 while the CA can sign and show who it is, else 0',
  redoubt_ca_warnings: 'What health has to say now: 0 when all is well',
} as const

/** The CA's counters; see the table in this file for what each means. */
export interface CaMetrics {
  readonly issued: (count: number) => void
  readonly jwtsIssued: (count: number) => void
  /** `reason` is a {@link CaErrorCode}. */
  readonly refused: (reason: string) => void
  readonly attested: (outcome: 'ok' | 'refused') => void
  readonly batch: (seconds: number) => void
  /** A ledger that is watched; what it does is told here. */
  readonly watch: (ledger: Ledger, clock: Clock) => Ledger
  readonly bundle: (generation: number) => void
  readonly expiry: (
    which: 'root' | 'issuing' | 'server' | 'jwt',
    notAfter: Temporal.Instant,
  ) => void
  /** @param reason - A {@link CaErrorCode}; empty where `result` is `taken`. */
  readonly rotated: (certificate: string, result: 'taken' | 'failed', reason: string) => void
  /** Prometheus text, with what health says now. */
  readonly render: (health: CaHealth) => Promise<string>
}

/** Counters of their own registry, so that two CAs in one process do not meet. */
export function createCaMetrics(): CaMetrics {
  const registry = new Registry()
  const registers = [registry]
  const named = <Name extends keyof typeof METRICS>(name: Name) => ({
    name,
    help: METRICS[name],
    registers,
  })
  const issued = new Counter(named('redoubt_ca_svids_issued_total'))
  const jwtsIssued = new Counter(named('redoubt_ca_jwt_svids_issued_total'))
  const refused = new Counter({ ...named('redoubt_ca_refusals_total'), labelNames: ['reason'] })
  const attested = new Counter({
    ...named('redoubt_ca_attestations_total'),
    labelNames: ['outcome'],
  })
  const batch = new Histogram({
    ...named('redoubt_ca_issue_batch_seconds'),
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1],
  })
  const recorded = new Histogram({
    ...named('redoubt_ca_ledger_record_seconds'),
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5],
  })
  const pending = new Gauge(named('redoubt_ca_ledger_pending'))
  const failures = new Counter(named('redoubt_ca_ledger_failures_total'))
  const bundle = new Gauge(named('redoubt_ca_bundle_generation'))
  const expiry = new Gauge({
    ...named('redoubt_ca_certificate_expiry_seconds'),
    labelNames: ['certificate'],
  })
  const rotations = new Counter({
    ...named('redoubt_ca_rotations_total'),
    labelNames: ['certificate', 'result', 'reason'],
  })
  const readiness = new Gauge(named('redoubt_ca_ready'))
  const warnings = new Gauge(named('redoubt_ca_warnings'))
  return {
    issued: (count) => issued.inc(count),
    jwtsIssued: (count) => jwtsIssued.inc(count),
    refused: (reason) => refused.inc({ reason }),
    attested: (outcome) => attested.inc({ outcome }),
    batch: (seconds) => batch.observe(seconds),
    watch(ledger, clock) {
      const measured = (record: Ledger['record']) => async (entries: LedgerEntries) => {
        const startMs = clock.nowMs()
        pending.inc()
        try {
          await record(entries)
          recorded.observe((clock.nowMs() - startMs) / 1000)
        } catch (cause) {
          failures.inc()
          throw cause
        } finally {
          pending.dec()
        }
      }
      return { record: measured(ledger.record), recordAlone: measured(ledger.recordAlone) }
    },
    bundle: (generation) => bundle.set(generation),
    expiry: (certificate, notAfter) =>
      expiry.set({ certificate }, notAfter.epochMilliseconds / 1000),
    rotated: (certificate, result, reason) => rotations.inc({ certificate, result, reason }),
    render({ ready, reasons }) {
      readiness.set(ready ? 1 : 0)
      warnings.set(reasons.length)
      return registry.metrics()
    },
  }
}
