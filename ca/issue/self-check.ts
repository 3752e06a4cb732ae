import { type KeyObject, X509Certificate } from 'node:crypto'

import { CaError } from '../error.ts'
import { sameBytes } from '../x509/certificate.ts'
import { judgeLeaf } from '../x509/leaf-rules.ts'
import { type Certificate, OID, readCertificate } from '../x509/index.ts'
import { serialText, type SvidTemplate } from './template.ts'

/** Who should have signed. */
export interface ExpectedIssuer {
  readonly certificate: Certificate
  /** The same certificate as OpenSSL reads it, and its key. */
  readonly x509: X509Certificate
  readonly publicKey: KeyObject
}

/**
 * Reads a fresh leaf back and lists everything in which it is not what was meant, or not an SVID.
 *
 * Nothing here shares code with what built the leaf: the reader that peers use to judge it reads it,
 * and, when `depth` is `full`, so does OpenSSL, which checks the signature too. Empty means that it
 * may be handed out. Never throws.
 */
export function selfCheck(
  leafDer: Uint8Array,
  expected: SvidTemplate,
  issuer: ExpectedIssuer,
  depth: 'full' | 'content' = 'full',
): readonly string[] {
  try {
    const faults = checkAsPeer(readCertificate(leafDer), expected, issuer)
    if (depth === 'content') return faults
    return [...checkAsOpenssl(new X509Certificate(leafDer), expected, issuer), ...faults]
  } catch (cause) {
    return [`it cannot be read back: ${cause instanceof CaError ? cause.message : String(cause)}`]
  }
}

function checkAsOpenssl(
  leaf: X509Certificate,
  { spiffeId, dnsNames = [], serial, notBefore, notAfter }: SvidTemplate,
  issuer: ExpectedIssuer,
): readonly string[] {
  const usages = leaf.keyUsage ?? []
  const names = [`URI:${spiffeId}`, ...dnsNames.map((name) => `DNS:${name}`)].join(', ')
  const wantedSerial = BigInt(`0x${Buffer.from(serial).toString('hex')}`)
  return faultsOf([
    [leaf.subjectAltName === names, `its names are ${leaf.subjectAltName}`],
    [BigInt(`0x${leaf.serialNumber}`) === wantedSerial, 'its serial number differs'],
    [!leaf.ca, 'it is a CA'],
    [!leaf.subject, 'it has a subject'],
    [
      usages.length === 2 && BOTH_ROLES.every((usage) => usages.includes(usage)),
      'its roles differ',
    ],
    [leaf.validFromDate.getTime() === notBefore.epochMilliseconds, 'its start differs'],
    [leaf.validToDate.getTime() === notAfter.epochMilliseconds, 'its end differs'],
    [leaf.checkIssued(issuer.x509), 'it does not name its issuer'],
    [leaf.verify(issuer.publicKey), 'its signature is not by its issuer'],
  ])
}

function checkAsPeer(
  leaf: Certificate,
  { spiffeId, dnsNames = [], publicKeyDer, serial, notBefore, notAfter }: SvidTemplate,
  { certificate }: ExpectedIssuer,
): readonly string[] {
  const { aki, sans, keyUsage, ski } = leaf
  const verdict = judgeLeaf(leaf)
  const faults: string[] = []
  const expect = (holds: boolean, fault: string): void => {
    if (!holds) faults.push(fault)
  }
  expect(leaf.serial === serialText(serial), 'its serial number differs')
  expect(sameInstant(leaf.notBefore, notBefore), 'its start differs')
  expect(sameInstant(leaf.notAfter, notAfter), 'its end differs')
  expect(leaf.subjectIsEmpty, 'it has a subject')
  expect(sameBytes(leaf.issuer, certificate.subject), 'it does not name its issuer')
  expect(leaf.extendedKeyUsage?.join() === BOTH_ROLES_TEXT, 'its roles differ')
  if (typeof verdict === 'string') expect(verdict === spiffeId, 'its SPIFFE ID differs')
  else faults.push(verdict.detail)
  expect(
    hasNames(sans, dnsNames) && leaf.sanIsCritical,
    'its alternative names are not one critical URI',
  )
  expect(keyUsage?.join() === 'digitalSignature', 'its key usage is not digitalSignature alone')
  expect(leaf.hasBasicConstraints && ski !== undefined, 'it lacks an extension')
  expect(sameBytes(leaf.publicKeyDer, publicKeyDer), 'its key is not the one asked for')
  expect(
    aki !== undefined && certificate.ski !== undefined && sameBytes(aki, certificate.ski),
    'its authority key identifier is not its issuer’s key identifier',
  )
  expect(
    leaf.notAfter.epochMilliseconds <= certificate.notAfter.epochMilliseconds,
    'it outlives its issuer',
  )
  return faults
}

function sameInstant(a: Temporal.Instant, b: Temporal.Instant): boolean {
  return a === b || a.equals(b)
}

const DNS = 2

/** One name, which was judged, and exactly these beside it. */
function hasNames(sans: Certificate['sans'], dnsNames: readonly string[]): boolean {
  return (
    sans.length === dnsNames.length + 1 &&
    dnsNames.every((name, at) => {
      const { type = 0, value = NOTHING } = sans[at + 1] ?? {}
      return type === DNS && Buffer.from(value).toString('latin1') === name
    })
  )
}

const NOTHING = new Uint8Array()
const BOTH_ROLES: readonly string[] = [OID.serverAuth, OID.clientAuth]
const BOTH_ROLES_TEXT = BOTH_ROLES.join()

function faultsOf(rules: readonly (readonly [holds: boolean, fault: string])[]): readonly string[] {
  return rules.flatMap(([holds, fault]) => (holds ? [] : [fault]))
}
