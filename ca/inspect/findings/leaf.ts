import { trustDomainOf } from '../../spiffe/index.ts'
import { OID } from '../../x509/index.ts'
import { readId, type Rule } from './finding.ts'

/** Rules for certificates that authenticate: X509-SVID leaves. */
export const LEAF_RULES: readonly Rule[] = [
  {
    rule: 'svid-one-uri',
    of: 'leaf',
    severity: 'error',
    source: 'X509-SVID §2 (exactly one)',
    hint: 'this is no SVID; if a mesh workload should have it, its issuer is not a SPIFFE authority',
    check: ({ uris }) =>
      uris.length !== 1 && `it has ${uris.length} URI names, expected exactly one, the SPIFFE ID`,
  },
  {
    rule: 'svid-id-scheme',
    of: 'leaf',
    severity: 'error',
    source: 'SPIFFE-ID §2',
    check: ({ uris }) => faultOf('scheme', uris),
  },
  {
    rule: 'svid-id-trust-domain',
    of: 'leaf',
    severity: 'error',
    source: 'SPIFFE-ID §2.1',
    check: ({ uris }) => faultOf('trust-domain', uris),
  },
  {
    rule: 'svid-id-path',
    of: 'leaf',
    severity: 'error',
    source: 'SPIFFE-ID §2.2',
    check: ({ uris }) => faultOf('path', uris),
  },
  {
    rule: 'svid-id-length',
    of: 'leaf',
    severity: 'error',
    source: 'SPIFFE-ID §2.3',
    check: ({ uris }) => faultOf('length', uris),
  },
  {
    rule: 'svid-id-of-workload',
    of: 'leaf',
    severity: 'error',
    source: 'X509-SVID §3.1 (non-root path)',
    check: ({ uris: [uri = ''] }) => {
      const id = readId(uri)
      if (typeof id === 'object' || id !== `spiffe://${trustDomainOf(id)}`) return undefined
      return `${id} names a trust domain, expected a workload`
    },
  },
  {
    rule: 'svid-mesh-name',
    of: 'leaf',
    severity: 'info',
    source: 'Redoubt: identity of a workload',
    check: ({ uris: [uri = ''] }) =>
      typeof readId(uri) === 'string' &&
      /^spiffe:\/\/[^/]+\/./.test(uri) &&
      !/^spiffe:\/\/[^/]+\/ns\/[^/]+\/sa\/[^/]+$/.test(uri) &&
      'its path is not /ns/<namespace>/sa/<account>: rules on namespaces do not see it',
  },
  {
    rule: 'svid-names-critical',
    of: 'leaf',
    severity: 'error',
    source: 'X509-SVID §3.1 (Subject is omitted)',
    check: ({ facts: { anatomy, san, sanIsCritical } }) =>
      anatomy.subjectIsEmpty &&
      san.length > 0 &&
      !sanIsCritical &&
      'it has no subject, so its alternative name must be critical',
  },
  {
    rule: 'svid-common-name',
    of: 'leaf',
    severity: 'warning',
    source: 'CA/B BR §7.1.4.3',
    hint: 'have it issued without a common name: who still reads one is told another name',
    check: ({ facts: { anatomy, san } }) => {
      const wrong = anatomy.commonNames.find((name) => !san.some(({ value }) => value === name))
      return (
        wrong !== undefined &&
        `its common name ${JSON.stringify(wrong)} is none of its alternative names`
      )
    },
  },
  {
    rule: 'svid-key-identifier',
    of: 'leaf',
    severity: 'warning',
    source: 'RFC 5280 §4.2.1.2 (end entity)',
    check: ({ facts }) => !facts.subjectKeyId && 'it has no subject key identifier',
  },
  {
    rule: 'svid-constrains-nobody',
    of: 'leaf',
    severity: 'error',
    source: 'RFC 5280 §4.2.1.10 (only in a CA)',
    check: ({ facts: { anatomy } }) =>
      anatomy.extensions.some(({ name }) => name === OID.nameConstraints) &&
      'it constrains the names below it and is no authority',
  },
  {
    rule: 'svid-digital-signature',
    of: 'leaf',
    severity: 'error',
    source: 'X509-SVID §4.3 (digitalSignature)',
    check: ({ facts: { usage = [] } }) =>
      usage.length > 0 &&
      !usage.includes('digitalSignature') &&
      'it may not make digital signatures',
  },
  {
    rule: 'svid-signs-nothing',
    of: 'leaf',
    severity: 'error',
    source: 'X509-SVID §5.2 (keyCertSign, cRLSign)',
    check: ({ facts: { usage } }) => {
      const signs = usage?.filter((use) => use === 'keyCertSign' || use === 'cRLSign') ?? []
      return signs.length > 0 && `a leaf may not have the usage ${signs.join(' and ')}`
    },
  },
  {
    rule: 'svid-both-roles',
    of: 'leaf',
    severity: 'error',
    source: 'X509-SVID §4.4 (both when included)',
    check: ({ facts: { extendedUsage } }) => {
      const missing = ['serverAuth', 'clientAuth'].filter((use) => !extendedUsage?.includes(use))
      return (
        extendedUsage && missing.length > 0 && `its extended usage lacks ${missing.join(' and ')}`
      )
    },
  },
  {
    rule: 'svid-extended-usage',
    of: 'leaf',
    severity: 'warning',
    source: 'X509-SVID §4.4 (SHOULD include)',
    check: ({ facts: { extendedUsage } }) =>
      !extendedUsage && 'it has no extended usage, expected serverAuth and clientAuth',
  },
]

type IdPart = 'scheme' | 'length' | 'trust-domain' | 'path'

/** What is wrong with the first URI, if `part` is where it first goes wrong. */
function faultOf(part: IdPart, [uri]: readonly string[]): string | undefined {
  const id = uri === undefined ? '' : readId(uri)
  return uri !== undefined && typeof id === 'object' && partOf(uri) === part ? id.fault : undefined
}

function partOf(uri: string): IdPart {
  if (!uri.startsWith('spiffe://')) return 'scheme'
  if (uri.length > 2048) return 'length'
  return /^spiffe:\/\/[a-z0-9._-]{1,255}(\/|$)/.test(uri) ? 'path' : 'trust-domain'
}
