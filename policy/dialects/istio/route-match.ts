/** HTTPMatchRequest: the conditions of one route (istio-semantics §5.4). */
import { z } from 'zod'

import type { ClaimMatch, TextMatch } from '../../model/bundle.ts'
import type { HttpMatch } from '../../model/traffic.ts'
import { dnsLabelFault, headerNameFault } from '../grammar.ts'
import { notYet, partly } from '../carried-out.ts'
import { type Finding, fields, type Report, text } from '../schema.ts'
import { checkGateways, completeGateway } from './hosts.ts'
import { checkTextMatch, type RawTextMatch, readTextMatch, textMatchSchema } from './text-match.ts'
import { checkWorkloadLabels, maybePort } from './values.ts'

/** What {@link matchSchema} accepts. */
export interface RawMatch {
  readonly name?: string | undefined
  readonly uri?: RawTextMatch | undefined
  readonly ignoreUriCase?: boolean | undefined
  readonly scheme?: RawTextMatch | undefined
  readonly method?: RawTextMatch | undefined
  readonly authority?: RawTextMatch | undefined
  readonly headers?: Record<string, RawTextMatch> | undefined
  readonly withoutHeaders?: Record<string, RawTextMatch> | undefined
  readonly queryParams?: Record<string, RawTextMatch> | undefined
  readonly port?: number | undefined
  readonly sourceLabels?: Record<string, string> | undefined
  readonly sourceNamespace?: string | undefined
  readonly gateways?: string[] | undefined
}

const textMatches = z.record(z.string(), textMatchSchema)

/** One block of `match`. */
export const matchSchema: z.ZodType<RawMatch> = fields(
  {
    name: z.string().optional(),
    uri: textMatchSchema.optional(),
    ignoreUriCase: z.boolean().optional(),
    scheme: textMatchSchema.optional(),
    method: textMatchSchema.optional(),
    authority: textMatchSchema.optional(),
    headers: partly(textMatches, notRouted),
    withoutHeaders: partly(textMatches, notRouted),
    queryParams: textMatches.optional(),
    port: maybePort.optional(),
    sourceLabels: z.record(z.string(), z.string()).optional(),
    sourceNamespace: text((name) => (name === '' ? undefined : dnsLabelFault(name))).optional(),
    gateways: z.array(z.string()).optional(),
    statPrefix: notYet(z.string()),
  },
  { check: (value, report) => checkMatch(value, report) },
)

/** A claim of a verified token in the place of a header (§5.4); only for gateways. */
export function isClaim(name: string): boolean {
  return /^@request\.auth\.claims(\..|\[.+\]$)/is.test(name)
}

/** The names that lead to the claim, divided as the key is written: by dots, or each in brackets. */
function claimPath(name: string): readonly string[] {
  const written = name.slice('@request.auth.claims'.length)
  return written.startsWith('.') ? written.slice(1).split('.') : written.slice(1, -1).split('][')
}

function notRouted(headers: Readonly<Record<string, RawTextMatch>>): readonly Finding[] {
  return Object.entries(headers).flatMap(([name, match]) => {
    if (name === '') return [{ path: [name], message: 'no header has this name' }]
    const isOpen = isClaim(name) && readTextMatch(match).kind === 'present'
    const message = 'what a claim must be is missing: expected exact, prefix or regex'
    return isOpen ? [{ path: [name], message }] : []
  })
}

function checkMatch(value: RawMatch, report: Report): void {
  checkTextMatch(value.uri, ['uri'], report, { emptyPrefix: true })
  for (const field of ['scheme', 'method', 'authority'] as const) {
    checkTextMatch(value[field], [field], report)
  }
  for (const field of ['headers', 'withoutHeaders'] as const) {
    for (const [name, entry] of Object.entries(value[field] ?? {})) {
      const wrong = isClaim(name) ? undefined : headerNameFault(name)
      if (wrong !== undefined) report([field, name], wrong)
      checkTextMatch(entry, [field, name], report, { starRegex: field === 'withoutHeaders' })
    }
  }
  for (const [name, entry] of Object.entries(value.queryParams ?? {})) {
    checkTextMatch(entry, ['queryParams', name], report)
  }
  checkWorkloadLabels(value.sourceLabels ?? {}, ['sourceLabels'], report)
  checkGateways(value.gateways, report)
}

/** The block in the model's words. */
export function readMatch(value: RawMatch, namespace: string): HttpMatch {
  const { uri, scheme, method, authority, ignoreUriCase, gateways, sourceLabels, ...rest } = value
  const one = (raw: RawTextMatch | undefined, field: string): object =>
    raw ? { [field]: readTextMatch(raw) } : {}
  return {
    ...(rest.name ? { name: rest.name } : {}),
    // An empty match on the path is no condition.
    ...(uri && Object.keys(uri).length > 0 ? one(uri, 'uri') : {}),
    ...(ignoreUriCase ? { ignoreUriCase } : {}),
    ...one(scheme, 'scheme'),
    ...one(method, 'method'),
    ...one(authority, 'authority'),
    ...readFields(rest.headers, ['headers', 'claims']),
    ...readFields(rest.withoutHeaders, ['withoutHeaders', 'withoutClaims']),
    ...readMatches(Object.entries(rest.queryParams ?? {}), 'queryParams'),
    ...(rest.port ? { port: rest.port } : {}),
    ...(sourceLabels && Object.keys(sourceLabels).length > 0 ? { sourceLabels } : {}),
    ...(rest.sourceNamespace ? { sourceNamespace: rest.sourceNamespace } : {}),
    ...(gateways?.length
      ? { gateways: gateways.map((name) => completeGateway(name, namespace)) }
      : {}),
  }
}

type RawEntry = readonly [name: string, match: RawTextMatch]

/** Headers, and the claims that stand among them. */
function readFields(
  raw: Record<string, RawTextMatch> = {},
  [headers, claims]: readonly [string, string],
): object {
  const entries = Object.entries(raw)
  const claimed = entries.filter(([name]) => isClaim(name))
  const read = claimed.map(
    ([name, match]): ClaimMatch => ({ path: claimPath(name), match: readTextMatch(match) }),
  )
  const plain = entries.filter(([name]) => !isClaim(name))
  return {
    ...readMatches(
      plain.map(([name, match]): RawEntry => [name.toLowerCase(), match]),
      headers,
    ),
    ...(read.length > 0 ? { [claims]: read } : {}),
  }
}

function readMatches(entries: readonly RawEntry[], field: string): object {
  if (entries.length === 0) return {}
  const read = entries.map(([key, value]): [string, TextMatch] => [key, readTextMatch(value)])
  return { [field]: Object.fromEntries(read) }
}
