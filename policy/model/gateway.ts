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
  /** Left out: plaintext. */
  readonly tls?: ServerTlsIntent
}

/** What a server shows, and whom it takes, where credentials are still names. */
export interface ServerTlsIntent extends TlsTerms {
  /** Not empty. */
  readonly certificates: readonly CertificateRef[]
  /** File with the CA of clients; left out: that of the first credential. */
  readonly clientCa?: string
}

export type CertificateRef =
  | { readonly kind: 'files'; readonly certificate: string; readonly key: string }
  /** A Secret in the namespace of Gateway and workload (§7.5). */
  | { readonly kind: 'secret'; readonly name: string }

export type TlsVersion = 'TLSv1.2' | 'TLSv1.3'

export interface TlsTerms {
  readonly mode: 'SIMPLE' | 'MUTUAL' | 'OPTIONAL_MUTUAL'
  /** One of them must be in a client's certificate; empty: any certificate of its CA. */
  readonly subjectAltNames: readonly string[]
  readonly minVersion: TlsVersion
  readonly maxVersion: TlsVersion
  /** For TLS 1.2, in OpenSSL's words; empty: the usual ones. */
  readonly cipherSuites: readonly string[]
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
  /** Which server names it answers to; of one in plaintext nobody asks. */
  readonly hosts: readonly string[]
  /** Left out: plaintext. */
  readonly tls?: GatewayTls
  /** The most specific that has the request's host is the one; none: 404 (§7.4). */
  readonly virtualHosts: readonly VirtualHost[]
}

/** PEM: where it is read, or itself; missing: the Secret of this name is not there, or not for this gateway. */
export type PemSource =
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'inline'; readonly pem: string }
  | { readonly kind: 'missing'; readonly secret: string }

export interface GatewayTls extends TlsTerms {
  /** Not empty. */
  readonly certificates: readonly { readonly chain: PemSource; readonly key: PemSource }[]
  /** Roots of clients; only where they are asked for a certificate. */
  readonly clientCa?: PemSource
}

export interface VirtualHost {
  /** A name, `*` and the end of one, or `*`; lower case. */
  readonly host: string
  /** First match wins; none: 404, flag NR. */
  readonly routes: readonly Route[]
}
