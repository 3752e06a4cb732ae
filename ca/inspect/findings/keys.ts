import { TAG } from '../../x509/der.ts'
import { OID } from '../../x509/index.ts'
import type { Rule, Subject } from './finding.ts'

const NEW_KEY = 'make a new key: redoubt cert request'

/** Rules on keys and signatures. */
export const KEY_RULES: readonly Rule[] = [
  {
    rule: 'rsa-bits',
    severity: 'error',
    source: 'CA/B BR §6.1.5',
    hint: NEW_KEY,
    check: ({ facts: { key } }) =>
      key.bits !== undefined &&
      key.bits < 2048 &&
      `its RSA key has ${key.bits} bits, expected at least 2048`,
  },
  {
    rule: 'rsa-size',
    severity: 'error',
    source: 'Redoubt: what a handshake may cost',
    hint: NEW_KEY,
    check: ({ facts: { key } }) =>
      key.bits !== undefined &&
      key.bits > 4096 &&
      `its RSA key has ${key.bits} bits, expected at most 4096`,
  },
  {
    rule: 'rsa-exponent',
    severity: 'error',
    source: 'CA/B BR §6.1.6',
    hint: NEW_KEY,
    check: ({ facts: { key } }) =>
      key.exponent !== undefined &&
      (key.exponent < 65_537n || key.exponent % 2n === 0n) &&
      `its RSA exponent is ${key.exponent}, expected an odd number from 65537`,
  },
  {
    rule: 'rsa-parameters',
    severity: 'error',
    source: 'RFC 3279 §2.3.1',
    check: ({ facts: { anatomy } }) =>
      anatomy.keyAlgorithm.name === OID.rsaEncryption &&
      anatomy.keyAlgorithm.parameters !== TAG.null &&
      'the parameters of its RSA key are not NULL',
  },
  {
    rule: 'ec-named-curve',
    severity: 'error',
    source: 'RFC 5480 §2.1.1',
    hint: NEW_KEY,
    check: ({ facts }) =>
      isUnnamedCurve(facts) && 'its curve is spelled out, expected the name of one',
  },
  {
    rule: 'key-type',
    severity: 'error',
    source: 'Redoubt: leaf keys',
    hint: NEW_KEY,
    check: ({ facts }) => {
      const name = facts.key.curve ?? facts.key.type
      return (
        !KEYS.has(name) &&
        !isUnnamedCurve(facts) &&
        `its key is ${name}, expected P-256, P-384, P-521, RSA or Ed25519`
      )
    },
  },
  {
    rule: 'ed25519-parameters',
    severity: 'error',
    source: 'RFC 8410 §3',
    check: ({ facts: { anatomy } }) =>
      anatomy.keyAlgorithm.name === OID.ed25519 &&
      anatomy.keyAlgorithm.parameters !== undefined &&
      'its Ed25519 key has parameters, expected none',
  },
  {
    rule: 'ec-encipherment',
    severity: 'warning',
    source: 'RFC 8813 §3',
    hint: 'have it issued with digitalSignature alone: a key of a curve enciphers nothing',
    check: ({ facts: { anatomy, usage } }) => {
      const wrong = usage?.find((use) => use === 'keyEncipherment' || use === 'dataEncipherment')
      return (
        wrong !== undefined &&
        anatomy.keyAlgorithm.name === OID.ecPublicKey &&
        `its key is of an elliptic curve and has the usage ${wrong}`
      )
    },
  },
  {
    rule: 'ed25519-usage',
    severity: 'warning',
    source: 'RFC 8410 §5',
    hint: 'have it issued with digitalSignature alone: an Ed25519 key only signs',
    check: ({ facts: { key, usage } }) => {
      const wrong = usage?.find((use) => /Encipherment|keyAgreement|Only/.test(use))
      return key.type === 'ed25519' && wrong && `its Ed25519 key has the usage ${wrong}`
    },
  },
  {
    rule: 'signature-hash',
    severity: 'error',
    source: 'CA/B BR §7.1.3.2',
    hint: 'have it issued again by a CA that signs with SHA-256 or better',
    check: ({ facts: { signature } }) =>
      /md[245]|sha-?1(?!\d)/i.test(signature) &&
      `it is signed with ${signature}, which can be forged`,
  },
  {
    rule: 'signature-algorithms-agree',
    severity: 'error',
    source: 'RFC 5280 §4.1.1.2',
    hint: 'somebody has changed it, or its issuer is broken',
    check: ({ facts: { anatomy } }) =>
      !Buffer.from(anatomy.algorithm.raw).equals(anatomy.outerAlgorithm.raw) &&
      'the signature algorithm inside is not the one outside',
  },
  {
    rule: 'ecdsa-parameters',
    severity: 'error',
    source: 'RFC 5758 §3.2',
    check: ({ facts: { anatomy } }) =>
      anatomy.algorithm.name.startsWith(ECDSA) &&
      anatomy.algorithm.parameters !== undefined &&
      'its ECDSA signature has parameters, expected none',
  },
]

const KEYS: ReadonlySet<string> = new Set(['P-256', 'P-384', 'P-521', 'rsa', 'ed25519'])

/** ecdsa-with-SHA2 (RFC 5758 §3.2). */
const ECDSA = '1.2.840.10045.4.3.'

function isUnnamedCurve({ anatomy }: Subject['facts']): boolean {
  const { name, parameters } = anatomy.keyAlgorithm
  return name === OID.ecPublicKey && parameters !== TAG.oid
}
