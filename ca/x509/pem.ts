import { CaError } from '../error.ts'

/** The text around base64 (RFC 7468): `CERTIFICATE`, `PRIVATE KEY`, … */
export type PemLabel =
  | 'CERTIFICATE'
  | 'CERTIFICATE REQUEST'
  | 'NEW CERTIFICATE REQUEST'
  | 'PRIVATE KEY'
  | 'PKCS7'
  | 'CMS'
  | 'X509 CRL'
  /** Ours: a private key that a passphrase opens. */
  | 'REDOUBT SEALED PRIVATE KEY'

/** PEM of one DER document, or of several in order, each with a newline at its end. */
export function pemFromDer(label: PemLabel, der: Uint8Array | readonly Uint8Array[]): string {
  const documents = der instanceof Uint8Array ? [der] : der
  return documents.map((bytes) => armour(label, bytes)).join('')
}

function armour(label: PemLabel, bytes: Uint8Array): string {
  const base64 = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64')
  let text = `-----BEGIN ${label}-----\n`
  for (let at = 0; at < base64.length; at += LINE) text += `${base64.slice(at, at + LINE)}\n`
  return `${text}-----END ${label}-----\n`
}

/** Characters of base64 in a line (RFC 7468 §2). */
const LINE = 64

/**
 * The DER of every block with this label, in order; other labels and text between are passed over.
 *
 * @throws {CaError} `CA_DER_INVALID` if there is none, or one does not end or is not base64
 */
export function derFromPem(label: PemLabel, text: string): readonly Uint8Array[] {
  const begin = `-----BEGIN ${label}-----`
  const blocks = text.split(begin).slice(1)
  if (blocks.length === 0) throw refusedPem(`it has no ${label}`)
  return blocks.map((block) => unarmour(label, block))
}

function unarmour(label: PemLabel, block: string): Uint8Array {
  const end = block.indexOf(`-----END ${label}-----`)
  if (end === -1) throw refusedPem(`a ${label} has no end`)
  const base64 = block.slice(0, end).replace(/\s+/g, '')
  if (base64 === '' || base64.length % 4 !== 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(base64)) {
    throw refusedPem(`a ${label} is not base64`)
  }
  return new Uint8Array(Buffer.from(base64, 'base64'))
}

function refusedPem(why: string): CaError {
  return new CaError('CA_DER_INVALID', `Cannot read PEM: ${why}`)
}
