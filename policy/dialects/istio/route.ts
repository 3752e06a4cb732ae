/** VirtualService, HTTP routes for sidecars (istio-semantics §5). */
import { z } from 'zod'

import type { HttpAction, HttpDestination, HttpRoute } from '../../model/traffic.ts'
import { checkExportTo, exportToSchema, readExportTo } from '../export-to.ts'
import { completeHost, dnsLabelFault, durationFault, parseDurationMs } from '../grammar.ts'
import { defineKind, type Kind } from '../kind.ts'
import { refOf } from '../metadata.ts'
import { fields, type Report, text } from '../schema.ts'
import {
  checkGateways,
  completeGateway,
  destinationHostFault,
  hostFault,
  hostsOverlap,
} from './hosts.ts'
import { matchSchema, readMatch } from './route-match.ts'
import { readRetries, retriesSchema } from './retries.ts'
import { authorityOf, headersSchema, readHeaders } from './text-match.ts'

const MAX_BODY_BYTES = 1024 * 1024

const port = z.int().min(1).max(65535)

const destination = fields({
  host: text(destinationHostFault),
  subset: text(dnsLabelFault).optional(),
  port: fields({ number: port }).optional(),
})

const weighted = fields({
  destination,
  weight: z
    .int()
    .min(0)
    .max(2 ** 31 - 1)
    .optional(),
  headers: headersSchema.optional(),
})

const rewrite = fields(
  { uri: z.string().optional(), authority: z.string().optional() },
  {
    notHonoured: ['uriRegexRewrite'],
    check: ({ uri, authority }, report) => {
      if (!uri && !authority) report([], 'neither uri nor authority is set: expected at least one')
    },
  },
)

const redirect = fields(
  {
    uri: z.string().optional(),
    authority: z.string().optional(),
    scheme: z.enum(['http', 'https']).optional(),
    redirectCode: z.int().min(300).max(399).optional(),
  },
  {
    notHonoured: ['prefixRewrite', 'port', 'derivePort'],
    check: ({ uri, authority, scheme }, report) => {
      if (!uri && !authority && !scheme) {
        report([], 'none of uri, authority and scheme is set: expected at least one')
      }
    },
  },
)

const directResponse = fields({
  status: z.int().min(200).max(600),
  body: fields(
    { string: z.string().optional() },
    {
      notHonoured: ['bytes'],
      check: ({ string }, report) => {
        if (string === undefined) report(['string'], 'it is missing: expected a string')
        else if (Buffer.byteLength(string) > MAX_BODY_BYTES)
          report(['string'], 'it is larger than 1 MiB')
      },
    },
  ).optional(),
})

const httpRoute = fields(
  {
    name: z.string().optional(),
    match: z.array(matchSchema).optional(),
    route: z.array(weighted).optional(),
    redirect: redirect.optional(),
    directResponse: directResponse.optional(),
    rewrite: rewrite.optional(),
    timeout: text(durationFault).optional(),
    retries: retriesSchema.optional(),
    headers: headersSchema.optional(),
  },
  {
    notHonoured: [
      'corsPolicy',
      'delegate',
      'fault',
      'mirror',
      'mirrorPercent',
      'mirror_percent',
      'mirrorPercentage',
      'mirrors',
    ],
    check: (value, report) => checkRoute(value, report),
  },
)

const spec = fields(
  {
    hosts: z.array(text(hostFault)).optional(),
    gateways: z.array(z.string()).optional(),
    http: z.array(httpRoute).optional(),
    exportTo: exportToSchema,
  },
  { notHonoured: ['tcp', 'tls'], check: (value, report) => checkSpec(value, report) },
)

type Route = z.output<typeof httpRoute>
type Weighted = z.output<typeof weighted>
type Spec = z.output<typeof spec>

function checkRoute(value: Route, report: Report): void {
  const { route = [] } = value
  const actions = [
    route.length > 0,
    value.redirect !== undefined,
    value.directResponse !== undefined,
  ]
  if (actions.filter(Boolean).length !== 1) {
    report([], 'expected exactly one of route, redirect and directResponse')
  }
  if (route.length === 0 && value.rewrite) report(['rewrite'], 'it goes with route only')
  if (route.length > 1 && route.every(({ weight = 0 }) => weight === 0)) {
    report(['route'], 'the weights of its destinations are all 0: expected one above it')
  }
  const authorities = [value.rewrite?.authority, authorityOf(value.headers)].filter(Boolean).length
  const ofDestinations = route.filter(({ headers }) => authorityOf(headers) !== undefined).length
  if (authorities + ofDestinations > 1) report([], 'the authority is set in more than one place')
  else if (ofDestinations > 0 && route.length > 1) {
    report(['route'], 'an authority for one of several destinations is not supported')
  }
}

function checkSpec(value: Spec, report: Report): void {
  if (!value.http?.length) report(['http'], 'it has no routes: expected at least one')
  const { hosts = [], gateways } = value
  if (hosts.length === 0) {
    report(['hosts'], 'it has none: a VirtualService that others delegate to is not supported')
  }
  const inMesh = !gateways || gateways.length === 0 || gateways.includes('mesh')
  hosts.forEach((host, index) => {
    if (host === '*' && inMesh)
      report(['hosts', index], 'the host "*" is not possible for sidecars (gateway "mesh")')
    const other = hosts.findIndex((earlier, at) => at < index && hostsOverlap(earlier, host))
    if (other >= 0) report(['hosts', index], `it overlaps with ${JSON.stringify(hosts[other])}`)
  })
  checkGateways(gateways, report)
}

export const virtualServiceKind: Kind = defineKind({
  group: 'networking.istio.io',
  versions: ['v1', 'v1beta1', 'v1alpha3'],
  kind: 'VirtualService',
  spec,
  check: ({ metadata: { namespace }, spec: { exportTo } }, report) =>
    checkExportTo(exportTo, { namespace, none: false }, ['spec', 'exportTo'], report),
  warn: ({ spec: { gateways = [] } }) =>
    gateways.flatMap((gateway, index) =>
      /^[^/]*\./.test(gateway)
        ? [
            {
              path: ['spec', 'gateways', index],
              message: 'the form with dots is of the past: "namespace/name"',
            },
          ]
        : [],
    ),
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
    const { redirectCode: code = 301, uri, authority, scheme } = redirected
    return {
      kind: 'redirect',
      code,
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
