/** What stands on one line of plain YAML: keys, words, quoted texts, collections in brackets. */

import {
  BRACKET,
  IN_KEY,
  IN_WORD,
  isNamed,
  MAY,
  NOT_PLAIN,
  STARTS_KEY,
  STARTS_WORD,
  scalarOf,
} from './plain-word.ts'

/** A key of more characters is left to the other reader; in YAML none has more than 1,024. */
const MAX_KEY_CHARS = 256

/** Reads `text` from `at` on, and throws {@link NOT_PLAIN} at what it is not sure of. */
export class PlainLine {
  /** Offset of what is read next. */
  at = 0
  /** The line of that, from 1. */
  number = 1
  readonly #text: string
  readonly #maxDepth: number

  constructor(text: string, maxDepth: number) {
    this.#text = text
    this.#maxDepth = maxDepth
  }

  isOver(): boolean {
    return this.at >= this.#text.length
  }

  startsWith(text: string): boolean {
    return this.#text.startsWith(text, this.at)
  }

  /** Skips `text`, which stands here, and the spaces behind it; returns how many characters that were. */
  skip(text: string): number {
    const from = this.at
    this.at += text.length
    this.#skipSpaces()
    return this.at - from
  }

  /** Skips spaces, and says whether nothing but a comment is left of the line. */
  isAtEnd(): boolean {
    this.#skipSpaces()
    const char = this.#text[this.at]
    return char === undefined || char === '\n' || (char === '#' && this.#text[this.at - 1] === ' ')
  }

  /** Skips what is left of the line: a comment at most. */
  end(): void {
    if (!this.isAtEnd()) throw NOT_PLAIN
    this.#skipLine()
  }

  /** From the start of a line, skips lines without content and the indentation of the next, which it returns. */
  skipBlanks(): number {
    for (;;) {
      const start = this.at
      this.#skipSpaces()
      const char = this.#text[this.at]
      if (char !== '\n' && char !== '#') return this.at - start
      this.#skipLine()
    }
  }

  /** A key with its colon and the spaces behind it, if that is what stands here. */
  key(): string | undefined {
    const from = this.at
    const key = this.#isQuote() ? this.#quoted() : this.#plainKey()
    const next = this.#text[this.at + 1]
    const isKey =
      this.#text[this.at] === ':' && (next === ' ' || next === '\n' || next === undefined)
    if (key === undefined || !isKey) {
      this.at = from
      return undefined
    }
    if (this.at - from > MAX_KEY_CHARS || key === '__proto__') throw NOT_PLAIN
    this.skip(':')
    return key
  }

  /** A value that ends on this line. */
  value(): unknown {
    return this.#node({ isInside: false, mayWrap: false, depth: 0 })
  }

  /** A value that, if it is in brackets, may go on over lines. */
  json(): unknown {
    return this.#node({ isInside: false, mayWrap: true, depth: 0 })
  }

  #node(place: Place): unknown {
    if (place.depth > this.#maxDepth) throw NOT_PLAIN
    if (this.#isQuote()) return this.#quoted()
    if (this.startsWith('['))
      return this.#list({ ...place, isInside: true, depth: place.depth + 1 })
    if (this.startsWith('{')) return this.#map({ ...place, isInside: true, depth: place.depth + 1 })
    return scalarOf(this.#word(place))
  }

  #list(place: Place): unknown {
    const list: unknown[] = []
    while (this.#hasNext(list.length === 0, ']', place)) list.push(this.#node(place))
    return list
  }

  #map(place: Place): unknown {
    const map: Record<string, unknown> = {}
    for (let isFirst = true; this.#hasNext(isFirst, '}', place); isFirst = false) {
      const key = this.#keyInside()
      if (Object.hasOwn(map, key)) throw NOT_PLAIN
      map[key] = this.#node(place)
    }
    return map
  }

  /** Skips to the next entry of a collection, or out of it. */
  #hasNext(isFirst: boolean, close: ']' | '}', place: Place): boolean {
    if (!isFirst) this.#skipSpace(place)
    const char = this.#text[this.at]
    if (!isFirst && char !== ',' && char !== close) throw NOT_PLAIN
    if (isFirst || char === ',') {
      this.at += 1
      this.#skipSpace(place)
    }
    if (this.#text[this.at] !== close) return true
    // A comma before it is left to the other reader: what then comes is no value, nor a key.
    if (char === ',') return true
    this.at += 1
    return false
  }

  /** As {@link key}; a quoted one needs no space behind its colon, as in JSON. */
  #keyInside(): string {
    const from = this.at
    const key = this.key()
    if (key !== undefined) return key
    if (!this.#isQuote()) throw NOT_PLAIN
    const quoted = this.#quoted()
    if (!this.startsWith(':') || this.at - from > MAX_KEY_CHARS || quoted === '__proto__')
      throw NOT_PLAIN
    this.skip(':')
    return quoted
  }

  #plainKey(): string | undefined {
    const from = this.at
    if (!this.#may(STARTS_KEY)) return undefined
    while (this.#may(IN_KEY)) this.at += 1
    const key = this.#text.slice(from, this.at)
    return isNamed(key) ? undefined : key
  }

  /** Words up to what cannot be in one, without the spaces at their end. */
  #word({ isInside }: Place): string {
    const from = this.at
    if (!this.#may(STARTS_WORD)) throw NOT_PLAIN
    let end = from
    for (; this.#goesOn(isInside); this.at += 1) {
      if (this.#text[this.at] !== ' ') end = this.at + 1
    }
    this.at = end
    return this.#text.slice(from, end)
  }

  #goesOn(isInside: boolean): boolean {
    if (this.#may(isInside ? IN_WORD : IN_WORD | BRACKET)) return true
    const char = this.#text[this.at]
    if (char === ' ') return true
    if (char === '#') return this.#text[this.at - 1] !== ' '
    // A colon is of a word when a word goes on behind it.
    return char === ':' && (this.#text[this.at + 1] === ':' || this.#may(IN_WORD, this.at + 1))
  }

  #isQuote(): boolean {
    const char = this.#text[this.at]
    return char === '"' || char === "'"
  }

  /** A text in quotes that ends on its line. */
  #quoted(): string {
    const from = this.at
    const quote = this.#text[from] ?? ''
    const end = this.#text.indexOf(quote, from + 1)
    const text = this.#text.slice(from + 1, end)
    if (end === -1 || text.includes('\n') || (quote === '"' && text.includes('\\'))) throw NOT_PLAIN
    this.at = end + 1
    return text
  }

  #may(bits: number, at: number = this.at): boolean {
    return ((MAY[this.#text.charCodeAt(at)] ?? 0) & bits) !== 0
  }

  #skipSpaces(): void {
    while (this.#text[this.at] === ' ') this.at += 1
  }

  #skipSpace({ mayWrap }: Place): void {
    this.#skipSpaces()
    while (mayWrap && this.#text[this.at] === '\n') {
      this.#skipLine()
      this.#skipSpaces()
    }
  }

  #skipLine(): void {
    const end = this.#text.indexOf('\n', this.at)
    this.at = end === -1 ? this.#text.length : end + 1
    if (end !== -1) this.number += 1
  }
}

/** Where a value stands. */
interface Place {
  /** Whether in brackets. */
  readonly isInside: boolean
  /** Whether brackets may go on over lines. */
  readonly mayWrap: boolean
  /** Brackets around it. */
  readonly depth: number
}
