import { OID } from '../../x509/index.ts'
import type { Rule, Subject } from './finding.ts'

/** Rules on what a certificate is made of, and how it is written. */
export const FORM_RULES: readonly Rule[] = [
  {
    rule: 'version-3',
    severity: 'error',
    source: 'RFC 5280 §4.1.2.1',
    check: ({ facts: { anatomy } }) =>
      anatomy.version !== 3 && `its version is ${anatomy.version}, expected 3`,
  },
  {
    rule: 'issuer-named',
    severity: 'error',
    source: 'RFC 5280 §4.1.2.4',
    check: ({ facts: { anatomy } }) => anatomy.issuerIsEmpty && 'it does not name its issuer',
  },
  {
    rule: 'unique-identifiers',
    severity: 'error',
    source: 'RFC 5280 §4.1.2.8',
    check: ({ facts: { anatomy } }) =>
      anatomy.hasUniqueIdentifiers && 'it has the unique identifiers of version 2',
  },
  {
    rule: 'extension-once',
    severity: 'error',
    source: 'RFC 5280 §4.2 (one instance)',
    hint: 'two readers may each believe another one of them: have it issued again',
    check: ({
      facts: {
        repeatedExtensions: [first],
      },
    }) => first !== undefined && `it has the extension ${first} twice`,
  },
  {
    rule: 'critical-understood',
    severity: 'error',
    source: 'RFC 5280 §4.2 (unrecognized critical)',
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
    source: 'RFC 5280 §4.2.1.1 (keyIdentifier)',
    hint: 'while a CA changes keys, peers must try each of them',
    check: ({ facts: { authorityKeyId, subject, issuer } }) =>
      !authorityKeyId && subject !== issuer && 'it does not name the key that signed it',
  },
  {
    rule: 'authority-key-identifier-plain',
    severity: 'error',
    source: 'RFC 5280 §4.2.1.1 (non-critical)',
    check: ({ facts }) =>
      isCritical(facts, OID.authorityKeyIdentifier) &&
      'its authority key identifier is critical, expected that it is not',
  },
  {
    rule: 'subject-key-identifier-plain',
    severity: 'error',
    source: 'RFC 5280 §4.2.1.2 (non-critical)',
    check: ({ facts }) =>
      isCritical(facts, OID.subjectKeyIdentifier) &&
      'its subject key identifier is critical, expected that it is not',
  },
  {
    rule: 'names-present',
    severity: 'error',
    source: 'RFC 5280 §4.2.1.6 (at least one)',
    check: ({ facts }) =>
      facts.san.length === 0 &&
      facts.anatomy.extensions.some(({ name }) => name === OID.subjectAltName) &&
      'its list of alternative names is empty',
  },
  {
    rule: 'names-ascii',
    severity: 'error',
    source: 'RFC 5280 §4.2.1.6 (IA5String)',
    check: ({ facts: { san } }) => {
      const wrong = san.find(({ type, value }) => type === 'email' && /[^\x21-\x7e]/.test(value))
      return wrong && `its alternative name ${JSON.stringify(wrong.value)} is not ASCII`
    },
  },
  {
    rule: 'dns-name',
    severity: 'error',
    source: 'RFC 1123 §2.1',
    check: ({ facts: { san } }) => {
      const wrong = san.find(({ type, value }) => type === 'dns' && !DNS_NAME.test(value))
      return wrong && `its DNS name ${JSON.stringify(wrong.value)} cannot be one of a host`
    },
  },
  {
    rule: 'ip-length',
    severity: 'error',
    source: 'RFC 5280 §4.2.1.6 (iPAddress)',
    check: ({ facts: { san } }) => {
      const wrong = san.find(({ type, value }) => type === 'ip' && !/[.:]/.test(value))
      return wrong && `its address ${wrong.value} has neither 4 nor 16 bytes`
    },
  },
  {
    rule: 'boolean-form',
    severity: 'error',
    source: 'X.690 §11.1',
    check: ({ facts: { anatomy } }) => {
      const wrong = anatomy.extensions.find(({ flag = 0 }) => flag !== 0 && flag !== 0xff)
      return wrong && `its extension ${wrong.name} is critical by ${wrong.flag}, expected 255`
    },
  },
  {
    rule: 'defaults-left-out',
    severity: 'error',
    source: 'X.690 §11.5',
    check: ({ facts: { anatomy } }) => {
      const wrong = anatomy.extensions.find(({ flag }) => flag === 0)
      return wrong && `its extension ${wrong.name} says that it is not critical, which goes unsaid`
    },
  },
  {
    rule: 'readable',
    severity: 'error',
    source: 'X.690 §10',
    hint: 'sidecars refuse it before they look at anything else',
    lastResort: true,
    check: ({ facts: { unreadable } }) =>
      unreadable !== undefined && `a strict reader says: ${unreadable}`,
  },
]

/** Letters, digits and hyphens in labels of 63; a star as the first label; underscores, which many have. */
const DNS_NAME =
  /^(?=.{1,253}$)(\*\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*$/i

function isCritical({ criticalExtensions }: Subject['facts'], name: string): boolean {
  return criticalExtensions.includes(name)
}

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
