import { CaError } from '../error.ts'
import { derFromPem } from '../x509/index.ts'
import { MAX_INSPECTED_BYTES } from './facts.ts'

/** Certificates that are looked at in one input. */
export const MAX_CERTIFICATES = 200

/** Bytes of one input. */
export const MAX_INPUT_BYTES = 4_194_304

/**
 * The certificates in `bytes`, DER, in order: PEM with any text around, DER of one, or a SPIFFE
 * bundle (a JWK set, SPIFFE bundle §4). Private keys and other PEM blocks are passed over unread.
 *
 * @throws {CaError} `CA_DER_INVALID` if it is none of these, or too large
 */
export function readCertificates(bytes: Uint8Array): readonly Uint8Array[] {
  if (bytes.length > MAX_INPUT_BYTES) {
    throw refused(`there are ${bytes.length} bytes, expected at most ${MAX_INPUT_BYTES}`)
  }
  const found = certificatesIn(bytes)
  if (found.length > MAX_CERTIFICATES) {
    throw refused(`there are ${found.length} of them, expected at most ${MAX_CERTIFICATES}`)
  }
  return found
}

function certificatesIn(bytes: Uint8Array): readonly Uint8Array[] {
  if (bytes.length === 0) throw refused('the input is empty')
  if (bytes[0] === DER_SEQUENCE && bytes.length <= MAX_INSPECTED_BYTES) return [bytes]
  const text = Buffer.from(bytes).toString('latin1')
  if (/^\s*\{/.test(text)) return fromBundle(text)
  if (text.includes('-----BEGIN CERTIFICATE-----')) return derFromPem('CERTIFICATE', text)
  const [, label] = /-----BEGIN ([A-Z0-9 ]{1,40})-----/.exec(text) ?? []
  throw refused(label ? `it holds a ${label}` : 'it is neither PEM nor DER nor a SPIFFE bundle')
}

const DER_SEQUENCE = 0x30

interface Jwk {
  readonly use?: unknown
  readonly x5c?: unknown
}

function fromBundle(text: string): readonly Uint8Array[] {
  const { keys } = parseJson(text)
  if (!Array.isArray(keys)) throw refused('it is JSON without "keys", expected a SPIFFE bundle')
  const certificates = (keys as readonly (Jwk | null)[]).flatMap((jwk) => {
    const [first] = jwk?.use === 'x509-svid' && Array.isArray(jwk.x5c) ? jwk.x5c : []
    return typeof first === 'string' ? [new Uint8Array(Buffer.from(first, 'base64'))] : []
  })
  if (certificates.length === 0) throw refused('the bundle has no key for x509-svid')
  return certificates
}

function parseJson(text: string): { readonly keys?: unknown } {
  try {
    return JSON.parse(text) as { keys?: unknown }
  } catch (cause) {
    throw refused('it starts like JSON and is not', cause)
  }
}

function refused(why: string, cause?: unknown): CaError {
  return new CaError('CA_DER_INVALID', `Cannot read certificates: ${why}`, { cause })
}
