/** Gateway of networking.istio.io (istio-semantics §7): HTTP, and HTTPS that ends here. */
import { z } from 'zod'

import { isDnsLabel, isIp } from '../grammar.ts'
import type { ServerHost, ServerIntent } from '../../model/gateway.ts'
import { defineKind, type Kind, type Warning } from '../kind.ts'
import { refOf } from '../metadata.ts'
import { judged, notYet } from '../carried-out.ts'
import { type Finding, fields, type Report } from '../schema.ts'
import { readServerTls, serverTlsSchema, tlsNotCarried, warnServerTls } from './server-tls.ts'
import {
  gatewayHostFault,
  isHttp,
  isTls,
  protocol,
  textMap,
  uint32,
  unixAddressFault,
} from './values.ts'

const UNIX = 'unix://'
const SEMANTICS = 'internal.istio.io/gateway-semantics'

const server = fields(
  {
    port: fields({
      number: uint32,
      protocol: protocol.min(1),
      name: z.string().min(1),
      targetPort: uint32.optional(),
    }),
    bind: notYet(z.string(), { when: (bind) => bind.startsWith(UNIX), hint: 'name an IP address' }),
    hosts: z.array(z.string()).min(1),
    tls: serverTlsSchema.optional(),
    defaultEndpoint: z.string().optional(),
    name: z.string().optional(),
  },
  { check: (value, report) => checkServer(value, report) },
)

type Server = z.output<typeof server>

/** What passes a gateway of ours is HTTP/1.1, in plaintext or in TLS that ends there. */
function notCarried({ port, tls }: Server): readonly Finding[] {
  const spoken = port.protocol.toUpperCase()
  if (spoken === 'HTTP') return []
  if (spoken === 'HTTPS') {
    return tlsNotCarried(tls ?? {}).map((one) => ({ ...one, path: ['tls', ...one.path] }))
  }
  const message = `gateways carry HTTP and HTTPS, both with HTTP/1.1, and no ${spoken} yet`
  return [{ path: ['port', 'protocol'], message, hint: 'HTTP, or HTTPS whose TLS ends there' }]
}

const spec = fields(
  { selector: textMap.optional(), servers: z.array(judged(server, notCarried)).min(1) },
  {
    check: ({ servers }, report) => {
      const names = servers.map(({ port }) => port.name)
      names.forEach((name, index) => {
        if (names.indexOf(name) < index)
          report(
            ['servers', index, 'port', 'name'],
            `the name ${JSON.stringify(name)} is there twice`,
          )
      })
    },
  },
)

function checkServer({ port, bind = '', tls }: Server, report: Report): void {
  if (port.targetPort) report(['port', 'targetPort'], 'it has no effect here: leave it out')
  if (bind.startsWith(UNIX)) {
    const wrong = unixAddressFault(bind.slice(UNIX.length))
    if (wrong !== undefined) report(['bind'], wrong)
    if (port.number !== 0) report(['port', 'number'], 'it must be 0 for a Unix socket')
  } else {
    if (bind !== '' && !isIp(bind))
      report(['bind'], `found ${JSON.stringify(bind)}, expected an IP address`)
    if (port.number < 1 || port.number > 65535)
      report(['port', 'number'], `found ${port.number}, expected a port from 1 to 65535`)
  }
  if (isTls(port.protocol)) {
    if (!tls) report(['tls'], `it is missing: ${port.protocol} needs it`)
  } else if (tls) {
    const mode = tls.mode ?? 'PASSTHROUGH'
    const redirects = isHttp(port.protocol) && /PASSTHROUGH/.test(mode)
    const has = tls.caCertificates || tls.privateKey || tls.serverCertificate
    if (!redirects || has) report(['tls'], `${port.protocol} has none, but for httpsRedirect`)
  }
}

function warnServers({ servers }: z.output<typeof spec>): readonly Warning[] {
  return servers.flatMap(({ port, tls }, index) => {
    const path = ['spec', 'servers', index, 'tls']
    const idle = tls?.httpsRedirect && !isHttp(port.protocol)
    return [
      ...warnServerTls(tls, path),
      ...(idle
        ? [{ path: [...path, 'httpsRedirect'], message: 'it is for HTTP servers only' }]
        : []),
    ]
  })
}

export const gatewayKind: Kind = defineKind({
  group: 'networking.istio.io',
  versions: ['v1', 'v1beta1', 'v1alpha3'],
  kind: 'Gateway',
  spec,
  check: ({ metadata: { name, annotations }, spec: written }, report) => {
    // Made by Istio out of a Gateway of Kubernetes, which has rules of its own.
    const translated = annotations[SEMANTICS] === 'gateway'
    if (!isDnsLabel(name) && !translated)
      report(['metadata', 'name'], 'it becomes part of a label: expected no dots and 63 characters')
    written.servers.forEach(({ hosts }, at) => {
      hosts.forEach((host, index) => {
        const wrong = gatewayHostFault(translated ? host.replace(/^~\//, '') : host)
        if (wrong !== undefined) report(['spec', 'servers', at, 'hosts', index], wrong)
      })
    })
  },
  warn: ({ spec: written }) => warnServers(written),
  place: ({ metadata, spec: { selector = {}, servers } }) => ({
    into: 'gateways',
    value: {
      ...refOf(metadata),
      selector,
      servers: servers.map((one) => readServer(one, metadata.namespace)),
    },
  }),
})

function readServer({ port, bind, hosts, tls }: Server, namespace: string): ServerIntent {
  return {
    port: port.number,
    portName: port.name,
    ...(bind ? { bind } : {}),
    hosts: hosts.map((host) => readHost(host, namespace)),
    httpsRedirect: isHttp(port.protocol) && tls?.httpsRedirect === true,
    ...(tls && isTls(port.protocol) ? { tls: readServerTls(tls) } : {}),
  }
}

/** `[namespace/]host`; a dot is the Gateway's own namespace. */
function readHost(written: string, own: string): ServerHost {
  const slash = written.indexOf('/')
  const namespace = slash < 0 ? '*' : written.slice(0, slash)
  return {
    namespace: namespace === '.' ? own : namespace,
    host: written.slice(slash + 1).toLowerCase(),
  }
}
