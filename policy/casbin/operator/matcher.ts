/**
 * What an operator's matcher may say. It is read word by word and anything that is not known is
 * refused: Casbin hands a matcher to an evaluator of expressions, which would follow any name that it finds.
 */
import { OBJECT_FIELDS } from './attributes.ts'
import { FUNCTIONS } from './functions.ts'

/** What definitions give a matcher to speak of. */
export interface Vocabulary {
  /** Fields of the request definition, and which of them are the whole request. */
  readonly request: readonly string[]
  readonly whole: readonly string[]
  readonly policy: readonly string[]
  /** Role definitions by name, with the number of their columns. */
  readonly roles: ReadonlyMap<string, number>
}

/** A matcher that is understood. */
export interface Matcher {
  /** As Casbin evaluates it: `r.sub` is `r_sub`. */
  readonly expression: string
  /** Header names, lower case, that it reads of the whole request. */
  readonly headers: readonly string[]
  /** Whether it reads policy lines at all. */
  readonly readsLines: boolean
}

export type MatcherReading =
  | { readonly kind: 'read'; readonly matcher: Matcher }
  | { readonly kind: 'refused'; readonly message: string; readonly hint?: string }

const MAX_LENGTH = 4096
const MAX_DEPTH = 64

/** Blanks, then one word. */
const WORD =
  /\s*(?:(?<string>"[^"\\\n]*"|'[^'\\\n]*')|(?<number>\d+(?:\.\d+)?)|(?<name>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)|(?<sign>&&|\|\||[=!<>]=|[!<>()+\-*/%,[\]]))/y

/** Casbin's own, which are not here, and what to use. */
const INSTEAD: Readonly<Record<string, string>> = {
  eval: 'write the rule into the matcher: text of a line is never evaluated',
  regexMatch: 'use globMatch(text, pattern) or pathMatch(path, template), which take linear time',
  keyMatch: 'use pathMatch(path, template) or globMatch(text, pattern)',
  keyMatch2: 'use pathMatch(path, template): "/a/{*}" is one segment, "/a/{**}" any number',
  keyMatch3: 'use pathMatch(path, template)',
  keyMatch4: 'use pathMatch(path, template)',
  keyMatch5: 'use pathMatch(path, template)',
  keyGet: 'use pathMatch(path, template)',
  ipMatch: 'use ipInRange(address, block)',
}

class Refused extends Error {
  readonly hint: string | undefined

  constructor(message: string, hint?: string) {
    super(message)
    this.hint = hint
  }
}

/** Reads the text behind `m =`. */
export function readMatcher(text: string, vocabulary: Vocabulary): MatcherReading {
  try {
    if (text.length > MAX_LENGTH) throw new Refused(`it is longer than ${MAX_LENGTH} characters`)
    const words = wordsOf(text)
    const reader = new MatcherReader(words, vocabulary)
    reader.readAll()
    const { headers, readsLines } = reader
    const expression = words.map(toCasbin).join(' ')
    return { kind: 'read', matcher: { expression, headers: [...headers], readsLines } }
  } catch (cause) {
    if (!(cause instanceof Refused)) throw cause
    const { message, hint } = cause
    return { kind: 'refused', message, ...(hint === undefined ? {} : { hint }) }
  }
}

function toCasbin({ kind, text }: Word): string {
  return kind === 'name' ? text.replace(/^([rp])\./, '$1_') : text
}

interface Word {
  readonly kind: 'string' | 'number' | 'name' | 'sign' | 'end'
  readonly text: string
}

const END: Word = { kind: 'end', text: 'its end' }

function wordsOf(text: string): readonly Word[] {
  const words: Word[] = []
  const trimmed = text.trimEnd()
  WORD.lastIndex = 0
  for (let at = 0; at < trimmed.length; at = WORD.lastIndex) {
    WORD.lastIndex = at
    const groups = WORD.exec(trimmed)?.groups
    const found = Object.entries(groups ?? {}).find(([, word]) => word !== undefined)
    if (found === undefined) {
      throw new Refused(`nothing begins with ${JSON.stringify(trimmed.slice(at, at + 10).trim())}`)
    }
    words.push({ kind: found[0] as Word['kind'], text: found[1] ?? '' })
  }
  return words
}

const BINARY = /^(&&|\|\||[=!<>]=|[<>+\-*/%])$/

class MatcherReader {
  readonly #words: readonly Word[]
  readonly #vocabulary: Vocabulary
  readonly headers = new Set<string>()
  readsLines = false
  #at = 0

  constructor(words: readonly Word[], vocabulary: Vocabulary) {
    this.#words = words
    this.#vocabulary = vocabulary
  }

  readAll(): void {
    this.#readExpression(0)
    if (this.#next.kind !== 'end') throw new Refused(`found ${this.#next.text}, expected its end`)
  }

  get #next(): Word {
    return this.#words[this.#at] ?? END
  }

  #take(sign: string): boolean {
    if (this.#next.kind !== 'sign' || this.#next.text !== sign) return false
    this.#at += 1
    return true
  }

  #expect(sign: string): void {
    if (!this.#take(sign)) throw new Refused(`found ${this.#next.text}, expected ${sign}`)
  }

  /** Precedence decides what an expression means, not whether it may be said. */
  #readExpression(depth: number): void {
    if (depth > MAX_DEPTH) throw new Refused('it is nested too deeply')
    this.#readOperand(depth)
    while (this.#next.kind === 'sign' && BINARY.test(this.#next.text)) {
      this.#at += 1
      this.#readOperand(depth)
    }
  }

  #readOperand(depth: number): void {
    while (this.#next.kind === 'sign' && /^[!-]$/.test(this.#next.text)) this.#at += 1
    const word = this.#next
    this.#at += 1
    if (word.kind === 'number') return
    if (word.kind === 'string') {
      // Casbin looks for it in the text, wherever it stands.
      if (!/\beval\(/.test(word.text)) return
      throw new Refused(`found ${word.text}: eval may not be said here`)
    }
    if (word.kind === 'sign' && word.text === '(') {
      this.#readExpression(depth + 1)
      return this.#expect(')')
    }
    if (word.kind !== 'name') throw new Refused(`found ${word.text}, expected a value`)
    if (this.#take('(')) this.#readCall(word.text, depth)
    else this.#readName(word.text)
  }

  #readCall(name: string, depth: number): void {
    const { roles } = this.#vocabulary
    const count = roles.get(name) ?? FUNCTIONS.get(name)?.parameters
    if (count === undefined) {
      const known = [...roles.keys(), ...FUNCTIONS.keys()].join(', ')
      const hint = Object.hasOwn(INSTEAD, name) ? INSTEAD[name] : `known: ${known}`
      throw new Refused(`the function ${name} is not supported`, hint)
    }
    let given = 0
    do {
      this.#readExpression(depth + 1)
      given += 1
    } while (this.#take(','))
    this.#expect(')')
    if (given !== count) throw new Refused(`${name} has ${given} arguments, expected ${count}`)
  }

  #readName(name: string): void {
    if (name === 'true' || name === 'false') return
    const [root, field = '', property, ...more] = name.split('.')
    const { request, whole, policy } = this.#vocabulary
    if (root === 'p' && property === undefined && policy.includes(field)) {
      this.readsLines = true
      return
    }
    if (root === 'r' && request.includes(field) && more.length === 0) {
      if (!whole.includes(field) && property === undefined) return
      if (whole.includes(field) && property === 'headers') return this.#readHeader(name)
      if (whole.includes(field) && property !== undefined && OBJECT_FIELDS.includes(property))
        return
    }
    throw new Refused(`${name} is not known`, this.#hintFor(root, field))
  }

  #readHeader(name: string): void {
    this.#expect('[')
    const { kind, text } = this.#next
    if (kind !== 'string') throw new Refused(`found ${text}, expected ${name}["header-name"]`)
    this.#at += 1
    this.#expect(']')
    const header = text.slice(1, -1)
    if (!/^[!#$%&'*+.^_`|~0-9a-z-]+$/.test(header)) {
      throw new Refused(`${text} is no header name in lower case`)
    }
    this.headers.add(header)
  }

  #hintFor(root: string | undefined, field: string): string {
    const { request, whole, policy } = this.#vocabulary
    if (root === 'r' && whole.includes(field)) {
      return `${field} has ${OBJECT_FIELDS.join(', ')} and headers["name"]`
    }
    const names = [...request.map((one) => `r.${one}`), ...policy.map((one) => `p.${one}`)]
    return `known: ${names.join(', ')}`
  }
}
