import type { Svid } from '#agent/client/index.ts'
import type { Live } from '#core/live.ts'
import type { InboundBundle } from '#policy/model/index.ts'
import type { Edge, EdgeLabels } from '../telemetry/edge.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import type { ClusterState, EndpointState } from './cluster-state.ts'
import type { Destination } from './destination.ts'

/** What requests of the app are counted under, found once for each destination and endpoint. */
export interface OutboundEdges {
  /** Nothing is known of where it goes. */
  readonly toNowhere: () => Edge
  /** It goes to a service, and no endpoint has been picked. */
  readonly toDestination: (destination: Destination) => Edge
  readonly toEndpoint: (cluster: ClusterState, endpoint: EndpointState) => Edge
}

export interface OutboundEdgesDeps {
  readonly telemetry: Telemetry
  readonly svid: Live<Svid>
  /** The sidecar's own workload; `undefined` before its first configuration. */
  readonly workload: () => InboundBundle['workload'] | undefined
}

/** Makes {@link OutboundEdges}. */
export function createOutboundEdges({
  telemetry,
  svid,
  workload,
}: OutboundEdgesDeps): OutboundEdges {
  const destinations = new WeakMap<Destination, Edge>()
  let nowhere: Edge | undefined

  const make = (
    labels: Pick<EdgeLabels, 'destination' | 'destinationPrincipal' | 'service'>,
  ): Edge => {
    const source = workload()
    return telemetry.edge({
      reporter: 'source',
      ...(source === undefined ? {} : { source }),
      sourcePrincipal: svid.current.id,
      ...labels,
      protocol: 'http',
      // It is the downstream connection's, and that is the app's own (istio-semantics §13.2).
      security: 'unknown',
    })
  }

  return {
    toNowhere() {
      nowhere ??= make({})
      return nowhere
    },
    toDestination(destination) {
      let edge = destinations.get(destination)
      if (edge === undefined) {
        edge = make({ service: serviceOf(destination) })
        destinations.set(destination, edge)
      }
      return edge
    },
    toEndpoint({ cluster }, state) {
      const { workload: destination, identities } = state.endpoint
      state.edge ??= make({
        destination,
        destinationPrincipal: identities[0],
        service: cluster.service,
      })
      return state.edge
    },
  }
}

function serviceOf({ bundle, clusters }: Destination): NonNullable<EdgeLabels['service']> {
  if (bundle.kind === 'unknown') return { name: 'PassthroughCluster' }
  const [first] = clusters.values()
  return first?.cluster.service ?? { host: bundle.host }
}
