/** Sidecar (istio-semantics §9). Checked only. */
import { z } from 'zod'

import { dnsLabelFault, fqdnFault, isIp } from '../grammar.ts'
import { defineKind, type Kind, type Warning } from '../kind.ts'
import type { PathKey } from '../pointer.ts'
import { fields, type Report, text } from '../schema.ts'
import { connectionPoolSchema } from './connection-pool.ts'
import { destinationSchema } from './destination-ref.ts'
import { labelsSchema } from './selector.ts'
import { type ServerTls, serverTlsSchema, warnServerTls } from './server-tls.ts'
import { isHttp, isTls, protocol, sidecarHostFault, uint32, unixAddressFault } from './values.ts'

const UNIX = 'unix://'
/** Where an app may listen: itself, or every address. */
const LOCAL = ['', '127.0.0.1', '0.0.0.0', '::1', '::']

const captureMode = z.enum(['DEFAULT', 'IPTABLES', 'NONE']).optional()

const port = fields(
  {
    number: uint32.optional(),
    protocol: protocol.optional(),
    name: text((name) => (name === '' ? undefined : dnsLabelFault(name))).optional(),
    targetPort: uint32.optional(),
  },
  {
    check: ({ targetPort }, report) => {
      if (targetPort) report(['targetPort'], 'it has no effect here: leave it out')
    },
  },
)

const ingress = fields(
  {
    port,
    bind: z.string().optional(),
    captureMode,
    defaultEndpoint: text(endpointFault).optional(),
    tls: serverTlsSchema.optional(),
    connectionPool: connectionPoolSchema.optional(),
  },
  {
    check: (value, report) => {
      checkNumber(value.port.number ?? 0, report)
      checkBind(value.bind, report)
      checkIngressTls(value.tls, value.port.protocol, report)
    },
  },
)

const egress = fields(
  {
    port: port.optional(),
    bind: z.string().optional(),
    captureMode,
    hosts: z.array(text(sidecarHostFault)).min(1),
  },
  { check: (value, report) => checkEgress(value, report) },
)

const outboundTrafficPolicy = fields(
  {
    mode: z.enum(['REGISTRY_ONLY', 'ALLOW_ANY']).optional(),
    egressProxy: destinationSchema.optional(),
  },
  {
    check: ({ mode, egressProxy: proxy }, report) => {
      if (!proxy) return
      if (mode !== 'ALLOW_ANY') report(['egressProxy'], 'it goes with mode ALLOW_ANY only')
      if (!proxy.port) report(['egressProxy', 'port'], 'it is missing: expected {number}')
      const wrong = fqdnFault(proxy.host)
      if (wrong !== undefined) report(['egressProxy', 'host'], wrong)
    },
  },
)

const spec = fields(
  {
    workloadSelector: labelsSchema.optional(),
    ingress: z.array(ingress).optional(),
    egress: z.array(egress).optional(),
    inboundConnectionPool: connectionPoolSchema.optional(),
    outboundTrafficPolicy: outboundTrafficPolicy.optional(),
  },
  { check: (value, report) => checkSpec(value, report) },
)

type Spec = z.output<typeof spec>

function checkSpec(value: Spec, report: Report): void {
  const { ingress: inbound = [], egress: outbound = [] } = value
  if (!inbound.length && !outbound.length && !value.outboundTrafficPolicy) {
    if (!value.inboundConnectionPool)
      report([], 'none of egress, ingress, outboundTrafficPolicy, inboundConnectionPool is set')
  }
  const inboundPorts = inbound.map((one) => String(one.port.number))
  // A Unix socket is known by its path; the listener for the rest has neither.
  const outboundPorts = outbound.map((one) => one.port && String(one.port.number || one.bind))
  for (const [field, ports] of Object.entries({ ingress: inboundPorts, egress: outboundPorts })) {
    ports.forEach((one, index) => {
      if (one !== undefined && ports.indexOf(one) < index)
        report([field, index, 'port'], 'another listener has the same port')
    })
  }
  outbound.forEach((one, index) => {
    if (!one.port && index < outbound.length - 1)
      report(['egress', index], 'a listener without port stands at the end, and alone')
  })
}

function checkNumber(number: number, report: Report): void {
  if (number < 1 || number > 65535)
    report(['port', 'number'], `found ${number}, expected a port from 1 to 65535`)
}

function checkBind(bind = '', report: Report): void {
  if (bind !== '' && !isIp(bind))
    report(['bind'], `found ${JSON.stringify(bind)}, expected an IP address`)
}

function checkEgress(value: z.output<typeof egress>, report: Report): void {
  const { port: own, bind = '' } = value
  if (!own) return
  if (own.number) {
    checkNumber(own.number, report)
    checkBind(bind, report)
    return
  }
  const wrong = bind.startsWith(UNIX)
    ? unixAddressFault(bind.slice(UNIX.length))
    : 'port 0 is for a Unix socket: expected unix:// and a path'
  if (wrong !== undefined) report(['bind'], wrong)
  if (value.captureMode === 'IPTABLES')
    report(['captureMode'], 'a Unix socket cannot be captured: expected DEFAULT or NONE')
}

const NOT_IN_INGRESS = [
  'subjectAltNames',
  'httpsRedirect',
  'credentialName',
  'credentialNames',
  'tlsCertificates',
] as const

function checkIngressTls(
  tls: ServerTls | undefined,
  spoken: string | undefined,
  report: Report,
): void {
  if (!tls) return
  for (const field of NOT_IN_INGRESS) {
    const value = tls[field]
    if (Array.isArray(value) ? value.length > 0 : value)
      report(['tls', field], 'it is not possible in the ingress of a Sidecar')
  }
  if (tls.mode === 'ISTIO_MUTUAL' || tls.mode === 'AUTO_PASSTHROUGH')
    report(['tls', 'mode'], `${tls.mode} is not possible in the ingress of a Sidecar`)
  if (!isTls(spoken)) report(['tls'], 'the protocol of the port is neither HTTPS nor TLS')
}

function endpointFault(written: string): string | undefined {
  if (written === '') return undefined
  if (written.startsWith(UNIX)) return unixAddressFault(written.slice(UNIX.length))
  const [, bracketed, plain, number = ''] =
    /^(?:\[([^[\]]*)\]|([^:[\]]*)):([^:[\]]*)$/.exec(written) ?? []
  const host = bracketed ?? plain
  const good = host !== undefined && LOCAL.includes(host) && /^\+?\d+$/.test(number)
  return good && Number(number) >= 1 && Number(number) <= 65535
    ? undefined
    : `found ${JSON.stringify(written)}, expected 127.0.0.1:PORT, 0.0.0.0:PORT, [::1]:PORT, [::]:PORT, :PORT or unix:///path`
}

function warnSpec(value: Spec, namespace: string): readonly Warning[] {
  const { workloadSelector, ingress: inbound = [], egress: outbound = [] } = value
  const found: Warning[] = []
  const warn = (path: readonly PathKey[], message: string): void => {
    found.push({ path: ['spec', ...path], message })
  }
  if (workloadSelector && Object.keys(workloadSelector.labels ?? {}).length === 0)
    warn(['workloadSelector'], 'the selector has no labels, so it is for the whole namespace')
  inbound.forEach((one, index) => {
    found.push(...warnServerTls(one.tls, ['spec', 'ingress', index, 'tls']))
    if (one.connectionPool?.http && !isHttp(one.port.protocol))
      warn(['ingress', index, 'connectionPool', 'http'], 'the protocol of the port is not HTTP')
  })
  outbound.forEach(({ hosts }, index) => {
    const full = hosts.map((host) => host.replace(/^\.\//, `${namespace}/`))
    warnHosts(full, ['egress', index, 'hosts'], warn)
  })
  return found
}

function warnHosts(
  hosts: readonly string[],
  path: readonly PathKey[],
  warn: (path: readonly PathKey[], message: string) => void,
): void {
  const chosen = hosts.filter((host) => !host.startsWith('~'))
  chosen.forEach((host, index) => {
    const [namespace = '', name = ''] = host.split('/')
    const before = chosen.slice(0, index).filter((one) => one.split('/')[0] === namespace)
    const repeated =
      name === '*'
        ? before.length > 0
        : before.some((one) => one === host || one === `${namespace}/*`)
    if (repeated) warn([...path, hosts.indexOf(host)], `${host} is there twice`)
  })
  if (chosen.includes('*/*') && chosen.some((host) => !host.startsWith('*/')))
    warn(path, '*/* is everything: what stands beside it has no effect')
}

export const sidecarKind: Kind = defineKind({
  group: 'networking.istio.io',
  versions: ['v1', 'v1beta1', 'v1alpha3'],
  kind: 'Sidecar',
  spec: spec.optional(),
  check: ({ spec: written }, report) => {
    if (!written) report(['spec'], 'it is missing: expected egress, ingress or a policy')
  },
  warn: ({ metadata: { namespace }, spec: written }) =>
    written ? warnSpec(written, namespace) : [],
  place: 'nothing: a sidecar learns only of the services that its app calls',
})
