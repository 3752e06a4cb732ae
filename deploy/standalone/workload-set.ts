/** The workloads that run, and what the policy server is told of them. */

import type { Intent, WorkloadInstance } from '#policy/index.ts'
import type { WorkloadPlan } from './topology.ts'
import { openWorkload, type RunningWorkload, type WorkloadContext } from './workload.ts'

export interface WorkloadSet {
  readonly all: () => readonly RunningWorkload[]
  readonly find: (key: string) => RunningWorkload | undefined
  readonly open: (plans: readonly WorkloadPlan[], context: WorkloadContext) => Promise<void>
  /** Drains and ends; unknown keys are passed over. */
  readonly close: (keys: readonly string[]) => Promise<void>
  /** All of the intent; only those that serve have addresses. */
  readonly instances: (intent: Intent) => readonly WorkloadInstance[]
}

/** Milliseconds that a sidecar has for requests in flight, and then an app for its own end. */
export interface WorkloadGrace {
  readonly sidecarMs: number
  readonly appMs: number
}

/** An empty set. */
export function createWorkloadSet(grace: WorkloadGrace): WorkloadSet {
  const workloads = new Map<string, RunningWorkload>()
  return {
    all: () => [...workloads.values()],
    find: (key) => workloads.get(key),
    async open(plans, context) {
      const opened = plans.map(async (plan) => {
        workloads.set(plan.key, await openWorkload(plan, context))
      })
      await Promise.all(opened)
    },
    async close(keys) {
      const closing = keys.flatMap((key) => workloads.get(key) ?? [])
      // Sidecars first: what they still carry to the apps is answered.
      await Promise.all(closing.map((workload) => workload.drain(grace.sidecarMs)))
      await Promise.all(closing.map((workload) => workload.stop(grace.appMs)))
      for (const key of keys) workloads.delete(key)
    },
    instances: (intent) =>
      intent.workloads.map(({ namespace, name, labels, serviceAccount, sidecar, ports }) => ({
        namespace,
        name,
        labels,
        serviceAccount,
        sidecar,
        // One that does not serve has its configuration already, and no address to be dialled at.
        ports:
          workloads.get(`${namespace}/${name}`)?.ports() ??
          ports.map((port) => ({ ...port, address: '' })),
      })),
  }
}
