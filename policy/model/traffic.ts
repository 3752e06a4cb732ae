/** Where requests go and how, as operators say it: VirtualService and DestinationRule. */
import type {
  ConnectionPool,
  LoadBalancing,
  OutlierDetection,
  RouteHeaders,
  RouteMatch,
} from './bundle.ts'
import type { ExportTo, Labels, ObjectRef } from './intent.ts'

export interface VirtualService extends ObjectRef {
  readonly hosts: readonly string[]
  /** `mesh`, or gateways as `namespace/name`. Not empty. */
  readonly gateways: readonly string[]
  readonly exportTo: ExportTo
  /** In order; the first that matches wins. */
  readonly http: readonly HttpRoute[]
}

export interface HttpRoute {
  readonly name?: string
  readonly match?: readonly HttpMatch[]
  readonly action: HttpAction
  readonly headers?: RouteHeaders
}

/** A match block with what depends on the client, which assembly decides (§5.4). */
export interface HttpMatch extends RouteMatch {
  /** Service port that the client used. */
  readonly port?: number
  readonly sourceLabels?: Labels
  readonly sourceNamespace?: string
  readonly gateways?: readonly string[]
}

export interface HttpDestination {
  readonly host: string
  readonly subset?: string
  readonly port?: number
  /** Relative; 0 sends nothing unless it is the only one. */
  readonly weight: number
  readonly headers?: RouteHeaders
}

/** Left out: as §5.8's default. */
export interface RetryIntent {
  readonly attempts: number
  readonly perTryTimeoutMs?: number
  readonly retryOn?: readonly string[]
  readonly backoffMs?: number
}

export type HttpAction =
  | {
      readonly kind: 'forward'
      readonly destinations: readonly HttpDestination[]
      readonly rewrite?: { readonly uri?: string; readonly authority?: string }
      readonly timeoutMs?: number
      readonly retry?: RetryIntent
    }
  | {
      readonly kind: 'redirect'
      readonly code: number
      readonly uri?: string
      readonly authority?: string
      readonly scheme?: string
    }
  | { readonly kind: 'respond'; readonly status: number; readonly body: string }

/** Four blocks, each inherited or replaced as a whole (§6.3). */
export interface PortTrafficPolicy {
  readonly loadBalancing?: LoadBalancing
  readonly connectionPool?: Partial<ConnectionPool>
  readonly outlierDetection?: OutlierDetection
  readonly tls?: 'ISTIO_MUTUAL' | 'DISABLE'
}

export interface TrafficPolicy extends PortTrafficPolicy {
  /** By service port; takes the place of all four blocks. */
  readonly ports: Readonly<Record<string, PortTrafficPolicy>>
}

export interface Subset {
  readonly name: string
  readonly labels: Labels
  readonly trafficPolicy?: TrafficPolicy
}

export interface DestinationRule extends ObjectRef {
  /** FQDN or wildcard. */
  readonly host: string
  readonly exportTo: ExportTo
  /** Of the clients it is for, in its own namespace. */
  readonly workloadSelector?: Labels
  readonly trafficPolicy?: TrafficPolicy
  readonly subsets: readonly Subset[]
}
