/** ConnectionPoolSettings, of DestinationRules and Sidecars (istio-semantics §6.6). */
import { z } from 'zod'

import { parseDurationMs } from '../grammar.ts'
import { notYet } from '../carried-out.ts'
import { fields, type Report, text } from '../schema.ts'
import { anyDuration, count, duration, uint32 } from './values.ts'

/** What {@link connectionPoolSchema} accepts and sidecars carry out. */
export interface RawPool {
  readonly tcp?:
    | { maxConnections?: number | undefined; connectTimeout?: string | undefined }
    | undefined
  readonly http?:
    | {
        http1MaxPendingRequests?: number | undefined
        http2MaxRequests?: number | undefined
        maxRequestsPerConnection?: number | undefined
        idleTimeout?: string | undefined
      }
    | undefined
}

/** Less than a millisecond switches it off. */
const idleTimeout = text((written) => {
  const ms = parseDurationMs(written)
  const wrong = `found ${JSON.stringify(written)}, expected a duration of whole milliseconds, or 0s`
  if (ms === undefined) return wrong
  return Math.trunc(ms) === 0 || (ms >= 1 && Number.isInteger(ms)) ? undefined : wrong
})

const tcp = fields({
  maxConnections: count.optional(),
  connectTimeout: duration.optional(),
  idleTimeout: notYet(idleTimeout),
  maxConnectionDuration: notYet(duration),
  tcpKeepalive: notYet(
    fields({ probes: uint32.optional(), time: duration.optional(), interval: duration.optional() }),
  ),
})

const keepAlive = fields({ interval: duration, timeout: duration })

const http = fields(
  {
    http1MaxPendingRequests: count.optional(),
    http2MaxRequests: count.optional(),
    maxRequestsPerConnection: count.optional(),
    maxRetries: notYet(count),
    idleTimeout: duration.optional(),
    h2UpgradePolicy: notYet(z.enum(['DEFAULT', 'DO_NOT_UPGRADE', 'UPGRADE'])),
    useClientProtocol: notYet(z.boolean()),
    maxConcurrentStreams: notYet(count),
    http2KeepAlive: notYet(keepAlive),
  },
  {
    check: ({ h2UpgradePolicy, useClientProtocol }, report) => {
      if (useClientProtocol && h2UpgradePolicy === 'UPGRADE')
        report(['useClientProtocol'], 'it cannot be true with h2UpgradePolicy UPGRADE')
    },
  },
)

export const connectionPoolSchema: z.ZodType<RawPool> = fields(
  { tcp: tcp.optional(), http: http.optional() },
  {
    check: (value, report: Report) => {
      if (!value.tcp && !value.http)
        report([], 'neither tcp nor http is set: expected at least one')
    },
  },
)

/** Of a retry budget; nothing checks that it is above zero. */
export const retryBudgetSchema: z.ZodType = fields({
  percent: z.number().min(0).max(100).optional(),
  minRetryConcurrency: uint32.optional(),
  budgetInterval: anyDuration.optional(),
})
