import type { DestinationBundle } from '../model/bundle.ts'
import type { Intent, WorkloadInstance } from '../model/intent.ts'

/** How `client` reaches `host` (a Host header without port, any case) at service port `port`. Pure. */
export function assembleDestination(
  _intent: Intent,
  _instances: readonly WorkloadInstance[],
  _client: WorkloadInstance,
  _host: string,
  _port: number,
): DestinationBundle {
  throw new Error('not yet')
}
