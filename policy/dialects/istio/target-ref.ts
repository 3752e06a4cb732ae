/** What a policy is attached to: a selector, one reference or several (istio-semantics §0.4). */
import { z } from 'zod'

import { fields, type Report } from '../schema.ts'

/** What a policy may refer to with `targetRefs`, as `group/kind`; the core group has two spellings. */
const TARGETS = [
  '/Service',
  'core/Service',
  'networking.istio.io/ServiceEntry',
  'gateway.networking.k8s.io/Gateway',
  'gateway.networking.k8s.io/GatewayClass',
]

const MAX_TARGETS = 16
const MAX_NAME = 253

interface TargetRef {
  readonly group?: string | undefined
  readonly kind: string
  readonly name: string
  readonly namespace?: string | undefined
}

const targetRef: z.ZodType<TargetRef> = fields(
  {
    group: z.string().optional(),
    kind: z.string().min(1),
    name: z.string().min(1).max(MAX_NAME),
    namespace: z.string().optional(),
  },
  {
    check: ({ group = '', kind, namespace = '' }, report) => {
      if (namespace !== '')
        report(['namespace'], 'a reference to another namespace is not supported: leave it out')
      if (!TARGETS.includes(`${group}/${kind}`)) {
        report(
          [],
          `found ${JSON.stringify(`${group}/${kind}`)}, expected one of ${TARGETS.join(', ')}`,
        )
      }
    },
  },
)

/** The fields of a spec beside `selector`. */
export const targetFields: {
  readonly targetRef: z.ZodOptional<typeof targetRef>
  readonly targetRefs: z.ZodOptional<z.ZodArray<typeof targetRef>>
} = {
  targetRef: targetRef.optional(),
  targetRefs: z.array(targetRef).max(MAX_TARGETS).optional(),
}

interface Attached {
  readonly selector?: object | undefined
  readonly targetRef?: object | undefined
  readonly targetRefs?: readonly object[] | undefined
}

/** An empty `targetRefs` counts: the API server counts fields, not entries. */
export function checkAttachment(
  { selector, targetRef: single, targetRefs }: Attached,
  report: Report,
): void {
  const set = [selector, single, targetRefs].filter((one) => one !== undefined)
  if (set.length > 1) {
    report([], 'more than one of selector, targetRef and targetRefs is set: expected one at most')
  }
}

/** Attached by reference, so for gateways and waypoints (§0.4). */
export function isTargeted({ targetRef: single, targetRefs = [] }: Attached): boolean {
  return single !== undefined || targetRefs.length > 0
}
