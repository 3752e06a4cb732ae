/** The words of plain YAML: which characters they have, and which value each is. */

/** Thrown where a text leaves what is surely plain. One for all: nobody outside sees it, and a trace costs more than the reading. */
export const NOT_PLAIN: Error = new Error('not plain YAML')

/** What a character may do, as bits. */
export const IN_WORD = 1
export const STARTS_WORD = 2
export const IN_KEY = 4
export const STARTS_KEY = 8
/** In a word outside of brackets only. */
export const BRACKET = 16

export const MAY: Uint8Array = new Uint8Array(128)
const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const DIGITS = '0123456789'
mark(`${LETTERS}${DIGITS}_-./+~$()*%@=;!?<>|^&"'\``, IN_WORD)
mark(`${LETTERS}${DIGITS}_/$(`, STARTS_WORD)
mark(`${LETTERS}${DIGITS}_-./`, IN_KEY)
mark(`${LETTERS}_`, STARTS_KEY)
mark(',[]{}', BRACKET)

function mark(chars: string, bit: number): void {
  for (const char of chars) {
    const code = char.charCodeAt(0)
    MAY[code] = (MAY[code] ?? 0) | bit
  }
}

/** Words that are a value in some spelling; whatever the spelling, no key is one. */
const NAMED = /^(?:null|true|false)$/i
/** Digits that are surely this number in tens. */
const WHOLE = /^(?:0|[1-9][0-9]{0,14})$/
/** What begins with a digit and may be a number in some notation or other. */
const NUMERIC = /^(?:[0-9][0-9_]*(?:\.[0-9_]*)?(?:[eE][-+]?[0-9_]*)?|0[xob][0-9a-fA-F_]*)$/

/**
 * The value of a word that stands without quotes.
 *
 * @throws {@link NOT_PLAIN} if it might be a number, and is not surely one
 */
export function scalarOf(word: string): unknown {
  const first = word.charCodeAt(0)
  if (first >= 0x30 && first <= 0x39) {
    if (WHOLE.test(word)) return Number(word)
    if (NUMERIC.test(word)) throw NOT_PLAIN
    return word
  }
  if (!NAMED.test(word)) return word
  if (word === 'true') return true
  if (word === 'false') return false
  if (word === 'null') return null
  throw NOT_PLAIN
}

/** Whether `word` is null, true or false in any spelling. */
export function isNamed(word: string): boolean {
  return NAMED.test(word)
}
