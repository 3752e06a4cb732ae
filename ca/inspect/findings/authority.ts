import { trustDomainOf } from '../../spiffe/index.ts'
import { OID } from '../../x509/index.ts'
import { readId, type Rule } from './finding.ts'

/** Rules for certificates that sign others. */
export const AUTHORITY_RULES: readonly Rule[] = [
  {
    rule: 'ca-named',
    of: 'authority',
    severity: 'error',
    source: 'RFC 5280 §4.1.2.6',
    check: ({ facts: { anatomy } }) =>
      anatomy.subjectIsEmpty && 'it has no subject, by which what it signs would name it',
  },
  {
    rule: 'ca-basic-constraints-critical',
    of: 'authority',
    severity: 'error',
    source: 'RFC 5280 §4.2.1.9 (critical)',
    check: ({ facts }) =>
      !facts.basicConstraintsAreCritical && 'its basic constraints are not critical',
  },
  {
    rule: 'ca-signs-certificates',
    of: 'authority',
    severity: 'error',
    source: 'X509-SVID §4.3 (keyCertSign)',
    check: ({ facts: { usage = [] } }) =>
      usage.length > 0 && !usage.includes('keyCertSign') && 'it may not sign certificates',
  },
  {
    rule: 'ca-authenticates-nobody',
    of: 'authority',
    severity: 'info',
    source: 'X509-SVID Appendix A (digitalSignature)',
    check: ({ facts: { usage } }) =>
      usage?.includes('digitalSignature') &&
      'it may make digital signatures, which are for leaves alone',
  },
  {
    rule: 'ca-id-without-path',
    of: 'authority',
    severity: 'error',
    source: 'X509-SVID §3.2 (path component)',
    check: ({ uris: [uri] }) => {
      const id = uri === undefined ? undefined : readId(uri)
      if (typeof id !== 'string' || id === `spiffe://${trustDomainOf(id)}`) return undefined
      return `its SPIFFE ID ${id} has a path, which is for workloads`
    },
  },
  {
    rule: 'ca-one-uri',
    of: 'authority',
    severity: 'error',
    source: 'X509-SVID Appendix A (only one instance)',
    check: ({ uris }) => uris.length > 1 && `it has ${uris.length} URI names, expected at most one`,
  },
  {
    rule: 'ca-names-trust-domain',
    of: 'authority',
    severity: 'info',
    source: 'X509-SVID §3.2 (SHOULD be an SVID)',
    check: ({ facts: { anatomy }, uris }) =>
      uris.length === 0 &&
      !anatomy.extensions.some(({ name }) => name === OID.subjectAltName) &&
      'it does not say which trust domain it is for',
  },
  {
    rule: 'ca-key-identifier',
    of: 'authority',
    severity: 'warning',
    source: 'RFC 5280 §4.2.1.2 (CA)',
    check: ({ facts }) =>
      !facts.subjectKeyId && 'it has no subject key identifier, by which its leaves would name it',
  },
  {
    rule: 'ca-extended-usage',
    of: 'authority',
    severity: 'warning',
    source: 'X509-SVID §4.4 (intermediate)',
    check: ({ facts: { extendedUsage } }) =>
      extendedUsage &&
      !extendedUsage.includes('anyExtendedKeyUsage') &&
      `its extended usage ${extendedUsage.join(', ')} binds all below it in some libraries`,
  },
  {
    rule: 'ca-name-constraints-critical',
    of: 'authority',
    severity: 'error',
    source: 'RFC 5280 §4.2.1.10 (critical)',
    check: ({ facts: { anatomy } }) =>
      anatomy.extensions.some(({ name, critical }) => name === OID.nameConstraints && !critical) &&
      'its name constraints are not critical: who does not know them would not see them',
  },
]
