import { BYTE_CLASS, FIELD, type Field, fieldOf, LOWER, TOKEN_BYTE, VALUE_BYTE } from './field.ts'

/** Field lines in one head; more is refused. Envoy's limit too. */
export const MAX_FIELDS = 100

/** Not all of it has arrived. */
export const NEED_MORE = 0
/** It can never become a head; the block's `fault` says why. */
export const FAULTY = -1

const CR = 0x0d
const LF = 0x0a
const SPACE = 0x20
const TAB = 0x09
const COLON = 0x3a

export type FieldsFault =
  | 'bare-lf'
  | 'obsolete-folding'
  | 'field-name-malformed'
  | 'field-value-malformed'
  | 'too-many-fields'

/**
 * The field lines of one head, as offsets into its text: nothing is copied out until somebody asks
 * for a value. One block lives as long as its connection and is filled again for each message.
 */
export class FieldBlock {
  /** The head, latin1, so that one character is one byte. */
  text = ''
  count = 0
  /** Where the first field line starts, and where the line after the last one does. */
  startAt = 0
  endAt = 0
  fault: FieldsFault = 'bare-lf'
  readonly #nameAt = new Int32Array(MAX_FIELDS)
  readonly #nameEnd = new Int32Array(MAX_FIELDS)
  readonly #valueAt = new Int32Array(MAX_FIELDS)
  readonly #valueEnd = new Int32Array(MAX_FIELDS)
  readonly #kind = new Uint8Array(MAX_FIELDS)
  readonly #dropped = new Uint8Array(MAX_FIELDS)
  #anyDropped = false

  /**
   * Reads field lines from `bytes[at, end)` up to and with the empty line; offsets are kept
   * relative to `base`, where the head starts. Names are made lower case **in `bytes`**, so that
   * one spelling is compared, decided on and carried on.
   *
   * Refused, although some recipients take them: a line that ends in LF alone, folded lines, space
   * before the colon. Two readers that disagree on any of these see two different requests.
   *
   * @returns where the message goes on, {@link NEED_MORE} or {@link FAULTY}
   */
  read(bytes: Uint8Array, start: number, end: number, base: number): number {
    let at = start
    let count = 0
    this.#anyDropped = false
    this.startAt = start - base
    for (;;) {
      if (at >= end) return NEED_MORE
      if (bytes[at] === CR) {
        if (at + 1 >= end) return NEED_MORE
        if (bytes[at + 1] !== LF) return this.#refuse('field-name-malformed')
        this.count = count
        this.endAt = at - base
        return at + 2
      }
      const nameAt = at
      while (at < end && BYTE_CLASS[bytes[at]!]! & TOKEN_BYTE) {
        bytes[at] = LOWER[bytes[at]!]!
        at += 1
      }
      if (at >= end) return NEED_MORE
      if (bytes[at] !== COLON || at === nameAt) return this.#refuseName(bytes, at, nameAt)
      const nameEnd = at
      at += 1
      while (at < end && (bytes[at] === SPACE || bytes[at] === TAB)) at += 1
      const valueAt = at
      while (at < end && BYTE_CLASS[bytes[at]!]! & VALUE_BYTE) at += 1
      if (at >= end) return NEED_MORE
      if (bytes[at] !== CR) {
        return this.#refuse(bytes[at] === LF ? 'bare-lf' : 'field-value-malformed')
      }
      if (at + 1 >= end) return NEED_MORE
      if (bytes[at + 1] !== LF) return this.#refuse('field-value-malformed')
      if (count === MAX_FIELDS) return this.#refuse('too-many-fields')
      let valueEnd = at
      while (valueEnd > valueAt && (bytes[valueEnd - 1] === SPACE || bytes[valueEnd - 1] === TAB)) {
        valueEnd -= 1
      }
      this.#nameAt[count] = nameAt - base
      this.#nameEnd[count] = nameEnd - base
      this.#valueAt[count] = valueAt - base
      this.#valueEnd[count] = valueEnd - base
      this.#kind[count] = fieldOf(bytes, nameAt, nameEnd)
      this.#dropped[count] = 0
      count += 1
      at += 2
    }
  }

  #refuseName(bytes: Uint8Array, at: number, nameAt: number): number {
    if (bytes[at] === LF) return this.#refuse('bare-lf')
    const folded = at === nameAt && (bytes[at] === SPACE || bytes[at] === TAB)
    return this.#refuse(folded ? 'obsolete-folding' : 'field-name-malformed')
  }

  #refuse(fault: FieldsFault): number {
    this.fault = fault
    return FAULTY
  }

  kind(index: number): Field {
    return this.#kind[index] as Field
  }

  name(index: number): string {
    return this.text.slice(this.#nameAt[index], this.#nameEnd[index])
  }

  value(index: number): string {
    return this.text.slice(this.#valueAt[index], this.#valueEnd[index])
  }

  isDropped(index: number): boolean {
    return this.#dropped[index] === 1
  }

  /** Leaves line `index` out of all that follows: of {@link values}, {@link first} and {@link kept}. */
  drop(index: number): void {
    this.#dropped[index] = 1
    this.#anyDropped = true
  }

  /** Drops every line called `name` (lower case). */
  dropNamed(name: string): void {
    for (let index = 0; index < this.count; index += 1) {
      if (this.#isNamed(index, name)) this.drop(index)
    }
  }

  #isNamed(index: number, name: string): boolean {
    const at = this.#nameAt[index]!
    return this.#nameEnd[index]! - at === name.length && this.text.startsWith(name, at)
  }

  /** The first value of `name` (lower case); `undefined` when absent. */
  first(name: string): string | undefined {
    for (let index = 0; index < this.count; index += 1) {
      if (this.#dropped[index] === 0 && this.#isNamed(index, name)) return this.value(index)
    }
    return undefined
  }

  /** The value of each line called `name` (lower case), in order. */
  values(name: string): string[] {
    const found: string[] = []
    for (let index = 0; index < this.count; index += 1) {
      if (this.#dropped[index] === 0 && this.#isNamed(index, name)) found.push(this.value(index))
    }
    return found
  }

  /** The first value of a known kind; `undefined` when absent. */
  firstOf(kind: Field): string | undefined {
    if (kind === FIELD.other) return undefined
    for (let index = 0; index < this.count; index += 1) {
      if (this.#dropped[index] === 0 && this.#kind[index] === kind) return this.value(index)
    }
    return undefined
  }

  /** Whether every line is still there, so that the text can be carried on whole. */
  get isWhole(): boolean {
    return !this.#anyDropped
  }

  /** The lines that were not dropped, each with its CRLF, in order. */
  kept(): string {
    if (!this.#anyDropped) return this.text.slice(this.startAt, this.endAt)
    let out = ''
    let runAt = this.startAt
    for (let index = 0; index < this.count; index += 1) {
      if (this.#dropped[index] === 0) continue
      const lineAt = this.#nameAt[index]!
      if (lineAt > runAt) out += this.text.slice(runAt, lineAt)
      runAt = index + 1 < this.count ? this.#nameAt[index + 1]! : this.endAt
    }
    return runAt < this.endAt ? out + this.text.slice(runAt, this.endAt) : out
  }
}
