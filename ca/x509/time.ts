import { CaError } from '../error.ts'
import { type DerNode, derOf, TAG } from './der.ts'

/** Lengths of YYMMDDHHMMSSZ and YYYYMMDDHHMMSSZ. */
const UTC_LENGTH = 13
const GENERALIZED_LENGTH = 15

/** A time in the only two forms that RFC 5280 §4.1.2.5 allows, both to the second and in UTC. */
export function readTime({ tag, body }: DerNode): Temporal.Instant {
  const short = tag === TAG.utcTime && body.length === UTC_LENGTH
  if (!short && !(tag === TAG.generalizedTime && body.length === GENERALIZED_LENGTH))
    malformed(body)
  if (body.at(-1) !== 0x5a) malformed(body)
  const first = pair(body, 0)
  const year = short ? first + (first < 50 ? 2000 : 1900) : first * 100 + pair(body, 2)
  const at = short ? 2 : 4
  const [month, day, hour] = [pair(body, at), pair(body, at + 2), pair(body, at + 4)]
  const [minute, second] = [pair(body, at + 6), pair(body, at + 8)]
  if (day < 1 || day > daysOf(month, year) || hour > 23 || minute > 59 || second > 59) {
    throw refusedTime(`${textOf(body)} is not in the calendar`)
  }
  // The years to 99 would be those of the 20th century; 400 years are always as long.
  const epochMs = Date.UTC(year + 400, month - 1, day, hour, minute, second) - FOUR_CENTURIES_MS
  return instantOf(epochMs)
}

const FOUR_CENTURIES_MS = 146_097 * 86_400_000

/** Days of a month, 1 to 12, of the Gregorian calendar; 0 of what is no month. */
function daysOf(month: number, year: number): number {
  if (month === 2 && year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0)) return 29
  return MONTHS[month - 1] ?? 0
}

const MONTHS: readonly number[] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]

/**
 * The instant of whole seconds at `epochMs`. Some are remembered: making one, which the garbage collector has to
 * look after by itself, costs more than reading it, and certificates of one time have them in common.
 */
export function instantOf(epochMs: number): Temporal.Instant {
  const at = Math.abs(epochMs / 1000) % REMEMBERED
  const known = instants[at]
  if (known?.epochMs === epochMs) return known.instant
  const instant = Temporal.Instant.fromEpochMilliseconds(epochMs)
  instants[at] = { epochMs, instant }
  return instant
}

const REMEMBERED = 32
const instants: { readonly epochMs: number; readonly instant: Temporal.Instant }[] = []

/** Two decimal digits. */
function pair(body: Uint8Array, at: number): number {
  const [tens, ones] = [(body[at] ?? 0) - 0x30, (body[at + 1] ?? 0) - 0x30]
  if (tens < 0 || tens > 9 || ones < 0 || ones > 9) malformed(body)
  return tens * 10 + ones
}

function malformed(body: Uint8Array): never {
  throw refusedTime(`${JSON.stringify(textOf(body))} is not one`)
}

function textOf(body: Uint8Array): string {
  return Buffer.from(body).toString('latin1')
}

function refusedTime(why: string): CaError {
  return new CaError('CA_DER_INVALID', `Cannot read a time: ${why}`)
}

/** `instant`, cut to the second: UTCTime through 2049, GeneralizedTime after (RFC 5280 §4.1.2.5). */
export function timeDer(instant: Temporal.Instant): Uint8Array {
  const digits = new Date(instant.epochMilliseconds).toISOString().replace(/[-:T]|\.\d+/g, '')
  return digits < '2050'
    ? derOf(TAG.utcTime, Buffer.from(digits.slice(2), 'latin1'))
    : derOf(TAG.generalizedTime, Buffer.from(digits, 'latin1'))
}
