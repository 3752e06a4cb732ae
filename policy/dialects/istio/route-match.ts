/** HTTPMatchRequest: the conditions of one route (istio-semantics §5.4). */
import { z } from 'zod'

import type { TextMatch } from '../../model/bundle.ts'
import type { HttpMatch } from '../../model/traffic.ts'
import { dnsLabelFault, headerNameFault } from '../grammar.ts'
import { fields, type Report, text } from '../schema.ts'
import { checkGateways, completeGateway } from './hosts.ts'
import { checkLabels } from './selector.ts'
import { checkTextMatch, type RawTextMatch, readTextMatch, textMatchSchema } from './text-match.ts'

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

const textMatches = z.record(z.string(), textMatchSchema).optional()

/** One block of `match`. */
export const matchSchema: z.ZodType<RawMatch> = fields(
  {
    name: z.string().optional(),
    uri: textMatchSchema.optional(),
    ignoreUriCase: z.boolean().optional(),
    scheme: textMatchSchema.optional(),
    method: textMatchSchema.optional(),
    authority: textMatchSchema.optional(),
    headers: textMatches,
    withoutHeaders: textMatches,
    queryParams: textMatches,
    port: z.int().min(1).max(65535).optional(),
    sourceLabels: z.record(z.string(), z.string()).optional(),
    sourceNamespace: text(dnsLabelFault).optional(),
    gateways: z.array(z.string()).optional(),
  },
  { notHonoured: ['statPrefix'], check: (value, report) => checkMatch(value, report) },
)

function checkMatch(value: RawMatch, report: Report): void {
  checkTextMatch(value.uri, ['uri'], report, { emptyPrefix: true })
  for (const field of ['scheme', 'method', 'authority'] as const) {
    checkTextMatch(value[field], [field], report)
  }
  for (const field of ['headers', 'withoutHeaders'] as const) {
    for (const [name, entry] of Object.entries(value[field] ?? {})) {
      const wrong = headerNameFault(name)
      if (wrong !== undefined) report([field, name], wrong)
      checkTextMatch(entry, [field, name], report, { starRegex: field === 'withoutHeaders' })
    }
  }
  for (const [name, entry] of Object.entries(value.queryParams ?? {})) {
    if (name === '')
      report(['queryParams', name], 'a query parameter without a name cannot be matched')
    checkTextMatch(entry, ['queryParams', name], report)
  }
  checkLabels(value.sourceLabels ?? {}, ['sourceLabels'], report)
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
