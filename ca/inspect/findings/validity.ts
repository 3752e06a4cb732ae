import { TAG } from '../../x509/der.ts'
import type { Rule, Subject } from './finding.ts'

/** Rules on when a certificate is valid, and on what it is called in a ledger. */
export const VALIDITY_RULES: readonly Rule[] = [
  {
    rule: 'expired',
    severity: 'error',
    source: 'RFC 5280 §6.1.3 (a)(2)',
    hint: 'if it is a leaf of a running mesh, look at the agent: redoubt status',
    check: ({ facts, now }) =>
      isInOrder(facts) &&
      Temporal.Instant.compare(now, facts.notAfter) > 0 &&
      `it ran out at ${facts.notAfter}`,
  },
  {
    rule: 'not-yet-valid',
    severity: 'error',
    source: 'RFC 5280 §4.1.2.5 (from notBefore)',
    hint: 'compare the clocks of this machine and of the CA',
    check: ({ facts, now }) =>
      isInOrder(facts) &&
      Temporal.Instant.compare(now, facts.notBefore) < 0 &&
      `it is not valid before ${facts.notBefore}`,
  },
  {
    rule: 'validity-order',
    severity: 'error',
    source: 'RFC 5280 §4.1.2.5 (begins, ends)',
    hint: 'issue it again: at no moment is it valid',
    check: ({ facts }) => !isInOrder(facts) && 'it ends before it begins',
  },
  {
    rule: 'time-type',
    severity: 'warning',
    source: 'RFC 5280 §4.1.2.5 (UTCTime through 2049)',
    check: ({ facts: { anatomy } }) => {
      const wrong = anatomy.times.find(
        ({ tag, text }) => tag === TAG.generalizedTime && text < '2050',
      )
      return wrong && `its time ${wrong.text} is a GeneralizedTime, expected UTCTime until 2050`
    },
  },
  {
    rule: 'time-fraction',
    severity: 'error',
    source: 'RFC 5280 §4.1.2.5.2',
    hint: 'issue it again with times in whole seconds: strict readers refuse it',
    check: ({ facts: { anatomy } }) => {
      const wrong = anatomy.times.find(({ text }) => text.includes('.'))
      return wrong && `its time ${wrong.text} has a fraction of a second, expected none`
    },
  },
  {
    rule: 'endless',
    severity: 'warning',
    source: 'RFC 5280 §4.1.2.5 (no well-defined end)',
    hint: 'give it an end: what never runs out can only be revoked',
    check: ({ facts }) => isEndless(facts) && 'it never runs out: its end is the end of 9999',
  },
  {
    rule: 'svid-short-life',
    of: 'leaf',
    severity: 'warning',
    source: 'Redoubt: lives of certificates',
    hint: 'an SVID cannot be called back by most peers; give it a short life and rotate it',
    check: ({ facts }) => {
      const hours = facts.notAfter.since(facts.notBefore).total('hours')
      return (
        hours > 24.5 &&
        !isEndless(facts) &&
        `it lives ${Math.round(hours)} hours, expected at most 24`
      )
    },
  },
  {
    rule: 'svid-rotation-late',
    of: 'leaf',
    severity: 'warning',
    source: 'Redoubt: renewal at half of the life',
    hint: 'see that the agent runs and reaches the CA: redoubt status, redoubt logs',
    check: ({ facts, now }) =>
      isRotationLate(facts, now) && 'a fifth of its life is left and it has not been renewed',
  },
  {
    rule: 'serial-positive',
    severity: 'error',
    source: 'RFC 5280 §4.1.2.2 (positive)',
    check: ({ facts: { serial } }) => !isPositive(serial) && 'its serial number is not positive',
  },
  {
    rule: 'serial-length',
    severity: 'error',
    source: 'RFC 5280 §4.1.2.2 (20 octets)',
    check: ({ facts: { serial } }) =>
      serial.length > 40 && `its serial number has ${serial.length / 2} bytes, expected at most 20`,
  },
  {
    rule: 'serial-random',
    severity: 'warning',
    source: 'CA/B BR §7.1 (64 bits)',
    hint: 'draw serial numbers at random: whoever can foretell them can prepare a collision',
    check: ({ facts: { serial } }) =>
      isPositive(serial) &&
      serial.length < 16 &&
      'its serial number is too short to hold 64 random bits',
  },
]

function isInOrder({ notBefore, notAfter }: Subject['facts']): boolean {
  return Temporal.Instant.compare(notBefore, notAfter) <= 0
}

function isEndless({ anatomy }: Subject['facts']): boolean {
  return anatomy.times.at(-1)?.text === '99991231235959Z'
}

function isPositive(serial: string): boolean {
  return !serial.startsWith('-') && !/^0*$/.test(serial)
}

function isRotationLate({ notBefore, notAfter }: Subject['facts'], now: Temporal.Instant): boolean {
  const lifeMs = notAfter.epochMilliseconds - notBefore.epochMilliseconds
  const leftMs = notAfter.epochMilliseconds - now.epochMilliseconds
  return leftMs > 0 && leftMs < Math.max(0, lifeMs - BACK_DATE_MS) / 5
}

/** NotBefore lies this far before the issue, which is no part of a leaf's life. */
const BACK_DATE_MS = 120_000
