/** Answers whether one text meets what a policy wrote. */
export type TextTest = (text: string) => boolean

/**
 * Compiles Istio's notation (§1.4): `*` present, `*text` suffix, `text*` prefix, anything else exact.
 * The leading star is looked at first, so `*a*` is the suffix `a*`; a star in the middle is literal.
 */
export function compileText(written: string, present: TextTest = isNotEmpty): TextTest {
  if (written === '*') return present
  if (written.startsWith('*')) {
    const suffix = written.slice(1)
    return (text) => text.endsWith(suffix)
  }
  if (written.endsWith('*')) {
    const prefix = written.slice(0, -1)
    return (text) => text.startsWith(prefix)
  }
  return (text) => text === written
}

/**
 * Compiles a pattern in which each `*` stands for any text, none included, and all else is literal.
 * Linear: pieces are found from the left, the last one at the end. No regular expression, so that no
 * character of a name can mean anything but itself (CVE-2026-39350).
 */
export function compileGlob(pattern: string): TextTest {
  const [head = '', ...rest] = pattern.split('*')
  const tail = rest.pop()
  if (tail === undefined) return (text) => text === pattern
  return (text) => {
    if (text.length < head.length + tail.length) return false
    if (!text.startsWith(head) || !text.endsWith(tail)) return false
    const end = text.length - tail.length
    let at = head.length
    for (const piece of rest) {
      const found = text.indexOf(piece, at)
      if (found === -1 || found + piece.length > end) return false
      at = found + piece.length
    }
    return true
  }
}

export function isNotEmpty(text: string): boolean {
  return text !== ''
}
