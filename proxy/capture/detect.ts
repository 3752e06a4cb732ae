/** What the first bytes of a connection say that it speaks. */
export type Detected = 'tls' | 'http1' | 'http2' | 'socks5' | 'other' | 'need-more'

const TLS_HANDSHAKE = 0x16
const SOCKS5 = 0x05
const SPACE = 0x20
const PREFACE = 'PRI * HTTP/2.0\r\n'
/** A request line shows its method and target within this many bytes, or is not one we wait for. */
const MAX_METHOD = 17

/**
 * Tells protocols apart by their first bytes, asking for no more of them than it needs: TLS and SOCKS
 * by the first one, HTTP/2 by its preface, HTTP/1 by a method of upper-case letters and a space.
 */
export function detectProtocol(bytes: Uint8Array): Detected {
  if (bytes.length === 0) return 'need-more'
  if (bytes[0] === TLS_HANDSHAKE) return 'tls'
  if (bytes[0] === SOCKS5) return 'socks5'
  if (startsLikePreface(bytes)) return bytes.length >= PREFACE.length ? 'http2' : 'need-more'
  for (let at = 0; at < bytes.length; at += 1) {
    const byte = bytes[at] ?? 0
    if (byte === SPACE) return at > 0 ? 'http1' : 'other'
    const isUpper = (byte >= 0x41 && byte <= 0x5a) || (byte === 0x2d && at > 0)
    if (!isUpper || at >= MAX_METHOD) return 'other'
  }
  return 'need-more'
}

/** Whether `bytes` are the HTTP/2 preface, or could still become it. */
export function startsLikePreface(bytes: Uint8Array): boolean {
  const length = Math.min(bytes.length, PREFACE.length)
  for (let at = 0; at < length; at += 1) {
    if (bytes[at] !== PREFACE.charCodeAt(at)) return false
  }
  return true
}
