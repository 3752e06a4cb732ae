import { z } from 'zod'

import { checkExportTo, readExportTo } from '../export-to.ts'
import { dnsLabelFault } from '../grammar.ts'
import { defineKind, type Kind } from '../kind.ts'
import { refOf } from '../metadata.ts'
import { portProtocol } from '../../model/port-protocol.ts'
import { fields, type Report, text } from '../schema.ts'

const EXPORT_TO = 'networking.istio.io/exportTo'

const port = z.int().min(1).max(65535)

const servicePort = fields(
  {
    name: text(dnsLabelFault).optional(),
    port,
    targetPort: z.union([port, text(dnsLabelFault)]).optional(),
    protocol: z.enum(['TCP', 'UDP', 'SCTP']).optional(),
    appProtocol: z.string().optional(),
  },
  { notHonoured: ['nodePort'] },
)

type Port = z.output<typeof servicePort>

const spec = fields(
  {
    selector: z.record(z.string(), z.string()).optional(),
    ports: z.array(servicePort).min(1).max(256),
    // What a Service is by default may be said; nothing else would have an effect.
    type: z.literal('ClusterIP').optional(),
    clusterIP: z.literal('None').optional(),
    sessionAffinity: z.literal('None').optional(),
    internalTrafficPolicy: z.literal('Cluster').optional(),
  },
  {
    notHonoured: [
      'allocateLoadBalancerNodePorts',
      'clusterIPs',
      'externalIPs',
      'externalName',
      'externalTrafficPolicy',
      'healthCheckNodePort',
      'ipFamilies',
      'ipFamilyPolicy',
      'loadBalancerClass',
      'loadBalancerIP',
      'loadBalancerSourceRanges',
      'publishNotReadyAddresses',
      'sessionAffinityConfig',
      'trafficDistribution',
    ],
    check: ({ ports }, report) => checkPorts(ports, report),
  },
)

function checkPorts(ports: readonly Port[], report: Report): void {
  const names = new Set<string>()
  const numbers = new Set<string>()
  ports.forEach(({ name, port: number, protocol = 'TCP' }, index) => {
    if (name === undefined && ports.length > 1) {
      report(['ports', index], 'it has no name: expected one, as there are several ports')
    }
    if (name !== undefined && names.has(name)) {
      report(['ports', index, 'name'], `the name ${JSON.stringify(name)} is there twice`)
    }
    if (name !== undefined) names.add(name)
    if (numbers.has(`${number}/${protocol}`)) {
      report(['ports', index, 'port'], `the port ${number}/${protocol} is there twice`)
    }
    numbers.add(`${number}/${protocol}`)
  })
}

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
  place: ({ metadata, spec: { selector, ports } }) => ({
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
