/** Prometheus text exposition format, version 0.0.4. */
import { BUCKETS, type Histogram } from './buckets.ts'

export const PROMETHEUS_CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8'

/** A label value, escaped. */
export function escapeLabel(value: string): string {
  return PLAIN.test(value)
    ? value
    : value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
}

const PLAIN = /^[^\\"\n]*$/

/** `name="value"` pairs, joined with commas, in the order given. */
export function labelText(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([name, value]) => `${name}="${escapeLabel(value)}"`)
    .join(',')
}

/** The two lines before the samples of a metric. */
export function heading(
  name: string,
  kind: 'counter' | 'gauge' | 'histogram',
  help: string,
): string {
  const line = help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')
  return `# HELP ${name} ${line}\n# TYPE ${name} ${kind}\n`
}

/** One sample. `labels` as {@link labelText} gives them, '' for none. */
export function sample(name: string, labels: string, value: number): string {
  return labels === '' ? `${name} ${value}\n` : `${name}{${labels}} ${value}\n`
}

/** All samples of one histogram: buckets that add up, sum and count. */
export function histogramSamples(name: string, labels: string, histogram: Histogram): string {
  const separator = labels === '' ? '' : ','
  let text = ''
  let count = 0
  for (const [index, bound] of [...BUCKETS, '+Inf'].entries()) {
    count += histogram.counts[index] ?? 0
    text += `${name}_bucket{${labels}${separator}le="${bound}"} ${count}\n`
  }
  return `${text}${sample(`${name}_sum`, labels, histogram.sum)}${sample(`${name}_count`, labels, count)}`
}
