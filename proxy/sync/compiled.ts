import type { Authenticate } from '#ca/jwt/request/index.ts'
import type { DestinationBundle, Engine, InboundBundle } from '#policy/model/index.ts'
import type { Providers } from '../authorizer/providers.ts'
import type { ClusterState } from '../outbound/cluster-state.ts'
import type { PickRoute } from '../outbound/route.ts'

/** What guards the app, compiled. */
export interface CompiledInbound {
  readonly bundle: InboundBundle
  /** The policy server's name for this generation. */
  readonly version: string
  /** Decides: call once per accepted connection, then once per request. */
  readonly engine: Engine
  /** Verifies tokens; `undefined`: the workload has no RequestAuthentication. */
  readonly authenticate: Authenticate | undefined
  /** Whom policies ask; `undefined`: nobody is there to be asked. */
  readonly providers: Providers | undefined
}

/** How one host and port is reached, compiled. */
export interface CompiledDestination {
  /** Its kind is `unknown` when nobody knows the host: then `outboundPolicy` of the inbound bundle counts. */
  readonly bundle: DestinationBundle
  readonly version: string
  /** `undefined`: no route (404, flag NR). */
  readonly pickRoute: PickRoute
  /** By name; they live on from bundle to bundle. */
  readonly clusters: ReadonlyMap<string, ClusterState>
}
