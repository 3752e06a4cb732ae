/** What of a request its pseudo-headers say (RFC 9113 §8.3.1), in HTTP/1 too, as Envoy has it. */
export interface RequestLine {
  readonly method: string
  /** Normalised, without query. */
  readonly path: string
  /** Origin form, with its query. */
  readonly target: string
  /** `undefined`: there is none. */
  readonly host: string | undefined
}

/** Whether `name` (lower case) is said by the request line, or stands for what is. */
export function isPseudoHeader(name: string): boolean {
  return name === 'host' || name.startsWith(':')
}

/** Values of a pseudo-header, and of `host`; the scheme is nobody's to say here. */
export function pseudoHeader(name: string, line: RequestLine): readonly string[] {
  const { method, path, target, host } = line
  if (name === ':method') return [method]
  if (name === ':path') return [path + queryOf(target)]
  const isHost = name === 'host' || name === ':authority'
  return isHost && host !== undefined ? [host] : []
}

function queryOf(target: string): string {
  const at = target.indexOf('?')
  return at < 0 ? '' : target.slice(at)
}

/** Headers of which several lines are one value, joined with `,`; of all others each line counts by itself (§0.8.17). */
const JOINED = new Set(
  `accept accept-encoding access-control-request-headers access-control-request-method
  access-control-request-private-network authorization cache-control content-encoding content-type
  expect grpc-accept-encoding grpc-timeout if-match if-modified-since if-none-match if-range
  if-unmodified-since origin pragma proxy-status user-agent via x-client-trace-id
  x-envoy-decorator-operation x-forwarded-for x-forwarded-host x-forwarded-port x-forwarded-proto
  x-request-id`.split(/\s+/),
)

/** Names that end at a proxy (RFC 9110 §7.6.1), or that only a sidecar may say. */
const HIDDEN =
  /^(connection|keep-alive|proxy-(authenticate|authorization|connection)|te|trailer|transfer-encoding|upgrade|x-forwarded-client-cert|x-(envoy|redoubt)-.*)$/

/**
 * Whether policies, tokens and the app never see a header from outside.
 *
 * @param name - in lower case
 */
export function isHiddenHeader(name: string): boolean {
  return HIDDEN.test(name) && name !== 'x-envoy-attempt-count'
}

/**
 * The values that policy compares, from the lines of one header in order. Lines without a value leave
 * no comma behind.
 *
 * @param name - in lower case
 */
export function headerValues(name: string, lines: readonly string[]): readonly string[] {
  if (name === 'referer') return refererOf(lines)
  if (lines.length < 2 || !JOINED.has(name)) return lines
  return [joined(lines)]
}

/**
 * The one `cookie` of HTTP/2 crumbs (RFC 9113 §8.2.3) as Envoy puts it together: crumbs without a value
 * leave nothing behind before the first one that has some, and alone no header at all.
 *
 * @param crumbs - in order
 */
export function cookieOfCrumbs(crumbs: readonly string[]): readonly string[] {
  const first = crumbs.findIndex((crumb) => crumb !== '')
  return first < 0 ? [] : [crumbs.slice(first).join('; ')]
}

function joined(lines: readonly string[]): string {
  return lines.filter((line) => line !== '').join(',')
}

/** Stands for an id that the sidecar makes. */
const SOME_ID = '00000000-0000-4000-8000-000000000000'

/** What Envoy has said of a request before policies see it, where the caller says nothing. */
export function impliedHeader(name: string, isSecure: boolean): readonly string[] {
  if (name === 'x-forwarded-proto') return [isSecure ? 'https' : 'http']
  return name === 'x-request-id' ? [SOME_ID] : []
}

/** An absolute URL without user information and fragment, or a path with a query, as Envoy reads them. */
const ABSOLUTE = /^[a-z]+:\/\/(?:\[[\da-f:.]+\]|[\da-z.-]+)(?::\d{1,5})?(?:[/?][!"$-~]*)?$/i
const RELATIVE = /^[\w\-.~!$&'()*+,;=@?%]*(?:\/[\w\-.~!$&'()*+,;=:@?%/]*)?$/

/** A `referer` that cannot be one is none: Envoy removes it before policies. */
function refererOf(lines: readonly string[]): readonly string[] {
  if (lines.length === 0) return lines
  const value = joined(lines)
  return ABSOLUTE.test(value) || RELATIVE.test(value) ? [value] : []
}
