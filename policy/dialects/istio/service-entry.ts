/** ServiceEntry (istio-semantics §8). */
import { z } from 'zod'

import type { ServiceEntryEndpoint, ServicePort } from '../../model/intent.ts'
import { checkExportTo, exportToSchema, readExportTo } from '../export-to.ts'
import { dnsLabelFault, fqdnFault, isIp, subnetFault, wildcardDomainFault } from '../grammar.ts'
import { defineKind, type Kind, type Warning } from '../kind.ts'
import { refOf } from '../metadata.ts'
import { portProtocol, protocolNamed } from '../../model/port-protocol.ts'
import { fields, type Report, text } from '../schema.ts'
import { checkLabels } from './selector.ts'

const WAYPOINT = 'istio.io/use-waypoint'

const port = z.int().min(1).max(65535)

const servicePort = fields({
  number: port,
  name: text(dnsLabelFault),
  protocol: text((written) =>
    written === '' || protocolNamed(written)
      ? undefined
      : `found ${JSON.stringify(written)}, expected a protocol such as HTTP, HTTP2, GRPC, TLS or TCP`,
  ).optional(),
  targetPort: port.optional(),
})

const endpoint = fields(
  {
    address: z.string().optional(),
    ports: z.record(z.string(), port).optional(),
    labels: z.record(z.string(), z.string()).optional(),
    serviceAccount: z.string().optional(),
  },
  {
    notHonoured: ['locality', 'network', 'weight'],
    check: ({ labels = {} }, report) => checkLabels(labels, ['labels'], report),
  },
)

const spec = fields(
  {
    hosts: z.array(z.string()).min(1).max(256),
    addresses: z.array(z.string()).max(256).optional(),
    ports: z.array(servicePort).max(256).optional(),
    location: z.enum(['MESH_EXTERNAL', 'MESH_INTERNAL']).optional(),
    resolution: z.enum(['NONE', 'STATIC', 'DNS', 'DNS_ROUND_ROBIN', 'DYNAMIC_DNS']).optional(),
    endpoints: z.array(endpoint).max(4096).optional(),
    workloadSelector: fields({ labels: z.record(z.string(), z.string()).optional() }).optional(),
    exportTo: exportToSchema,
  },
  {
    notHonoured: ['subjectAltNames'],
    check: (value, report) => {
      checkHosts(value, report)
      checkPorts(value.ports ?? [], report)
      checkAddresses(value, report)
      checkResolution(value, report)
    },
  },
)

type Spec = z.output<typeof spec>
type Port = z.output<typeof servicePort>
type Endpoint = z.output<typeof endpoint>

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
  if (workloadSelector && endpoints.length > 0) {
    report([], 'both workloadSelector and endpoints are set: expected one at most')
  }
  checkLabels(workloadSelector?.labels ?? {}, ['workloadSelector', 'labels'], report)
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
    ports.some((declared) => !isHttpOrTls(declared))
  ) {
    report(['hosts'], 'several hosts cannot share a port that is neither HTTP nor TLS')
  }
  switch (resolution) {
    case 'NONE':
      if (endpoints.length > 0)
        report(['endpoints'], 'endpoints are not possible with resolution NONE')
      break
    case 'STATIC':
      checkEndpoints(endpoints, (address) => (isIp(address) ? undefined : 'an IP address'), report)
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

function checkDns(
  { resolution, endpoints = [], hosts, workloadSelector }: Spec,
  report: Report,
): void {
  checkEndpoints(
    endpoints,
    (address) =>
      isIp(address) || fqdnFault(address) === undefined
        ? undefined
        : 'a host name or an IP address',
    report,
  )
  if (resolution === 'DNS_ROUND_ROBIN' && endpoints.length > 1) {
    report(['endpoints'], 'there is one endpoint at most with resolution DNS_ROUND_ROBIN')
  }
  if (endpoints.length > 0 || workloadSelector) return
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
    if (!isHttpOrTls(declared))
      report(['ports', index], 'it must be HTTP, HTTP2, GRPC or TLS with resolution DYNAMIC_DNS')
  })
}

function checkEndpoints(
  endpoints: readonly Endpoint[],
  wanted: (address: string) => string | undefined,
  report: Report,
): void {
  endpoints.forEach(({ address = '' }, index) => {
    const expected = wanted(address)
    if (expected)
      report(
        ['endpoints', index, 'address'],
        `found ${JSON.stringify(address)}, expected ${expected}`,
      )
  })
}

function isHttpOrTls(declared: Port): boolean {
  return ['http', 'http2', 'grpc', 'tls'].includes(protocolOf(declared))
}

function protocolOf({ name, number, protocol }: Port): ServicePort['protocol'] {
  return protocolNamed(protocol ?? '') ?? portProtocol({ name, port: number })
}

export const serviceEntryKind: Kind = defineKind({
  group: 'networking.istio.io',
  versions: ['v1', 'v1beta1', 'v1alpha3'],
  kind: 'ServiceEntry',
  spec,
  check: ({ metadata: { namespace, labels }, spec: written }, report) => {
    checkExportTo(written.exportTo, { namespace, none: true }, ['spec', 'exportTo'], report)
    const { location, resolution } = written
    if (location === 'MESH_INTERNAL' && resolution === 'DYNAMIC_DNS' && labels[WAYPOINT]) {
      report(['spec', 'location'], 'behind a waypoint it cannot be MESH_INTERNAL with DYNAMIC_DNS')
    }
  },
  warn: ({ spec: written }) => warnings(written),
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
    },
  }),
})

function readEndpoint(value: Endpoint): ServiceEntryEndpoint {
  const { address = '', ports = {}, labels = {}, serviceAccount = '' } = value
  return { address, ports, labels, serviceAccount }
}

function warnings({ hosts, workloadSelector, resolution = 'NONE' }: Spec): readonly Warning[] {
  const found: Warning[] = []
  hosts.forEach((host, index) => {
    if (/^\*[^.]/.test(host)) {
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
