/** Metrics that are looked at when somebody asks, rather than counted as things happen. */
import type { Svid } from '#agent/client/index.ts'
import type { Live } from '#core/live.ts'
import type { HeldResource, PolicySession } from '../sync/policy-stream.ts'
import type { Sample } from './metrics.ts'

export interface SampleSources {
  readonly svid: Live<Pick<Svid, 'id' | 'notAfter'>>
  readonly session: Pick<PolicySession, 'held' | 'isConnected'>
  readonly isReady: () => boolean
  /** Of this software. */
  readonly version: string
}

/** Counts rotations until `signal`; what it returns takes the samples of the moment. */
export function createSampler(
  sources: SampleSources,
  signal: AbortSignal,
): () => readonly Sample[] {
  const { svid, session, isReady, version } = sources
  let seen = 0
  const watch = async (): Promise<void> => {
    for await (const _ of svid.changes(signal)) seen += 1
  }
  // Ends with the signal alone.
  watch().catch(() => {})
  return () => [
    { name: 'istio_build', labels: { component: 'proxy', tag: version }, value: 1 },
    { name: 'redoubt_ready', labels: {}, value: Number(isReady()) },
    {
      name: 'redoubt_svid_expiry_timestamp_seconds',
      labels: { spiffe_id: svid.current.id },
      value: svid.current.notAfter.epochMilliseconds / 1000,
    },
    // The first certificate replaced none.
    { name: 'redoubt_svid_rotations_total', labels: {}, value: Math.max(0, seen - 1) },
    {
      name: 'redoubt_policy_stream_connected',
      labels: {},
      value: Number(session.isConnected()),
    },
    ...resourceSamples(session.held()),
  ]
}

function resourceSamples(held: readonly HeldResource[]): readonly Sample[] {
  const states = { applied: 0, pending: 0, rejected: 0 }
  for (const resource of held) states[stateOf(resource)] += 1
  return Object.entries(states).map(([state, value]) => ({
    name: 'redoubt_config_resources',
    labels: { state },
    value,
  }))
}

function stateOf({ applied, rejected }: HeldResource): 'applied' | 'pending' | 'rejected' {
  if (rejected !== undefined) return 'rejected'
  return applied === '' ? 'pending' : 'applied'
}
