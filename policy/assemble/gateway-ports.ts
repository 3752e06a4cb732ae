/** Which workloads are gateways, and at which of their ports (istio-semantics §7.3, §7.4). */
import type { Gateway, ServerIntent } from '../model/gateway.ts'
import type { Intent, Labels } from '../model/intent.ts'
import { lookupOf } from './lookup.ts'
import { servicesOf } from './registry.ts'
import { selects } from './select.ts'

/** A server, and the Gateway that it is of. */
export interface BoundServer extends ServerIntent {
  readonly gateway: Gateway
}

/** A port at which a gateway listens. */
export interface GatewayPort {
  /** Workload port, 1..65535. */
  readonly port: number
  /** IP address; left out: loopback. */
  readonly bind?: string
  /** The oldest Gateway's first; not empty. */
  readonly servers: readonly BoundServer[]
}

/** The workload as far as it matters here. */
export interface GatewayPlace {
  readonly namespace: string
  readonly labels: Labels
  readonly ports: readonly { readonly port: number; readonly name: string }[]
}

const NONE: readonly GatewayPort[] = []

/**
 * Ports of `workload` that Gateways open, by number; empty: it is no gateway. Of two servers for one port that
 * cannot share it the older Gateway's stays: with another address, one in plaintext and one in TLS, or two in
 * TLS with one host.
 */
export function gatewayPortsOf(intent: Intent, workload: GatewayPlace): readonly GatewayPort[] {
  const { gateways } = lookupOf(intent)
  const isSelected = ({ selector }: Gateway): boolean => selects(selector, workload.labels)
  if (!gateways.some((one) => Object.keys(one.selector).length > 0 && isSelected(one))) return NONE
  const ports = new Map<number, { bind: string | undefined; servers: BoundServer[] }>()
  for (const gateway of gateways.filter(isSelected)) {
    for (const server of gateway.servers) {
      const port = listeningPort(intent, workload, server.port)
      const known = ports.get(port) ?? { bind: server.bind, servers: [] }
      ports.set(port, known)
      if (known.bind === server.bind && known.servers.every((one) => canShare(one, server)))
        known.servers.push({ ...server, gateway })
    }
  }
  return [...ports]
    .toSorted(([a], [b]) => a - b)
    .map(([port, { bind, servers }]) => ({ port, ...(bind ? { bind } : {}), servers }))
}

function canShare(one: ServerIntent, other: ServerIntent): boolean {
  if (one.tls === undefined || other.tls === undefined) return one.tls === other.tls
  const taken = new Set(one.hosts.map(({ host }) => host))
  return !other.hosts.some(({ host }) => taken.has(host))
}

/** Where the first Service with this port leads to; without one, the port itself (§7.3). */
function listeningPort(intent: Intent, workload: GatewayPlace, number: number): number {
  for (const service of servicesOf(intent, workload.namespace, workload.labels)) {
    const found = service.ports.find(({ port, protocol }) => port === number && protocol !== 'udp')
    if (found === undefined) continue
    const { targetPort } = found
    if (typeof targetPort === 'number') return targetPort
    return workload.ports.find(({ name }) => name === targetPort)?.port ?? number
  }
  return number
}

/** Whether what comes to `port` is from outside the mesh: no mutual TLS, and no word of its own about itself is believed. */
export function isGatewayPort(intent: Intent, workload: GatewayPlace, port: number): boolean {
  return gatewayPortsOf(intent, workload).some((one) => one.port === port)
}
