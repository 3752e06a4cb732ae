/** `redoubt cert inspect --watch`: a line for each rotation, and for each time that nobody answers. */
import {
  type CertificateReport,
  type Change,
  diffCertificates,
  type Inspection,
  inWords,
} from '#ca/inspect/index.ts'
import { type ExitCode, type Input, type Io, textOption } from './command.ts'
import { parseDuration, parseForOption } from './duration.ts'
import { isGood } from './inspection.ts'
import { outputFormat, print, styleOf } from './output.ts'

/** What was seen that was not so before. */
interface Sight {
  /** RFC 3339, UTC. */
  readonly time: string
  /** `changed`: more than a rotation changes. `unreachable`: nothing could be seen. */
  readonly event: 'first' | 'rotated' | 'changed' | 'unreachable'
  readonly spiffeId?: string | null
  readonly serial?: string
  readonly notAfter?: string
  readonly remainingSeconds?: number
  readonly changes?: readonly Change[]
  /** Whether it is good by all that is expected. */
  readonly good: boolean
  /** Why it is not. */
  readonly error?: string
}

/**
 * Looks again and again until the time is over or `signal` aborts.
 *
 * @returns 1 if anything that was seen was not good, or could not be seen
 */
export async function watchCertificates(
  io: Io,
  input: Input,
  look: () => Promise<Inspection>,
  signal: AbortSignal,
): Promise<ExitCode> {
  const intervalMs = parseDuration(textOption(input, 'interval') ?? '1s')
  const endMs = io.clock.nowMs() + parseForOption(textOption(input, 'for'))
  let last: CertificateReport | undefined
  let lastEvent = ''
  let allGood = true
  while (!signal.aborted) {
    const { sight, leaf } = await see(io, look, last)
    const isNews = sight && (sight.event !== 'unreachable' || lastEvent !== 'unreachable')
    if (sight && isNews && !signal.aborted) {
      allGood &&= sight.good
      print(io, outputFormat(input), sight, () => [sightLine(io, sight, last)])
    }
    lastEvent = sight?.event ?? (leaf ? '' : lastEvent)
    last = leaf ?? last
    if (io.clock.nowMs() + intervalMs > endMs) break
    await io.clock.sleep(intervalMs, signal).catch(() => {}) // the signal is an end too
  }
  return allGood ? 0 : 1
}

async function see(
  io: Io,
  look: () => Promise<Inspection>,
  last: CertificateReport | undefined,
): Promise<{ readonly sight?: Sight; readonly leaf?: CertificateReport }> {
  const time = io.now().round('second').toString()
  try {
    const inspection = await look()
    const leaf = inspection.certificates.find(({ ca }) => !ca) ?? inspection.certificates[0]
    if (!leaf)
      return { sight: { time, event: 'unreachable', good: false, error: 'no certificate' } }
    const changes = last ? diffCertificates(last, leaf) : []
    if (last && changes.length === 0) return { leaf }
    const { spiffeId, serial, notAfter, remainingSeconds } = leaf
    const good = isGood(inspection)
    const error = faultOf(inspection)
    const facts = { spiffeId, serial, notAfter, remainingSeconds, changes, good }
    const sight = { time, event: eventOf(last, changes), ...facts, ...(!good && { error }) }
    return { leaf, sight }
  } catch (cause) {
    const error = cause instanceof Error ? cause.message : String(cause)
    return { sight: { time, event: 'unreachable', good: false, error } }
  }
}

function eventOf(
  last: CertificateReport | undefined,
  changes: readonly Change[],
): 'first' | 'rotated' | 'changed' {
  if (!last) return 'first'
  return changes.some(({ kind }) => kind === 'meaning') ? 'changed' : 'rotated'
}

function faultOf({ certificates, chain }: Inspection): string {
  const findings = certificates.flatMap((one) => one.findings)
  const first = findings.find(({ severity }) => severity === 'error')
  return chain.verified === false ? (chain.error ?? '') : (first?.message ?? 'see cert inspect')
}

function sightLine(io: Io, sight: Sight, last: CertificateReport | undefined): string {
  const style = styleOf(io)
  const { time, event, error = '' } = sight
  if (event === 'unreachable') return `${time}  ${style.bad(event)}  ${error}`
  const { spiffeId, serial, remainingSeconds = 0, changes = [] } = sight
  const left = remainingSeconds < 0 ? 'ran out' : `${inWords(remainingSeconds)} left`
  const notable = changes
    .filter(({ kind }) => kind !== 'rotation')
    .map(({ field, before, after }) => `${field}: ${before} → ${after}`)
  return [
    `${time}  ${event.padEnd(7)}  ${spiffeId ?? 'no SPIFFE ID'}`,
    last ? `serial ${last.serial.slice(0, 8)}… → ${serial}` : `serial ${serial}`,
    left,
    ...notable.map((change) => style.warn(change)),
    ...(sight.good ? [] : [style.bad(`✘ ${error}`)]),
  ].join('  ')
}
