/**
 * Field names that mean something to a proxy, and the bytes that may stand in a head.
 *
 * @see RFC 9110 §5, RFC 9112 §5
 */

/** What a field name is to us. `other` is carried as it came. */
export const FIELD = {
  other: 0,
  host: 1,
  contentLength: 2,
  transferEncoding: 3,
  connection: 4,
  upgrade: 5,
  te: 6,
  expect: 7,
  /** Hop-by-hop by RFC 9110 §7.6.1 or by custom: never carried on. */
  hop: 8,
  keepAlive: 9,
  requestId: 10,
  /** Ours to say: `x-forwarded-client-cert`, `x-envoy-*`, `x-redoubt-*`. Never believed from outside. */
  internal: 11,
  /** `x-envoy-attempt-count`: believed from a sidecar, said by one. */
  attemptCount: 12,
} as const

export type Field = (typeof FIELD)[keyof typeof FIELD]

const NAMES: Readonly<Record<string, Field>> = {
  host: FIELD.host,
  'content-length': FIELD.contentLength,
  'transfer-encoding': FIELD.transferEncoding,
  connection: FIELD.connection,
  upgrade: FIELD.upgrade,
  te: FIELD.te,
  expect: FIELD.expect,
  'keep-alive': FIELD.keepAlive,
  'proxy-connection': FIELD.hop,
  'proxy-authenticate': FIELD.hop,
  'proxy-authorization': FIELD.hop,
  trailer: FIELD.hop,
  'x-request-id': FIELD.requestId,
  'x-envoy-attempt-count': FIELD.attemptCount,
  'x-forwarded-client-cert': FIELD.internal,
}

interface Known {
  readonly bytes: Uint8Array
  readonly field: Field
}

/** Known names by length: most names are told from all of them by one array read. */
const BY_LENGTH: readonly (readonly Known[] | undefined)[] = Array.from(
  { length: 32 },
  (_, length) => {
    const known = Object.entries(NAMES)
      .filter(([name]) => name.length === length)
      .map(([name, field]) => ({ bytes: Buffer.from(name, 'latin1'), field }))
    return known.length > 0 ? known : undefined
  },
)

const INTERNAL_PREFIXES: readonly Uint8Array[] = ['x-envoy-', 'x-redoubt-'].map((prefix) =>
  Buffer.from(prefix, 'latin1'),
)

const DASH = 0x2d
const LOWER_X = 0x78

/** What the lower-case name in `bytes[from, to)` is to us. */
export function fieldOf(bytes: Uint8Array, from: number, to: number): Field {
  const known = BY_LENGTH[to - from]
  if (known !== undefined) {
    for (const { bytes: name, field } of known) {
      if (startsWith(bytes, from, name)) return field
    }
  }
  if (bytes[from] !== LOWER_X || bytes[from + 1] !== DASH) return FIELD.other
  for (const prefix of INTERNAL_PREFIXES) {
    if (to - from >= prefix.length && startsWith(bytes, from, prefix)) return FIELD.internal
  }
  return FIELD.other
}

function startsWith(bytes: Uint8Array, from: number, wanted: Uint8Array): boolean {
  for (let index = 0; index < wanted.length; index += 1) {
    if (bytes[from + index] !== wanted[index]) return false
  }
  return true
}

/** Bits of {@link BYTE_CLASS}. */
export const TOKEN_BYTE = 1
/** May stand in a field value: visible, obs-text, space, tab (RFC 9110 §5.5). */
export const VALUE_BYTE = 2
/** May stand in a request target: visible ASCII without `#`, at which a target ends. */
export const TARGET_BYTE = 4

const TOKEN = /[!#$%&'*+.^_`|~0-9A-Za-z-]/

/** What each byte may be part of. */
export const BYTE_CLASS: Uint8Array = Uint8Array.from({ length: 256 }, (_, byte) => {
  const token = TOKEN.test(String.fromCharCode(byte)) ? TOKEN_BYTE : 0
  const value = byte === 0x09 || (byte >= 0x20 && byte !== 0x7f) ? VALUE_BYTE : 0
  const target = byte > 0x20 && byte < 0x7f && byte !== 0x23 ? TARGET_BYTE : 0
  return token | value | target
})

/** Each byte, with A–Z made a–z. */
export const LOWER: Uint8Array = Uint8Array.from({ length: 256 }, (_, byte) =>
  byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte,
)
