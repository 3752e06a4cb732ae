/** ServiceEntry (istio-semantics §8). */
import { z } from 'zod'

import { parseSpiffeId, type SpiffeId } from '#ca/spiffe/index.ts'
import type { Labels, ServiceEntryEndpoint, ServicePort } from '../../model/intent.ts'
import { checkExportTo, exportToSchema, readExportTo } from '../export-to.ts'
import { dnsLabelFault, fqdnFault, isIp, subnetFault, wildcardDomainFault } from '../grammar.ts'
import { defineKind, type Kind, type Warning } from '../kind.ts'
import { refOf } from '../metadata.ts'
import { portProtocol, protocolNamed } from '../../model/port-protocol.ts'
import { notYet } from '../carried-out.ts'
import { fields, type Report, text } from '../schema.ts'
import { labelsSchema } from './selector.ts'
import { isHttp, isTls, partialWildcard, portNumber, protocol, strings } from './values.ts'
import { endpointSchema, type RawEndpoint } from './workload-entry.ts'

const WAYPOINT = 'istio.io/use-waypoint'
const AUTO_ADDRESS = 'networking.istio.io/enable-autoallocate-ip'
/** What is carried on TCP without saying its host. */
const TCP = ['tcp', 'https', 'tls', 'mongo', 'redis', 'mysql']
/** Protocols whose requests say where they go. */
const DYNAMIC = ['http', 'http2', 'grpc', 'tls']

const servicePort = fields({
  number: portNumber,
  name: text(dnsLabelFault),
  protocol: protocol.optional(),
  targetPort: portNumber.optional(),
})

const spec = fields(
  {
    hosts: z.array(z.string()).min(1).max(256),
    addresses: z.array(z.string().max(64)).max(256).optional(),
    ports: z.array(servicePort).max(256).optional(),
    location: z.enum(['MESH_EXTERNAL', 'MESH_INTERNAL']).optional(),
    resolution: z.enum(['NONE', 'STATIC', 'DNS', 'DNS_ROUND_ROBIN', 'DYNAMIC_DNS']).optional(),
    endpoints: z.array(endpointSchema).max(4096).optional(),
    workloadSelector: labelsSchema.optional(),
    exportTo: exportToSchema,
    // Who may answer, by SPIFFE ID: workloads of other trust domains are named in no other way.
    subjectAltNames: notYet(strings, {
      when: (names) => !names.every(isSpiffeId),
      hint: 'only SPIFFE IDs are carried out',
    }),
  },
  {
    check: (value, report) => {
      checkHosts(value, report)
      checkPorts(value.ports ?? [], report)
      checkAddresses(value, report)
      checkResolution(value, report)
    },
  },
)

function isSpiffeId(name: string): boolean {
  try {
    parseSpiffeId(name)
    return true
  } catch {
    return false
  }
}

type Spec = z.output<typeof spec>
type Port = z.output<typeof servicePort>

function checkHosts({ hosts }: Spec, report: Report): void {
  hosts.forEach((host, index) => {
    const wrong =
      host === '*'
        ? 'found "*", expected a host name or a wildcard such as *.example.com'
        : wildcardDomainFault(host)
    if (wrong !== undefined) report(['hosts', index], wrong)
  })
}

function checkPorts(ports: readonly Port[], report: Report): void {
  const seen = new Set<string>()
  ports.forEach((value, index) => {
    for (const [field, key] of [
      ['name', value.name],
      ['number', `${value.number}`],
    ] as const) {
      if (seen.has(`${field} ${key}`))
        report(['ports', index, field], `the ${field} ${key} is there twice`)
      seen.add(`${field} ${key}`)
    }
  })
}

function checkAddresses({ addresses = [], resolution = 'NONE' }: Spec, report: Report): void {
  addresses.forEach((address, index) => {
    const wrong = subnetFault(address)
    if (wrong !== undefined) report(['addresses', index], wrong)
    else if (address.includes('/') && resolution !== 'NONE' && resolution !== 'STATIC') {
      report(
        ['addresses', index],
        `a block of addresses is not possible with resolution ${resolution}`,
      )
    }
  })
}

function checkResolution(value: Spec, report: Report): void {
  const { resolution = 'NONE', endpoints = [], workloadSelector, hosts, ports = [] } = value
  if (workloadSelector && value.endpoints) {
    report([], 'both workloadSelector and endpoints are set: expected one at most')
  }
  endpoints.forEach(({ ports: named = {} }, index) => {
    for (const name of Object.keys(named)) {
      if (ports.some((declared) => declared.name === name)) continue
      report(
        ['endpoints', index, 'ports', name],
        `the entry has no port named ${JSON.stringify(name)}`,
      )
    }
  })
  if (
    hosts.length > 1 &&
    resolution !== 'NONE' &&
    ports.some((declared) => !isHttp(declared.protocol) && !isTls(declared.protocol))
  ) {
    report(['hosts'], 'several hosts cannot share a port that is neither HTTP nor TLS')
  }
  switch (resolution) {
    case 'NONE':
      if (value.endpoints) report(['endpoints'], 'endpoints are not possible with resolution NONE')
      break
    case 'STATIC':
      checkStatic(value, report)
      break
    case 'DNS':
    case 'DNS_ROUND_ROBIN':
      checkDns(value, report)
      break
    case 'DYNAMIC_DNS':
      checkDynamic(value, report)
      break
    default:
      resolution satisfies never
  }
}

function checkStatic({ endpoints = [], ports = [] }: Spec, report: Report): void {
  endpoints.forEach(({ address = '', network }, index) => {
    const at = ['endpoints', index, 'address']
    if (address.startsWith('unix://')) {
      if (ports.length !== 1) report(at, 'a Unix socket is for an entry with exactly one port')
    } else if (address === '' ? !network : !isIp(address)) {
      report(at, `found ${JSON.stringify(address)}, expected an IP address`)
    }
  })
}

function checkDns({ resolution, endpoints = [], hosts }: Spec, report: Report): void {
  endpoints.forEach(({ address = '' }, index) => {
    if (isIp(address) || fqdnFault(address) === undefined) return
    const wrong = `found ${JSON.stringify(address)}, expected a host name or an IP address`
    report(['endpoints', index, 'address'], wrong)
  })
  if (resolution === 'DNS_ROUND_ROBIN' && endpoints.length > 1) {
    report(['endpoints'], 'there is one endpoint at most with resolution DNS_ROUND_ROBIN')
  }
  if (endpoints.length > 0) return
  hosts.forEach((host, index) => {
    if (fqdnFault(host) !== undefined)
      report(['hosts', index], 'without endpoints it must be a name that DNS can resolve')
  })
}

function checkDynamic(value: Spec, report: Report): void {
  const { endpoints = [], addresses = [], hosts, ports = [] } = value
  if (endpoints.length > 0)
    report(['endpoints'], 'endpoints are not possible with resolution DYNAMIC_DNS')
  if (addresses.length > 0)
    report(['addresses'], 'addresses are not possible with resolution DYNAMIC_DNS')
  hosts.forEach((host, index) => {
    if (!host.startsWith('*'))
      report(['hosts', index], 'it must be a wildcard with resolution DYNAMIC_DNS')
  })
  ports.forEach((declared, index) => {
    if (!DYNAMIC.includes((declared.protocol ?? '').toLowerCase()))
      report(['ports', index], 'it must be HTTP, HTTP2, GRPC or TLS with resolution DYNAMIC_DNS')
  })
}

function protocolOf({ name, number, protocol: declared }: Port): ServicePort['protocol'] {
  return protocolNamed(declared ?? '') ?? portProtocol({ name, port: number })
}

export const serviceEntryKind: Kind = defineKind({
  group: 'networking.istio.io',
  versions: ['v1', 'v1beta1', 'v1alpha3'],
  kind: 'ServiceEntry',
  spec,
  check: ({ metadata: { namespace, labels }, spec: written }, report) => {
    checkExportTo(written.exportTo, { namespace, none: true }, ['spec', 'exportTo'], report)
    const { location, resolution } = written
    if (location === 'MESH_INTERNAL' && resolution === 'DYNAMIC_DNS' && usesWaypoint(labels)) {
      report(['spec', 'location'], 'behind a waypoint it cannot be MESH_INTERNAL with DYNAMIC_DNS')
    }
  },
  warn: ({ metadata: { labels }, spec: written }) => [
    ...warnings(written),
    ...warnAddresses(written, labels),
  ],
  place: ({ metadata, spec: written }) => ({
    into: 'serviceEntries',
    value: {
      ...refOf(metadata),
      hosts: written.hosts.map((host) => host.toLowerCase().replace(/\.$/, '')),
      addresses: written.addresses ?? [],
      ports: (written.ports ?? []).map((declared) => ({
        name: declared.name,
        port: declared.number,
        targetPort: declared.targetPort ?? declared.number,
        protocol: protocolOf(declared),
      })),
      location: written.location ?? 'MESH_EXTERNAL',
      resolution: written.resolution ?? 'NONE',
      endpoints: (written.endpoints ?? []).map(readEndpoint),
      ...(written.workloadSelector
        ? { workloadSelector: written.workloadSelector.labels ?? {} }
        : {}),
      exportTo: readExportTo(written.exportTo, metadata.namespace),
      ...(written.subjectAltNames && { subjectAltNames: written.subjectAltNames as SpiffeId[] }),
    },
  }),
})

/** The label names one, and not in the word for none. */
function usesWaypoint(labels: Labels): boolean {
  const waypoint = labels[WAYPOINT] ?? ''
  return waypoint !== '' && waypoint.toLowerCase() !== 'none'
}

function readEndpoint(value: RawEndpoint): ServiceEntryEndpoint {
  const { address = '', ports = {}, labels = {}, serviceAccount = '' } = value
  return { address, ports, labels, serviceAccount }
}

function warnings({ hosts, workloadSelector, resolution = 'NONE' }: Spec): readonly Warning[] {
  const found: Warning[] = []
  hosts.forEach((host, index) => {
    if (partialWildcard(host) && resolution !== 'DYNAMIC_DNS') {
      found.push({
        path: ['spec', 'hosts', index],
        message: 'a wildcard within a label matches more than one may think',
      })
    }
  })
  if (workloadSelector && Object.keys(workloadSelector.labels ?? {}).length === 0) {
    found.push({ path: ['spec', 'workloadSelector'], message: 'the selector has no labels' })
  }
  if (workloadSelector && resolution === 'NONE') {
    found.push({
      path: ['spec', 'resolution'],
      message: 'with resolution NONE the workloadSelector has no effect',
    })
  }
  return found
}

/** Plain TCP is told apart by address alone. */
function warnAddresses(
  { addresses = [], endpoints = [], hosts, ports = [], resolution = 'NONE' }: Spec,
  labels: Labels,
): readonly Warning[] {
  const allocated = resolution !== 'NONE' && labels[AUTO_ADDRESS]?.toLowerCase() !== 'false'
  const plain = ports.findIndex(({ protocol: declared = '' }) => ['', 'TCP'].includes(declared))
  const shared = ports.findIndex(({ protocol: declared = '' }) =>
    TCP.includes(declared.toLowerCase()),
  )
  const byName = resolution === 'DNS' || resolution === 'DNS_ROUND_ROBIN'
  return [
    ...(addresses.length === 0 && !allocated && plain >= 0
      ? [{ path: ['spec', 'ports', plain], message: 'a TCP port needs addresses to be told apart' }]
      : []),
    ...(byName && addresses.length > 0 && hosts.length > 1 && shared >= 0
      ? [{ path: ['spec', 'hosts'], message: 'several hosts share an address and a TCP port' }]
      : []),
    ...endpoints.flatMap(({ address = '' }, index) =>
      resolution === 'STATIC' && address === ''
        ? [
            {
              path: ['spec', 'endpoints', index],
              message: 'there is only a network: it is reached through the gateway of that',
            },
          ]
        : [],
    ),
  ]
}
