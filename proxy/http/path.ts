/** The four forms of a request target (RFC 9112 §3.2). */
export type Target =
  | { readonly kind: 'origin'; readonly path: string }
  | {
      readonly kind: 'absolute'
      readonly authority: string
      readonly path: string
      /** `https`: the caller takes it that TLS leads there. */
      readonly isSecure: boolean
    }
  | { readonly kind: 'authority'; readonly authority: string }
  | { readonly kind: 'asterisk' }
  | { readonly kind: 'malformed' }

const MALFORMED: Target = { kind: 'malformed' }
const ABSOLUTE = /^http(s?):\/\/([\da-z.:[\]-]*)(\/.*)?$/is

/** Splits the target of a request. `path` keeps its query and every byte as sent. */
export function splitTarget(method: string, target: string): Target {
  if (method === 'CONNECT') {
    return readAuthority(target)?.port ? { kind: 'authority', authority: target } : MALFORMED
  }
  if (target.startsWith('/')) return { kind: 'origin', path: target }
  if (target === '*') return method === 'OPTIONS' ? { kind: 'asterisk' } : MALFORMED
  const [, secure, authority = '', path = '/'] = ABSOLUTE.exec(target) ?? []
  if (readAuthority(authority) === undefined) return MALFORMED
  return { kind: 'absolute', authority, path, isSecure: secure !== '' }
}

/** What `host[:port]` names: `host` in lower case, IPv6 without brackets; `port` as sent, 0 when absent. */
export interface Authority {
  readonly host: string
  readonly port: number
}

const AUTHORITY = /^(?:\[([0-9a-fA-F:.]{2,45})\]|([A-Za-z0-9._~-]{1,255}))(?::(\d{1,5}))?$/

/**
 * Reads a `Host` value or the authority of a target. Stricter than RFC 3986 §3.2: no user
 * information, no percent-escapes, no sub-delimiters, since none of those names a service.
 */
export function readAuthority(text: string): Authority | undefined {
  const match = AUTHORITY.exec(text)
  if (match === null) return undefined
  const port = match[3] === undefined ? 0 : Number(match[3])
  if (port > 65_535 || (match[3] !== undefined && port === 0)) return undefined
  return { host: (match[1] ?? match[2] ?? '').toLowerCase(), port }
}
