/**
 * The path that policy decides on, from the target of a request line (§1.12 with §0.8.9–14).
 *
 * It is one pass over characters of an ASCII text, and never repeated: what an escape becomes is not
 * looked at again, so that `%252e` cannot turn into a dot on a second reading.
 */
import type { PathNormalization } from './bundle.ts'

/** Why a target is answered 400 before policy. */
export type PathRefusal =
  /** Neither `/path` nor `http://host/path`. */
  | 'not-a-path'
  /** A space, a control character, DEL or anything outside ASCII, unescaped. */
  | 'forbidden-character'
  /** `%00`, in every mode but NONE. */
  | 'escaped-nul'

export type NormalizedPath =
  | {
      readonly kind: 'ok'
      /** What policy and routes compare: normalised, without query and fragment. */
      readonly path: string
      /** What is sent on: origin form as it came, byte for byte, without the fragment. */
      readonly target: string
      /** Of an absolute-form target, which overrides the Host header (§0.8.18); else `undefined`. */
      readonly authority: string | undefined
    }
  | { readonly kind: 'refused'; readonly reason: PathRefusal }

const VISIBLE_ASCII = /^[\x21-\x7e]+$/
/** Strict in its host, as Envoy is. */
const ABSOLUTE = /^https?:\/\/((?:\[[\da-f:.]{2,45}\]|[\da-z.-]+)(?::\d{1,5})?)(\/[^#]*)?(?:#.*)?$/i
const MAX_PORT = 65_535
const UNRESERVED = /^[A-Za-z0-9\-._~]$/
/** Escaped when they come raw (§0.8.11). `[` and `]` are not among them. */
const ESCAPED = /^["<>^`{|}]$/
const HEX_PAIR = /^[0-9A-Fa-f]{2}$/

/**
 * Normalises the target of a request.
 *
 * A fragment is cut in every mode (§0.8.10). Dot segments with parameters (`..;`) are kept: servers
 * differ on them, so a path rule refuses them ({@link isAmbiguousPath}).
 *
 * @param rawTarget - the request-target as received, each byte one character
 */
export function normalizePath(rawTarget: string, mode: PathNormalization): NormalizedPath {
  if (rawTarget !== '' && !VISIBLE_ASCII.test(rawTarget)) {
    return { kind: 'refused', reason: 'forbidden-character' }
  }
  const parsed = splitTarget(rawTarget)
  if (parsed === undefined) return { kind: 'refused', reason: 'not-a-path' }
  const { authority, target } = parsed
  const query = target.indexOf('?')
  const rawPath = query === -1 ? target : target.slice(0, query)
  if (mode === 'NONE') return { kind: 'ok', path: rawPath, target, authority }
  if (rawPath.includes('%00')) return { kind: 'refused', reason: 'escaped-nul' }

  const unslashed =
    mode === 'DECODE_AND_MERGE_SLASHES' ? rawPath.replace(/%2f|%5c/gi, '/') : rawPath
  const resolved = resolveDotSegments(decodeUnreserved(unslashed))
  return {
    kind: 'ok',
    path: mode === 'BASE' ? resolved : mergeSlashes(resolved),
    target,
    authority,
  }
}

/**
 * Whether servers disagree about what a path names: it has a dot segment with parameters, which
 * Tomcat resolves and others do not (CVE-2026-73511). Under a path rule such a request is refused.
 */
export function isAmbiguousPath(path: string): boolean {
  return /\/(\.|%2e){1,2};/i.test(path)
}

/** One of {@link isAmbiguousPath}'s segments, decoded. */
const PARAMETERED_DOTS = /^\.{1,2};/

/** `path` as a server reads it that takes `;…` of each segment for parameters (RFC 3986 §3.3). */
export function withoutPathParameters(path: string): string {
  return path.includes(';') ? path.replace(/;[^/]*/g, '') : path
}

function splitTarget(raw: string): { authority: string | undefined; target: string } | undefined {
  const absolute = ABSOLUTE.exec(raw)
  if (absolute !== null && portOf(absolute[1]) > MAX_PORT) return undefined
  if (absolute !== null) return { authority: absolute[1], target: absolute[2] ?? '/' }
  if (!raw.startsWith('/')) return undefined
  const fragment = raw.indexOf('#')
  return { authority: undefined, target: fragment === -1 ? raw : raw.slice(0, fragment) }
}

function portOf(authority = ''): number {
  return Number(/:(\d+)$/.exec(authority)?.[1] ?? 0)
}

/**
 * Decodes escapes of unreserved characters, escapes what must not stand raw and turns `\` into `/`.
 * An invalid escape stays, except where decoding beside it would complete it: its `%` then becomes
 * `%25`, so that `/%2%65` is `/%252e` and never a new escape.
 */
function decodeUnreserved(path: string): string {
  let out = ''
  let strayPercent = -1
  for (let at = 0; at < path.length; at += 1) {
    const char = path.charAt(at)
    const pair = char === '%' ? path.slice(at + 1, at + 3) : ''
    if (char !== '%') out += escapeRaw(char)
    else if (!HEX_PAIR.test(pair)) {
      strayPercent = out.length
      out += char
    } else {
      at += 2
      const decoded = String.fromCharCode(Number.parseInt(pair, 16))
      if (!UNRESERVED.test(decoded)) out += char + pair
      else {
        out += decoded
        const completed = out.slice(strayPercent + 1) + path.charAt(at + 1)
        if (
          strayPercent !== -1 &&
          strayPercent >= out.length - 3 &&
          HEX_PAIR.test(completed.slice(0, 2))
        ) {
          out = `${out.slice(0, strayPercent)}%25${out.slice(strayPercent + 1)}`
        }
      }
    }
  }
  return out
}

function escapeRaw(char: string): string {
  if (char === '\\') return '/'
  return ESCAPED.test(char) ? `%${char.charCodeAt(0).toString(16).toUpperCase()}` : char
}

/** RFC 3986 §5.2.4. A last dot segment leaves its slash; `..` stops at the root and drops an empty segment as any other. */
function resolveDotSegments(path: string): string {
  const kept: string[] = []
  const segments = path.slice(1).split('/')
  for (const [index, segment] of segments.entries()) {
    const dot = segment === '.' || segment === '..'
    // What a dot segment with parameters names is unknown: neither can it be left out, nor what is before it.
    const isStuck = segment === '..' && PARAMETERED_DOTS.test(kept.at(-1) ?? '')
    if (segment === '..' && !isStuck) kept.pop()
    if (!dot || isStuck) kept.push(segment)
    else if (index === segments.length - 1) kept.push('')
  }
  return `/${kept.join('/')}`
}

/** After dot segments (§0.8.12). A path of slashes alone becomes two. */
function mergeSlashes(path: string): string {
  if (!path.includes('//')) return path
  const segments = path.split('/').filter((segment) => segment !== '')
  return `/${segments.join('/')}${path.endsWith('/') ? '/' : ''}`
}
