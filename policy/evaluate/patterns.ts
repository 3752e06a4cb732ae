/**
 * How one written value is compared with one text, spelled out from §1.4–§1.6. Patterns are those
 * that the reference gives, matched whole.
 */

/** `*` present, `*text` suffix, `text*` prefix, else exact; the leading star is tested first. */
export function matchesGeneralRule(written: string, text: string, present: boolean): boolean {
  if (written === '*') return present
  if (written.charAt(0) === '*') return text.endsWith(written.substring(1))
  const last = written.length - 1
  if (written.charAt(last) === '*') return text.startsWith(written.substring(0, last))
  return written === text
}

/** Any text, `/ns/<value>/`, any text; `*` of the value stands for any text too. */
export function matchesNamespace(written: string, uri: string): boolean {
  return matchesPieces(withStars(`*/ns/${written}/*`, ANYTHING), uri)
}

/** `ns/name`, with more segments allowed before `sa` and after the account. */
export function matchesServiceAccount(written: string, uri: string): boolean {
  const [namespace = '', account = ''] = written.split('/')
  const between = ['/', '/*/'].map((gap) => `*/ns/${namespace}${gap}sa/${account}`)
  const whole = between.flatMap((start) => [start, `${start}/*`])
  const isPlain = !written.includes('*')
  return isPlain && whole.some((pattern) => matchesPieces(withStars(pattern, ANYTHING), uri))
}

/** A trust domain, or a glob that does not cross `/`. */
export function matchesTrustDomain(written: string, uri: string): boolean {
  const [, , trustDomain = ''] = uri.split('/')
  return matchesPieces(
    withStars(written, (char) => char !== '/'),
    trustDomain,
  )
}

/** Without the scheme in the policy: a suffix pattern is `spiffe://`, any text, the suffix. */
export function matchesPrincipal(written: string, uri: string): boolean {
  return matchesGeneralRule(written, uri.slice('spiffe://'.length), true)
}

/** `{*}` is a segment, `{**}` any text with slashes, and all else itself. */
export function matchesTemplate(written: string, path: string): boolean {
  const pieces = written.split(/(\{\*\*?\})/).flatMap((part): readonly Piece[] => {
    if (part === '{*}') return [{ covers: isPathChar, atLeast: 1 }]
    if (part === '{**}') return [{ covers: (char) => char === '/' || isPathChar(char), atLeast: 0 }]
    return part.split('')
  })
  return matchesPieces(pieces, path)
}

/** The last slash divides issuer from subject; the table of §1.5. */
export function matchesRequestPrincipal(
  written: string,
  issuer: readonly string[],
  subject: readonly string[],
): boolean {
  const slash = written.lastIndexOf('/')
  const hasSlash = slash !== -1
  const left = hasSlash ? written.slice(0, slash) : written
  const right = hasSlash ? written.slice(slash + 1) : ''
  const some = (texts: readonly string[]) => texts.some((text) => text !== '')
  if (written === '*') return some(issuer) && some(subject)
  if (written.startsWith('*') && hasSlash) {
    const tail = left.slice(1)
    return (
      (tail === '' ? some(issuer) : issuer.some((text) => text.endsWith(tail))) &&
      subject.includes(right)
    )
  }
  if (written.startsWith('*')) {
    return some(issuer) && subject.some((text) => text.endsWith(written.slice(1)))
  }
  if (written.endsWith('*') && hasSlash) {
    const head = right.slice(0, -1)
    return (
      issuer.includes(left) &&
      (head === '' ? some(subject) : subject.some((text) => text.startsWith(head)))
    )
  }
  if (written.endsWith('*')) {
    return issuer.some((text) => text.startsWith(written.slice(0, -1))) && some(subject)
  }
  return issuer.includes(left) && subject.includes(right)
}

/** A character, or some characters of a kind. */
type Piece = string | { readonly covers: (char: string) => boolean; readonly atLeast: 0 | 1 }

const ANYTHING = () => true

/** What RFC 3986 calls pchar, with the `%` of an escape for itself. */
function isPathChar(char: string): boolean {
  return /[A-Za-z0-9]/.test(char) || "-._~%!$&'()*+,;:@=".includes(char)
}

function withStars(pattern: string, covers: (char: string) => boolean): readonly Piece[] {
  return pattern.split('').map((char) => (char === '*' ? { covers, atLeast: 0 } : char))
}

/** Follows every way in which the pieces can cover `text`, piece after piece: where each may end. */
function matchesPieces(pieces: readonly Piece[], text: string): boolean {
  let ends = new Set([0])
  for (const piece of pieces) {
    const next = new Set<number>()
    for (const end of ends) {
      if (typeof piece === 'string') {
        if (text[end] === piece) next.add(end + 1)
      } else {
        if (piece.atLeast === 0) next.add(end)
        for (let at = end; at < text.length && piece.covers(text[at] ?? ''); at += 1) {
          if (next.has(at + 1)) break
          next.add(at + 1)
        }
      }
    }
    ends = next
  }
  return ends.has(text.length)
}
