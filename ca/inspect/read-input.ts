/** What a file or a pipe holds, whatever it is in: nobody should have to say. */
import type { KeyObject } from 'node:crypto'

import { CaError } from '../error.ts'
import { type JwtKey, readJwtKeys } from '../jwt/index.ts'
import { contextTag, TAG } from '../x509/der.ts'
import { derFromPem, type PemLabel } from '../x509/index.ts'
import { berChildren, type BerElement, readBer } from './ber.ts'
import { readPkcs12, readPkcs7 } from './containers.ts'
import { MAX_INSPECTED_BYTES } from './facts.ts'

/** Certificates that are looked at in one input. */
export const MAX_CERTIFICATES = 200

/** Bytes of one input. */
export const MAX_INPUT_BYTES = 4_194_304

/** What was in an input. */
export interface Contents {
  /** Of the outermost thing, as people call it. */
  readonly format: string
  /** DER, in order. */
  readonly certificates: readonly Uint8Array[]
  /** Roots that came along to verify the others with, DER. */
  readonly roots?: readonly Uint8Array[]
  /** PKCS#10, DER. */
  readonly requests?: readonly Uint8Array[]
  /** JWT-SVIDs, in compact form. Secrets: whoever has one is who it names. */
  readonly tokens?: readonly string[]
  /** Keys of JWT-SVIDs. */
  readonly jwtKeys?: readonly JwtKey[]
  /** The private key that came along. */
  readonly key?: KeyObject
}

/**
 * Reads PEM with any text around, DER, PKCS#7, PKCS#12, a certificate request, a JWT-SVID, and a
 * SPIFFE bundle (SPIFFE bundle §4). In PEM private keys and other blocks are passed over unread.
 *
 * @param password - Of a PKCS#12.
 * @throws {CaError} `CA_DER_INVALID` if it is none of these, or too large
 */
export function readInput(bytes: Uint8Array, password?: string): Contents {
  if (bytes.length > MAX_INPUT_BYTES) {
    throw refused(`there are more than ${MAX_INPUT_BYTES} bytes, which is the most that is read`)
  }
  if (bytes.length === 0) throw refused('the input is empty')
  const contents = bytes[0] === TAG.sequence ? fromDer(bytes, password) : fromText(bytes)
  const { length } = contents.certificates
  if (length > MAX_CERTIFICATES) {
    throw refused(`there are ${length} of them, expected at most ${MAX_CERTIFICATES}`)
  }
  return contents
}

/**
 * The certificates in `bytes`, DER, in order, of whatever {@link readInput} reads.
 *
 * @throws {CaError} `CA_DER_INVALID` if there is none
 */
export function readCertificates(bytes: Uint8Array, password?: string): readonly Uint8Array[] {
  const { certificates, format } = readInput(bytes, password)
  if (certificates.length === 0) throw refused(`there is none in the ${format}`)
  return certificates
}

function fromDer(bytes: Uint8Array, password: string | undefined): Contents {
  const kind = kindOfDer(bytes)
  switch (kind) {
    case 'PKCS#7':
      return { format: kind, certificates: readPkcs7(bytes) }
    case 'PKCS#12':
      return { format: kind, ...readPkcs12(bytes, password) }
    case 'certificate request':
      return { format: kind, certificates: [], requests: [bytes] }
    default:
      return { format: 'DER', certificates: [bytes] }
  }
}

/** By the first parts: what is none of the others is taken for a certificate, and refused as one. */
function kindOfDer(bytes: Uint8Array): string {
  try {
    const [first, ...others] = berChildren(readBer(bytes))
    if (first?.tag === TAG.oid) return 'PKCS#7'
    if (first?.tag === TAG.integer) return 'PKCS#12'
    const parts = first && others.length === 2 ? berChildren(first) : []
    return isRequest(parts) ? 'certificate request' : 'certificate'
  } catch (cause) {
    if (cause instanceof CaError && bytes.length <= MAX_INSPECTED_BYTES) return 'certificate'
    throw cause
  }
}

/** Version, name, key, attributes; a certificate without a version has its algorithm before its issuer. */
function isRequest([version, , , attributes]: readonly BerElement[]): boolean {
  return (
    version?.tag === TAG.integer && (attributes === undefined || attributes.tag === contextTag(0))
  )
}

function fromText(bytes: Uint8Array): Contents {
  const text = Buffer.from(bytes).toString('latin1')
  if (/^\s*\{/.test(text)) return fromJson(bytes)
  if (TOKEN.test(text)) return { format: 'JWT-SVID', certificates: [], tokens: [text.trim()] }
  return fromPem(text)
}

const TOKEN = /^\s*eyJ[\w-]{0,16384}\.[\w-]{0,16384}\.[\w-]{0,16384}\s*$/

function fromPem(text: string): Contents {
  const has = (label: string) => text.includes(`-----BEGIN ${label}-----`)
  const blocks = (label: PemLabel) => (has(label) ? derFromPem(label, text) : [])
  const certificates = [
    ...blocks('CERTIFICATE'),
    ...[...blocks('PKCS7'), ...blocks('CMS')].flatMap(readPkcs7),
  ]
  const requests = [...blocks('CERTIFICATE REQUEST'), ...blocks('NEW CERTIFICATE REQUEST')]
  if (certificates.length + requests.length > 0) {
    return { format: 'PEM', certificates, ...(requests.length > 0 && { requests }) }
  }
  const [, label] = /-----BEGIN ([A-Z0-9 ]{1,40})-----/.exec(text) ?? []
  throw refused(
    label
      ? `it holds a ${label}, expected certificates`
      : 'it is none of the forms that are known here',
  )
}

function fromJson(bytes: Uint8Array): Contents {
  const document = parseJson(bytes)
  const { keys } = document
  if (!Array.isArray(keys)) throw refused('it is JSON without "keys", expected a SPIFFE bundle')
  const certificates = (keys as readonly (Jwk | null)[]).flatMap((jwk) => {
    const [first] = jwk?.use === 'x509-svid' && Array.isArray(jwk.x5c) ? jwk.x5c : []
    return typeof first === 'string' ? [new Uint8Array(Buffer.from(first, 'base64'))] : []
  })
  const jwtKeys = readJwtKeys(JSON.stringify({ keys }))
  if (certificates.length === 0 && jwtKeys.length === 0) {
    throw refused('the bundle has no key for x509-svid')
  }
  return { format: 'SPIFFE bundle', certificates, jwtKeys }
}

interface Jwk {
  readonly use?: unknown
  readonly x5c?: unknown
}

function parseJson(bytes: Uint8Array): Readonly<Record<string, unknown>> {
  try {
    return JSON.parse(Buffer.from(bytes).toString('utf8')) as Readonly<Record<string, unknown>>
  } catch (cause) {
    throw refused('it starts like JSON and is not', cause)
  }
}

function refused(why: string, cause?: unknown): CaError {
  return new CaError('CA_DER_INVALID', `Cannot read certificates: ${why}`, { cause })
}
