/** Locality and zones in load balancing (istio-semantics §6.5): checked only. */
import { z } from 'zod'

import type { Warning } from '../kind.ts'
import type { PathKey } from '../pointer.ts'
import { fields, type Report } from '../schema.ts'
import { orNull, strings, uint32 } from './values.ts'

const TOPOLOGY = [
  'topology.kubernetes.io/region',
  'topology.kubernetes.io/zone',
  'topology.istio.io/subzone',
]

interface Failover {
  readonly from?: string | undefined
  readonly to?: string | undefined
}

interface Distribute {
  readonly from?: string | undefined
  readonly to?: Readonly<Record<string, number>> | undefined
}

const failover: z.ZodType<Failover> = fields({
  from: z.string().optional(),
  to: z.string().optional(),
})
const distribute: z.ZodType<Distribute> = fields({
  from: z.string().optional(),
  to: z.record(z.string(), uint32).optional(),
})

const shared = {
  enabled: orNull(z.boolean()).optional(),
  failover: z.array(failover).optional(),
  failoverPriority: strings.optional(),
}

/** What {@link localitySchema} and {@link zoneAwareSchema} accept. */
export interface Locality {
  readonly enabled?: boolean | null | undefined
  readonly failover?: readonly Failover[] | undefined
  readonly failoverPriority?: readonly string[] | undefined
  readonly distribute?: readonly Distribute[] | undefined
}

export const localitySchema: z.ZodType<Locality> = fields(
  { ...shared, distribute: z.array(distribute).optional() },
  { check: checkLocality },
)

export const zoneAwareSchema: z.ZodType<Locality> = fields(
  { ...shared, minClusterSize: orNull(uint32.min(1)).optional() },
  {
    check: (value, report) => {
      value.failoverPriority?.forEach((label, index) => {
        if (TOPOLOGY.includes(label))
          report(['failoverPriority', index], 'regions and zones are ordered without being named')
      })
      checkFailover(value, report)
    },
  },
)

function checkLocality(value: Locality, report: Report): void {
  const { distribute: spread = [], failover: next = [], failoverPriority: order = [] } = value
  if (spread.length > 0 && next.length > 0)
    return report([], 'both distribute and failover are set: expected one at most')
  if (next.length > 0 && order.some((label) => TOPOLOGY.includes(label)))
    return report([], 'failover cannot stand beside a failoverPriority by region or zone')
  spread.forEach(({ to = {} }, index) => {
    const weights = Object.values(to)
    const at = ['distribute', index, 'to']
    if (weights.some((weight) => weight < 1 || weight > 100))
      report(at, 'a weight is not in 1..100')
    else if (weights.reduce((sum, weight) => sum + weight, 0) !== 100)
      report(at, 'the weights do not add up to 100')
    checkPlaces(Object.keys(to), at, report)
  })
  checkPlaces(
    spread.map(({ from = '' }) => from),
    ['distribute'],
    report,
  )
  checkFailover(value, report)
}

function checkFailover({ failover: next = [] }: Locality, report: Report): void {
  next.forEach(({ from = '', to = '' }, index) => {
    const at = ['failover', index]
    if (from === to) report(at, 'it goes from a region to itself')
    if (`${from}${to}`.includes('/')) report(at, 'it is between regions: expected no zone')
    if (`${from}${to}`.includes('*')) report(at, 'it is between regions: expected no wildcard')
  })
}

/** `region/zone/subzone`, cut short or with a star at the end; none inside another. */
function checkPlaces(places: readonly string[], path: readonly PathKey[], report: Report): void {
  places.forEach((place, index) => {
    if (/\*./.test(place)) report(path, `${JSON.stringify(place)}: a star stands at the end only`)
    else if (parts(place).includes('')) report(path, `${JSON.stringify(place)} has an empty part`)
    else if (places.slice(0, index).some((other) => overlap(parts(other), parts(place))))
      report(path, `${JSON.stringify(place)} overlaps with another`)
  })
}

function parts(place: string): readonly string[] {
  const [region = '', zone, ...rest] = place.split('/')
  if (zone === undefined) return [region]
  return rest.length === 0 ? [region, zone] : [region, zone, rest.join('/')]
}

/** A place that is named short stands for all in it; `*` as a region for the world, once it is named. */
function overlap(earlier: readonly string[], later: readonly string[]): boolean {
  if (earlier.length === 1 && earlier[0] === '*') return true
  const size = Math.min(earlier.length, later.length)
  return earlier
    .slice(0, size)
    .every((part, index) => part === later[index] || (index > 0 && part === '*'))
}

/** Failover without knowing who is broken does nothing. */
export function warnFailover(
  { failover: next = [], failoverPriority: order = [] }: Locality,
  outliers: unknown,
  path: readonly PathKey[],
): readonly Warning[] {
  if (outliers || next.length + order.length === 0) return []
  return [{ path, message: 'without outlierDetection nothing fails over' }]
}
