/** A certificate request (PKCS#10, RFC 2986) in words: what its sender asks for, and whether our CA would take it. */
import 'reflect-metadata' // needed by @peculiar/x509, before it

import { createPublicKey } from 'node:crypto'

import { Pkcs10CertificateRequest } from '@peculiar/x509'

import { CaError } from '../error.ts'
import { OID, verifyCsr } from '../x509/index.ts'
import { type AlternativeName, readAlternativeNames } from './alternative-names.ts'
import type { KeyReport } from './describe.ts'
import { keyFactsOf, MAX_INSPECTED_BYTES } from './facts.ts'
import type { Finding } from './findings/finding.ts'

/** A request as `redoubt cert inspect --output json` prints it. */
export interface RequestReport {
  /** RFC 4514 text; empty when there is none. */
  readonly subject: string
  /** Names that are asked for. */
  readonly san: readonly AlternativeName[]
  readonly key: KeyReport
  /** Whether our CA would take it: well-formed, of a key that it signs for, signed by that key. */
  readonly accepted: boolean
  readonly findings: readonly Finding[]
}

/** @throws {CaError} `CA_DER_INVALID` if `der` is no request */
export function describeRequest(der: Uint8Array): RequestReport {
  if (der.length > MAX_INSPECTED_BYTES) throw refused(`it has ${der.length} bytes`)
  try {
    const request = new Pkcs10CertificateRequest(new Uint8Array(der))
    const names = request.extensions.find(({ type }) => type === OID.subjectAltName)
    const san = names ? readAlternativeNames(new Uint8Array(names.value)) : []
    const findings = findingsOf(der, request.subject !== '' || san.length > 0)
    return {
      subject: request.subject,
      san,
      key: keyOf(request),
      accepted: findings.every(({ severity }) => severity !== 'error'),
      findings,
    }
  } catch (cause) {
    if (cause instanceof CaError) throw cause
    throw refused(cause instanceof Error ? cause.message.slice(0, 200) : 'it is not DER', cause)
  }
}

function keyOf({ publicKey }: Pkcs10CertificateRequest): KeyReport {
  try {
    const spki = Buffer.from(publicKey.rawData)
    const { type, bits, curve } = keyFactsOf(
      createPublicKey({ key: spki, format: 'der', type: 'spki' }),
    )
    return { type, ...(bits !== undefined && { bits }), ...(curve !== undefined && { curve }) }
  } catch {
    return { type: 'unknown' } // the finding says what that means
  }
}

function findingsOf(der: Uint8Array, hasNames: boolean): readonly Finding[] {
  const names: Finding = {
    rule: 'request-names',
    severity: 'info',
    source: 'Redoubt: names come from attestation',
    message: 'it asks for names, which our CA does not read: it gives the name that was attested',
  }
  const fault = whyRefused(der)
  const refusal: Finding = {
    rule: 'request-accepted',
    severity: 'error',
    source: 'RFC 2986 §3',
    message: fault ?? '',
    hint: 'make a new one: redoubt cert request',
  }
  return [...(fault === undefined ? [] : [refusal]), ...(hasNames ? [names] : [])]
}

function whyRefused(der: Uint8Array): string | undefined {
  try {
    verifyCsr(der)
    return undefined
  } catch (cause) {
    if (!(cause instanceof CaError)) throw cause
    return cause.message.replace(/^(Cannot [^:]*: )+/, '')
  }
}

function refused(why: string, cause?: unknown): CaError {
  return new CaError('CA_DER_INVALID', `Cannot read a certificate request: ${why}`, { cause })
}
