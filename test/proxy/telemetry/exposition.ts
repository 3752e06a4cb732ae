/** A strict reader of Prometheus' text format, written from its specification and not from ours. */

export interface ReadSample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

export interface Exposition {
  readonly types: ReadonlyMap<string, string>
  readonly samples: readonly ReadSample[]
}

const METRIC = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/
const SAMPLE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? ([^ ]+)$/s
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\[\\"n])*)"(,|$)/gsy

/** Throws on the first line that is not as the format wants it. */
export function readExposition(text: string): Exposition {
  if (text !== '' && !text.endsWith('\n')) throw new Error('the last line does not end')
  const types = new Map<string, string>()
  const helped = new Set<string>()
  const samples: ReadSample[] = []
  const seen = new Set<string>()
  let family = ''
  for (const line of text.split('\n').slice(0, -1)) {
    const [, kind, name = '', rest = ''] = /^# (HELP|TYPE) ([^ ]+) (.*)$/s.exec(line) ?? []
    if (kind !== undefined) {
      if (!METRIC.test(name)) throw new Error(`no metric name: ${line}`)
      if (kind === 'HELP' && helped.has(name)) throw new Error(`a second HELP: ${line}`)
      if (kind === 'TYPE' && types.has(name)) throw new Error(`a second TYPE: ${line}`)
      if (kind === 'HELP') helped.add(name)
      else types.set(name, rest)
      family = name
      continue
    }
    const sample = readSample(line)
    const own = types.get(family) === 'histogram' ? /_(bucket|sum|count)$/ : /$/
    if (sample.name.replace(own, '') !== family) throw new Error(`not of ${family}: ${line}`)
    const key = line.slice(0, line.lastIndexOf(' '))
    if (seen.has(key)) throw new Error(`a second time: ${line}`)
    seen.add(key)
    samples.push(sample)
  }
  for (const [name, type] of types) if (type === 'histogram') checkHistogram(name, samples)
  return { types, samples }
}

function readSample(line: string): ReadSample {
  const [, name = '', inside = '', value = ''] = SAMPLE.exec(line) ?? []
  if (name === '' || Number.isNaN(Number(value))) throw new Error(`no sample: ${line}`)
  const labels: Record<string, string> = {}
  LABEL.lastIndex = 0
  for (let at = 0; at < inside.length; at = LABEL.lastIndex) {
    const [all, label = '', escaped = ''] = LABEL.exec(inside) ?? []
    if (all === undefined || label in labels) throw new Error(`labels are wrong: ${line}`)
    labels[label] = escaped.replace(/\\(.)/g, (_, one: string) => (one === 'n' ? '\n' : one))
  }
  return { name, labels, value: Number(value) }
}

function checkHistogram(name: string, samples: readonly ReadSample[]): void {
  const keyOf = ({ labels }: ReadSample) => JSON.stringify({ ...labels, le: undefined })
  const series = Map.groupBy(
    samples.filter((one) => one.name === `${name}_bucket`),
    keyOf,
  )
  for (const [key, buckets] of series) {
    const bounds = buckets.map(({ labels }) => Number(labels['le']?.replace('+Inf', 'Infinity')))
    const rises = (values: readonly number[], strictly: boolean) =>
      values.every(
        (value, at) => at === 0 || value - (values[at - 1] ?? 0) >= (strictly ? 1e-9 : 0),
      )
    if (!rises(bounds, true) || bounds.at(-1) !== Number.POSITIVE_INFINITY) {
      throw new Error(`bounds of ${name} do not rise to +Inf: ${bounds}`)
    }
    const values = buckets.map(({ value }) => value)
    if (!rises(values, false)) throw new Error(`buckets of ${name} do not add up: ${values}`)
    const count = samples.find((one) => one.name === `${name}_count` && keyOf(one) === key)
    if (count?.value !== values.at(-1)) throw new Error(`count of ${name} is another`)
    if (!samples.some((one) => one.name === `${name}_sum` && keyOf(one) === key)) {
      throw new Error(`no sum of ${name}`)
    }
  }
}
