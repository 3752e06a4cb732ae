/** Istio's StringMatch and header operations, as routes use them (istio-semantics §5.4). */
import { z } from 'zod'

import type { HeaderOperations, RouteHeaders, TextMatch } from '../../model/bundle.ts'
import { hasVariables, headerNameFault, headerValueFault, regexFault } from '../grammar.ts'
import type { PathKey } from '../pointer.ts'
import { partly } from '../carried-out.ts'
import { type Finding, fields, type Report } from '../schema.ts'

export interface RawTextMatch {
  readonly exact?: string | undefined
  readonly prefix?: string | undefined
  readonly regex?: string | undefined
}

/** One of `exact`, `prefix` and `regex`, or none; which of these a field allows is its own affair. */
export const textMatchSchema: z.ZodType<RawTextMatch> = fields(
  { exact: z.string().optional(), prefix: z.string().optional(), regex: z.string().optional() },
  {
    check: (value, report) => {
      if (Object.keys(value).length > 1) {
        report([], 'more than one of exact, prefix and regex is set: expected one')
      }
    },
  },
)

/** What a field allows beside a filled match. */
export interface MatchRules {
  /** `prefix: ""`, which matches everything. */
  readonly emptyPrefix?: boolean
  /** `regex: "*"` for presence, although it is not RE2 (§5.4). */
  readonly starRegex?: boolean
}

/** Reports what is wrong with `match`, which stands at `path`. */
export function checkTextMatch(
  match: RawTextMatch | undefined,
  path: readonly PathKey[],
  report: Report,
  { emptyPrefix = false, starRegex = false }: MatchRules = {},
): void {
  if (!match) return
  if (match.prefix === '' && !emptyPrefix)
    report([...path, 'prefix'], 'it is empty: expected a prefix')
  if (match.regex !== undefined && !(starRegex && match.regex === '*')) {
    const wrong = regexFault(match.regex)
    if (wrong !== undefined) report([...path, 'regex'], wrong)
  }
}

/** `{}` is presence, and so is `regex: "*"`. */
export function readTextMatch({ exact, prefix, regex }: RawTextMatch): TextMatch {
  if (exact !== undefined) return { kind: 'exact', value: exact }
  if (prefix !== undefined) return { kind: 'prefix', value: prefix }
  if (regex !== undefined && regex !== '*') return { kind: 'regex', value: regex }
  return { kind: 'present' }
}

interface RawOperations {
  readonly set?: Record<string, string> | undefined
  readonly add?: Record<string, string> | undefined
  readonly remove?: string[] | undefined
}

export interface RawHeaders {
  readonly request?: RawOperations | undefined
  readonly response?: RawOperations | undefined
}

const changes = z.record(z.string(), z.string())

const operations = fields({
  set: partly(changes, notSettable),
  add: partly(changes, notSettable),
  remove: z.array(z.string()).optional(),
})

/** Istio takes every name that is not empty, and variables of its proxy. */
function notSettable(entries: Readonly<Record<string, string>>): readonly Finding[] {
  return Object.entries(entries).flatMap(([name, value]) => {
    if (!isAuthority(name) && headerNameFault(name) !== undefined)
      return [{ path: [name], message: 'HTTP has no such header name, so it cannot be set' }]
    return hasVariables(value)
      ? [{ path: [name], message: 'variables of the proxy (%NAME%) are not filled in' }]
      : []
  })
}

/** `headers` of a route or a destination (§5.4 end, §5.14). */
export const headersSchema: z.ZodType<RawHeaders> = fields(
  { request: operations.optional(), response: operations.optional() },
  {
    check: ({ request = {}, response = {} }, report) => {
      checkOperations(request, 'request', report)
      checkOperations(response, 'response', report)
    },
  },
)

function checkOperations(
  { set = {}, add = {}, remove = [] }: RawOperations,
  side: 'request' | 'response',
  report: Report,
): void {
  for (const [verb, entries] of Object.entries({ set, add })) {
    for (const [name, value] of Object.entries(entries)) {
      const at = [side, verb, name]
      const wrong = changedNameFault(name, side === 'request') ?? headerValueFault(value)
      if (wrong !== undefined) report(at, wrong)
    }
  }
  remove.forEach((name, index) => {
    const wrong = changedNameFault(name, false)
    if (wrong !== undefined) report([side, 'remove', index], wrong)
  })
}

/** A request's authority may be changed; other pseudo headers, and a response's, may not. */
function changedNameFault(name: string, authorityAllowed: boolean): string | undefined {
  if (name === '') return 'a header without a name cannot be changed'
  const authority = isAuthority(name)
  if (authority && authorityAllowed) return undefined
  if (authority || name.startsWith(':'))
    return `the header ${JSON.stringify(name)} cannot be changed here`
  return undefined
}

function isAuthority(name: string): boolean {
  return name.toLowerCase() === ':authority' || name.toLowerCase() === 'host'
}

/** Authorities that `headers` sets for a request, `set` first. */
export function authoritiesIn(headers: RawHeaders | undefined): readonly string[] {
  const { set = {}, add = {} } = headers?.request ?? {}
  const entries = [...Object.entries(set), ...Object.entries(add)]
  return entries.filter(([name]) => isAuthority(name)).map(([, value]) => value)
}

/** The authority that `headers` sets for a request: `set` beats `add`. */
export function authorityOf(headers: RawHeaders | undefined): string | undefined {
  return authoritiesIn(headers)[0]?.replaceAll('%%', '%')
}

/** Names in lower case, without the authority, which becomes a rewrite; `undefined` when nothing is left. */
export function readHeaders(headers: RawHeaders | undefined): RouteHeaders | undefined {
  const request = readOperations(headers?.request)
  const response = readOperations(headers?.response)
  if (!request && !response) return undefined
  return { ...(request ? { request } : {}), ...(response ? { response } : {}) }
}

function readOperations(raw: RawOperations | undefined): HeaderOperations | undefined {
  const set = readEntries(raw?.set)
  const add = readEntries(raw?.add)
  const remove = raw?.remove?.map((name) => name.toLowerCase())
  if (!set && !add && !remove?.length) return undefined
  return { ...(set ? { set } : {}), ...(add ? { add } : {}), ...(remove?.length ? { remove } : {}) }
}

function readEntries(
  entries: Record<string, string> | undefined,
): Record<string, string> | undefined {
  const kept = Object.entries(entries ?? {})
    .filter(([name]) => !isAuthority(name))
    .map(([name, value]) => [name.toLowerCase(), value.replaceAll('%%', '%')] as const)
  return kept.length > 0 ? Object.fromEntries(kept) : undefined
}
