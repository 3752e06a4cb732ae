/** What decides in a mesh that runs, for commands that ask about it. Pure. */
import type { SubscriberStatus, WorkloadInstance } from '#policy/index.ts'
import type { Reading } from './last-good.ts'
import type { SourceFile } from './messages.ts'

export interface InForce {
  /** Of each file its newest text without a fault. */
  readonly files: readonly SourceFile[]
  /** Files whose newest text has a fault, so that an older one is in force. */
  readonly faulty: readonly string[]
  /** `namespace/name` of workloads that do not serve now. */
  readonly away: readonly string[]
  /** `namespace/name` of those whose sidecars have not yet applied the newest configuration. */
  readonly behind: readonly string[]
}

/** @param subscribers - `undefined`: the policy server is away, so nobody knows who is behind */
export function inForce(
  { files, faulty, intent }: Reading,
  instances: readonly WorkloadInstance[],
  subscribers: readonly SubscriberStatus[] | undefined,
): InForce {
  const serving = new Set(instances.map(keyOf))
  const behind = (subscribers ?? []).filter(({ resources }) =>
    resources.some(
      ({ name, desired, applied }) => name.startsWith('inbound/') && desired !== applied,
    ),
  )
  return {
    files,
    faulty: [...new Set(faulty.map(({ file }) => file))],
    away: intent.workloads.map(keyOf).filter((key) => !serving.has(key)),
    behind: behind.map(({ workload }) => workload),
  }
}

function keyOf({ namespace, name }: { readonly namespace: string; readonly name: string }): string {
  return `${namespace}/${name}`
}
