import type { InboundBundle } from '../model/bundle.ts'
import type { Intent, WorkloadInstance } from '../model/intent.ts'

/** Everything the sidecar of `workload` needs to guard its app. Pure. */
export function assembleInbound(_intent: Intent, _workload: WorkloadInstance): InboundBundle {
  throw new Error('not yet')
}
