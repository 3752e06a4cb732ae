/** The JSON lines of `redoubt authz test` (design.md §2). */
import { isDeepStrictEqual } from 'node:util'
import type { Claims } from '../model/index.ts'
import { readCaller } from './caller.ts'
import type { Checker } from './check.ts'
import type { CheckQuery, CheckResult, QueryProtocol } from './query.ts'

/** One line, read. */
export interface AuthzCase {
  /** As given; printed with the result. */
  readonly id: unknown
  readonly query: CheckQuery
  /** What the decision should be; or fields of the result that should have these values. */
  readonly expect: string | Readonly<Record<string, unknown>> | undefined
}

export type CaseReading =
  | { readonly kind: 'case'; readonly case: AuthzCase }
  | { readonly kind: 'fault'; readonly message: string; readonly id: unknown }

const PROTOCOLS: readonly QueryProtocol[] = ['http1', 'http2', 'grpc', 'tcp']

/**
 * Reads one line, the `number`th of its file. A key that is not known is a fault: it may be a constraint that
 * someone counts on.
 */
export function readCase(line: string, number: number): CaseReading {
  let id: unknown = null
  try {
    const value: unknown = JSON.parse(line)
    if (!isRecord(value)) throw new RangeError('the line is no JSON object')
    id = value['id'] ?? null
    return { kind: 'case', case: { id, query: readQuery(value), expect: readExpect(value) } }
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    const which = id === null ? '' : `${JSON.stringify(id)} `
    return { kind: 'fault', message: `Cannot read case ${which}on line ${number}: ${why}`, id }
  }
}

/** The result with the case's id, and whether it is what was expected. */
export function testCase({ id, query, expect }: AuthzCase, check: Checker): CaseResult {
  return judgeCase({ id, query, expect }, check(query))
}

/** A result with its case's id. */
export type CaseResult = CheckResult & { readonly id: unknown; readonly ok?: boolean }

/** As {@link testCase}, of a result that is there. */
export function judgeCase({ id, expect }: AuthzCase, result: CheckResult): CaseResult {
  if (expect === undefined) return { id, ...result }
  const wanted = typeof expect === 'string' ? { decision: expect } : expect
  const entries = Object.entries(wanted)
  const ok = entries.every(([key, value]) =>
    isDeepStrictEqual((result as unknown as Readonly<Record<string, unknown>>)[key], value),
  )
  return { id, ...result, ok }
}

/** What of a result is not as its case expects. */
export function mismatchText({ id, expect }: AuthzCase, result: CheckResult): string {
  const wanted = typeof expect === 'string' ? { decision: expect } : (expect ?? {})
  const found = result as unknown as Readonly<Record<string, unknown>>
  const missed = Object.entries(wanted)
    .filter(([key, value]) => !isDeepStrictEqual(found[key], value))
    .map(([key, value]) => `${key} is ${JSON.stringify(found[key])}, not ${JSON.stringify(value)}`)
  return `Case ${JSON.stringify(id)} is not decided as expected: ${missed.join(', ')}`
}

type Fields = Readonly<Record<string, unknown>>

const KEYS: ReadonlySet<string> = new Set(
  'id to port from proto method path host headers claims sourceIp remoteIp destIp sni expect'.split(
    ' ',
  ),
)

function readQuery(value: Fields): CheckQuery {
  const unknown = Object.keys(value).filter((key) => !KEYS.has(key))
  if (unknown.length > 0)
    throw new RangeError(`it has the unknown key ${JSON.stringify(unknown[0])}`)
  const text = (key: string): string | undefined => {
    const found = value[key] ?? undefined
    if (found === undefined || typeof found === 'string') return found
    throw new RangeError(`its ${key} is no text`)
  }
  const [namespace = '', name = '', ...more] = text('to')?.split('/') ?? []
  if (namespace === '' || name === '' || more.length > 0) {
    throw new RangeError('its "to" is not namespace/workload')
  }
  const from = text('from')
  const proto = PROTOCOLS.find((one) => one === text('proto'))
  if (proto === undefined && text('proto') !== undefined) {
    throw new RangeError(`its proto is none of ${PROTOCOLS.join(', ')}`)
  }
  return withoutUndefined<CheckQuery>({
    to: withoutUndefined({ namespace, name, port: readPort(value['port']) }),
    from: readCaller(from ?? 'none'),
    protocol: proto,
    method: text('method'),
    path: text('path'),
    host: text('host'),
    headers: readHeaders(value['headers']),
    claims: readClaims(value['claims']),
    sourceIp: text('sourceIp'),
    remoteIp: text('remoteIp'),
    destinationIp: text('destIp'),
    sni: text('sni'),
  })
}

function readPort(value: unknown): number | undefined {
  if (value === undefined || value === null) return undefined
  if (typeof value === 'number' && Number.isInteger(value) && value > 0 && value < 65_536) {
    return value
  }
  throw new RangeError('its port is no integer from 1 to 65535')
}

function readHeaders(value: unknown): Readonly<Record<string, readonly string[]>> | undefined {
  if (value === undefined || value === null) return undefined
  if (!isRecord(value)) throw new RangeError('its headers are no object')
  const entries = Object.entries(value).map(([name, given]) => {
    const lines: readonly unknown[] = Array.isArray(given) ? given : [given]
    if (lines.every((line) => typeof line === 'string')) return [name, lines]
    throw new RangeError(`its header ${JSON.stringify(name)} is neither text nor a list of texts`)
  })
  return Object.fromEntries(entries)
}

function readClaims(value: unknown): Claims | undefined {
  if (value === undefined || value === null) return undefined
  if (isRecord(value)) return value
  throw new RangeError('its claims are no object')
}

function readExpect(value: Fields): AuthzCase['expect'] {
  const expect = value['expect'] ?? undefined
  if (expect === undefined || typeof expect === 'string' || isRecord(expect)) return expect
  throw new RangeError('its expect is neither text nor an object')
}

function isRecord(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Left out is not `undefined` under `exactOptionalPropertyTypes`; `from` alone means something by it. */
function withoutUndefined<T>(fields: { readonly [K in keyof T]: T[K] | undefined }): T {
  const kept = Object.entries(fields).filter(
    ([key, value]) => value !== undefined || key === 'from',
  )
  return Object.fromEntries(kept) as T
}
