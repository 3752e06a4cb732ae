/** TrafficPolicy of a DestinationRule (istio-semantics §6.1, §6.3–§6.8). */
import { z } from 'zod'

import type { ConnectionPool, LoadBalancing, OutlierDetection } from '../../model/bundle.ts'
import type { PortTrafficPolicy, TrafficPolicy } from '../../model/traffic.ts'
import { durationFault, parseDurationMs } from '../grammar.ts'
import { fields, type Report, text } from '../schema.ts'

const MAX_INT32 = 2 ** 31 - 1

const duration = text(durationFault).optional()
/** 0 is written for the default (§6.6). */
const count = z.int().min(0).max(MAX_INT32).optional()
const percent = z.int().min(0).max(100).optional()

const LOAD_BALANCING: Readonly<Record<string, LoadBalancing>> = {
  UNSPECIFIED: 'LEAST_REQUEST',
  LEAST_CONN: 'LEAST_REQUEST',
  LEAST_REQUEST: 'LEAST_REQUEST',
  RANDOM: 'RANDOM',
  ROUND_ROBIN: 'ROUND_ROBIN',
}

const loadBalancer = fields(
  {
    simple: z
      .enum(['UNSPECIFIED', 'LEAST_CONN', 'LEAST_REQUEST', 'RANDOM', 'ROUND_ROBIN'])
      .optional(),
  },
  {
    notHonoured: [
      'consistentHash',
      'localityLbSetting',
      'warmup',
      'warmupDurationSecs',
      'zoneAwareLbSetting',
    ],
  },
)

const connectionPool = fields(
  {
    tcp: fields(
      { maxConnections: count, connectTimeout: duration },
      { notHonoured: ['idleTimeout', 'maxConnectionDuration', 'tcpKeepalive'] },
    ).optional(),
    http: fields(
      {
        http1MaxPendingRequests: count,
        http2MaxRequests: count,
        maxRequestsPerConnection: count,
        idleTimeout: duration,
      },
      {
        notHonoured: [
          'h2UpgradePolicy',
          'http2KeepAlive',
          'maxConcurrentStreams',
          'maxRetries',
          'useClientProtocol',
        ],
      },
    ).optional(),
  },
  {
    check: ({ tcp, http }, report) => {
      if (!tcp && !http) report([], 'neither tcp nor http is set: expected at least one')
    },
  },
)

const outlierDetection = fields(
  {
    consecutive5xxErrors: z
      .int()
      .min(0)
      .max(2 ** 32 - 1)
      .optional(),
    consecutiveGatewayErrors: z
      .int()
      .min(0)
      .max(2 ** 32 - 1)
      .optional(),
    interval: duration,
    baseEjectionTime: duration,
    maxEjectionPercent: percent,
    // No panic mode is what there is.
    minHealthPercent: z.literal(0).optional(),
  },
  {
    notHonoured: [
      'consecutiveErrors',
      'consecutiveLocalOriginFailures',
      'outlierDetectionHttpErrorCodes',
      'splitExternalLocalOriginErrors',
    ],
  },
)

const tls = fields(
  { mode: z.enum(['DISABLE', 'ISTIO_MUTUAL']).optional() },
  {
    notHonoured: [
      'caCertificates',
      'caCrl',
      'clientCertificate',
      'credentialName',
      'insecureSkipVerify',
      'privateKey',
      'sni',
      'subjectAltNames',
    ],
  },
)

const blocks = {
  loadBalancer: loadBalancer.optional(),
  connectionPool: connectionPool.optional(),
  outlierDetection: outlierDetection.optional(),
  tls: tls.optional(),
}

const NO_BLOCK =
  'none of loadBalancer, connectionPool, outlierDetection and tls is set: expected at least one'

const portSettings = fields(
  { port: fields({ number: z.int().min(1).max(65535) }), ...blocks },
  {
    check: (value, report) => {
      if (Object.keys(value).length === 1) report([], NO_BLOCK)
    },
  },
)

interface RawPool {
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

interface RawOutliers {
  readonly consecutive5xxErrors?: number | undefined
  readonly consecutiveGatewayErrors?: number | undefined
  readonly interval?: string | undefined
  readonly baseEjectionTime?: string | undefined
  readonly maxEjectionPercent?: number | undefined
}

interface RawBlocks {
  readonly loadBalancer?: { simple?: string | undefined } | undefined
  readonly connectionPool?: RawPool | undefined
  readonly outlierDetection?: RawOutliers | undefined
  readonly tls?: { mode?: 'DISABLE' | 'ISTIO_MUTUAL' | undefined } | undefined
}

/** What {@link trafficPolicySchema} accepts. */
export interface RawTrafficPolicy extends RawBlocks {
  readonly portLevelSettings?: readonly (RawBlocks & { port: { number: number } })[] | undefined
}

export const trafficPolicySchema: z.ZodType<RawTrafficPolicy> = fields(
  { ...blocks, portLevelSettings: z.array(portSettings).max(4096).optional() },
  {
    notHonoured: ['proxyProtocol', 'retryBudget', 'tunnel'],
    check: (value, report) => checkPorts(value, report),
  },
)

function checkPorts(value: RawTrafficPolicy, report: Report): void {
  if (Object.keys(value).length === 0) report([], `${NO_BLOCK}, or portLevelSettings`)
  const seen = new Set<number>()
  value.portLevelSettings?.forEach(({ port }, index) => {
    if (seen.has(port.number))
      report(['portLevelSettings', index], `the port ${port.number} is there twice`)
    seen.add(port.number)
  })
}

/** The blocks of `raw`, and those of each of its ports. */
export function readTrafficPolicy({
  portLevelSettings = [],
  ...raw
}: RawTrafficPolicy): TrafficPolicy {
  const ports = portLevelSettings.map(
    ({ port, ...level }) => [port.number, readBlocks(level)] as const,
  )
  return { ...readBlocks(raw), ports: Object.fromEntries(ports) }
}

function readBlocks(raw: RawBlocks): PortTrafficPolicy {
  return {
    ...(raw.loadBalancer
      ? { loadBalancing: LOAD_BALANCING[raw.loadBalancer.simple ?? ''] ?? 'LEAST_REQUEST' }
      : {}),
    ...(raw.connectionPool ? { connectionPool: readPool(raw.connectionPool) } : {}),
    ...(raw.outlierDetection ? { outlierDetection: readOutliers(raw.outlierDetection) } : {}),
    // Istio's zero value: `tls: {}` is DISABLE (§6.8).
    ...(raw.tls ? { tls: raw.tls.mode ?? 'DISABLE' } : {}),
  }
}

function readPool({ tcp = {}, http = {} }: RawPool): Partial<ConnectionPool> {
  return Object.fromEntries(
    Object.entries({
      maxConnections: tcp.maxConnections,
      connectTimeoutMs: tcp.connectTimeout && parseDurationMs(tcp.connectTimeout),
      maxPendingRequests: http.http1MaxPendingRequests,
      maxRequests: http.http2MaxRequests,
      maxRequestsPerConnection: http.maxRequestsPerConnection,
      idleTimeoutMs: http.idleTimeout && parseDurationMs(http.idleTimeout),
    }).filter(([, value]) => value),
  )
}

function readOutliers(raw: RawOutliers): OutlierDetection {
  return {
    consecutiveGatewayErrors: raw.consecutiveGatewayErrors ?? 0,
    consecutive5xxErrors: raw.consecutive5xxErrors ?? 5,
    intervalMs: (raw.interval && parseDurationMs(raw.interval)) || 10_000,
    baseEjectionTimeMs: (raw.baseEjectionTime && parseDurationMs(raw.baseEjectionTime)) || 30_000,
    // Istio's API server has no way to tell 0 from left out.
    maxEjectionPercent: raw.maxEjectionPercent || 10,
  }
}
