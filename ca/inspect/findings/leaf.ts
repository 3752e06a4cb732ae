import { trustDomainOf } from '../../spiffe/index.ts'
import { readId, type Rule, type Subject } from './finding.ts'

/** Rules for certificates that authenticate: X509-SVID leaves. */
export const LEAF_RULES: readonly Rule[] = [
  {
    rule: 'svid-one-uri',
    severity: 'error',
    source: 'X509-SVID §2',
    hint: 'this is no SVID; if a mesh workload should have it, its issuer is not a SPIFFE authority',
    check: ({ uris }) =>
      uris.length !== 1 && `it has ${uris.length} URI names, expected exactly one, the SPIFFE ID`,
  },
  {
    rule: 'svid-id-valid',
    severity: 'error',
    source: 'SPIFFE-ID §2',
    check: ({ uris }) => {
      const id = readId(uris[0] ?? 'spiffe://none/at-all')
      return typeof id === 'object' && id.fault
    },
  },
  {
    rule: 'svid-id-path',
    severity: 'error',
    source: 'X509-SVID §5.2',
    check: ({ uris: [uri = ''] }) => {
      const id = readId(uri)
      if (typeof id === 'object' || id !== `spiffe://${trustDomainOf(id)}`) return undefined
      return `${id} names a trust domain, expected a workload`
    },
  },
  {
    rule: 'svid-san-critical',
    severity: 'error',
    source: 'RFC 5280 §4.2.1.6',
    check: ({ facts: { subject, san, sanIsCritical } }) =>
      subject === '' && san.length > 0 && !sanIsCritical
        ? 'it has no subject, so its alternative name must be critical'
        : undefined,
  },
  {
    rule: 'svid-key-usage',
    severity: 'error',
    source: 'X509-SVID §4.3',
    check: ({ facts: { usage, usageIsCritical } }) => {
      if (!usage) return 'it has no key usage, expected a critical one with digitalSignature'
      return !usageIsCritical && 'its key usage is not critical'
    },
  },
  {
    rule: 'svid-digital-signature',
    severity: 'error',
    source: 'X509-SVID §4.3',
    check: ({ facts: { usage } }) =>
      usage && !usage.includes('digitalSignature') && 'it may not make digital signatures',
  },
  {
    rule: 'svid-signs-nothing',
    severity: 'error',
    source: 'X509-SVID §4.3',
    check: ({ facts: { usage } }) => {
      const signs = usage?.filter((use) => use === 'keyCertSign' || use === 'cRLSign') ?? []
      return signs.length > 0 && `a leaf may not have the usage ${signs.join(' and ')}`
    },
  },
  {
    rule: 'svid-both-roles',
    severity: 'error',
    source: 'X509-SVID §4.4',
    check: ({ facts: { extendedUsage } }) => {
      const missing = ['serverAuth', 'clientAuth'].filter((use) => !extendedUsage?.includes(use))
      return (
        extendedUsage && missing.length > 0 && `its extended usage lacks ${missing.join(' and ')}`
      )
    },
  },
  {
    rule: 'svid-extended-usage',
    severity: 'warning',
    source: 'X509-SVID §4.4',
    check: ({ facts: { extendedUsage } }) =>
      !extendedUsage && 'it has no extended usage, expected serverAuth and clientAuth',
  },
  {
    rule: 'svid-mesh-name',
    severity: 'info',
    source: 'Redoubt: identity of a workload',
    check: ({ uris: [uri = ''] }) =>
      /^spiffe:\/\/[^/]+\/./.test(uri) &&
      !/^spiffe:\/\/[^/]+\/ns\/[^/]+\/sa\/[^/]+$/.test(uri) &&
      'its path is not /ns/<namespace>/sa/<account>: rules on namespaces do not see it',
  },
  {
    rule: 'svid-short-life',
    severity: 'warning',
    source: 'Redoubt: lives of certificates',
    hint: 'an SVID cannot be called back by most peers; give it a short life and rotate it',
    check: ({ facts: { notBefore, notAfter } }) => {
      const hours = notAfter.since(notBefore).total('hours')
      return hours > 24.5 && `it lives ${Math.round(hours)} hours, expected at most 24`
    },
  },
  {
    rule: 'svid-rotation-late',
    severity: 'warning',
    source: 'Redoubt: renewal at half of the life',
    hint: 'see that the agent runs and reaches the CA: redoubt status, redoubt logs',
    check: ({ facts, now }) =>
      isRotationLate(facts, now) && 'a fifth of its life is left and it has not been renewed',
  },
]

function isRotationLate({ notBefore, notAfter }: Subject['facts'], now: Temporal.Instant): boolean {
  const lifeMs = notAfter.epochMilliseconds - notBefore.epochMilliseconds
  const leftMs = notAfter.epochMilliseconds - now.epochMilliseconds
  return leftMs > 0 && leftMs < Math.max(0, lifeMs - BACK_DATE_MS) / 5
}

/** NotBefore lies this far before the issue, which is no part of a leaf's life. */
const BACK_DATE_MS = 120_000
