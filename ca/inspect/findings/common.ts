import { OID } from '../../x509/index.ts'
import type { Rule } from './finding.ts'

/** Rules for every certificate. */
export const COMMON_RULES: readonly Rule[] = [
  {
    rule: 'expired',
    severity: 'error',
    source: 'RFC 5280 §6.1.3',
    hint: 'if it is a leaf of a running mesh, look at the agent: redoubt status',
    check: ({ facts: { notAfter }, now }) =>
      Temporal.Instant.compare(now, notAfter) > 0 && `it ran out at ${notAfter}`,
  },
  {
    rule: 'not-yet-valid',
    severity: 'error',
    source: 'RFC 5280 §6.1.3',
    hint: 'compare the clocks of this machine and of the CA',
    check: ({ facts: { notBefore }, now }) =>
      Temporal.Instant.compare(now, notBefore) < 0 && `it is not valid before ${notBefore}`,
  },
  {
    rule: 'validity-order',
    severity: 'error',
    source: 'RFC 5280 §4.1.2.5',
    check: ({ facts: { notBefore, notAfter } }) =>
      Temporal.Instant.compare(notBefore, notAfter) > 0 && 'it ends before it begins',
  },
  {
    rule: 'serial-positive',
    severity: 'error',
    source: 'RFC 5280 §4.1.2.2',
    check: ({ facts: { serial } }) =>
      (serial.startsWith('-') || /^0*$/.test(serial)) && 'its serial number is not positive',
  },
  {
    rule: 'serial-length',
    severity: 'error',
    source: 'RFC 5280 §4.1.2.2',
    check: ({ facts: { serial } }) =>
      serial.length > 40 && `its serial number has ${serial.length / 2} bytes, expected at most 20`,
  },
  {
    rule: 'serial-random',
    severity: 'warning',
    source: 'CA/B BR §7.1',
    check: ({ facts: { serial } }) =>
      serial.length < 16 && 'its serial number is too short to hold 64 random bits',
  },
  {
    rule: 'rsa-bits',
    severity: 'error',
    source: 'Redoubt: leaf keys',
    check: ({ facts: { key } }) =>
      key.bits !== undefined &&
      (key.bits < 2048 || key.bits > 4096) &&
      `its RSA key has ${key.bits} bits, expected 2048 to 4096`,
  },
  {
    rule: 'rsa-exponent',
    severity: 'error',
    source: 'CA/B BR §6.1.6',
    check: ({ facts: { key } }) =>
      key.exponent !== undefined &&
      (key.exponent < 65_537n || key.exponent % 2n === 0n) &&
      `its RSA exponent is ${key.exponent}, expected an odd number from 65537`,
  },
  {
    rule: 'key-type',
    severity: 'error',
    source: 'Redoubt: leaf keys',
    check: ({ facts: { key } }) =>
      !KEYS.has(key.curve ?? key.type) &&
      `its key is ${key.curve ?? key.type}, expected P-256, P-384, P-521, RSA or Ed25519`,
  },
  {
    rule: 'signature-hash',
    severity: 'error',
    source: 'CA/B BR §7.1.3',
    check: ({ facts: { signature } }) =>
      /md[245]|sha-?1(?!\d)/i.test(signature) &&
      `it is signed with ${signature}, which can be forged`,
  },
  {
    rule: 'extension-once',
    severity: 'error',
    source: 'RFC 5280 §4.2',
    check: ({
      facts: {
        repeatedExtensions: [first],
      },
    }) => first !== undefined && `it has the extension ${first} twice`,
  },
  {
    rule: 'critical-understood',
    severity: 'error',
    source: 'RFC 5280 §4.2',
    check: ({ facts: { criticalExtensions } }) => {
      const unknown = criticalExtensions.find((type) => !UNDERSTOOD.has(type))
      return (
        unknown !== undefined && `it has the critical extension ${unknown}, which peers do not know`
      )
    },
  },
  {
    rule: 'authority-key-identifier',
    severity: 'warning',
    source: 'RFC 5280 §4.2.1.1',
    check: ({ facts: { authorityKeyId, subject, issuer } }) =>
      !authorityKeyId && subject !== issuer && 'it does not name the key that signed it',
  },
  {
    rule: 'readable',
    severity: 'error',
    source: 'RFC 5280 §4.1, X.690 §10',
    hint: 'sidecars refuse it before they look at anything else',
    check: ({ facts: { unreadable } }) =>
      unreadable !== undefined && `a strict reader says: ${unreadable}`,
  },
]

const KEYS: ReadonlySet<string> = new Set(['P-256', 'P-384', 'P-521', 'rsa', 'ed25519'])

/** What `ca/x509` understands. */
const UNDERSTOOD: ReadonlySet<string> = new Set([
  OID.subjectAltName,
  OID.basicConstraints,
  OID.keyUsage,
  OID.extendedKeyUsage,
  OID.subjectKeyIdentifier,
  OID.authorityKeyIdentifier,
  OID.nameConstraints,
  OID.certificatePolicies,
])
