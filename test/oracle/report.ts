/** What differs, in a few lines that say where it is and how to see it again. */
import type { Pair } from './differences.ts'
import type { Fault, Verdict } from './tally.ts'

/** Faults of which all is told; of the others their number. */
const MAX_TOLD = 5
const MAX_LINE = 800

/** @param faults - not empty */
export function report(faults: readonly Fault[], seed: number): string {
  const told = faults.slice(0, MAX_TOLD).map((fault) => describe(fault, seed))
  const rest = faults.length - told.length
  const more = rest > 0 ? [`… and ${rest} more; REDOUBT_ORACLE_FAULTS=FILE writes them all`] : []
  return [`${faults.length} differ; seed ${seed}`, ...told, ...more].join('\n\n')
}

function describe(fault: Fault, seed: number): string {
  const { who, at } = fault
  const [set = at, id] = at.split('/')
  const { request, said, theirs, text, changed } = fault as Partial<Pair> & {
    readonly said?: Verdict
    readonly changed?: string
  }
  const where = `${areaOf(set)} · set ${set}${id === undefined ? '' : ` · request ${id}`} · ${who}`
  const details = typeof theirs === 'string' ? theirs : theirs?.details
  const lines = [
    where,
    ...(request === undefined
      ? []
      : [`  request ${JSON.stringify({ ...request, id: undefined })}`]),
    `  ours    ${sayOf(fault['ours'])}`,
    `  theirs  ${said === undefined ? '' : sayOf(said)} ${details ?? ''}`.trimEnd(),
    ...(changed === undefined ? [] : [`  changed ${changed}`]),
    ...(text === undefined ? [] : [`  of      ${withoutKeys(text)}`]),
    `  again   npm run test:oracle -- --seed ${seed} --only ${set}`,
  ]
  return lines.map((line) => line.slice(0, MAX_LINE)).join('\n')
}

/** `headers1234-5` is of the area `headers`; `g1234-5` is of the shared generator. */
function areaOf(set: string): string {
  const [name = ''] = /^[a-z]+/.exec(set) ?? []
  return name === 'g' ? 'shared generator' : `areas/${name}`
}

function sayOf(said: unknown): string {
  if (typeof said !== 'object' || said === null) return String(said)
  const { isAllowed, status, path, body, lines } = said as Verdict
  const verdict = isAllowed ? 'allow' : (status ?? 'closed')
  return [verdict, path, body && JSON.stringify(body), ...(lines ?? [])].filter(Boolean).join(' ')
}

/** Policies without the Service that all have, and without key sets. */
function withoutKeys(text: string): string {
  const manifests = JSON.parse(text) as readonly {
    readonly kind?: string
    readonly spec?: object
  }[]
  const others = manifests.filter(({ kind }) => kind !== 'Service')
  return JSON.stringify(others.map(({ kind, spec }) => ({ kind, spec }))).replaceAll(
    /"jwks":"(?:[^"\\]|\\.)*"/g,
    '"jwks":"…"',
  )
}
