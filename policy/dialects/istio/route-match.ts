/** HTTPMatchRequest: the conditions of one route (istio-semantics §5.4). */
import { z } from 'zod'

import type { TextMatch } from '../../model/bundle.ts'
import type { HttpMatch } from '../../model/traffic.ts'
import { dnsLabelFault, headerNameFault } from '../grammar.ts'
import { type Finding, fields, notYet, partly, type Report, text } from '../schema.ts'
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
    headers: partly(textMatches, claimsIn),
    withoutHeaders: partly(textMatches, claimsIn),
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

function claimsIn(headers: Readonly<Record<string, RawTextMatch>>): readonly Finding[] {
  return Object.keys(headers)
    .filter((name) => name === '' || isClaim(name))
    .map((name) => ({ path: [name], message: 'routing by claims is for gateways' }))
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
    ...readMatches(rest.headers, 'headers', (name) => name.toLowerCase()),
    ...readMatches(rest.withoutHeaders, 'withoutHeaders', (name) => name.toLowerCase()),
    ...readMatches(rest.queryParams, 'queryParams', (name) => name),
    ...(rest.port ? { port: rest.port } : {}),
    ...(sourceLabels && Object.keys(sourceLabels).length > 0 ? { sourceLabels } : {}),
    ...(rest.sourceNamespace ? { sourceNamespace: rest.sourceNamespace } : {}),
    ...(gateways?.length
      ? { gateways: gateways.map((name) => completeGateway(name, namespace)) }
      : {}),
  }
}

function readMatches(
  raw: Record<string, RawTextMatch> | undefined,
  field: string,
  name: (written: string) => string,
): object {
  const entries = Object.entries(raw ?? {})
  if (entries.length === 0) return {}
  const read = entries.map(([key, value]): [string, TextMatch] => [name(key), readTextMatch(value)])
  return { [field]: Object.fromEntries(read) }
}
