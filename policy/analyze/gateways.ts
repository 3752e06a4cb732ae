/** Gateways that are nowhere, serve nobody or are in each other's way. */
import { gatewayPortsOf } from '../assemble/gateway-ports.ts'
import { sharedHosts } from '../assemble/gateway.ts'
import { gatewayTls } from '../assemble/gateway-tls.ts'
import { selects } from '../assemble/select.ts'
import type { Draft } from './finding.ts'
import { type Scene, subjectOf } from './scene.ts'

/** IST0101: a Gateway on no workload, or with a Secret that is not there. */
export function findGatewayReferences(scene: Scene): readonly Draft[] {
  const { intent } = scene
  if (!scene.hasInventory) return []
  return intent.gateways.flatMap((gateway): readonly Draft[] => {
    const subject = subjectOf('Gateway', gateway)
    const workloads = intent.workloads.filter((one) => selects(gateway.selector, one.labels))
    if (workloads.length === 0) {
      const message = 'no workload has the labels of its selector: nobody listens'
      const hint = 'give them to the Workload that is to be the gateway'
      return [{ code: 'IST0101', subject, path: ['spec', 'selector'], message, hint }]
    }
    return gateway.servers.flatMap((server, at) => {
      const named = new Set(
        workloads.flatMap((client) => {
          const tls = gatewayTls({ ...server, gateway }, { intent, client })
          const sources = tls?.certificates.flatMap(({ chain, key }) => [chain, key]) ?? []
          return [...sources, ...(tls?.clientCa ? [tls.clientCa] : [])].flatMap((source) =>
            source.kind === 'missing' ? [source.secret] : [],
          )
        }),
      )
      return [...named].map((secret): Draft => {
        const message = `the Secret ${secret} is not there, not in the namespace of both Gateway and workload, or has not all that ${server.tls?.mode} needs: the server closes every connection`
        const hint =
          'define it with tls.crt and tls.key, and ca.crt where clients show certificates'
        return { code: 'IST0101', subject, path: ['spec', 'servers', at, 'tls'], message, hint }
      })
    })
  })
}

/** IST0132: hosts of a VirtualService that no server of a Gateway which it names has for it. */
export function findUnservedHosts({ intent }: Scene): readonly Draft[] {
  return intent.virtualServices.flatMap((virtual) =>
    virtual.gateways.flatMap((named): readonly Draft[] => {
      const gateway = intent.gateways.find((one) => `${one.namespace}/${one.name}` === named)
      if (gateway === undefined) return []
      const served = gateway.servers.flatMap(({ hosts }) => hosts)
      return virtual.hosts.flatMap((host, at): readonly Draft[] => {
        if (sharedHosts(served, { ...virtual, hosts: [host] }).length > 0) return []
        const message = `the Gateway ${named} serves no ${host} for namespace ${virtual.namespace}: its requests are answered 404`
        const hint = `add it to the hosts of a server of ${named}`
        const subject = subjectOf('VirtualService', virtual)
        return [{ code: 'IST0132', subject, path: ['spec', 'hosts', at], message, hint }]
      })
    }),
  )
}

/** IST0145: a server that is left out, since an older Gateway has its port in another way. */
export function findConflictingGateways({ intent }: Scene): readonly Draft[] {
  return intent.gateways.flatMap((gateway) =>
    gateway.servers.flatMap((server, at): readonly Draft[] => {
      const losing = intent.workloads
        .filter((one) => selects(gateway.selector, one.labels))
        .find((one) => {
          const ports = gatewayPortsOf(intent, one)
          const open = ports.flatMap(({ servers }) => servers)
          return (
            ports.length > 0 &&
            !open.some((known) => known.gateway === gateway && known.portName === server.portName)
          )
        })
      if (losing === undefined) return []
      const message = `${losing.namespace}/${losing.name} leaves this server out: an older one has port ${server.port} with another address, in TLS and not in plaintext or the other way round, or with one of its hosts`
      const subject = subjectOf('Gateway', gateway)
      const hint = 'give it a port of its own, or hosts that no other has'
      return [{ code: 'IST0145', subject, path: ['spec', 'servers', at], message, hint }]
    }),
  )
}
