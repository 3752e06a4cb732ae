/** VirtualService, HTTP routes for sidecars (istio-semantics §5). */
import { z } from 'zod'

import type { HttpAction, HttpDestination, HttpRoute } from '../../model/traffic.ts'
import { checkExportTo, exportToSchema, readExportTo } from '../export-to.ts'
import { completeHost, durationFault, parseDurationMs } from '../grammar.ts'
import { defineKind, type Kind, type Warning } from '../kind.ts'
import { refOf } from '../metadata.ts'
import type { PathKey } from '../pointer.ts'
import { notYet, partly } from '../carried-out.ts'
import { type Finding, fields, type Report, text } from '../schema.ts'
import { destinationSchema } from './destination-ref.ts'
import { boundHostFault, checkGateways, completeGateway, hostsOverlap, isForMesh } from './hosts.ts'
import { retriesSchema, readRetries } from './retries.ts'
import { redirectSchema, responseSchema, rewriteSchema } from './route-actions.ts'
import { corsSchema, faultSchema } from './route-extras.ts'
import {
  checkServerNames,
  tcpRouteSchema,
  tlsRouteSchema,
  warnServerNames,
} from './route-layer4.ts'
import { isClaim, matchSchema, readMatch } from './route-match.ts'
import { authoritiesIn, authorityOf, headersSchema, readHeaders } from './text-match.ts'
import { warnCovered, warnUnreachable } from './unreachable.ts'
import { count, orNull, share, wholePercent } from './values.ts'

const LARGE_BODY_BYTES = 100 * 1024

const weighted = fields({
  destination: destinationSchema,
  weight: count.optional(),
  headers: headersSchema.optional(),
})

const mirror = fields({ destination: destinationSchema, percentage: share.optional() })

const httpRoute = fields(
  {
    name: z.string().optional(),
    match: z.array(matchSchema).optional(),
    route: z.array(weighted).optional(),
    redirect: redirectSchema.optional(),
    directResponse: responseSchema.optional(),
    rewrite: rewriteSchema.optional(),
    timeout: text((written) => durationFault(written)).optional(),
    retries: retriesSchema.optional(),
    headers: headersSchema.optional(),
    delegate: notYet(fields({ name: z.string().optional(), namespace: z.string().optional() })),
    fault: notYet(faultSchema),
    corsPolicy: notYet(corsSchema),
    mirror: notYet(destinationSchema),
    mirrors: notYet(z.array(mirror)),
    mirrorPercentage: notYet(share),
    mirrorPercent: notYet(orNull(wholePercent), { when: (value) => value !== null }),
    mirror_percent: notYet(orNull(wholePercent), { when: (value) => value !== null }),
  },
  { check: (value, report) => checkRoute(value, report) },
)

/** One authority for one of several destinations, or one that differs from the route's. */
function contestedAuthorities(http: readonly z.output<typeof httpRoute>[]): readonly Finding[] {
  return http.flatMap(({ route = [], rewrite: rewritten, headers }, at) => {
    const own = route.filter((entry) => authoritiesIn(entry.headers).length > 0)
    const contested = route.length > 1 || rewritten?.authority || authoritiesIn(headers).length > 0
    const message = 'an authority for one destination of a route is not carried out yet'
    return own.length > 0 && contested ? [{ path: [at, 'route'], message }] : []
  })
}

const spec = fields(
  {
    hosts: notYet(z.array(z.string()), {
      when: (hosts) => hosts.length === 0,
      hint: 'a VirtualService that others delegate to',
    }),
    gateways: z.array(z.string()).optional(),
    http: partly(z.array(httpRoute), contestedAuthorities),
    tls: notYet(z.array(tlsRouteSchema)),
    tcp: notYet(z.array(tcpRouteSchema)),
    exportTo: exportToSchema,
  },
  { check: (value, report) => checkSpec(value, report) },
)

type Route = z.output<typeof httpRoute>
type Weighted = z.output<typeof weighted>
type Spec = z.output<typeof spec>

function checkRoute(value: Route, report: Report): void {
  checkAction(value, report)
  if (value.mirror && value.mirrors?.length && !value.delegate)
    report([], 'both mirror and mirrors are set: expected one at most')
  const { route = [], redirect: redirected, match = [] } = value
  if (route.length > 1 && route.every(({ weight = 0 }) => weight === 0)) {
    report(['route'], 'the weights of its destinations are all 0: expected one above it')
  }
  if (redirected?.prefixRewrite && match.some(({ uri }) => uri && uri.prefix === undefined))
    report(['redirect', 'prefixRewrite'], 'it needs a prefix in every match on the uri')
  const authorities = [value.rewrite?.authority ?? '', ...authoritiesIn(value.headers)]
  if (authorities.slice(0, -1).some((authority) => authority !== ''))
    report([], 'the authority is set in more than one place')
}

function checkAction(value: Route, report: Report): void {
  const { route = [], redirect: redirected, directResponse: answer, fault, delegate } = value
  if (delegate) {
    if (route.length > 0) report(['route'], 'a route that delegates has no other')
    if (redirected) report(['redirect'], 'a route that delegates has no other')
    return
  }
  const actions = [route.length > 0, redirected !== undefined, answer !== undefined]
  if (actions.filter(Boolean).length !== 1) {
    report([], 'expected exactly one of route, redirect and directResponse')
  }
  if (!redirected && !answer) return
  if (value.rewrite) report(['rewrite'], 'it goes with route only')
  if (fault) report(['fault'], 'it goes with route only')
}

function checkSpec(value: Spec, report: Report): void {
  const { hosts = [], gateways, http = [], tls = [], tcp = [] } = value
  if (http.length + tls.length + tcp.length === 0)
    report(['http'], 'it has no routes: expected at least one, or tls or tcp ones')
  if (hosts.length === 0) checkDelegate(value, report)
  const inMesh = isForMesh(gateways)
  const serverNames = tls.length > 0
  hosts.forEach((host, index) => {
    const wrong = boundHostFault(host, gateways, serverNames)
    if (wrong !== undefined) report(['hosts', index], wrong)
    if (host === '*' && inMesh)
      report(['hosts', index], 'the host "*" is not possible for sidecars (gateway "mesh")')
    const other = hosts.findIndex((earlier, at) => at < index && hostsOverlap(earlier, host))
    if (other >= 0) report(['hosts', index], `it overlaps with ${JSON.stringify(hosts[other])}`)
  })
  checkGateways(gateways, report)
  checkServerNames(value, report)
  if (inMesh) checkClaims(http, report)
}

/** One without hosts, whose routes another takes over. */
function checkDelegate({ gateways = [], http = [], ...value }: Spec, report: Report): void {
  if (gateways.length > 0) report(['gateways'], 'without hosts there are none')
  if (value.tls?.length) report(['tls'], 'without hosts there is only http')
  if (value.tcp?.length) report(['tcp'], 'without hosts there is only http')
  http.forEach(({ delegate }, index) => {
    if (delegate) report(['http', index, 'delegate'], 'a delegate cannot delegate')
  })
}

function checkClaims(http: readonly Route[], report: Report): void {
  http.forEach(({ match = [] }, at) => {
    match.forEach(({ headers = {}, withoutHeaders = {} }, index) => {
      for (const [field, names] of Object.entries({ headers, withoutHeaders })) {
        for (const name of Object.keys(names).filter(isClaim))
          report(['http', at, 'match', index, field, name], 'routing by claims is for gateways')
      }
    })
  })
}

function warnRoutes({ http = [], tls, tcp, gateways = [] }: Spec): readonly Warning[] {
  const legacy = gateways.findIndex((gateway) => !gateway.includes('/'))
  return [
    ...(gateways[legacy]?.includes('.')
      ? [
          {
            path: ['spec', 'gateways', legacy],
            message: 'the form with dots is of the past: "namespace/name"',
          },
        ]
      : []),
    ...http.flatMap((route, index) => warnRoute(route, ['spec', 'http', index])),
    ...warnUnreachable('http', http),
    ...warnCovered(http),
    ...warnUnreachable('tcp', tcp),
    ...warnUnreachable('tls', tls),
    ...warnServerNames(tls),
  ]
}

function warnRoute(route: Route, path: readonly PathKey[]): readonly Warning[] {
  const { mirrorPercent, mirror_percent: old, directResponse: answer } = route
  const size = Buffer.byteLength(answer?.body?.string ?? answer?.body?.bytes ?? '')
  const large = size > LARGE_BODY_BYTES
  return [
    ...(typeof (mirrorPercent ?? old) === 'number'
      ? [{ path: [...path, 'mirrorPercent'], message: 'it is of the past: mirrorPercentage' }]
      : []),
    ...(large
      ? [{ path: [...path, 'directResponse', 'body'], message: 'so large a body is for a server' }]
      : []),
  ]
}

export const virtualServiceKind: Kind = defineKind({
  group: 'networking.istio.io',
  versions: ['v1', 'v1beta1', 'v1alpha3'],
  kind: 'VirtualService',
  spec,
  check: ({ metadata: { namespace }, spec: { exportTo } }, report) =>
    checkExportTo(exportTo, { namespace, none: false }, ['spec', 'exportTo'], report),
  warn: ({ spec: written }) => warnRoutes(written),
  place: ({ metadata, spec: { hosts = [], gateways, http = [], exportTo } }) => {
    const { namespace } = metadata
    return {
      into: 'virtualServices',
      value: {
        ...refOf(metadata),
        hosts: hosts.map((host) => completeHost(host, namespace)),
        gateways: gateways?.length
          ? gateways.map((name) => completeGateway(name, namespace))
          : ['mesh'],
        exportTo: readExportTo(exportTo, namespace),
        http: http.map((route) => readRoute(route, namespace)),
      },
    }
  },
})

function readRoute(value: Route, namespace: string): HttpRoute {
  const headers = readHeaders(value.headers)
  return {
    ...(value.name ? { name: value.name } : {}),
    ...(value.match?.length
      ? { match: value.match.map((block) => readMatch(block, namespace)) }
      : {}),
    action: readAction(value, namespace),
    ...(headers ? { headers } : {}),
  }
}

function readAction(value: Route, namespace: string): HttpAction {
  const { redirect: redirected, directResponse: answer, route = [] } = value
  if (redirected) {
    const { redirectCode: written = 0, uri, authority, scheme } = redirected
    return {
      kind: 'redirect',
      code: written || 301,
      ...(uri ? { uri } : {}),
      ...(authority ? { authority } : {}),
      ...(scheme ? { scheme } : {}),
    }
  }
  if (answer) return { kind: 'respond', status: answer.status, body: answer.body?.string ?? '' }

  const timeoutMs = value.timeout && parseDurationMs(value.timeout)
  const uri = value.rewrite?.uri
  const authority =
    value.rewrite?.authority || authorityOf(value.headers) || authorityOf(route[0]?.headers)
  return {
    kind: 'forward',
    destinations: route.map((entry) => readDestination(entry, namespace)),
    ...(uri || authority
      ? { rewrite: { ...(uri ? { uri } : {}), ...(authority ? { authority } : {}) } }
      : {}),
    ...(timeoutMs ? { timeoutMs } : {}),
    ...(value.retries ? { retry: readRetries(value.retries) } : {}),
  }
}

function readDestination(value: Weighted, namespace: string): HttpDestination {
  const { host, subset, port: portOf } = value.destination
  const headers = readHeaders(value.headers)
  return {
    host: completeHost(host, namespace),
    ...(subset ? { subset } : {}),
    ...(portOf ? { port: portOf.number } : {}),
    weight: value.weight ?? 0,
    ...(headers ? { headers } : {}),
  }
}
