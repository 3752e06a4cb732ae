import { z } from 'zod'

import { checkExportTo, readExportTo } from '../export-to.ts'
import { dnsLabelFault } from '../grammar.ts'
import { defineKind, type Kind } from '../kind.ts'
import { refOf } from '../metadata.ts'
import { portProtocol } from '../../model/port-protocol.ts'
import { notYet } from '../carried-out.ts'
import { fields, type Report, text } from '../schema.ts'

const EXPORT_TO = 'networking.istio.io/exportTo'

const port = z.int().min(1).max(65535)

const servicePort = fields({
  name: text((name) => (name === '' ? undefined : dnsLabelFault(name))).optional(),
  port,
  targetPort: z.union([port, text(dnsLabelFault)]).optional(),
  protocol: z.enum(['TCP', 'UDP', 'SCTP']).optional(),
  appProtocol: z.string().optional(),
  nodePort: z.int().min(0).max(65535).optional(),
})

type Port = z.output<typeof servicePort>

/** Who answers, the mesh knows by name: addresses that the API server has given away are its own affair. */
const ADDRESSES = {
  clusterIP: z.string().optional(),
  clusterIPs: z.array(z.string()).optional(),
  ipFamilies: z.array(z.string()).optional(),
  ipFamilyPolicy: z.string().optional(),
  publishNotReadyAddresses: z.boolean().optional(),
}

/** How callers reach it that are not of the mesh. */
const OUTSIDE = {
  allocateLoadBalancerNodePorts: z.boolean().optional(),
  externalIPs: z.array(z.string()).optional(),
  externalTrafficPolicy: z.string().optional(),
  healthCheckNodePort: z.number().optional(),
  loadBalancerClass: z.string().optional(),
  loadBalancerIP: z.string().optional(),
  loadBalancerSourceRanges: z.array(z.string()).optional(),
}

const spec = fields(
  {
    selector: z.record(z.string(), z.string()).optional(),
    ports: z.array(servicePort).max(256).optional(),
    type: notYet(z.enum(['ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName']), {
      when: (type) => type === 'ExternalName',
      hint: 'say its host by a ServiceEntry',
    }),
    sessionAffinity: notYet(z.enum(['None', 'ClientIP']), {
      when: (affinity) => affinity !== 'None',
    }),
    internalTrafficPolicy: notYet(z.enum(['Cluster', 'Local']), {
      when: (policy) => policy !== 'Cluster',
    }),
    sessionAffinityConfig: z.unknown().optional(),
    externalName: z.string().optional(),
    trafficDistribution: notYet(z.string()),
    ...ADDRESSES,
    ...OUTSIDE,
  },
  { check: (value, report) => checkPorts(value, report) },
)

function checkPorts({ ports = [], type, clusterIP }: WrittenPorts, report: Report): void {
  if (ports.length === 0 && type !== 'ExternalName' && clusterIP !== 'None')
    report(['ports'], 'there is none: expected at least one')
  const names = new Set<string>()
  const numbers = new Set<string>()
  ports.forEach(({ name = '', port: number, protocol = 'TCP' }, index) => {
    if (name === '' && ports.length > 1) {
      report(['ports', index], 'it has no name: expected one, as there are several ports')
    }
    if (name !== '' && names.has(name)) {
      report(['ports', index, 'name'], `the name ${JSON.stringify(name)} is there twice`)
    }
    names.add(name)
    if (numbers.has(`${number}/${protocol}`)) {
      report(['ports', index, 'port'], `the port ${number}/${protocol} is there twice`)
    }
    numbers.add(`${number}/${protocol}`)
  })
}

interface WrittenPorts {
  readonly ports?: readonly Port[] | undefined
  readonly type?: string | undefined
  readonly clusterIP?: string | undefined
}

const OUTSIDERS =
  'it is carried out for callers of the mesh alone: for others no port is opened, let a Gateway in'

export const serviceKind: Kind = defineKind({
  group: '',
  versions: ['v1'],
  kind: 'Service',
  spec,
  check: ({ metadata: { annotations, namespace } }, report) =>
    checkExportTo(
      exportToOf(annotations),
      { namespace, none: true },
      ['metadata', 'annotations', EXPORT_TO],
      (_path, message) => report(['metadata', 'annotations', EXPORT_TO], message),
    ),
  warn: ({ spec: { type = '' } }) =>
    /^(NodePort|LoadBalancer)$/.test(type) ? [{ path: ['spec', 'type'], message: OUTSIDERS }] : [],
  place: ({ metadata, spec: { selector, ports = [] } }) => ({
    into: 'services',
    value: {
      ...refOf(metadata),
      host: `${metadata.name}.${metadata.namespace}.svc.cluster.local`,
      labels: metadata.labels,
      ...(selector && Object.keys(selector).length > 0 ? { selector } : {}),
      ports: ports.map(
        ({ name = '', port: number, targetPort = number, protocol, appProtocol }) => ({
          name,
          port: number,
          targetPort,
          protocol: portProtocol({ name, port: number, protocol, appProtocol }),
        }),
      ),
      exportTo: readExportTo(exportToOf(metadata.annotations), metadata.namespace),
    },
  }),
})

function exportToOf(annotations: Readonly<Record<string, string>>): readonly string[] | undefined {
  return annotations[EXPORT_TO]?.split(',').map((value) => value.trim())
}
