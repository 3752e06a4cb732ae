/**
 * The server's side of SOCKS5 without authentication, CONNECT only, as a pure step.
 *
 * @see RFC 1928
 */
export type SocksStep =
  | { readonly kind: 'need-more' }
  /** Send `reply`, then read the request. */
  | { readonly kind: 'greeted'; readonly reply: Uint8Array; readonly next: number }
  /** Send {@link SOCKS_GRANTED}, and the connection is for `host`. */
  | {
      readonly kind: 'connect'
      readonly host: string
      readonly port: number
      readonly next: number
    }
  /** Send `reply` and close. */
  | { readonly kind: 'refused'; readonly reply: Uint8Array }

const VERSION = 5
const NO_AUTHENTICATION = 0
const CONNECT = 1
const IPV4 = 1
const NAME = 3
const IPV6 = 4

/** Success, bound to 0.0.0.0:0. */
export const SOCKS_GRANTED: Uint8Array = reply(0)

function reply(code: number): Uint8Array {
  return Uint8Array.of(VERSION, code, 0, IPV4, 0, 0, 0, 0, 0, 0)
}

/** Reads the greeting: the methods that the client offers. */
export function readSocksGreeting(bytes: Uint8Array): SocksStep {
  const count = bytes[1]
  if (count === undefined || bytes.length < 2 + count) return { kind: 'need-more' }
  if (!bytes.subarray(2, 2 + count).includes(NO_AUTHENTICATION)) {
    return { kind: 'refused', reply: Uint8Array.of(VERSION, 0xff) }
  }
  return { kind: 'greeted', reply: Uint8Array.of(VERSION, NO_AUTHENTICATION), next: 2 + count }
}

/** Reads the request: where to. */
export function readSocksRequest(bytes: Uint8Array): SocksStep {
  const [version, command, , type, first] = bytes
  if (type === undefined || first === undefined) return { kind: 'need-more' }
  if (version !== VERSION) return { kind: 'refused', reply: reply(1) }
  if (command !== CONNECT) return { kind: 'refused', reply: reply(7) }
  if (type !== IPV4 && type !== NAME && type !== IPV6) return { kind: 'refused', reply: reply(8) }
  const at = type === NAME ? 5 : 4
  const length = type === NAME ? first : type === IPV4 ? 4 : 16
  const next = at + length + 2
  if (bytes.length < next) return { kind: 'need-more' }
  const host = formatHost(bytes.subarray(at, at + length), type)
  if (host === undefined) return { kind: 'refused', reply: reply(4) }
  const port = ((bytes[next - 2] ?? 0) << 8) | (bytes[next - 1] ?? 0)
  return { kind: 'connect', host, port, next }
}

function formatHost(bytes: Uint8Array, type: number): string | undefined {
  if (type === IPV4) return bytes.join('.')
  if (type === IPV6) {
    const groups = Array.from({ length: 8 }, (_, index) =>
      (((bytes[index * 2] ?? 0) << 8) | (bytes[index * 2 + 1] ?? 0)).toString(16),
    )
    return groups.join(':')
  }
  const name = Buffer.from(bytes).toString('latin1').toLowerCase()
  // ASCII letters, digits, hyphens, dots: anything else (NUL among it) names no service.
  return /^[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?$/.test(name) ? name : undefined
}
