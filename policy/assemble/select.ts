/** Which objects concern a workload (istio-semantics §0.4–§0.6). */
import type { ExportTo, Labels, ObjectRef } from '../model/intent.ts'

/** Whether every label of `selector` is on a workload with `labels`; left out, it selects all. */
export function selects(selector: Labels | undefined, labels: Labels): boolean {
  if (!selector) return true
  return Object.entries(selector).every(
    ([name, value]) => Object.hasOwn(labels, name) && labels[name] === value,
  )
}

/** Whether an object is visible in `namespace`. */
export function isExportedTo(exportTo: ExportTo, namespace: string): boolean {
  return exportTo.includes('*') || exportTo.includes(namespace)
}

/** The oldest first, then by name, then by namespace (§0.6). An object without a time counts as oldest. */
export function byAge(a: ObjectRef, b: ObjectRef): number {
  const times = (a.createdAt?.epochMilliseconds ?? 0) - (b.createdAt?.epochMilliseconds ?? 0)
  return times || compareText(a.name, b.name) || compareText(a.namespace, b.namespace)
}

/** By UTF-16 code units. */
export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

/** Whether `host` is covered by `pattern`, which may begin with `*`. `*.foo.com` does not cover `foo.com`. */
export function hostMatches(pattern: string, host: string): boolean {
  return pattern.startsWith('*') ? host.endsWith(pattern.slice(1)) : pattern === host
}

/** The more specific first: names before wildcards, longer before shorter, then alphabetical (§0.3). */
export function bySpecificity(a: string, b: string): number {
  const wild = Number(a.startsWith('*')) - Number(b.startsWith('*'))
  return wild || b.length - a.length || compareText(a, b)
}
