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
  const date = new Date(0)
  date.setUTCFullYear(year, month - 1, day)
  date.setUTCHours(hour, minute, second)
  // What is not in the calendar rolls over to what is: 30 February, hour 24.
  const isInCalendar = date.getUTCMonth() === month - 1 && date.getUTCDate() === day
  if (!isInCalendar || hour > 23 || minute > 59 || second > 59) {
    throw refusedTime(`${textOf(body)} is not in the calendar`)
  }
  return Temporal.Instant.fromEpochMilliseconds(date.getTime())
}

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
