/** Gateways: what operators say of them, and what the process of one is told (istio-semantics §7). */
import type { Cluster, Route } from './bundle.ts'
import type { Labels, ObjectRef } from './intent.ts'

/** Kind `Gateway`: doors into the mesh, on the workloads that it selects. */
export interface Gateway extends ObjectRef {
  /** Of workloads in any namespace; without labels: all that another Gateway selects by some. */
  readonly selector: Labels
  /** Not empty. */
  readonly servers: readonly ServerIntent[]
}

/** One port of a {@link Gateway}. */
export interface ServerIntent {
  /** A port of a Service in front of the workload, or the workload's own, 1..65535. */
  readonly port: number
  readonly portName: string
  /** IP address to listen on; left out: standalone, loopback. */
  readonly bind?: string
  readonly hosts: readonly ServerHost[]
  /** Answers everything with a redirect to https. */
  readonly httpsRedirect: boolean
}

/** Whose VirtualServices may use a host of a server, and the host. */
export interface ServerHost {
  /** `*`: those of every namespace. */
  readonly namespace: string
  /** A name, `*.` and a domain, or `*`; lower case. */
  readonly host: string
}

/** Resource `gateway/<namespace>/<workload>`: where a gateway sends what comes from outside. */
export interface GatewayBundle {
  readonly format: number
  readonly listeners: readonly GatewayListener[]
  /** As those of a destination; shared by all routes. */
  readonly clusters: Readonly<Record<string, Cluster>>
}

export interface GatewayListener {
  /** Workload port, 1..65535. */
  readonly port: number
  /** One in plaintext, or any number with TLS. */
  readonly servers: readonly GatewayServer[]
}

export interface GatewayServer {
  /** `namespace/gateway/port name` of the first that it is made of, for logs. */
  readonly name: string
  /** The most specific that has the request's host is the one; none: 404 (§7.4). */
  readonly virtualHosts: readonly VirtualHost[]
}

export interface VirtualHost {
  /** A name, `*` and the end of one, or `*`; lower case. */
  readonly host: string
  /** First match wins; none: 404, flag NR. */
  readonly routes: readonly Route[]
}
