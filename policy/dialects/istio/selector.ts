/** Workload selection of Istio's kinds (istio-semantics §0.4). */
import { z } from 'zod'

import type { Labels } from '../../model/intent.ts'
import type { Warning } from '../kind.ts'
import type { PathKey } from '../pointer.ts'
import { fields, type Report } from '../schema.ts'

/** Reports what is wrong with a selector's labels; `path` is where they stand. */
export function checkLabels(labels: Labels, path: readonly PathKey[], report: Report): void {
  for (const [key, value] of Object.entries(labels)) {
    const at = [...path, key]
    if (key === '') report(at, 'a label without a name is not supported')
    if (key.includes('*') || value.includes('*'))
      report(at, 'a wildcard is not supported in a selector')
    if (value.length > 63) report(at, 'the value is longer than 63 characters')
  }
}

const MAX_LABELS = 4096

interface SelectorLabels {
  readonly labels?: Readonly<Record<string, string>> | undefined
}

const MAX_SELECTOR_LABELS = 256

/** `workloadSelector` with `labels`. */
export const labelsSchema: z.ZodType<SelectorLabels> = fields(
  { labels: z.record(z.string(), z.string()).optional() },
  {
    check: ({ labels = {} }, report) => {
      checkLabels(labels, ['labels'], report)
      if (Object.keys(labels).length > MAX_SELECTOR_LABELS)
        report(['labels'], `it has more than ${MAX_SELECTOR_LABELS} labels`)
    },
  },
)

interface MatchLabels {
  readonly matchLabels?: Record<string, string> | undefined
}

/** `selector` and `workloadSelector` with `matchLabels`. */
export const matchLabelsSchema: z.ZodType<MatchLabels> = fields(
  { matchLabels: z.record(z.string(), z.string()).optional() },
  {
    check: ({ matchLabels = {} }, report) => {
      checkLabels(matchLabels, ['matchLabels'], report)
      if (Object.keys(matchLabels).length > MAX_LABELS) {
        report(['matchLabels'], `it has more than ${MAX_LABELS} labels`)
      }
    },
  },
)

/** The labels to select by; `undefined` for a selector that is left out or has none. */
export function selectorOf(selector: MatchLabels | undefined): Labels | undefined {
  const labels = selector?.matchLabels
  return labels && Object.keys(labels).length > 0 ? labels : undefined
}

/** A selector object without labels is legal and selects everything, which few mean. */
export function warnEmptySelector(
  selector: MatchLabels | undefined,
  field = 'selector',
): readonly Warning[] {
  if (!selector || selectorOf(selector)) return []
  const message = 'the selector has no labels, so it applies to every workload in its scope'
  return [{ path: ['spec', field], message }]
}
