/**
 * The plain part of YAML, quickly: what manifests are written in nearly always. This is no second
 * opinion on what YAML means. A text is of a form whose meaning leaves no room, or it is left, whole,
 * to the `yaml` package: whatever has anchors, aliases, tags, directives, tabs, carriage returns, block
 * scalars, values over several lines, a key twice or one that is no text, `__proto__`, a word that
 * might be a number in some notation, or a fault. Its test holds that what is read here is what that
 * package reads, value by value.
 */
import { PlainLine } from './plain-line.ts'
import { NOT_PLAIN } from './plain-word.ts'

/** A document that has content. */
export interface PlainDocument {
  /** Where its content begins, from 1. */
  readonly line: number
  readonly value: unknown
}

/** Every document of `text` that has content; `undefined`: some of it is not plain. */
export function readPlainYaml(text: string): readonly PlainDocument[] | undefined {
  if (NEVER_PLAIN.test(text)) return undefined
  try {
    return new BlockReader(text).documents()
  } catch (cause) {
    if (cause === NOT_PLAIN) return undefined
    throw cause
  }
}

/** What neither prints as ASCII nor is a letter or sign of another script, without their blanks. */
const NEVER_PLAIN =
  /[^\n\u0020-\u007e\u00a1-\u1fff\u2010-\u2027\u2030-\u205e\u2070-\u2fff\u3001-\ud7ff]/

/** Levels of blocks, and of brackets in one; far below what `readDocuments` refuses. */
const MAX_PLAIN_DEPTH = 24

/** The end of a document, as a column. */
const NOWHERE = -1

class BlockReader {
  readonly #line: PlainLine
  /** Where the content at which the line stands begins, from 0, or {@link NOWHERE}. */
  #column = NOWHERE

  constructor(text: string) {
    this.#line = new PlainLine(text, MAX_PLAIN_DEPTH)
  }

  documents(): readonly PlainDocument[] {
    const found: PlainDocument[] = []
    this.#toContent()
    for (;;) {
      if (this.#column === 0) found.push({ line: this.#line.number, value: this.#root() })
      if (this.#column !== NOWHERE) throw NOT_PLAIN
      if (this.#line.isOver()) return found
      this.#line.at += MARKER.length
      this.#endLine()
    }
  }

  #root(): unknown {
    if (!this.#line.startsWith('{')) return this.#block(0)
    const value = this.#line.json()
    this.#endLine()
    return value
  }

  /** What begins here, with all lines that belong to it. */
  #block(depth: number): unknown {
    return this.#isItem() ? this.#list(depth) : this.#map(this.#key(), depth)
  }

  #list(depth: number): unknown {
    if (depth > MAX_PLAIN_DEPTH) throw NOT_PLAIN
    const column = this.#column
    const list: unknown[] = []
    do {
      this.#column += this.#line.skip('-')
      const key = this.#line.key()
      list.push(key === undefined ? this.#value() : this.#map(key, depth + 1))
    } while (this.#column === column && this.#isItem())
    return list
  }

  /** A map whose first key is read already. */
  #map(first: string, depth: number): unknown {
    if (depth > MAX_PLAIN_DEPTH) throw NOT_PLAIN
    const column = this.#column
    const map: Record<string, unknown> = {}
    for (let key = first; ; key = this.#key()) {
      if (Object.hasOwn(map, key)) throw NOT_PLAIN
      map[key] = this.#line.isAtEnd() ? this.#below(column, depth) : this.#value()
      if (this.#column !== column || this.#isItem()) return map
    }
  }

  #key(): string {
    const key = this.#line.key()
    if (key === undefined) throw NOT_PLAIN
    return key
  }

  /** What stands on the lines below a key: more indented, or a list no less; else null. */
  #below(column: number, depth: number): unknown {
    this.#endLine()
    const isBelow = this.#column > column || (this.#column === column && this.#isItem())
    return isBelow ? this.#block(depth + 1) : null
  }

  #value(): unknown {
    const value = this.#line.value()
    this.#endLine()
    return value
  }

  #isItem(): boolean {
    return this.#line.startsWith('- ')
  }

  #endLine(): void {
    this.#line.end()
    this.#toContent()
  }

  /** From the start of a line to the next content, or to the end of the document. */
  #toContent(): void {
    this.#column = this.#line.skipBlanks()
    if (this.#line.isOver() || (this.#column === 0 && this.#line.startsWith(MARKER)))
      this.#column = NOWHERE
  }
}

/** What stands between documents. */
const MARKER = '---'
