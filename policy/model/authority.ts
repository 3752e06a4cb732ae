/** Bytes of a host and port (RFC 3986 §3.2: unreserved, sub-delimiters, `:`, `%`, brackets), in any order. */
const AUTHORITY = /^[A-Za-z0-9._~%!$&'()*+,;=:[\]-]*$/

/**
 * Whether `text` may be a `Host`, as Envoy 1.40 reads it: by its characters alone, so that
 * `ex.com:8080x` and an empty one pass, and what it names is not judged. User information (`a@b`) is
 * refused, as Envoy does in HTTP/2 only (RFC 9110 §4.2.4).
 */
export function mayBeAuthority(text: string): boolean {
  return AUTHORITY.test(text)
}
