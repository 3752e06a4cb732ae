import type { Destination } from '../outbound/destination.ts'
import type { ClusterState } from '../outbound/cluster-state.ts'
import { pickDestination } from '../outbound/split.ts'

/** What a route can see of a question, which goes where the provider's service is. */
const NOTHING = {
  method: '',
  target: '/',
  authority: '',
  fields: { first: () => undefined, values: () => [] },
} as const

/** The whole service, whatever routes lead to it; else where requests to it go. */
export function clusterOf(destination: Destination): ClusterState | undefined {
  const { bundle, clusters } = destination
  if (bundle.kind !== 'known') return undefined
  const whole = clusters.get(`outbound|${bundle.port}||${bundle.host}`)
  if (whole !== undefined) return whole
  const action = destination.pickRoute(NOTHING)?.action
  // Where routes part the ways, the first is as good as any: all are the provider's.
  return action?.kind === 'forward' ? pickDestination(action.split, () => 0).cluster : undefined
}
