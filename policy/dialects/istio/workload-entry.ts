/** WorkloadEntry and WorkloadGroup (istio-semantics §10), and endpoints, which are the former. */
import { z } from 'zod'

import { fqdnFault, isDnsLabel, isIp } from '../grammar.ts'
import { defineKind, type Kind, type Warning } from '../kind.ts'
import { notYet } from '../carried-out.ts'
import { fields, type Report, text } from '../schema.ts'
import {
  checkWorkloadLabels,
  count,
  portNumber,
  textMap,
  uint32,
  unixAddressFault,
} from './values.ts'

const UNIX = 'unix://'
const VERSIONS = ['v1', 'v1beta1', 'v1alpha3']
const MAX_LABELS = 256
const MAX_PORTS = 128

/** What {@link endpointSchema} accepts. */
export interface RawEndpoint {
  readonly address?: string | undefined
  readonly ports?: Readonly<Record<string, number>> | undefined
  readonly labels?: Readonly<Record<string, string>> | undefined
  readonly network?: string | undefined
  readonly serviceAccount?: string | undefined
}

const address = text((written) => {
  if (!written.startsWith(UNIX)) return written.length > 256 ? 'it is too long' : undefined
  return unixAddressFault(written.slice(UNIX.length))
})

const place = z.string().max(2048)

const shape = {
  address: notYet(address, { when: (written) => written.startsWith(UNIX) }),
  ports: z.record(z.string(), portNumber).optional(),
  labels: textMap.optional(),
  serviceAccount: z.string().max(253).optional(),
  locality: notYet(place),
  network: notYet(place),
  weight: notYet(uint32),
}

function checkShape(value: RawEndpoint, report: Report): void {
  const { ports = {}, labels = {} } = value
  const names = Object.keys(ports)
  if (names.length > MAX_PORTS) report(['ports'], `it has more than ${MAX_PORTS} ports`)
  for (const name of names) {
    if (!isDnsLabel(name) || name.length > 62)
      report(['ports', name], `found ${JSON.stringify(name)}, expected the name of a port`)
  }
  if (value.address?.startsWith(UNIX) && value.ports)
    report(['ports'], 'a Unix socket has no ports')
  if (Object.keys(labels).length > MAX_LABELS)
    report(['labels'], `it has more than ${MAX_LABELS} labels`)
}

/** An endpoint of a ServiceEntry; what its address must be depends on the entry. */
export const endpointSchema: z.ZodType<RawEndpoint> = fields(shape, {
  check: (value, report) => {
    checkShape(value, report)
    checkWorkloadLabels(value.labels ?? {}, ['labels'], report)
    if (value.address === undefined && value.network === undefined)
      report([], 'neither address nor network is set: expected an address')
  },
})

const entry = fields(shape, {
  check: (value, report) => {
    checkShape(value, report)
    checkWorkloadLabels(value.labels ?? {}, ['labels'], report)
    const { address: written = '', network = '' } = value
    if (written === '' && network === '') report(['address'], 'it is missing: expected an address')
    if (value.address === undefined && value.network === undefined) return
    if (written === '' || written.startsWith(UNIX) || isIp(written)) return
    if (fqdnFault(written) !== undefined)
      report(['address'], `found ${JSON.stringify(written)}, expected an IP address or a host name`)
  },
})

function warnAddress({ address: written = '' }: RawEndpoint): readonly Warning[] {
  const message = 'there is only a network: it is reached through the gateway of that'
  return written === '' ? [{ path: ['spec', 'network'], message }] : []
}

export const workloadEntryKind: Kind = defineKind({
  group: 'networking.istio.io',
  versions: VERSIONS,
  kind: 'WorkloadEntry',
  spec: entry,
  warn: ({ spec }) => warnAddress(spec),
  place: 'a Workload with spec.address',
})

const headers = fields({
  name: text((name) =>
    /^[-A-Za-z0-9]+$/.test(name)
      ? undefined
      : `found ${JSON.stringify(name)}, expected a header name of letters, digits and -`,
  ),
  value: z.string().optional(),
})

const METHODS = ['httpGet', 'tcpSocket', 'exec', 'grpc'] as const

const probe = fields(
  {
    initialDelaySeconds: count.optional(),
    timeoutSeconds: count.optional(),
    periodSeconds: count.optional(),
    successThreshold: count.optional(),
    failureThreshold: count.optional(),
    httpGet: fields({
      path: z.string().optional(),
      port: portNumber,
      host: z.string().optional(),
      scheme: z.enum(['', 'HTTP', 'HTTPS']).optional(),
      httpHeaders: z.array(headers).optional(),
    }).optional(),
    tcpSocket: fields({ host: z.string().optional(), port: portNumber }).optional(),
    exec: fields({ command: z.array(z.string().min(1)).min(1) }).optional(),
    grpc: fields({ port: portNumber.optional(), service: z.string().optional() }).optional(),
  },
  {
    check: (value, report) => {
      if (METHODS.filter((method) => value[method] !== undefined).length !== 1)
        report([], `expected exactly one of ${METHODS.slice(0, 3).join(', ')}`)
      if (value.grpc) report(['grpc'], 'Istio has the field and refuses it: expected another')
    },
  },
)

const group = fields(
  {
    metadata: fields({ labels: textMap.optional(), annotations: textMap.optional() }).optional(),
    template: fields(shape, { check: checkShape }),
    probe: probe.optional(),
  },
  {
    check: ({ metadata = {} }, report) => {
      checkWorkloadLabels(metadata.labels ?? {}, ['metadata', 'labels'], report)
      for (const [field, entries] of Object.entries(metadata)) {
        if (Object.keys(entries ?? {}).length > MAX_LABELS)
          report(['metadata', field], `it has more than ${MAX_LABELS} entries`)
      }
    },
  },
)

export const workloadGroupKind: Kind = defineKind({
  group: 'networking.istio.io',
  versions: VERSIONS,
  kind: 'WorkloadGroup',
  spec: group,
  place: 'a Workload for each machine',
})
