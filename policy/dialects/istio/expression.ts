/**
 * Whether a text is a CEL expression (github.com/google/cel-spec, "Syntax"): a log filter is only
 * checked, never evaluated, so this reads the grammar and keeps nothing.
 */

/** Blanks and comments, then one word; strings come in two quotes, raw and tripled. */
const BLANK = /(?:[\s]|\/\/[^\n]*)*/y
const ESCAPE = String.raw`\\(?:[abfnrtv\\?"'${'`'}]|[xX][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-3][0-7]{2})`
const STRINGS = [
  String.raw`[bB]?[rR][bB]?(?:"""[^]*?"""|'''[^]*?'''|"[^"\r\n]*"|'[^'\r\n]*')`,
  String.raw`[bB]?(?:"""(?:${ESCAPE}|[^\\])*?"""|'''(?:${ESCAPE}|[^\\])*?''')`,
  String.raw`[bB]?(?:"(?:${ESCAPE}|[^\\"\r\n])*"|'(?:${ESCAPE}|[^\\'\r\n])*')`,
].join('|')
const NUMBERS = String.raw`0[xX][0-9a-fA-F]+u?|\d+\.\d+(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+|\.\d+(?:[eE][-+]?\d+)?|\d+[uU]?`
const WORD = new RegExp(
  String.raw`(?<string>${STRINGS})|(?<number>${NUMBERS})|(?<name>[_a-zA-Z]\w*)|(?<sign>&&|\|\||[=!<>]=|[-+*/%!<>?:.,()[\]{}])`,
  'y',
)
const RESERVED =
  /^(as|break|const|continue|else|for|function|if|import|let|loop|package|namespace|return|var|void|while)$/
const BINARY = /^(&&|\|\||[=!<>]=|[-+*/%<>]|in)$/
const MAX_DEPTH = 250
const MAX_LENGTH = 100_000

interface Word {
  readonly kind: 'string' | 'number' | 'name' | 'sign' | 'end'
  readonly text: string
}

class NoExpression extends Error {}

/** What is wrong with `text` as an expression; `undefined` when nothing is. */
export function expressionFault(text: string): string | undefined {
  if (text.length > MAX_LENGTH) return `it is longer than ${MAX_LENGTH} characters`
  try {
    const reader = { words: wordsOf(text), at: 0 }
    readTernary(reader, 0)
    if (next(reader).kind !== 'end') throw new NoExpression(`unexpected ${next(reader).text}`)
    return undefined
  } catch (cause) {
    if (!(cause instanceof NoExpression)) throw cause
    return `expected an expression in CEL: ${cause.message}`
  }
}

function wordsOf(text: string): readonly Word[] {
  const words: Word[] = []
  for (let at = 0; ; ) {
    BLANK.lastIndex = at
    BLANK.test(text)
    at = BLANK.lastIndex
    if (at >= text.length) return [...words, { kind: 'end', text: 'end' }]
    WORD.lastIndex = at
    const groups = WORD.exec(text)?.groups
    const [kind, word] = Object.entries(groups ?? {}).find(([, found]) => found !== undefined) ?? []
    if (word === undefined) throw new NoExpression(`nothing begins with ${text.slice(at, at + 10)}`)
    words.push({ kind: kind as Word['kind'], text: word })
    at = WORD.lastIndex
  }
}

interface Reader {
  readonly words: readonly Word[]
  at: number
}

function next({ words, at }: Reader): Word {
  return words[at] ?? { kind: 'end', text: 'end' }
}

function take(reader: Reader, sign: string): boolean {
  const word = next(reader)
  if (word.text !== sign || word.kind === 'string') return false
  reader.at += 1
  return true
}

function expect(reader: Reader, sign: string): void {
  if (!take(reader, sign)) throw new NoExpression(`found ${next(reader).text}, expected ${sign}`)
}

function readTernary(reader: Reader, depth: number): void {
  if (depth > MAX_DEPTH) throw new NoExpression('it is nested too deeply')
  readBinary(reader, depth)
  if (!take(reader, '?')) return
  readBinary(reader, depth)
  expect(reader, ':')
  readTernary(reader, depth + 1)
}

/** Precedence decides what an expression means, not whether it is one. */
function readBinary(reader: Reader, depth: number): void {
  readUnary(reader, depth)
  while (next(reader).kind !== 'string' && BINARY.test(next(reader).text)) {
    reader.at += 1
    readUnary(reader, depth)
  }
}

/** `!!` and `--` repeat; one sign never follows the other. */
function readUnary(reader: Reader, depth: number): void {
  const sign = ['!', '-'].find((one) => take(reader, one))
  while (sign !== undefined && take(reader, sign)) continue
  readPrimary(reader, depth)
  readMembers(reader, depth)
}

function readPrimary(reader: Reader, depth: number): void {
  const word = next(reader)
  if (word.kind === 'string' || word.kind === 'number') {
    reader.at += 1
  } else if (take(reader, '(')) {
    readTernary(reader, depth + 1)
    expect(reader, ')')
  } else if (take(reader, '[')) {
    readList(reader, ']', depth)
  } else if (take(reader, '{')) {
    readEntries(reader, depth)
  } else {
    take(reader, '.')
    const name = readName(reader)
    if (RESERVED.test(name)) throw new NoExpression(`${name} is a reserved word`)
    if (take(reader, '(')) readArguments(reader, name, depth)
  }
}

function readMembers(reader: Reader, depth: number): void {
  for (;;) {
    if (take(reader, '.')) {
      readName(reader)
      if (take(reader, '(')) readArguments(reader, '', depth)
    } else if (take(reader, '[')) {
      readTernary(reader, depth + 1)
      expect(reader, ']')
    } else if (take(reader, '{')) readEntries(reader, depth)
    else return
  }
}

function readName(reader: Reader): string {
  const { kind, text } = next(reader)
  if (kind !== 'name' || text === 'in') throw new NoExpression(`found ${text}, expected a name`)
  reader.at += 1
  return text
}

function readArguments(reader: Reader, name: string, depth: number): void {
  const from = reader.at
  readList(reader, ')', depth)
  const last = reader.words.slice(from, reader.at - 1)
  const selects = last.length >= 3 && last.at(-2)?.text === '.' && last.at(-1)?.kind === 'name'
  if (name === 'has' && !selects) throw new NoExpression('has() is asked of a field: has(a.b)')
}

function readList(reader: Reader, end: string, depth: number): void {
  if (take(reader, end)) return
  do {
    if (end === ']' && take(reader, end)) return
    readTernary(reader, depth + 1)
  } while (take(reader, ','))
  expect(reader, end)
}

/** Of a map, or the fields of a message. */
function readEntries(reader: Reader, depth: number): void {
  while (!take(reader, '}')) {
    readTernary(reader, depth + 1)
    expect(reader, ':')
    readTernary(reader, depth + 1)
    if (take(reader, '}')) return
    expect(reader, ',')
  }
}
