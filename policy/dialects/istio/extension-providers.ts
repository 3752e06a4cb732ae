/** MeshConfig `extensionProviders` (istio-semantics §1.11): who can be asked by a CUSTOM policy. */
import { z } from 'zod'

import type { NamedProvider } from '../../model/intent.ts'
import type { Authorizer, NamePattern, ServiceProvider } from '../../model/extension-provider.ts'
import {
  durationFault,
  fqdnFault,
  isDnsLabel,
  isIp,
  labelNameFault,
  parseDurationMs,
  wildcardDomainFault,
} from '../grammar.ts'
import type { Warning } from '../kind.ts'
import { notYet } from '../carried-out.ts'
import { fields, type Report, text } from '../schema.ts'

/** Istio's own; a provider that nobody answers holds a request that long. */
const DEFAULT_TIMEOUT_MS = 600_000
const DEFAULT_STATUS = 403

const MAX_UINT32 = 2 ** 32 - 1

/** The wire form that {@link extensionProvidersSchema} accepts. */
export interface RawProvider {
  readonly name: string
  readonly envoyExtAuthzHttp?: RawHttp | undefined
  readonly envoyExtAuthzGrpc?: RawAuthorizer | undefined
}

interface RawAuthorizer {
  readonly service: string
  readonly port: number
  readonly timeout?: string | undefined
  readonly failOpen?: boolean | undefined
  readonly statusOnError?: string | undefined
  readonly includeRequestBodyInCheck?: RawBody | undefined
}

interface RawBody {
  readonly maxRequestBytes: number
  readonly allowPartialMessage?: boolean | undefined
  readonly packAsBytes?: boolean | undefined
}

interface RawHttp extends RawAuthorizer {
  readonly pathPrefix?: string | undefined
  readonly includeHeadersInCheck?: readonly string[] | undefined
  readonly includeRequestHeadersInCheck?: readonly string[] | undefined
  readonly includeAdditionalHeadersInCheck?: Readonly<Record<string, string>> | undefined
  readonly headersToUpstreamOnAllow?: readonly string[] | undefined
  readonly headersToDownstreamOnDeny?: readonly string[] | undefined
  readonly headersToDownstreamOnAllow?: readonly string[] | undefined
}

/** Statuses that Envoy knows by name. */
const KNOWN_STATUS =
  /^(100|20[0-8]|226|30[0-5]|30[78]|40\d|41[0-7]|42[1-46]|42[89]|431|50[0-8]|51[01])$/

const statusOnError = text((written) =>
  written === '' || KNOWN_STATUS.test(written)
    ? undefined
    : `found ${JSON.stringify(written)}, expected an HTTP status that Envoy knows, such as "403" or "503"`,
)

const service = text((written) => {
  const [first = '', host, ...more] = written.split('/')
  if (written === '') return 'it is empty: expected [namespace/]host'
  if (host === undefined) return isIp(first) ? undefined : fqdnFault(first)
  if (more.length > 0) return `found ${JSON.stringify(written)}, expected [namespace/]host`
  if (!isDnsLabel(first)) {
    return `found ${JSON.stringify(written)}, expected a namespace before the slash`
  }
  return wildcardDomainFault(host)
})

const body = fields({
  maxRequestBytes: z.int().min(1).max(MAX_UINT32),
  allowPartialMessage: z.boolean().optional(),
  packAsBytes: z.boolean().optional(),
})

const common = {
  service,
  port: z.int().min(1).max(65535),
  timeout: text(durationFault).optional(),
  failOpen: z.boolean().optional(),
  /** For routes of a gateway: behind a sidecar there is one, and Istio does not read it either. */
  clearRouteCache: z.boolean().optional(),
  statusOnError: statusOnError.optional(),
  includeRequestBodyInCheck: body.optional(),
}

const headerList = z.array(z.string().min(1)).max(256).optional()

const http = fields({
  ...common,
  pathPrefix: text((written) =>
    written === '' || /^\/[\x21-\x7e]*$/.test(written)
      ? undefined
      : `found ${JSON.stringify(written)}, expected a path that begins with a slash`,
  ).optional(),
  includeHeadersInCheck: headerList,
  includeRequestHeadersInCheck: headerList,
  includeAdditionalHeadersInCheck: z.record(text(headerName), text(headerValue)).optional(),
  headersToUpstreamOnAllow: headerList,
  headersToDownstreamOnDeny: headerList,
  headersToDownstreamOnAllow: headerList,
})

const grpc = fields(common)

/** For tracing, metrics, logs and secrets: Telemetry's, which no sidecar carries out yet. */
const OTHERS = [
  'zipkin',
  'lightstep',
  'datadog',
  'stackdriver',
  'opencensus',
  'skywalking',
  'opentelemetry',
  'prometheus',
  'envoyFileAccessLog',
  'envoyHttpAls',
  'envoyTcpAls',
  'envoyOtelAls',
  'sds',
] as const

type Other = (typeof OTHERS)[number]

const provider = fields(
  {
    name: z.string().min(1),
    envoyExtAuthzHttp: http.optional(),
    envoyExtAuthzGrpc: grpc.optional(),
    ...(Object.fromEntries(OTHERS.map((name) => [name, notYet(z.unknown())])) as Record<
      Other,
      z.ZodOptional<z.ZodUnknown>
    >),
  },
  {
    check: (value, report) => {
      const [first, second] = Object.keys(value).filter((key) => key !== 'name')
      if (first === undefined) {
        const hint = 'use envoyExtAuthzHttp or envoyExtAuthzGrpc'
        report([], 'it says nothing of the provider but its name', hint)
      } else if (second !== undefined) {
        report([second], `there is ${first} too: expected one of them`, 'make two providers of it')
      }
    },
  },
)

/** `extensionProviders` of a Mesh. */
export const extensionProvidersSchema: z.ZodType<readonly RawProvider[]> = z
  .array(provider)
  .max(256)

/** No two of one name. `report` is of the list's owner. */
export function checkProviders(list: readonly RawProvider[], report: Report): void {
  const names = new Set<string>()
  list.forEach(({ name }, index) => {
    const path = ['extensionProviders', index, 'name']
    if (names.has(name)) report(path, `the name ${JSON.stringify(name)} is there twice`)
    names.add(name)
  })
}

const FAIL_CLOSED = 'as in Istio, what policies of this provider match is denied'

/** What Istio takes, and then makes a denial of (§1.11). Paths are from the list's owner. */
export function warnProviders(list: readonly RawProvider[]): readonly Warning[] {
  return list.flatMap((one, index) =>
    unusable(one).map(({ path, why }) => ({
      path: ['extensionProviders', index, ...path],
      message: `${why}: ${FAIL_CLOSED}`,
    })),
  )
}

function unusable({
  name,
  envoyExtAuthzHttp: written,
}: RawProvider): readonly { readonly path: readonly string[]; readonly why: string }[] {
  const fault = labelNameFault(name)
  const stars = written === undefined ? [] : LISTS.filter((key) => written[key]?.includes('*'))
  return [
    ...(fault === undefined ? [] : [{ path: ['name'], why: fault }]),
    ...stars.map((key) => ({
      path: ['envoyExtAuthzHttp', key],
      why: '"*" alone is no pattern here, expected a name, "prefix*" or "*suffix"',
    })),
  ]
}

const LISTS = [
  'includeHeadersInCheck',
  'includeRequestHeadersInCheck',
  'headersToUpstreamOnAllow',
  'headersToDownstreamOnDeny',
  'headersToDownstreamOnAllow',
] as const

/** Those that can be asked. */
export function readProviders(list: readonly RawProvider[]): readonly NamedProvider[] {
  return list.flatMap((one): readonly NamedProvider[] => {
    const { name, envoyExtAuthzHttp, envoyExtAuthzGrpc } = one
    if (unusable(one).length > 0) return []
    if (envoyExtAuthzHttp !== undefined) {
      return [named(name, envoyExtAuthzHttp.service, readHttp(envoyExtAuthzHttp))]
    }
    if (envoyExtAuthzGrpc === undefined) return []
    const settings = readCommon(envoyExtAuthzGrpc)
    return [named(name, envoyExtAuthzGrpc.service, { kind: 'grpc', ...settings })]
  })
}

function named(name: string, written: string, settings: ServiceProvider): NamedProvider {
  const [namespace, host] = written.split('/')
  return { name, ...(host === undefined ? {} : { namespace: namespace ?? '' }), settings }
}

function readHttp(written: RawHttp): ServiceProvider {
  const { includeRequestHeadersInCheck: check = [], includeHeadersInCheck: old = [] } = written
  const { headersToDownstreamOnDeny: onDeny = [] } = written
  return {
    kind: 'http',
    ...readCommon(written),
    pathPrefix: written.pathPrefix ?? '',
    checkHeaders: (check.length > 0 ? check : old).map(patternOf),
    addedHeaders: Object.fromEntries(
      Object.entries(written.includeAdditionalHeadersInCheck ?? {}).map(([name, value]) => [
        name.toLowerCase(),
        value,
      ]),
    ),
    toUpstream: (written.headersToUpstreamOnAllow ?? []).map(patternOf),
    ...(onDeny.length === 0 ? {} : { toDownstreamOnDeny: onDeny.map(patternOf) }),
    toDownstreamOnAllow: (written.headersToDownstreamOnAllow ?? []).map(patternOf),
  }
}

function readCommon(written: RawAuthorizer): Authorizer {
  const { service: named, timeout, includeRequestBodyInCheck: checked } = written
  return {
    host: (named.split('/')[1] ?? named).toLowerCase(),
    port: written.port,
    timeoutMs: parseDurationMs(timeout ?? '') ?? DEFAULT_TIMEOUT_MS,
    failOpen: written.failOpen ?? false,
    statusOnError: Number(written.statusOnError || DEFAULT_STATUS),
    ...(checked === undefined
      ? {}
      : {
          body: {
            maxBytes: checked.maxRequestBytes,
            allowPartial: checked.allowPartialMessage ?? false,
            asBytes: checked.packAsBytes ?? false,
          },
        }),
  }
}

/** `*x` is an end, whatever else it has; `x*` a beginning. Case does not count. */
function patternOf(written: string): NamePattern {
  const text = written.toLowerCase()
  if (text.startsWith('*')) return { kind: 'suffix', value: text.slice(1) }
  if (text.endsWith('*')) return { kind: 'prefix', value: text.slice(0, -1) }
  return { kind: 'exact', value: text }
}

function headerName(written: string): string | undefined {
  return /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(written)
    ? undefined
    : `found ${JSON.stringify(written)}, expected a header name`
}

function headerValue(written: string): string | undefined {
  return /^[\t\x20-\x7e]*$/.test(written)
    ? undefined
    : `found ${JSON.stringify(written)}, expected a header value of visible ASCII`
}
