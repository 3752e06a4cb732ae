/**
 * What the policy server streams to a sidecar. The types are the contract of the stream's `body`
 * (JSON, UTF-8); `policy/proto/policy.proto` carries it with name and version.
 *
 * A sidecar refuses a bundle with another {@link BUNDLE_FORMAT} or with a key it does not know: a
 * constraint that one side drops silently is how an older proxy came to allow too much.
 */
import type { SpiffeId, TrustDomain } from '#ca/spiffe/index.ts'
import type { AuthorizationPolicy } from './authorization.ts'
import type { ExtensionProvider } from './extension-provider.ts'
import type { TokenRule } from './token-rule.ts'

/** Raised whenever a field's meaning changes or a field is added that narrows access. */
export const BUNDLE_FORMAT = 3

export type MtlsMode = 'STRICT' | 'PERMISSIVE' | 'DISABLE'

/** A mode that is tried out, and the PeerAuthentication that asks for it, `namespace/name`. */
export interface MtlsDryRun {
  readonly mode: MtlsMode
  readonly policy: string
}

/** §0.7. `auto` detects from the first bytes. */
export type PortProtocol = 'http' | 'http2' | 'grpc' | 'tcp' | 'tls' | 'auto'

export type PathNormalization = 'NONE' | 'BASE' | 'MERGE_SLASHES' | 'DECODE_AND_MERGE_SLASHES'

/** A workload as others see it; labels feed metrics (§13.2) and selectors. */
export interface WorkloadRef {
  readonly namespace: string
  readonly name: string
  readonly serviceAccount: string
  readonly labels: Readonly<Record<string, string>>
}

/** Resource `inbound/<namespace>/<workload>`: everything a sidecar needs to guard its app. */
export interface InboundBundle {
  readonly format: number
  readonly workload: WorkloadRef
  readonly trustDomain: TrustDomain
  readonly trustDomainAliases: readonly TrustDomain[]
  readonly pathNormalization: PathNormalization
  /** mTLS for ports not listed. */
  readonly mtls: MtlsMode
  /** Tried out on ports not listed. */
  readonly mtlsDryRun?: MtlsDryRun
  readonly ports: readonly InboundPort[]
  /** Those that apply to this workload, dry-run ones too. */
  readonly authorization: readonly AuthorizationPolicy[]
  /** Whom CUSTOM policies may ask, by name; a policy of another one denies what it matches (§1.11). */
  readonly providers: Readonly<Record<string, ExtensionProvider>>
  /** Whose tokens are taken; empty: nobody looks for any. */
  readonly tokenRules: readonly TokenRule[]
  /** What the sidecar's outbound side does with a host nobody knows (§5.2). */
  readonly outboundPolicy: 'ALLOW_ANY' | 'REGISTRY_ONLY'
}

export interface InboundPort {
  /** Workload port, 1..65535. */
  readonly port: number
  readonly name: string
  readonly protocol: PortProtocol
  readonly mtls: MtlsMode
  readonly mtlsDryRun?: MtlsDryRun
  /** The service this port backs, for metrics labels: FQDN, name, namespace; absent when none. */
  readonly service?: ServiceRef
}

export interface ServiceRef {
  readonly host: string
  readonly name: string
  readonly namespace: string
}

/** Resource `destination/<host>:<port>`: how one client workload reaches one host and service port. */
export type DestinationBundle =
  | {
      readonly format: number
      /** No service, ServiceEntry or VirtualService has this host for this client. */
      readonly kind: 'unknown'
    }
  | {
      readonly format: number
      readonly kind: 'known'
      /** The host's FQDN, lower case. */
      readonly host: string
      readonly port: number
      readonly protocol: PortProtocol
      /** First match wins; none: 404, flag NR (§5.2). */
      readonly routes: readonly Route[]
      /** By name, `outbound|<port>|<subset>|<host>`. A route may name one that is missing: 503, flag NC. */
      readonly clusters: Readonly<Record<string, Cluster>>
    }

export type TextMatch =
  | { readonly kind: 'exact'; readonly value: string }
  | { readonly kind: 'prefix'; readonly value: string }
  | { readonly kind: 'regex'; readonly value: string }
  | { readonly kind: 'present' }

/** One `match` block: all that is set must hold (§5.4). What depends on the client is already filtered. */
export interface RouteMatch {
  readonly name?: string
  readonly uri?: TextMatch
  readonly ignoreUriCase?: boolean
  readonly scheme?: TextMatch
  readonly method?: TextMatch
  readonly authority?: TextMatch
  /** Header name in lower case. */
  readonly headers?: Readonly<Record<string, TextMatch>>
  readonly withoutHeaders?: Readonly<Record<string, TextMatch>>
  readonly queryParams?: Readonly<Record<string, TextMatch>>
  /** Of the request's verified token; gateways only. */
  readonly claims?: readonly ClaimMatch[]
  readonly withoutClaims?: readonly ClaimMatch[]
}

/** A claim that is the text wanted, or a list of texts with one that is. */
export interface ClaimMatch {
  /** Names that lead to it, one object deeper each; not empty. */
  readonly path: readonly string[]
  readonly match: TextMatch
}

export interface HeaderOperations {
  readonly set?: Readonly<Record<string, string>>
  readonly add?: Readonly<Record<string, string>>
  readonly remove?: readonly string[]
}

export interface RouteHeaders {
  readonly request?: HeaderOperations
  readonly response?: HeaderOperations
}

/** §5.8. Budgeted on top by the sidecar. */
export interface RetryPolicy {
  /** Retries beyond the first attempt; 0 is never. */
  readonly attempts: number
  readonly perTryTimeoutMs?: number
  /** Conditions in Envoy's words, e.g. `connect-failure`, `refused-stream`, `503`. */
  readonly retryOn: readonly string[]
  /** Base of the exponential back-off. */
  readonly backoffMs: number
}

export interface WeightedDestination {
  /** A key of `clusters`. */
  readonly cluster: string
  /** Relative, at least 1. */
  readonly weight: number
  readonly headers?: RouteHeaders
}

export type RouteAction =
  | {
      readonly kind: 'forward'
      /** Not empty. */
      readonly destinations: readonly WeightedDestination[]
      readonly rewrite?: { readonly uri?: string; readonly authority?: string }
      /** Whole request with its retries; left out: none. */
      readonly timeoutMs?: number
      readonly retry: RetryPolicy
    }
  | {
      readonly kind: 'redirect'
      readonly code: number
      readonly uri?: string
      readonly authority?: string
      readonly scheme?: string
    }
  | { readonly kind: 'respond'; readonly status: number; readonly body: string }

export interface Route {
  readonly name: string
  /** Any block may match; left out: every request. */
  readonly match?: readonly RouteMatch[]
  readonly action: RouteAction
  readonly headers?: RouteHeaders
}

export type LoadBalancing = 'LEAST_REQUEST' | 'ROUND_ROBIN' | 'RANDOM'

export interface ConnectionPool {
  /** TCP connections to the whole cluster. */
  readonly maxConnections: number
  readonly connectTimeoutMs: number
  /** Requests waiting for a connection; beyond: 503, flag UO. */
  readonly maxPendingRequests: number
  /** Requests in flight to the cluster. */
  readonly maxRequests: number
  /** 0: no limit. */
  readonly maxRequestsPerConnection: number
  readonly idleTimeoutMs: number
}

/** §6.7; left out of a cluster: off. */
export interface OutlierDetection {
  readonly consecutiveGatewayErrors: number
  readonly consecutive5xxErrors: number
  readonly intervalMs: number
  readonly baseEjectionTimeMs: number
  /** 0..100. */
  readonly maxEjectionPercent: number
}

export interface Cluster {
  readonly service: ServiceRef
  readonly subset: string
  readonly loadBalancing: LoadBalancing
  readonly connectionPool: ConnectionPool
  readonly outlierDetection?: OutlierDetection
  /** SNI on the mesh hop: `outbound_.<port>_.<subset>_.<host>`. */
  readonly sni: string
  readonly endpoints: readonly Endpoint[]
}

export interface Endpoint {
  /** `host:port` to dial: the peer's sidecar when `tls` is mutual, else the app. */
  readonly address: string
  readonly tls: 'mutual' | 'none'
  /** Secure naming: who may answer there; not empty when `tls` is mutual. */
  readonly identities: readonly SpiffeId[]
  readonly workload: WorkloadRef
}
