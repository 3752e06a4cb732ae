import { CaError } from '../error.ts'
import { type DerNode, derOf, TAG } from './der.ts'

const UTC_TIME = /^(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/
const GENERALIZED_TIME = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/

/** A time in the only two forms that RFC 5280 §4.1.2.5 allows, both to the second and in UTC. */
export function readTime({ tag, body }: DerNode): Temporal.Instant {
  const text = Buffer.from(body).toString('latin1')
  const parts = (tag === TAG.utcTime ? UTC_TIME : GENERALIZED_TIME).exec(text)
  if ((tag !== TAG.utcTime && tag !== TAG.generalizedTime) || !parts) {
    throw new CaError('CA_DER_INVALID', `Cannot read a time: ${JSON.stringify(text)} is not one`)
  }
  const [, year = '', month = '', day = '', hour = '', minute = '', second = ''] = parts
  const full = tag === TAG.generalizedTime ? year : `${Number(year) < 50 ? '20' : '19'}${year}`
  try {
    return Temporal.Instant.from(`${full}-${month}-${day}T${hour}:${minute}:${second}Z`)
  } catch (cause) {
    throw new CaError('CA_DER_INVALID', `Cannot read a time: ${text} is not in the calendar`, {
      cause,
    })
  }
}

/** `instant`, cut to the second: UTCTime through 2049, GeneralizedTime after (RFC 5280 §4.1.2.5). */
export function timeDer(instant: Temporal.Instant): Uint8Array {
  const digits = new Date(instant.epochMilliseconds).toISOString().replace(/[-:T]|\.\d+/g, '')
  return digits < '2050'
    ? derOf(TAG.utcTime, Buffer.from(digits.slice(2), 'latin1'))
    : derOf(TAG.generalizedTime, Buffer.from(digits, 'latin1'))
}
