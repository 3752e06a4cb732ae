/** TrafficPolicy of a DestinationRule (istio-semantics §6.1, §6.3–§6.8). */
import { z } from 'zod'

import type { ConnectionPool, LoadBalancing, OutlierDetection } from '../../model/bundle.ts'
import type { PortTrafficPolicy, TrafficPolicy } from '../../model/traffic.ts'
import { fqdnFault, isIp, parseDurationMs } from '../grammar.ts'
import type { Manifest, Warning } from '../kind.ts'
import type { PathKey } from '../pointer.ts'
import { notYet } from '../carried-out.ts'
import { fields, type Report, text } from '../schema.ts'
import { type ClientTls, checkCredential, clientTlsSchema } from './client-tls.ts'
import { connectionPoolSchema, type RawPool, retryBudgetSchema } from './connection-pool.ts'
import { type LoadBalancer, loadBalancerSchema } from './load-balancer.ts'
import { warnFailover } from './locality.ts'
import { duration, int32, orNull, portNumber, uint32, wholePercent } from './values.ts'

const LOAD_BALANCING: Readonly<Record<string, LoadBalancing>> = {
  UNSPECIFIED: 'LEAST_REQUEST',
  LEAST_CONN: 'LEAST_REQUEST',
  LEAST_REQUEST: 'LEAST_REQUEST',
  RANDOM: 'RANDOM',
  ROUND_ROBIN: 'ROUND_ROBIN',
}

const outlierDetection = fields(
  {
    consecutive5xxErrors: orNull(uint32).optional(),
    consecutiveGatewayErrors: orNull(uint32).optional(),
    consecutiveErrors: notYet(int32, { hint: 'consecutiveGatewayErrors, consecutive5xxErrors' }),
    consecutiveLocalOriginFailures: notYet(orNull(uint32)),
    splitExternalLocalOriginErrors: notYet(z.boolean()),
    outlierDetectionHttpErrorCodes: notYet(z.array(z.int().min(100).max(599))),
    interval: duration.optional(),
    baseEjectionTime: duration.optional(),
    maxEjectionPercent: wholePercent.optional(),
    // No panic mode is what there is.
    minHealthPercent: notYet(wholePercent, { when: (value) => value > 0 }),
  },
  {
    check: (value, report) => {
      if (value.consecutiveLocalOriginFailures && !value.splitExternalLocalOriginErrors)
        report(['consecutiveLocalOriginFailures'], 'it needs splitExternalLocalOriginErrors: true')
    },
  },
)

const blocks = {
  loadBalancer: loadBalancerSchema.optional(),
  connectionPool: connectionPoolSchema.optional(),
  outlierDetection: outlierDetection.optional(),
  tls: clientTlsSchema.optional(),
}
const BLOCKS = Object.keys(blocks)
const NO_BLOCK = `none of ${BLOCKS.join(', ')} is set: expected at least one`

const portSettings = fields(
  { port: fields({ number: uint32.optional() }), ...blocks },
  {
    check: (value, report) => {
      if (Object.keys(value).length === 1) report([], NO_BLOCK)
    },
  },
)

const tunnel = fields({
  protocol: z.enum(['', 'CONNECT', 'POST']).optional(),
  targetHost: text((host) => (isIp(host) ? undefined : fqdnFault(host))),
  targetPort: portNumber,
})

interface RawOutliers {
  readonly consecutive5xxErrors?: number | null | undefined
  readonly consecutiveGatewayErrors?: number | null | undefined
  readonly consecutiveErrors?: number | undefined
  readonly interval?: string | undefined
  readonly baseEjectionTime?: string | undefined
  readonly maxEjectionPercent?: number | undefined
}

interface RawBlocks {
  readonly loadBalancer?: LoadBalancer | undefined
  readonly connectionPool?: RawPool | undefined
  readonly outlierDetection?: RawOutliers | undefined
  readonly tls?: ClientTls | undefined
}

type RawPort = RawBlocks & { port: { number?: number | undefined } }

/** What {@link trafficPolicySchema} accepts. */
export interface RawTrafficPolicy extends RawBlocks {
  readonly portLevelSettings?: readonly RawPort[] | undefined
  readonly tunnel?: object | undefined
  readonly proxyProtocol?: object | undefined
}

export const trafficPolicySchema: z.ZodType<RawTrafficPolicy> = fields(
  {
    ...blocks,
    portLevelSettings: notYet(z.array(portSettings).max(4096), {
      when: (list) => new Set(list.map(({ port }) => port.number)).size < list.length,
      hint: 'a port is there twice',
    }),
    tunnel: notYet(tunnel),
    proxyProtocol: notYet(fields({ version: z.enum(['V1', 'V2']).optional() })),
    retryBudget: notYet(retryBudgetSchema),
  },
  { check: (value, report) => checkPolicy(value, report) },
)

function checkPolicy(value: RawTrafficPolicy, report: Report): void {
  const set = Object.entries(value).filter(
    ([field, block]) => field !== 'portLevelSettings' || (block as readonly unknown[]).length > 0,
  )
  if (set.length === 0) report([], `${NO_BLOCK}, or portLevelSettings`)
  if (value.tunnel && value.proxyProtocol)
    report([], 'both tunnel and proxyProtocol are set: expected one at most')
}

/** Each place of `policy` that has the four blocks, with its path from `path`. */
function levels(
  policy: RawTrafficPolicy | undefined,
  path: readonly PathKey[],
): readonly { readonly level: RawBlocks; readonly path: readonly PathKey[] }[] {
  if (!policy) return []
  const ports = policy.portLevelSettings ?? []
  return [
    { level: policy, path },
    ...ports.map((level, index) => ({ level, path: [...path, 'portLevelSettings', index] })),
  ]
}

/** Reports what depends on the namespace of the rule; `path` is where `policy` stands. */
export function checkTrafficPolicy(
  policy: RawTrafficPolicy | undefined,
  path: readonly PathKey[],
  { metadata }: Pick<Manifest<unknown>, 'metadata'>,
  report: Report,
): void {
  for (const { level, path: at } of levels(policy, path))
    checkCredential(level.tls, metadata.namespace, [...at, 'tls'], report)
}

/** What is legal in `policy` and probably not meant. */
export function warnTrafficPolicy(
  policy: RawTrafficPolicy | undefined,
  path: readonly PathKey[],
): readonly Warning[] {
  return levels(policy, path).flatMap(({ level, path: at }) => {
    const { loadBalancer, outlierDetection: outliers } = level
    const locality = loadBalancer?.localityLbSetting ?? loadBalancer?.zoneAwareLbSetting
    const past = (field: readonly PathKey[], instead: string): Warning => ({
      path: [...at, ...field],
      message: `it is of the past: ${instead}`,
    })
    return [
      ...(locality ? warnFailover(locality, outliers, [...at, 'loadBalancer']) : []),
      ...(outliers?.consecutiveErrors
        ? [past(['outlierDetection', 'consecutiveErrors'], 'consecutive5xxErrors')]
        : []),
      ...(loadBalancer?.consistentHash?.minimumRingSize
        ? [past(['loadBalancer', 'consistentHash', 'minimumRingSize'], 'ringHash')]
        : []),
    ]
  })
}

/** The blocks of `raw`, and those of each of its ports. */
export function readTrafficPolicy({
  portLevelSettings = [],
  ...raw
}: RawTrafficPolicy): TrafficPolicy {
  const ports = portLevelSettings.map(
    ({ port, ...level }) => [port.number ?? 0, readBlocks(level)] as const,
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
    ...(raw.tls ? { tls: raw.tls.mode === 'ISTIO_MUTUAL' ? 'ISTIO_MUTUAL' : 'DISABLE' } : {}),
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
