import type { SpiffeId, TrustDomain } from '#ca/spiffe/index.ts'
import { ProxyError } from './error.ts'

/** One port of the workload. */
export interface InboundListener {
  /** The workload port, 1..65535: what policies and metrics call it. */
  readonly port: number
  /** `host:port` to listen on; port 0 picks a free one. */
  readonly listen: string
  /** `host:port` of the app behind it. */
  readonly app: string
}

/** One port of a gateway. */
export interface GatewayListener {
  /** The workload port, 1..65535: what policies and metrics call it. */
  readonly port: number
  /** `host:port` to listen on; port 0 picks a free one. */
  readonly listen: string
}

/** Everything a sidecar is told when it starts; the rest streams in. Addresses are `host:port`. */
export interface ProxyConfig {
  readonly workload: { readonly namespace: string; readonly name: string }
  readonly trustDomain: TrustDomain
  /** Path of the agent's Unix socket. */
  readonly agentSocket: string
  readonly policyAddress: string
  /** Who must answer at `policyAddress`. */
  readonly policyId: SpiffeId
  readonly inbound: readonly InboundListener[]
  /** Ports at which it is a gateway. @default none: it is none */
  readonly gateway?: readonly GatewayListener[]
  /** Absolute: where relative paths of a gateway's files start. @default the working directory */
  readonly folder?: string
  readonly outbound: string
  readonly admin: string
  readonly metrics: string
  readonly readiness: string
  /** Local address of every connection to a peer, for `ipBlocks`; left out: the kernel's choice. */
  readonly sourceAddress?: string
  /** Which requests get a line in the access log; refusals by policy, dry-run ones too, always do. @default 'all' */
  readonly accessLog?: 'all' | 'refusals'
  /** Of this software, for `istio_build`. @default 'unknown' */
  readonly version?: string
  /** Longest wait for requests in flight when the sidecar is told to end. */
  readonly drainMs: number
}

/** Splits `host:port`. @throws {ProxyError} `PROXY_CONFIG_INVALID` */
export function parseAddress(text: string): { readonly host: string; readonly port: number } {
  const at = text.lastIndexOf(':')
  const port = Number(text.slice(at + 1))
  const host = text.slice(0, at).replace(/^\[(.*)\]$/, '$1')
  if (at < 1 || !/^\d{1,5}$/.test(text.slice(at + 1)) || port > 65_535) {
    throw new ProxyError(
      'PROXY_CONFIG_INVALID',
      `Cannot read the address ${JSON.stringify(text)}: wanted host:port with a port of 0 to 65535`,
    )
  }
  return { host, port }
}

/** `host:port`, with an IPv6 host in brackets. */
export function formatAddress(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}
