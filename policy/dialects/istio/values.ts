/** Values that several of Istio's kinds have in common: numbers, durations, addresses, labels (istio-semantics §0.3). */
import { z } from 'zod'

import { protocolNamed } from '../../model/port-protocol.ts'
import {
  dnsLabelFault,
  durationFault,
  isDnsLabel,
  isIp,
  parseDurationMs,
  wildcardDomainFault,
} from '../grammar.ts'
import type { PathKey } from '../pointer.ts'
import { fields, type Report, text } from '../schema.ts'

const MAX_INT32 = 2 ** 31 - 1
const MAX_UINT32 = 2 ** 32 - 1

export const int32: z.ZodInt = z
  .int()
  .min(-MAX_INT32 - 1)
  .max(MAX_INT32)
/** 0 is written for the default. */
export const count: z.ZodInt = z.int().min(0).max(MAX_INT32)
export const uint32: z.ZodInt = z.int().min(0).max(MAX_UINT32)
export const wholePercent: z.ZodInt = z.int().min(0).max(100)
export const portNumber: z.ZodInt = z.int().min(1).max(65535)
/** 0 is written for "none". */
export const maybePort: z.ZodInt = z.int().min(0).max(65535)

export const duration: z.ZodString = text((written) => durationFault(written))
/** Any Go duration, also 0 and below. */
export const anyDuration: z.ZodString = text((written) =>
  parseDurationMs(written) === undefined
    ? `found ${JSON.stringify(written)}, expected a duration such as 10s, 1h or 500ms`
    : undefined,
)

/** A field that may be written as `null`, which is to leave it out. */
export function orNull<S extends z.ZodType>(schema: S): z.ZodNullable<S> {
  return schema.nullable()
}

export const strings: z.ZodArray<z.ZodString> = z.array(z.string())
export const textMap: z.ZodRecord<z.ZodString, z.ZodString> = z.record(z.string(), z.string())

interface Percentage {
  readonly value?: number | undefined
}

/** `Percent`: exactly 0, or at least a ten-thousandth. */
export const percentage: z.ZodType<Percentage> = fields(
  { value: z.number().min(0).max(100).optional() },
  {
    check: ({ value = 0 }, report) => {
      if (value > 0 && value < 0.0001)
        report(['value'], `found ${value}, expected 0 or 0.0001..100`)
    },
  },
)

/** Any share of 100. */
export const share: z.ZodType<Percentage> = fields({
  value: z.number().min(0).max(100).optional(),
})

/** A port's protocol; empty or left out: found out from its name or its traffic. */
export const protocol: z.ZodString = text((written) =>
  written === '' || protocolNamed(written)
    ? undefined
    : `found ${JSON.stringify(written)}, expected a protocol such as HTTP, HTTP2, GRPC, TLS or TCP`,
)

/** What a protocol is made of, whatever a port is called. */
export function isHttp(written = ''): boolean {
  return ['http', 'http2', 'http_proxy', 'grpc', 'grpc-web'].includes(written.toLowerCase())
}

export function isTls(written = ''): boolean {
  return ['https', 'tls'].includes(written.toLowerCase())
}

const NAME = /^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$/

/** Reports labels that no workload can carry. */
export function checkWorkloadLabels(
  labels: Readonly<Record<string, string>>,
  path: readonly PathKey[],
  report: Report,
): void {
  for (const [key, value] of Object.entries(labels)) {
    const at = [...path, key]
    const slash = key.indexOf('/')
    const prefix = slash < 0 ? undefined : key.slice(0, slash)
    const name = key.slice(slash + 1)
    const prefixed =
      prefix === undefined || (prefix.length <= 253 && prefix.split('.').every(isDnsLabel))
    if (!prefixed || name.length > 63 || !NAME.test(name)) {
      report(at, `found ${JSON.stringify(key)}, expected the name of a label`)
    }
    if (value !== '' && !NAME.test(value))
      report(at, `found ${JSON.stringify(value)}, expected the value of a label`)
  }
}

/** `path` of a Unix socket, without `unix://`. */
export function unixAddressFault(path: string): string | undefined {
  if (path.startsWith('@') || (path.startsWith('/') && !path.endsWith('/'))) return undefined
  return `found ${JSON.stringify(path)}, expected an absolute path to a file, or @ and a name`
}

export function partialWildcard(host: string): boolean {
  return host.includes('*') && host !== '*' && !host.startsWith('*.')
}

/** What is wrong with the host part of `namespace/host`. */
function scopedHostFault(host: string, address: boolean): string | undefined {
  if (host !== '*' && !host.includes('.'))
    return `found ${JSON.stringify(host)}, expected a complete name: short ones are not possible here`
  if (address && isIp(host)) return undefined
  return (
    wildcardDomainFault(host) ??
    (partialWildcard(host) ? 'a wildcard is a whole label, as in *.example.com' : undefined)
  )
}

/** A host of a Gateway, `[namespace/]host`. */
export function gatewayHostFault(written: string): string | undefined {
  const slash = written.indexOf('/')
  const namespace = slash < 0 ? '*' : written.slice(0, slash)
  if (!['*', '.'].includes(namespace) && !isDnsLabel(namespace)) return dnsLabelFault(namespace)
  return scopedHostFault(written.slice(slash + 1), true)
}

/** A host of a Sidecar, `namespace/host`; a leading `~` excludes. */
export function sidecarHostFault(written: string): string | undefined {
  const slash = written.indexOf('/')
  if (slash <= 0) return `found ${JSON.stringify(written)}, expected namespace/host`
  const namespace = written.slice(0, slash).replace(/^~/, '')
  if (!['', '*', '.'].includes(namespace) && !isDnsLabel(namespace)) return dnsLabelFault(namespace)
  return scopedHostFault(written.slice(slash + 1), false)
}
