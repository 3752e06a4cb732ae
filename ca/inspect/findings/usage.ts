import { TAG } from '../../x509/der.ts'
import { OID } from '../../x509/index.ts'
import { berChildren, type BerElement, readBer } from '../ber.ts'
import type { Rule, Subject } from './finding.ts'

/** Rules on what a key may be used for, whoever has it. */
export const USAGE_RULES: readonly Rule[] = [
  {
    rule: 'key-usage',
    severity: 'error',
    source: 'X509-SVID §4.3 (set, critical)',
    check: ({ facts: { ca, usage, usageIsCritical } }) => {
      const wanted = ca ? 'keyCertSign' : 'digitalSignature'
      if (!usage) return `it has no key usage, expected a critical one with ${wanted}`
      return !usageIsCritical && 'its key usage is not critical'
    },
  },
  {
    rule: 'key-usage-some',
    severity: 'error',
    source: 'RFC 5280 §4.2.1.3 (at least one bit)',
    check: ({ facts: { usage } }) => usage?.length === 0 && 'its key usage allows nothing',
  },
  {
    rule: 'key-usage-trimmed',
    severity: 'warning',
    source: 'X.690 §11.2.2',
    check: ({ facts }) => {
      const bits = extension(facts, OID.keyUsage)
      const [unused = 0, ...bytes] = bits?.tag === TAG.bitString ? bits.body : [0, 1]
      const last = bytes.at(-1) ?? 0
      return (
        bytes.length > 0 &&
        (last >> unused) % 2 === 0 &&
        'zeros at the end of its key usage are written, which DER leaves out'
      )
    },
  },
  {
    rule: 'only-with-agreement',
    severity: 'warning',
    source: 'RFC 5280 §4.2.1.3 (encipherOnly, decipherOnly)',
    check: ({ facts: { usage = [] } }) => {
      const wrong = usage.find((use) => use.endsWith('Only'))
      return wrong && !usage.includes('keyAgreement') && `its usage ${wrong} means nothing alone`
    },
  },
  {
    rule: 'any-usage-plain',
    severity: 'warning',
    source: 'RFC 5280 §4.2.1.12 (anyExtendedKeyUsage)',
    check: ({ facts: { extendedUsage, criticalExtensions } }) =>
      extendedUsage?.includes('anyExtendedKeyUsage') &&
      criticalExtensions.includes(OID.extendedKeyUsage) &&
      'its extended usage allows anything and is critical all the same',
  },
  {
    rule: 'path-length-of-authority',
    severity: 'error',
    source: 'RFC 5280 §4.2.1.9 (pathLenConstraint)',
    check: ({ facts }) =>
      !facts.ca &&
      childrenOf(extension(facts, OID.basicConstraints)).some(({ tag }) => tag === TAG.integer) &&
      'it limits the path below it and is no authority',
  },
  {
    rule: 'constraints-default-left-out',
    severity: 'error',
    source: 'RFC 5280 §4.2.1.9 (cA DEFAULT FALSE)',
    check: ({ facts }) =>
      childrenOf(extension(facts, OID.basicConstraints)).some(
        ({ tag, body }) => tag === TAG.boolean && body[0] === 0,
      ) && 'its basic constraints say that it is no authority, which goes unsaid',
  },
]

/** The value of an extension, read without judging it; nothing if it is not there or is not BER. */
function extension({ anatomy }: Subject['facts'], name: string): BerElement | undefined {
  const value = anatomy.extensions.find((one) => one.name === name)?.value
  try {
    return value && readBer(value)
  } catch {
    return undefined // `readable` says what is wrong with it
  }
}

function childrenOf(element: BerElement | undefined): readonly BerElement[] {
  try {
    return element ? berChildren(element) : []
  } catch {
    return [] // `readable` says what is wrong with it
  }
}
