import type { TextTest } from './text.ts'

/** What an operator may cover: pchar of RFC 3986 (an escape's `%` included), so no `[ ] " < > \ ^ { | }` (§0.8.9). */
const COVERED = /^[A-Za-z0-9\-._~%!$&'()*+,;:@=]*$/
const COVERED_WITH_SLASHES = /^[A-Za-z0-9\-._~%!$&'()*+,;:@=/]*$/

/** Whether a `paths` value is a template rather than text (§1.6). */
export function isTemplate(written: string): boolean {
  return written.includes('{*}') || written.includes('{**}')
}

/**
 * Compiles a path template: `{*}` covers one segment that is not empty, `{**}` any text with slashes.
 * All else is literal, slashes at the end included: `/foo/{**}/` matches `/foo//`, not `/foo/` (§0.8.9).
 */
export function compileTemplate(written: string): TextTest {
  const [before = '', after] = written.split('{**}')
  const head = before.split('/')
  if (after === undefined) return (path) => coversSegments(head, path.split('/'))
  const open = head.length - 1
  return (path) => {
    const segments = path.split('/')
    if (segments.length < head.length) return false
    if (!coversSegments(head.slice(0, open), segments.slice(0, open))) return false
    const rest = segments.slice(open).join('/')
    if (!rest.endsWith(after)) return false
    return COVERED_WITH_SLASHES.test(rest.slice(0, rest.length - after.length))
  }
}

function coversSegments(template: readonly string[], segments: readonly string[]): boolean {
  return (
    template.length === segments.length &&
    template.every((part, at) => {
      const segment = segments[at] ?? ''
      return part === '{*}' ? segment !== '' && COVERED.test(segment) : part === segment
    })
  )
}
