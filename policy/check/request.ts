/** A query as HTTP would bring it: attributes for policy, or what refuses it before policy. */
import {
  type Claims,
  clientAddress,
  cookieOfCrumbs,
  headerValues,
  impliedHeader,
  isHiddenHeader,
  isPseudoHeader,
  type HttpAttributes,
  isKnownMethod,
  type InboundBundle,
  mayBeAuthority,
  normalizePath,
  pseudoHeader,
} from '../model/index.ts'
import { SPACE_DELIMITED_CLAIMS } from '../assemble/token-rules.ts'
import type { CheckQuery, CheckReason } from './query.ts'

export type HttpRequest =
  | {
      readonly kind: 'ok'
      readonly http: HttpAttributes
      /** Origin form, with its query. */
      readonly target: string
      readonly isGrpc: boolean
    }
  | {
      readonly kind: 'refused'
      readonly status: number
      readonly reason: CheckReason
      readonly grpcStatus?: number
    }

/** What is refused behind the codec, where a gRPC caller is known as one (§4), with gRPC's status. */
const ANSWERED_IN_GRPC: Partial<Record<CheckReason, number>> = {
  'escaped-nul': 13,
  'no-resource': 12,
}

const GRPC = /^application\/grpc(\+|$)/
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/i
/** Visible characters, spaces, tabs and obs-text (RFC 9110 §5.5). */
const FIELD_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/

/** @param protocol - not `tcp` */
export function readHttpRequest(
  query: CheckQuery,
  protocol: 'http1' | 'http2' | 'grpc',
  { pathNormalization, tokenRules }: Pick<InboundBundle, 'pathNormalization' | 'tokenRules'>,
): HttpRequest {
  const {
    method = protocol === 'grpc' ? 'POST' : 'GET',
    path = '/',
    sourceIp = '127.0.0.1',
  } = query
  const lines = readLines(query, protocol)
  const header = (name: string) => headerValues(name, lines.get(name) ?? [])
  const isGrpc = GRPC.test(header('content-type')[0] ?? '')
  const refused = (status: number, reason: CheckReason): HttpRequest => {
    const grpcStatus = isGrpc ? ANSWERED_IN_GRPC[reason] : undefined
    return grpcStatus === undefined
      ? { kind: 'refused', status, reason }
      : { kind: 'refused', status: 200, reason, grpcStatus }
  }

  if (!isKnownMethod(method)) return refused(400, 'unknown-method')
  if (path === '*' && method === 'OPTIONS') return refused(404, 'no-resource')
  // A sidecar carries no tunnels to its app; a target with a path is none of CONNECT's (RFC 9110 §9.3.6).
  if (method === 'CONNECT' && !path.startsWith('/')) return refused(404, 'no-resource')
  if (method === 'CONNECT') return refused(400, 'not-a-path')
  if (!hasValidHeaders(query, lines)) return refused(400, 'invalid-header')
  if (method === 'QUERY' && header('content-type').length === 0) {
    return refused(400, 'missing-content-type')
  }
  const normalized = normalizePath(path, pathNormalization)
  if (normalized.kind === 'refused') return refused(400, normalized.reason)

  const { remoteIp = clientAddress(lines.get('x-forwarded-for') ?? [], sourceIp) } = query
  const host = normalized.authority ?? query.host ?? lines.get('host')?.[0]
  const words = tokenRules.flatMap((rule) => rule.spaceDelimitedClaims)
  const claims = query.claims && readPayload(query.claims, [...SPACE_DELIMITED_CLAIMS, ...words])
  const line = { method, path: normalized.path, target: normalized.target, host }
  const readHeader = (name: string): readonly string[] => {
    if (isPseudoHeader(name)) return pseudoHeader(name, line)
    return lines.has(name) ? header(name) : impliedHeader(name, query.from !== undefined)
  }
  return {
    kind: 'ok',
    isGrpc,
    target: normalized.target,
    http: { method, path: normalized.path, host, remoteIp, header: readHeader, claims },
  }
}

function readLines(query: CheckQuery, protocol: string): Map<string, readonly string[]> {
  const lines = new Map<string, readonly string[]>()
  for (const [name, values] of Object.entries(query.headers ?? {})) {
    const key = name.toLowerCase()
    if (isHiddenHeader(key)) continue
    // White space around a value is none of it (RFC 9110 §5.5); in HTTP/2 such a field is none (RFC 9113 §8.2.1).
    const read =
      protocol === 'http1'
        ? values.map(withoutSpace)
        : values.filter((value) => value === withoutSpace(value))
    if (read.length > 0) lines.set(key, [...(lines.get(key) ?? []), ...read])
  }
  if (protocol === 'grpc' && !lines.has('content-type')) {
    lines.set('content-type', ['application/grpc'])
  }
  // Only HTTP/2 may divide its cookies (RFC 9113 §8.2.3).
  const cookies = lines.get('cookie')
  if (protocol !== 'http1' && cookies) lines.set('cookie', cookieOfCrumbs(cookies))
  return lines
}

function withoutSpace(value: string): string {
  return value.replace(/^[\t ]+|[\t ]+$/g, '')
}

function hasValidHeaders(
  { host }: CheckQuery,
  lines: ReadonlyMap<string, readonly string[]>,
): boolean {
  const hosts = [host ?? '', ...(lines.get('host') ?? [])]
  if (!hosts.every(mayBeAuthority)) return false
  const valuesHold = [...lines.values()].flat().every((line) => FIELD_VALUE.test(line))
  return valuesHold && [...lines.keys()].every((name) => TOKEN.test(name))
}

/** A token's payload as the verifier leaves it: some claims are lists of words (§3.1). */
function readPayload(claims: Claims, names: readonly string[]): Claims {
  const split = names.flatMap((name) => {
    const value = Object.hasOwn(claims, name) ? claims[name] : undefined
    const words = typeof value === 'string' ? value.split(' ').filter((word) => word !== '') : []
    return words.length === 0 ? [] : [[name, words]]
  })
  return { ...claims, ...Object.fromEntries(split) }
}
