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
  const verdict = judgeLeaf(leaf)
  const { aki, sans, keyUsage, ski } = leaf
  return faultsOf([
    [leaf.serial === serialText(serial), 'its serial number differs'],
    [Temporal.Instant.compare(leaf.notBefore, notBefore) === 0, 'its start differs'],
    [Temporal.Instant.compare(leaf.notAfter, notAfter) === 0, 'its end differs'],
    [leaf.subjectIsEmpty, 'it has a subject'],
    [sameBytes(leaf.issuer, certificate.subject), 'it does not name its issuer'],
    [leaf.extendedKeyUsage?.join() === BOTH_ROLES.join(), 'its roles differ'],
    [typeof verdict === 'string', typeof verdict === 'string' ? '' : verdict.detail],
    [typeof verdict !== 'string' || verdict === spiffeId, 'its SPIFFE ID differs'],
    [
      hasNames(sans, dnsNames) && leaf.sanIsCritical,
      'its alternative names are not one critical URI',
    ],
    [keyUsage?.join() === 'digitalSignature', 'its key usage is not digitalSignature alone'],
    [leaf.hasBasicConstraints && ski !== undefined, 'it lacks an extension'],
    [sameBytes(leaf.publicKeyDer, publicKeyDer), 'its key is not the one asked for'],
    [
      aki !== undefined && certificate.ski !== undefined && sameBytes(aki, certificate.ski),
      'its authority key identifier is not its issuer’s key identifier',
    ],
    [Temporal.Instant.compare(leaf.notAfter, certificate.notAfter) <= 0, 'it outlives its issuer'],
  ])
}

const DNS = 2

/** One name, which was judged, and exactly these beside it. */
function hasNames(sans: Certificate['sans'], dnsNames: readonly string[]): boolean {
  const others = sans
    .slice(1)
    .map(({ type, value }) => [type, Buffer.from(value).toString('latin1')])
  return (
    others.length === dnsNames.length &&
    others.every(([type, name], at) => type === DNS && name === dnsNames[at])
  )
}

const BOTH_ROLES: readonly string[] = [OID.serverAuth, OID.clientAuth]

function faultsOf(rules: readonly (readonly [holds: boolean, fault: string])[]): readonly string[] {
  return rules.flatMap(([holds, fault]) => (holds ? [] : [fault]))
}
