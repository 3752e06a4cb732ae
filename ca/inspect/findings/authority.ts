import { trustDomainOf } from '../../spiffe/index.ts'
import { readId, type Rule } from './finding.ts'

/** Rules for certificates that sign others. */
export const AUTHORITY_RULES: readonly Rule[] = [
  {
    rule: 'ca-basic-constraints-critical',
    severity: 'error',
    source: 'RFC 5280 §4.2.1.9',
    check: ({ facts }) =>
      !facts.basicConstraintsAreCritical && 'its basic constraints are not critical',
  },
  {
    rule: 'ca-key-usage',
    severity: 'error',
    source: 'X509-SVID §4.3',
    check: ({ facts: { usage, usageIsCritical } }) => {
      if (!usage) return 'it has no key usage, expected a critical one with keyCertSign'
      return !usageIsCritical && 'its key usage is not critical'
    },
  },
  {
    rule: 'ca-signs-certificates',
    severity: 'error',
    source: 'X509-SVID §4.3',
    check: ({ facts: { usage } }) =>
      usage && !usage.includes('keyCertSign') && 'it may not sign certificates',
  },
  {
    rule: 'ca-id-without-path',
    severity: 'error',
    source: 'X509-SVID §3.2',
    check: ({ uris: [uri] }) => {
      const id = uri === undefined ? undefined : readId(uri)
      if (typeof id !== 'string' || id === `spiffe://${trustDomainOf(id)}`) return undefined
      return `its SPIFFE ID ${id} has a path, which is for workloads`
    },
  },
  {
    rule: 'ca-one-uri',
    severity: 'error',
    source: 'X509-SVID §2',
    check: ({ uris }) => uris.length > 1 && `it has ${uris.length} URI names, expected at most one`,
  },
  {
    rule: 'ca-names-trust-domain',
    severity: 'info',
    source: 'X509-SVID §3.2',
    check: ({ uris }) => uris.length === 0 && 'it does not say which trust domain it is for',
  },
  {
    rule: 'ca-key-identifier',
    severity: 'warning',
    source: 'RFC 5280 §4.2.1.2',
    check: ({ facts }) =>
      !facts.subjectKeyId && 'it has no subject key identifier, by which its leaves would name it',
  },
  {
    rule: 'ca-extended-usage',
    severity: 'warning',
    source: 'X509-SVID §4.4',
    check: ({ facts: { extendedUsage } }) =>
      extendedUsage &&
      !extendedUsage.includes('anyExtendedKeyUsage') &&
      `its extended usage ${extendedUsage.join(', ')} binds all below it in some libraries`,
  },
]
