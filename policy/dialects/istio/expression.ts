/**
 * Whether a text is a CEL expression (github.com/google/cel-spec, "Syntax"): a log filter is only
 * checked, never evaluated, so this reads the grammar and keeps nothing.
 */

/** Blanks and comments, then one word; strings come in two quotes, raw and tripled. */
const BLANK = /(?:[\s]|\/\/[^\n]*)*/y
const ESCAPE = String.raw`\\(?:[abfnrtv\\?"'${'`'}]|[xX][0-9a-fA-F]{2}|u(?![dD][89a-fA-F])[0-9a-fA-F]{4}|U(?!0000[dD][89a-fA-F])00(?:0[0-9a-fA-F]|10)[0-9a-fA-F]{4}|[0-3][0-7]{2})`
const STRINGS = [
  String.raw`[bB]?[rR](?:"""[^]*?"""|'''[^]*?'''|"[^"\r\n]*"|'[^'\r\n]*')`,
  String.raw`[bB]?(?:"""(?:${ESCAPE}|[^\\])*?"""|'''(?:${ESCAPE}|[^\\])*?''')`,
  String.raw`[bB]?(?:"(?:${ESCAPE}|[^\\"\r\n])*"|'(?:${ESCAPE}|[^\\'\r\n])*')`,
].join('|')
const NUMBERS = String.raw`0[xX][0-9a-fA-F]+u?|\d+\.\d+(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+|\.\d+(?:[eE][-+]?\d+)?|\d+[uU]?`
const WORD = new RegExp(
  String.raw`(?<string>${STRINGS})|(?<number>${NUMBERS})|(?<name>[_a-zA-Z]\w*)|(?<quoted>\x60[\w.\-/ ]+\x60)|(?<sign>&&|\|\||[=!<>]=|[-+*/%!<>?:.,()[\]{}])`,
  'y',
)
const RESERVED =
  /^(as|break|const|continue|else|for|function|if|import|let|loop|package|namespace|return|var|void|while)$/
const CONSTANT = /^(true|false|null)$/
const MACRO = /^(all|exists|exists_one|existsOne|map|filter)$/
const BINARY = /^(&&|\|\||[=!<>]=|[-+*/%<>]|in)$/
const MAX_DEPTH = 250
const MAX_LENGTH = 100_000

interface Word {
  readonly kind: 'string' | 'number' | 'name' | 'quoted' | 'sign' | 'end'
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
    if (kind === 'number' && isTooLarge(word, words.at(-1)?.text === '-'))
      throw new NoExpression(`${word} is too large`)
    words.push({ kind: kind as Word['kind'], text: word })
    at = WORD.lastIndex
  }
}

/** Whole numbers have 64 bits, of which the negative ones use one more. */
function isTooLarge(word: string, negative: boolean): boolean {
  if (!/^0[xX]/.test(word) && /[.eE]/.test(word)) return false
  const whole = BigInt(word.replace(/[uU]$/, ''))
  return whole >= (/[uU]$/.test(word) ? 2n ** 64n : 2n ** 63n + (negative ? 1n : 0n))
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
  while (sign !== undefined) if (!take(reader, sign)) break
  readMembers(reader, readPrimary(reader, depth), depth)
}

/** Says whether what was read can be the name of a message. */
function readPrimary(reader: Reader, depth: number): boolean {
  const word = next(reader)
  if (word.kind === 'string' || word.kind === 'number') {
    reader.at += 1
  } else if (take(reader, '(')) {
    readTernary(reader, depth + 1)
    expect(reader, ')')
  } else if (take(reader, '[')) {
    readList(reader, ']', depth)
  } else if (take(reader, '{')) {
    readEntries(reader, () => readTernary(reader, depth + 1), depth)
  } else {
    take(reader, '.')
    const name = readName(reader)
    if (RESERVED.test(name)) throw new NoExpression(`${name} is a reserved word`)
    if (!take(reader, '(')) return !CONSTANT.test(name)
    const given = readList(reader, ')', depth)
    if (name === 'has' && given.length === 1 && !isSelection(given[0] ?? []))
      throw new NoExpression('has() is asked of a field: has(a.b)')
  }
  return false
}

function readMembers(reader: Reader, isName: boolean, depth: number): void {
  let named = isName
  for (;;) {
    if (take(reader, '.')) {
      const quoted = next(reader).kind === 'quoted'
      const name = quoted ? '' : readName(reader)
      if (quoted) reader.at += 1
      if (CONSTANT.test(name)) throw new NoExpression(`found ${name}, expected a name`)
      if (take(reader, '(')) {
        named = false
        checkMacro(name, readList(reader, ')', depth))
      }
    } else if (take(reader, '[')) {
      named = false
      readTernary(reader, depth + 1)
      expect(reader, ']')
    } else if (named && take(reader, '{')) {
      named = false
      readEntries(reader, () => readName(reader), depth)
    } else return
  }
}

function readName(reader: Reader): string {
  const { kind, text } = next(reader)
  if (kind !== 'name' || text === 'in') throw new NoExpression(`found ${text}, expected a name`)
  reader.at += 1
  return text
}

function isSelection(words: readonly Word[]): boolean {
  const inner = words.filter(({ text }) => text !== '(' && text !== ')')
  const called = words.at(-1)?.text === ')' && words[0]?.text !== '('
  return !called && inner.at(-2)?.text === '.' && inner.at(-1)?.kind === 'name'
}

/** What goes through a list names its elements first. */
function checkMacro(name: string, given: readonly (readonly Word[])[]): void {
  const [variable = []] = given
  const goes = given.length === 2 ? MACRO.test(name) : name === 'map' && given.length === 3
  if (goes && !(variable.length === 1 && variable[0]?.kind === 'name'))
    throw new NoExpression(`${name}() names its element first`)
}

/** The words of each entry. */
function readList(reader: Reader, end: string, depth: number): readonly (readonly Word[])[] {
  const entries: (readonly Word[])[] = []
  if (take(reader, end)) return entries
  do {
    if (end === ']' && take(reader, end)) return entries
    const from = reader.at
    readTernary(reader, depth + 1)
    entries.push(reader.words.slice(from, reader.at))
  } while (take(reader, ','))
  expect(reader, end)
  return entries
}

/** Of a map, or the fields of a message. */
function readEntries(reader: Reader, readKey: () => void, depth: number): void {
  while (!take(reader, '}')) {
    readKey()
    expect(reader, ':')
    readTernary(reader, depth + 1)
    if (take(reader, '}')) return
    expect(reader, ',')
  }
}
