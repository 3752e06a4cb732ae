/** `redoubt cert inspect --watch`: a line for each rotation, each loss of an answer, and each turn to the worse. */
import {
  type CertificateReport,
  type Change,
  diffCertificates,
  type Inspection,
  inWords,
} from '#ca/inspect/index.ts'
import { type ExitCode, type Input, type Io, textOption } from './command.ts'
import { DeployError } from '../error.ts'
import { parseDuration, parseForOption } from './duration.ts'
import { isGood } from './inspection.ts'
import { outputFormat, print, styleOf } from './output.ts'

/** What was seen that was not so before. */
interface Sight {
  /** RFC 3339, UTC. */
  readonly time: string
  /**
   * `changed`: more than a rotation changes. `unreachable`: nothing could be seen; `back`: the same as
   * before that. `failing`, `recovered`: the same certificate is not good any more, such as when it ran
   * out, or is good again.
   */
  readonly event: 'first' | 'rotated' | 'changed' | 'unreachable' | 'back' | 'failing' | 'recovered'
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

/** What one look saw. */
interface Look {
  /** The certificate; `undefined`: nothing could be seen. */
  readonly leaf?: CertificateReport
  readonly good: boolean
  /** What is new; `undefined`: all is as it was. */
  readonly sight?: Sight
}

/** Milliseconds; whoever looks more often looks at nothing but itself. */
const MIN_INTERVAL_MS = 100

/**
 * Looks again and again until the time is over or `signal` aborts.
 *
 * @returns 1 if anything that was seen was not good, or could not be seen
 * @throws {DeployError} `DEPLOY_USAGE`
 */
export async function watchCertificates(
  io: Io,
  input: Input,
  look: () => Promise<Inspection>,
  signal: AbortSignal,
): Promise<ExitCode> {
  const intervalMs = intervalOf(input)
  const endMs = io.clock.nowMs() + parseForOption(textOption(input, 'for'))
  let last: CertificateReport | undefined
  let before: Look | undefined
  let allGood = true
  while (!signal.aborted) {
    const seen = await see(io, look, last, before)
    if (signal.aborted) break
    const { sight } = seen
    if (sight) print(io, outputFormat(input), sight, () => [sightLine(io, sight, last)])
    allGood &&= seen.good
    before = seen
    last = seen.leaf ?? last
    if (io.clock.nowMs() + intervalMs > endMs) break
    await io.clock.sleep(intervalMs, signal).catch(() => {}) // the signal is an end too
  }
  return allGood ? 0 : 1
}

function intervalOf(input: Input): number {
  const text = textOption(input, 'interval') ?? '1s'
  const ms = parseDuration(text)
  const why =
    (ms < MIN_INTERVAL_MS && `--interval is ${text}, expected at least ${MIN_INTERVAL_MS}ms`) ||
    (input.arguments[0] === '-' &&
      'standard input can be read once, expected a FILE or HOST:PORT') ||
    (textOption(input, 'output') === 'pem' && '--output is pem, expected text, json or yaml')
  if (why) throw new DeployError('DEPLOY_USAGE', `Cannot watch: ${why}`)
  return ms
}

async function see(
  io: Io,
  look: () => Promise<Inspection>,
  last: CertificateReport | undefined,
  before: Look | undefined,
): Promise<Look> {
  const time = io.now().round('second').toString()
  const nothing = (error: string): Look => {
    const isNew = before === undefined || before.leaf !== undefined
    return {
      good: false,
      ...(isNew && { sight: { time, event: 'unreachable', good: false, error } }),
    }
  }
  try {
    const inspection = await look()
    const leaf = inspection.certificates.find(({ ca }) => !ca) ?? inspection.certificates[0]
    if (!leaf) return nothing('no certificate')
    const good = isGood(inspection)
    const changes = last ? diffCertificates(last, leaf) : []
    const event = last ? eventOf(changes, good, before) : 'first'
    if (!event) return { leaf, good }
    const { spiffeId, serial, notAfter, remainingSeconds } = leaf
    const facts = { spiffeId, serial, notAfter, remainingSeconds, changes, good }
    return {
      leaf,
      good,
      sight: { time, event, ...facts, ...(!good && { error: faultOf(inspection) }) },
    }
  } catch (cause) {
    return nothing(cause instanceof Error ? cause.message : String(cause))
  }
}

/** What has happened since the last look; `undefined`: nothing. */
function eventOf(
  changes: readonly Change[],
  good: boolean,
  before: Look | undefined,
): Sight['event'] | undefined {
  if (changes.some(({ kind }) => kind === 'meaning')) return 'changed'
  if (changes.length > 0) return 'rotated'
  if (!before?.leaf) return 'back'
  if (good === before.good) return undefined
  return good ? 'recovered' : 'failing'
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
    `${time}  ${event.padEnd(9)}  ${spiffeId ?? 'no SPIFFE ID'}`,
    last && last.serial !== serial
      ? `serial ${last.serial.slice(0, 8)}… → ${serial}`
      : `serial ${serial}`,
    left,
    ...notable.map((change) => style.warn(change)),
    ...(sight.good ? [] : [style.bad(`✘ ${error}`)]),
  ].join('  ')
}
