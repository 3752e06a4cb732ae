/**
 * How one written value is compared with one text, spelled out from §1.4–§1.6. Patterns are those
 * that the reference gives, matched whole and in linear time.
 */
import { RE2JS } from 're2js'

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
  return matchesWhole(`.*/ns/${starsTo('.*', written)}/.*`, uri)
}

/** `ns/name`, with more segments allowed before `sa` and after the account. */
export function matchesServiceAccount(written: string, uri: string): boolean {
  const [namespace = '', account = ''] = written.split('/')
  return matchesWhole(`.*/ns/${RE2JS.quote(namespace)}/(.*/)?sa/${RE2JS.quote(account)}(/.*)?`, uri)
}

/** A trust domain, or a glob that does not cross `/`. */
export function matchesTrustDomain(written: string, uri: string): boolean {
  return matchesWhole(`spiffe://${starsTo('[^/]*', written)}(/.*)?`, uri)
}

/** Without the scheme in the policy: a suffix pattern is `spiffe://.*x`. */
export function matchesPrincipal(written: string, uri: string): boolean {
  if (written === '*') return true
  if (written.startsWith('*'))
    return matchesWhole(`spiffe://.*${RE2JS.quote(written.slice(1))}`, uri)
  return matchesGeneralRule(`spiffe://${written}`, uri, true)
}

/** `{*}` is a segment, `{**}` any text with slashes, and all else itself. */
export function matchesTemplate(written: string, path: string): boolean {
  const pchar = "[A-Za-z0-9\\-._~%!$&'()*+,;:@=]"
  const pattern = written
    .split(/(\{\*\*?\})/)
    .map((part) =>
      part === '{*}' ? `${pchar}+` : part === '{**}' ? `(${pchar}|/)*` : RE2JS.quote(part),
    )
    .join('')
  return matchesWhole(pattern, path)
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

function starsTo(replacement: string, written: string): string {
  return written.split('*').map(RE2JS.quote).join(replacement)
}

function matchesWhole(pattern: string, text: string): boolean {
  return RE2JS.matches(pattern, text)
}
