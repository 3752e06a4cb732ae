/** Objects nested deeper than this are refused: whoever walks them does so on a stack. */
const MAX_DEPTH = 64

/**
 * The object that `text` is, or `undefined`: also for one that names a member twice, of which two
 * readers may believe two different ones, and for one nested too deep.
 */
export function parseStrictObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
    return isUnambiguous(text) ? (value as Readonly<Record<string, unknown>>) : undefined
  } catch {
    return undefined // no JSON: the caller says of what
  }
}

/** Of text that is JSON: whether each object has each name once, and none is too deep. One pass. */
function isUnambiguous(text: string): boolean {
  /** The names of each object that is open; `undefined` for a list. */
  const open: (Set<string> | undefined)[] = []
  for (let at = 0; at < text.length; at += 1) {
    const char = text[at]
    if (char === '{' || char === '[') {
      open.push(char === '{' ? new Set() : undefined)
      if (open.length > MAX_DEPTH) return false
    } else if (char === '}' || char === ']') open.pop()
    else if (char === '"') {
      const end = endOfString(text, at)
      const names = open.at(-1)
      if (names !== undefined && isName(text, end)) {
        const name = JSON.parse(text.slice(at, end)) as string
        if (names.has(name)) return false
        names.add(name)
      }
      at = end - 1
    }
  }
  return true
}

/** Whether a colon follows: what stands before it is a name and no value. */
function isName(text: string, end: number): boolean {
  let at = end
  while (at < text.length && ' \t\r\n'.includes(text.charAt(at))) at += 1
  return text[at] === ':'
}

/** Where the string that begins at `at` has ended. */
function endOfString(text: string, at: number): number {
  for (let end = at + 1; ; end += 1) {
    if (text[end] === '\\') end += 1
    else if (text[end] === '"') return end + 1
  }
}
