/** What the demo shows on a terminal, redrawn every half second. Pure: two readings in, lines out. */
import Table from 'cli-table3'
import { bucketsBetween, quantile } from './quantile.ts'
import type { EdgeReading, Reading, WorkloadReading } from './reading.ts'
import { refusalText } from './summary.ts'

/** Three commands for the newcomer, each with what it shows. */
export interface Hint {
  readonly what: string
  readonly command: string
}

export interface View {
  readonly title: string
  readonly newest: Reading
  /** A reading some seconds older: rates and quantiles are of the time between the two. */
  readonly earlier: Reading
  /** Epoch milliseconds. */
  readonly nowMs: number
  /** Of the terminal. */
  readonly columns: number
  readonly hints: readonly Hint[]
  /** The last events, oldest first. */
  readonly events: readonly string[]
  readonly paint: (
    style: 'bold' | 'dim' | 'green' | 'red' | 'cyan' | 'yellow',
    text: string,
  ) => string
}

/** The whole screen. */
export function viewLines(view: View): readonly string[] {
  const { title, newest, paint } = view
  return [
    paint('bold', title),
    '',
    ...workloadTable(view).split('\n'),
    '',
    ...edgeTable(view).split('\n'),
    '',
    `  ${canaryLine(view)}`,
    '',
    paint('bold', 'Refused'),
    ...(newest.refusals.length === 0
      ? [paint('dim', '  nobody yet')]
      : newest.refusals.map((refusal) => `  ${paint('red', '✗')} ${refusalText(refusal)}`)),
    '',
    paint('bold', 'Try next, in another terminal'),
    ...view.hints.flatMap(({ what, command }) => [
      `  ${paint('dim', `# ${what}`)}`,
      `  ${paint('cyan', command)}`,
    ]),
    '',
    ...view.events.map((event) => paint('dim', event)),
    paint('dim', 'Ctrl-C stops everything.'),
  ]
}

/** One line a row: the whole screen has to fit on a laptop's terminal. */
const PLAIN = {
  style: { head: [], border: [], 'padding-left': 0, 'padding-right': 2 },
  chars: {
    top: '',
    'top-mid': '',
    'top-left': '',
    'top-right': '',
    bottom: '',
    'bottom-mid': '',
    'bottom-left': '',
    'bottom-right': '',
    left: '  ',
    'left-mid': '',
    mid: '',
    'mid-mid': '',
    right: '',
    'right-mid': '',
    middle: '',
  },
}

/** Columns below which only the account of a SPIFFE ID is shown. */
const WIDE = 110

function workloadTable({ newest, nowMs, columns, paint }: View): string {
  const table = new Table({
    head: bold(paint, ['workload', 'SPIFFE ID', 'serial', 'time left', 'next rotation', 'rotated']),
    ...PLAIN,
  })
  for (const one of newest.workloads) {
    table.push([
      one.workload,
      columns < WIDE ? one.spiffeId.replace(/^spiffe:\/\/[^/]+/, '…') : one.spiffeId,
      `${one.serial.slice(0, 8)}…`,
      leftText(one, nowMs, paint),
      nextText(one, nowMs),
      `${one.rotations}×`,
    ])
  }
  return table.toString()
}

function bold(paint: View['paint'], names: readonly string[]): string[] {
  return names.map((name) => paint('bold', name))
}

function leftText({ notAfterMs }: WorkloadReading, nowMs: number, paint: View['paint']): string {
  const left = (notAfterMs - nowMs) / 1000
  return paint(left > 3 ? 'green' : 'red', secondsText(left))
}

function nextText({ renewalMs }: WorkloadReading, nowMs: number): string {
  if (renewalMs === undefined) return 'unknown'
  const left = (renewalMs - nowMs) / 1000
  return left > 0 ? `in ${secondsText(left)}` : 'now'
}

function secondsText(seconds: number): string {
  return `${Math.max(0, seconds).toFixed(1).padStart(4)} s`
}

function edgeTable({ newest, earlier, paint }: View): string {
  const table = new Table({
    head: bold(paint, ['from', 'to', 'req/s', 'success', 'refused', 'p50 ms', 'p99 ms']),
    colAligns: ['left', 'left', 'right', 'right', 'right', 'right', 'right'],
    ...PLAIN,
  })
  const seconds = Math.max(0.001, (newest.atMs - earlier.atMs) / 1000)
  for (const edge of newest.edges) {
    const before = earlier.edges.find(({ from, to }) => from === edge.from && to === edge.to)
    if (edge.requests === before?.requests) continue
    table.push(edgeRow(edge, before, seconds, paint))
  }
  return table.toString()
}

const NOTHING = { requests: 0, succeeded: 0, refused: 0, buckets: [] }

function edgeRow(
  edge: EdgeReading,
  before: Omit<EdgeReading, 'from' | 'to'> = NOTHING,
  seconds: number,
  paint: View['paint'],
): string[] {
  const requests = edge.requests - before.requests
  const refused = edge.refused - before.refused
  const asked = requests - refused
  const succeeded = edge.succeeded - before.succeeded
  const buckets = bucketsBetween(before.buckets, edge.buckets)
  const ms = (share: number): string => quantile(share, buckets)?.toFixed(1) ?? '–'
  return [
    edge.from,
    edge.to,
    (requests / seconds).toFixed(1),
    asked > 0 ? paint('green', `${((100 * succeeded) / asked).toFixed(1)} %`) : '–',
    refused > 0 ? paint('red', `${((100 * refused) / requests).toFixed(0)} %`) : '–',
    ms(0.5),
    ms(0.99),
  ]
}

function canaryLine({ newest }: View): string {
  const { v1 = 0, v2 = 0 } = newest.load?.versions ?? {}
  const total = v1 + v2 || 1
  const retries = newest.workloads.reduce((sum, one) => sum + one.retries, 0)
  return (
    `canary: v1 ${((100 * v1) / total).toFixed(1)} %, v2 ${((100 * v2) / total).toFixed(1)} % ` +
    `of ${v1 + v2}   retries by sidecars: ${retries}   lost: ${newest.load?.lost ?? 0}`
  )
}

/** One line a second, where the output is not a terminal. */
export function plainLine({ newest, earlier, nowMs }: View): string {
  const seconds = Math.max(0.001, (newest.atMs - earlier.atMs) / 1000)
  const { requests = 0, lost = 0 } = newest.load ?? {}
  const rate = (requests - (earlier.load?.requests ?? 0)) / seconds
  const { v1 = 0, v2 = 0 } = newest.load?.versions ?? {}
  const soonest = Math.min(...newest.workloads.map(({ notAfterMs }) => notAfterMs))
  const rotations = newest.workloads.reduce((sum, one) => sum + one.rotations, 0)
  return (
    `requests ${requests} (${rate.toFixed(0)}/s), lost ${lost}, canary ${v1}/${v2}, ` +
    `refused ${newest.intruder?.refused ?? 0}, rotations ${rotations}, ` +
    `shortest certificate ${secondsText((soonest - nowMs) / 1000).trim()}`
  )
}
