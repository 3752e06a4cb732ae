/** LoadBalancerSettings (istio-semantics §6.4). */
import { z } from 'zod'

import { notYet } from '../carried-out.ts'
import { fields, type Report } from '../schema.ts'
import { type Locality, localitySchema, zoneAwareSchema } from './locality.ts'
import { anyDuration, duration, orNull } from './values.ts'

const SIMPLE = [
  'UNSPECIFIED',
  'LEAST_CONN',
  'RANDOM',
  'PASSTHROUGH',
  'ROUND_ROBIN',
  'LEAST_REQUEST',
] as const
const MAX_TABLE = 5_000_011

const size = z.int().min(0)

const cookie = fields(
  {
    name: z.string().min(1),
    path: z.string().optional(),
    ttl: anyDuration.optional(),
    attributes: z
      .array(fields({ name: z.string().min(1), value: z.string().optional() }))
      .optional(),
  },
  {
    check: ({ attributes = [] }, report) => {
      const names = attributes.map(({ name }) => name)
      names.forEach((name, index) => {
        if (names.indexOf(name) < index)
          report(['attributes', index, 'name'], `${JSON.stringify(name)} is there twice`)
      })
    },
  },
)

interface Hash {
  readonly httpHeaderName?: string | undefined
  readonly httpCookie?: object | undefined
  readonly useSourceIp?: boolean | undefined
  readonly httpQueryParameterName?: string | undefined
  readonly minimumRingSize?: number | undefined
  readonly ringHash?: object | undefined
  readonly maglev?: { readonly tableSize?: number | undefined } | undefined
}

const consistentHash: z.ZodType<Hash> = fields(
  {
    httpHeaderName: z.string().optional(),
    httpCookie: cookie.optional(),
    useSourceIp: z.boolean().optional(),
    httpQueryParameterName: z.string().optional(),
    minimumRingSize: size.optional(),
    ringHash: fields({ minimumRingSize: size.optional() }).optional(),
    maglev: fields({ tableSize: size.optional() }).optional(),
  },
  { check: (value, report) => checkHash(value, report) },
)

function checkHash(value: Hash, report: Report): void {
  const keys = ['httpHeaderName', 'httpCookie', 'useSourceIp', 'httpQueryParameterName'] as const
  if (keys.filter((key) => value[key] !== undefined).length > 1)
    report([], `more than one of ${keys.join(', ')} is set: expected one`)
  if (value.ringHash && value.maglev)
    report([], 'both ringHash and maglev are set: expected one at most')
  if (value.minimumRingSize && (value.ringHash || value.maglev))
    report(['minimumRingSize'], 'it cannot stand beside ringHash or maglev')
  const table = value.maglev && (value.maglev.tableSize ?? 0)
  if (table !== undefined && (table >= MAX_TABLE || !isPrime(table)))
    report(['maglev', 'tableSize'], `found ${table}, expected a prime number below ${MAX_TABLE}`)
}

/** As Envoy decides it: 1 counts. Only asked for numbers up to a few million. */
function isPrime(number: number): boolean {
  if (number > 0 && number < 4) return true
  if (number % 2 === 0) return false
  for (let factor = 3; factor * factor <= number; factor += 2) {
    if (number % factor === 0) return false
  }
  return true
}

const warmup = fields({
  duration,
  minimumPercent: orNull(z.number().min(0).max(100)).optional(),
  aggression: orNull(z.number().gt(0)).optional(),
})

/** What {@link loadBalancerSchema} accepts. */
export interface LoadBalancer {
  readonly simple?: (typeof SIMPLE)[number] | undefined
  readonly consistentHash?: Hash | undefined
  readonly localityLbSetting?: Locality | undefined
  readonly zoneAwareLbSetting?: Locality | undefined
}

export const loadBalancerSchema: z.ZodType<LoadBalancer> = fields(
  {
    simple: notYet(z.enum(SIMPLE), { when: (value) => value === 'PASSTHROUGH' }),
    consistentHash: notYet(consistentHash),
    localityLbSetting: notYet(localitySchema),
    zoneAwareLbSetting: notYet(zoneAwareSchema),
    warmup: notYet(warmup),
    warmupDurationSecs: notYet(duration, { hint: 'and it is of the past: warmup.duration' }),
  },
  {
    check: ({ simple, consistentHash: hash, ...value }, report) => {
      if (simple !== undefined && hash)
        report([], 'both simple and consistentHash are set: expected one at most')
      if (value.localityLbSetting && value.zoneAwareLbSetting)
        report([], 'both localityLbSetting and zoneAwareLbSetting are set: expected one at most')
    },
  },
)
