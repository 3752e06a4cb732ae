import { cursor, parseDer } from '../x509/der.ts'

/** One entry of SubjectAltName. */
export interface AlternativeName {
  readonly type:
    | 'other'
    | 'email'
    | 'dns'
    | 'x400'
    | 'directory'
    | 'edi'
    | 'uri'
    | 'ip'
    | 'registered-id'
  /** Text, each byte one character; an address in its usual form; hex where there is no text. */
  readonly value: string
}

/** By context tag number (RFC 5280 §4.2.1.6). */
const TYPES: readonly AlternativeName['type'][] = [
  'other',
  'email',
  'dns',
  'x400',
  'directory',
  'edi',
  'uri',
  'ip',
  'registered-id',
]

const TEXT: ReadonlySet<AlternativeName['type']> = new Set(['email', 'dns', 'uri'])

/**
 * The entries of an extension's value, in order.
 *
 * @throws {CaError} `CA_DER_INVALID`
 */
export function readAlternativeNames(der: Uint8Array): readonly AlternativeName[] {
  return cursor(parseDer(der), 'alternative names')
    .rest()
    .map(({ tag, body }) => {
      const type = TYPES[tag & 0x1f] ?? 'other'
      if (TEXT.has(type)) return { type, value: Buffer.from(body).toString('latin1') }
      return { type, value: type === 'ip' ? addressOf(body) : Buffer.from(body).toString('hex') }
    })
}

function addressOf(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.')
  const hex = Buffer.from(bytes).toString('hex')
  if (bytes.length !== 16) return hex
  return new URL(`http://[${hex.replace(/....(?!$)/g, '$&:')}]`).hostname.slice(1, -1)
}
