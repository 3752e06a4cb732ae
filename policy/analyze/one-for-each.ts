/** Kinds of which one object alone counts for a workload, and one without a selector for a namespace. */
import { selects } from '../assemble/select.ts'
import type { Labels } from '../model/index.ts'
import type { Draft, FindingCode } from './finding.ts'
import { isRecord, type Scene, type Written } from './scene.ts'

interface OneForEach {
  readonly kind: string
  readonly labels: (spec: Readonly<Record<string, unknown>>) => unknown
  readonly same: FindingCode
  readonly several: FindingCode
}

const KINDS: readonly OneForEach[] = [
  {
    kind: 'Sidecar',
    labels: ({ workloadSelector }) => isRecord(workloadSelector) && workloadSelector['labels'],
    same: 'IST0110',
    several: 'IST0111',
  },
  {
    kind: 'Telemetry',
    labels: ({ selector }) => isRecord(selector) && selector['matchLabels'],
    same: 'IST0159',
    several: 'IST0160',
  },
]

/** IST0110, IST0111, IST0159, IST0160 */
export function findConflictingSelectors(scene: Scene): readonly Draft[] {
  return KINDS.flatMap((rule) => {
    const objects = scene.ofKind(rule.kind).map((written) => ({
      written,
      labels: labelsOf(written, rule),
    }))
    return objects.flatMap(({ written, labels }, at): readonly Draft[] => {
      const earlier = objects
        .slice(0, at)
        .filter((one) => one.written.namespace === written.namespace)
      const other = earlier.find((one) =>
        labels === undefined
          ? one.labels === undefined
          : one.labels !== undefined && shareWorkload(scene, written, labels, one.labels),
      )
      if (other === undefined) return []
      return [draftOf(written, other.written, labels === undefined ? rule.several : rule.same)]
    })
  })
}

function labelsOf({ value }: Written, { labels }: OneForEach): Labels | undefined {
  const found = isRecord(value['spec']) ? labels(value['spec']) : undefined
  return isRecord(found) && Object.keys(found).length > 0 ? (found as Labels) : undefined
}

function shareWorkload(
  { intent }: Scene,
  { namespace }: Written,
  one: Labels,
  other: Labels,
): boolean {
  const own = intent.workloads.filter((workload) => workload.namespace === namespace)
  return own.some(({ labels }) => selects(one, labels) && selects(other, labels))
}

function draftOf(subject: Written, other: Written, code: FindingCode): Draft {
  const { kind, namespace, name } = other
  const both = code === 'IST0110' || code === 'IST0159'
  const what = both ? 'selects a workload that this one does' : 'has no selector either'
  const message = `${namespace}/${name} ${what}: which ${kind} counts is not defined`
  const hint = both ? 'let their labels select different workloads' : 'make one of the two'
  return { code, subject, path: ['metadata', 'name'], message, hint }
}
