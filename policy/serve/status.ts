/** What each sidecar should have, has, and refused. */
import { serviceAccountId, type TrustDomain } from '#ca/spiffe/index.ts'
import type { WorkloadInstance } from '../model/intent.ts'
import type { Resources, SidecarStream } from './stream.ts'
import type { StreamState } from './stream-state.ts'

/** One resource of one subscriber. */
export interface ResourceStatus {
  readonly name: string
  /** Version that the newest intent gives; empty when there is no such resource now. */
  readonly desired: string
  /** Version that the sidecar last acknowledged; empty before the first. */
  readonly applied: string
  /** Its last refusal, until it acknowledges a version. */
  readonly rejected?: { readonly version: string; readonly reason: string }
}

export interface SubscriberStatus {
  /** `namespace/name`. */
  readonly workload: string
  readonly connected: boolean
  readonly resources: readonly ResourceStatus[]
}

export interface StatusInput {
  readonly instances: readonly WorkloadInstance[]
  readonly streams: readonly SidecarStream[]
  /** Of workloads whose stream has ended, by `namespace/name`. */
  readonly lastStates: ReadonlyMap<string, StreamState>
  readonly resources: Resources
  readonly trustDomain: TrustDomain
}

/** One entry for each running workload with a sidecar, connected or not, by name. */
export function statusOf({
  instances,
  streams,
  lastStates,
  resources,
  trustDomain,
}: StatusInput): readonly SubscriberStatus[] {
  const connected = new Map(
    streams.map(({ subscriber, state }) => [
      `${subscriber.namespace}/${subscriber.workload}`,
      state(),
    ]),
  )
  return instances
    .filter(({ sidecar }) => sidecar)
    .map((instance): SubscriberStatus => {
      const { namespace, name: workload } = instance
      const key = `${namespace}/${workload}`
      const state = connected.get(key) ?? lastStates.get(key)
      const subscriber = { namespace, workload, peer: serviceAccountId(trustDomain, instance) }
      const names = new Set([`inbound/${key}`, ...(state?.resources.keys() ?? [])])
      return {
        workload: key,
        connected: connected.has(key),
        resources: [...names].map((name): ResourceStatus => {
          const found = resources.read(name, subscriber)
          const { applied = '', rejected } = state?.resources.get(name) ?? {}
          return {
            name,
            desired: found.kind === 'content' ? found.content.version : '',
            applied,
            ...(rejected ? { rejected } : {}),
          }
        }),
      }
    })
    .toSorted((a, b) => (a.workload < b.workload ? -1 : 1))
}
